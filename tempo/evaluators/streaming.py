"""Clips through the network: every view of every video once, in batches of one compiled shape.

What goes in is as bounded as what is in flight: clips of any videos and views fill batches of one
size one after the other, so neither the number of views nor that of videos shows in the memory of
the devices, and in that of the host only through the few videos that are read ahead.
"""

import collections
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import tqdm
from jax.sharding import Mesh

from tempo import sharding
from tempo.data import pipeline
from tempo.errors import InputError
from tempo.evaluators import scoring
from tempo.task import Task
from tempo.types import STREAMS, Array, Batch, ClipSpec, FlowSpec, ViewSpec, network_input

Clips = Array | dict[str, Array]
"""uint8 `[n,T,H,W,C]`, of the frames alone, or of each stream by name."""

Predict = Callable[[Any, Clips], dict[str, Array]]
"""(variables, clips) -> `logits` and `probs` `[B,K]` and, if the model gives one, `embedding
[B,D]`."""

Piece = tuple[Clips, np.ndarray]
"""n clips and what each is, int32 `[n,tags]`; a first tag below 0 is padding."""

# Batches given to the devices whose scores have not been fetched: one at work, one waiting.
_IN_FLIGHT = 2
_FETCHED = ("logits", "probs")
# Of the videos that are read together; as much again is read ahead, twice.
_MOST_BYTES = 2 << 30


def make_predict(
    model: nn.Module,
    preprocess: Callable[[Array, Batch], Batch],
    task: Task,
    mesh: Mesh | None = None,
) -> Predict:
    """The compiled forward pass; evaluators share one, which compiles once per clip shape.

    Args:
      model: gives the logits.
      preprocess: of `device_ops.create`.
      task: turns logits into probabilities.
      mesh: over all devices, which then all hold the whole result; None computes where the
        variables are.
    """

    def predict(variables, clips):
        given = clips if isinstance(clips, dict) else {"video": clips}
        batch = preprocess(jax.random.key(0), given)
        outputs = model.apply(variables, network_input(batch, model.streams), train=False)
        found = {name: outputs[name] for name in ("logits", "embedding") if name in outputs}
        return {**found, "probs": task.probs(outputs["logits"])}

    return jax.jit(predict, out_shardings=None if mesh is None else sharding.replicated(mesh))


def run(
    forward: Callable[[Clips, np.ndarray], tuple[Array, dict[str, Array]]],
    pieces: Iterable[Piece],
    size: int,
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Scores of clips on the host, without padding, two batches behind what is given.

    Args:
      forward: `size` clips and their tags -> all tags of the batch and the scores by
        name, which the devices still work on.
      pieces: clips of this process; as many in every process.
      size: clips of a batch in this process.

    Yields:
      Tags int32 `[n,tags]`, and their scores by name.
    """
    pending = collections.deque()
    for clips, tags in _of_one_size(pieces, size):
        pending.append(jax.copy_to_host_async(forward(clips, tags)))
        if len(pending) > _IN_FLIGHT:
            yield _on_host(pending.popleft())
    while pending:
        yield _on_host(pending.popleft())


class Rate:
    """Counts per second after the first count, since compiling is in that."""

    def __init__(self):
        self._marks = [(time.perf_counter(), 0)]

    def add(self, count: int) -> None:
        """That many more are done."""
        self._marks.append((time.perf_counter(), self._marks[-1][1] + count))

    @property
    def per_s(self) -> float:
        """Of all counts but the first, if there are several."""
        (start, before), (end, after) = self._marks[min(1, len(self._marks) - 2)], self._marks[-1]
        return (after - before) / (end - start)


class Scorer:
    """One evaluator's videos, clips and views, and their way through the network.

    Its attributes are the arguments it was made of, `clip` at the stride and in the order of the
    views, `split` the split itself, and `reader`, the last arguments of `pipeline.eval_batches`.
    """

    def __init__(
        self,
        name: str,
        predict: Predict,
        *,
        records: pipeline.Records,
        split: str,
        task: Task,
        mesh: Mesh,
        clip: ClipSpec,
        view: ViewSpec,
        extra_frames: int,
        batch_size: int,
        num_workers: int,
        worker_kind: str,
        flow: FlowSpec | None = None,
        is_per_frame: bool = False,
    ):
        """Checks the split and the batch size; reads nothing yet.

        Args:
          name: of the evaluator.
          predict: see `make_predict`.
          records: the dataset.
          split: its name.
          task: turns logits into probabilities.
          mesh: over all devices.
          clip: frames of a clip.
          view: views of a video and how they are averaged.
          extra_frames: read beyond a clip's T, for `predict` to use up.
          batch_size: clips of a batch over all devices.
          num_workers: of the reader.
          worker_kind: of the reader.
          flow: which flow goes with a clip, of networks that read it.
          is_per_frame: the network scores every frame of a clip on its own.

        Raises:
          InputError: unknown or empty split, a batch size that the devices do not divide, or
            views that do not fit the clips.
        """
        sharding.check_batch_size(f"eval.{name}.batch_size", batch_size, mesh)
        self.records = records
        self.split = records.split(split)
        if not len(self.split):
            raise InputError(
                f"eval.{name}.split={split!r} of {records.data_dir!r} has no videos; "
                "choose another."
            )
        self.task = task
        self.mesh = mesh
        self.clip = view.clip_of(clip)
        self.flow = view.flow_of(flow)
        self.view = view
        self.extra_frames = extra_frames
        self.batch_size = batch_size
        self.is_per_frame = is_per_frame
        self._name = name
        self._predict = predict
        self._sharding = sharding.batch_sharding(mesh)
        self._gather = jax.jit(lambda tags: tags, out_shardings=sharding.replicated(mesh))
        process_index, process_count = sharding.process_slot(mesh)
        self.reader = {
            "num_workers": num_workers,
            "worker_kind": worker_kind,
            "process_index": process_index,
            "process_count": process_count,
        }
        self._num_threads = num_workers if worker_kind == "thread" else 0

    @property
    def num_processes(self) -> int:
        """P: parts of a batch that are read apart."""
        return self.reader["process_count"]

    def videos(
        self,
        variables: Any,
        *,
        clip: ClipSpec | None = None,
        orders: Callable[[np.ndarray], Sequence[np.ndarray | None]] | None = None,
        num_orders: int = 1,
        save_views: bool = False,
        save_embedding: bool = False,
        title: str = "",
    ) -> tuple[scoring.Averages, float]:
        """Scores of every video of the split, each view counted once, and clips per second.

        Args:
          variables: `{"params", "batch_stats"}`.
          clip: in place of the scorer's; where views have a stride or an order, those hold.
          orders: rows of the split `[b]` -> for each of M orders, int `[b,T+E]`, which frames of
            a decoded clip are shown in its places; None for all as they are.
          num_orders: M.
          save_views: keep every view's logits.
          save_embedding: keep the embedding.
          title: of the progress bar.
        """
        fetched = (*_FETCHED, "embedding") if save_embedding else _FETCHED
        scores = scoring.VideoScores(
            self.task,
            self.view,
            self.records.mirror_labels,
            num_videos=len(self.split),
            num_orders=num_orders,
            save_views=save_views,
        )
        rate = Rate()
        for tags, found in self.stream(variables, self.clips(clip, orders, title), fetched):
            scores.add(tags, found)
            rate.add(len(tags))
        return scores.result(), rate.per_s

    def stream(
        self,
        variables: Any,
        pieces: Iterable[Piece],
        fetched: Sequence[str] = _FETCHED,
        prepare: Callable[[Array], Array] = lambda video: video,
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Scores of the clips of all processes, see `run`.

        Args:
          variables: `{"params", "batch_stats"}`.
          pieces: this process's clips; as many in every process.
          fetched: which of `logits`, `probs` `[n,K]` and `embedding [n,D]` are wanted.
          prepare: from the clips of a piece, on the devices, to what `predict` takes.
        """

        def forward(clips, tags):
            streams = clips if isinstance(clips, dict) else {"video": clips}
            given = sharding.to_global({**streams, "tags": tags}, self._sharding)
            tags = given.pop("tags")
            outputs = self._predict(
                variables, prepare(given if isinstance(clips, dict) else given["video"])
            )
            return self._gather(tags), {name: outputs[name] for name in fetched}

        return run(forward, pieces, self.batch_size // self.num_processes)

    def clips(
        self,
        clip: ClipSpec | None = None,
        orders: Callable[[np.ndarray], Sequence[np.ndarray | None]] | None = None,
        title: str = "",
    ) -> Iterator[Piece]:
        """This process's part of all clips, for `stream`; tags are row, view and order.

        Args:
          clip: as of `videos`.
          orders: as of `videos`.
          title: as of `videos`.
        """
        num_views = self.view.num_views
        with pipeline.eval_batches(
            self.split,
            clip=clip or self.clip,
            view=self.view,
            flow=self.flow,
            extra_frames=self.extra_frames,
            batch_size=self._videos_at_once() * self.num_processes,
            **self.reader,
        ) as batches:
            for batch in shown(batches, batches.num_batches, title or self._name):
                clips = batch["video"]
                if self.flow is not None:
                    clips = {name: batch[name] for name in STREAMS}
                rows = np.where(batch["mask"], batch["index"], -1)
                if self.num_processes == 1:  # else padding keeps the processes in step
                    count = int(batch["mask"].sum())
                    clips, rows = jax.tree.map(lambda x, n=count: x[:n], clips), rows[:count]
                found = [None] if orders is None else orders(np.maximum(rows, 0))
                for number, order in enumerate(found):
                    tags = np.empty((len(rows), num_views, 3), np.int32)
                    tags[..., 0], tags[..., 1] = rows[:, None], np.arange(num_views)
                    tags[..., 2] = number
                    ordered = clips if order is None else _reordered(clips, order)
                    views = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), ordered)
                    yield views, tags.reshape(-1, 3)

    def _videos_at_once(self) -> int:
        """Videos that are read together: they fill a batch, and give each thread one.

        Fewer where all their views would be too much to hold: 250 views of three snippets of flow
        are 0.8 GB.
        """
        num_clips = self.batch_size // self.num_processes
        num_videos = max(-(-num_clips // self.view.num_views), self._num_threads)
        num_videos = min(num_videos, max(1, _MOST_BYTES // self._bytes_of_video()))
        return min(num_videos, -(-len(self.split) // self.num_processes))

    def _bytes_of_video(self) -> int:
        """Of all views of one video; of whole frames those of a square."""
        view, pictures = self.view, 3 * (self.clip.num_read + self.extra_frames)
        if self.flow is not None:
            pictures += self.flow.num_snippets * 2 * self.flow.num_fields
        side = view.short_side_px if view.crop == "full" else view.size_px
        return view.num_views * pictures * side**2


def shown(batches: Iterable[Batch], total: int, title: str) -> Iterable[Batch]:
    """The batches with a progress bar, in the lead process."""
    return tqdm.tqdm(
        batches,
        total=total,
        desc=title,
        unit="batch",
        leave=False,
        disable=not sharding.is_lead_process(),
    )


def _of_one_size(pieces: Iterable[Piece], size: int) -> Iterator[Piece]:
    """The clips in pieces of `size`; the last is padded, and any before clips of a new shape."""
    held, count, shapes = [], 0, None
    for clips, tags in pieces:
        own = [x.shape[1:] for x in jax.tree.leaves(clips)]
        if held and own != shapes:
            yield _joined(held, size)
            held, count = [], 0
        shapes = own
        while len(tags):
            free = size - count
            held.append(jax.tree.map(lambda x, n=free: x[:n], (clips, tags)))
            count += len(held[-1][1])
            clips, tags = jax.tree.map(lambda x, n=free: x[n:], (clips, tags))
            if count == size:
                yield _joined(held, size)
                held, count = [], 0
    if held:
        yield _joined(held, size)


def _joined(held: Sequence[Piece], size: int) -> Piece:
    if len(held) == 1 and len(held[0][1]) == size:
        return held[0]
    clips, tags = (list(parts) for parts in zip(*held, strict=True))
    missing = size - sum(map(len, tags))
    if missing:
        clips.append(jax.tree.map(lambda x: np.repeat(x[-1:], missing, axis=0), clips[-1]))
        tags.append(np.full((missing, tags[0].shape[1]), -1, np.int32))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *clips), np.concatenate(tags)


def _reordered(video: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Views `[b,V,T,...]` with the frames `order [b,T]`."""
    return np.stack([views[:, places] for views, places in zip(video, order, strict=True)])


def _on_host(sent: tuple[Array, dict[str, Array]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    tags, outputs = jax.device_get(sent)
    is_real = tags[:, 0] >= 0
    return tags[is_real], {name: values[is_real] for name, values in outputs.items()}
