"""Fills one batch: reads its records, picks and decodes their frames, crops, and puts in place.

A maker is called with the number of a batch by the grain dataset of `tempo.data.pipeline`; what it
gives depends on that alone.
"""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

import cv2
import numpy as np

from tempo.data import flow_sampling, sampling, stages, view_draws
from tempo.data import host_ops as host_ops_lib
from tempo.data.augment import geometry
from tempo.data.augment.views import Views
from tempo.data.order import Order
from tempo.data.records import Record, Split
from tempo.data.store import scratch
from tempo.errors import InputError
from tempo.types import Batch, ClipShape, ClipSpec, FlowSpec, ShapeAt, ViewSpec

Clip = tuple[dict[str, np.ndarray], bool]
"""The uint8 streams of one clip, and whether they are mirrored."""


# What a maker does not take to another process.
_OF_PROCESS = ("_lock", "_pool", "_is_closed", "_memory")


class _Closed(Exception):
    """The maker was closed before its batch was full."""


class BatchMaker:
    """Fills batches, with its own threads if there are any; goes to worker processes by pickle."""

    def __init__(self, split: Split, num_threads: int):
        self._split = split
        self._num_threads = num_threads
        self._set_up()

    def _set_up(self) -> None:
        # Records run side by side; cv2's own threads over one small frame only get in the way.
        cv2.setNumThreads(0)
        self._lock = threading.Lock()
        self._pool = None
        self._is_closed = False
        self._memory = scratch.Memory()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in _OF_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()

    def close(self) -> None:
        """Ends the threads; work that has not begun is dropped."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._is_closed = True

    def _run(self, function: Callable[[int], None], count: int) -> None:
        """`function(0)` to `function(count - 1)`, on the threads; `_Closed` if not all of them."""
        numbers = iter(range(count))  # shared: each thread takes the next one

        def work() -> int:
            num_done = 0
            for i in numbers:
                if self._is_closed:
                    break
                function(i)
                num_done += 1
            return num_done

        with self._lock:
            if self._is_closed:
                raise _Closed
            if self._num_threads and self._pool is None:
                self._pool = futures.ThreadPoolExecutor(self._num_threads, "tempo-read")
            # One task per thread: to hand over clip by clip wakes who waits as often.
            running = self._pool and [self._pool.submit(work) for _ in range(self._num_threads)]
        try:
            num_done = work() if running is None else sum(task.result() for task in running)
        except futures.CancelledError:
            raise _Closed from None
        if num_done < count:
            raise _Closed

    def _fill(
        self,
        slots: np.ndarray,
        shapes: Mapping[str, Sequence[int]],
        put: Callable[[int, Batch], None],
        num_videos: int,
    ) -> Batch:
        """A batch that shows the split's rows `slots`; `put(i, batch)` fills in video i.

        It is filled in place, stream by stream: a list of clips and `np.stack` would hold
        everything twice.
        """
        batch = {name: np.empty((len(slots), *shape), np.uint8) for name, shape in shapes.items()}

        def fill(i: int) -> None:
            with self._memory.clip():
                put(i, batch)

        self._run(fill, num_videos)
        return batch | {
            "label": self._split.labels[slots],
            "index": slots.astype(np.int32),
            "id": np.array([self._split.ids[row] for row in slots], dtype=np.str_),
        }

    def _check_shape(self, name: str, stream: Any, batch: Batch, row: int) -> None:
        if stream.shape != batch[name].shape[1:]:
            raise InputError(
                f"{self._split.ids[row]}: {name} {stream.shape} does not fit a batch of "
                f"{batch[name].shape[1:]}; crop all videos to one size."
            )


def part_of(batch_size: int, process_index: int, process_count: int) -> slice:
    """Slots of a whole batch that a process makes: neighbours, in the order of the processes."""
    size = batch_size // process_count
    return slice(process_index * size, (process_index + 1) * size)


class TrainBatch(BatchMaker):
    """Step -> this process's part of its batch.

    Args:
      split: what to read.
      order: which rows of the split a step shows.
      batch_size: clips of a step over all processes.
      process_index: which part of each batch is made here, see `part_of`.
      process_count: parts of a batch.
      num_threads: 0 fills in the caller.
      clip: which frames make a clip.
      extra_frames: frames beyond it, which are there for differences only.
      flow: which flow is read beside them; None reads none.
      size_px: side of the clips that `ops` must give.
      ops: rows of `host_ops.OPS`.
      clips_per_video: neighbouring slots that show the same video.
      shape_at: shape of a step's clips, in place of `clip`, `size_px` and `batch_size`.
      seed: of all draws.
    """

    def __init__(
        self,
        *,
        split: Split,
        order: Order,
        batch_size: int,
        process_index: int,
        process_count: int,
        num_threads: int,
        clip: ClipSpec,
        extra_frames: int,
        flow: FlowSpec | None,
        size_px: int,
        ops: Sequence[Any],
        clips_per_video: int,
        shape_at: ShapeAt | None,
        seed: int,
    ):
        super().__init__(split, num_threads)
        self._order = order
        self._batch_size = batch_size
        self._process = (process_index, process_count)
        self._clip = clip
        self._extra_frames = extra_frames
        self._flow = flow
        self._size_px = size_px
        self._op_rows = ops
        self._ops = host_ops_lib.create(ops, size_px)
        self._clips_per_video = clips_per_video
        self._shape_at = shape_at
        self._seed = seed

    def __call__(self, step: int) -> Batch:
        """The part of batch `step`."""
        step = int(step)
        shape = self._shape(step)
        clip, size_px, ops = self._settings(shape)
        part = part_of(shape.batch_size, *self._process)
        count, start = self._clips_per_video, part.start
        if shape.first_clip < 0:
            rows = self._order.batch(step, shape.batch_size // count)
        else:
            rows = self._order.stream(shape.first_clip // count, shape.batch_size // count)
        rows = rows[start // count : part.stop // count]

        slots = np.repeat(rows, count)
        is_mirrored = np.zeros(len(slots), bool)

        def put(i: int, batch: Batch) -> None:
            own = range(i * count, (i + 1) * count)
            rngs = [np.random.default_rng((self._seed, step, start + slot)) for slot in own]
            places = [batch["video"][slot] for slot in own]
            clips = self._clips(self._split[rows[i]], clip, ops, rngs, places)
            for slot, place, (streams, mirrored) in zip(own, places, clips, strict=True):
                is_mirrored[slot] = mirrored
                for name, stream in streams.items():
                    if stream is not place:
                        self._check_shape(name, stream, batch, rows[i])
                        with stages.stage(stages.STACK):
                            batch[name][slot] = stream

        shapes = {"video": (clip.num_read + self._extra_frames, size_px, size_px, 3)}
        if self._flow is not None:
            channels = 2 * self._flow.num_fields
            shapes["flow"] = (self._flow.num_snippets, size_px, size_px, channels)
        batch = self._fill(slots, shapes, put, len(rows))
        mirror = self._split.mirror_labels
        if mirror is not None and is_mirrored.any():
            batch["label"][is_mirrored] = mirrored_labels(batch["label"][is_mirrored], mirror)
        return batch

    def _shape(self, step: int) -> ClipShape:
        """Of a step's clips, its batch size told."""
        if self._shape_at is None:
            return ClipShape(self._clip.num_frames, (), self._size_px, self._batch_size)
        shape = ClipShape(*self._shape_at(step))
        return shape._replace(batch_size=shape.batch_size or self._batch_size)

    def _settings(self, shape: ClipShape) -> tuple[ClipSpec, int, Sequence[Any]]:
        """Clip, size and ops of clips of a shape."""
        if self._shape_at is None:
            return self._clip, self._size_px, self._ops
        strides = shape.strides if self._clip.sampling == "dense" else ()
        clip = dataclasses.replace(self._clip, num_frames=shape.num_frames, train_strides=strides)
        return (
            clip,
            shape.size_px,
            host_ops_lib.at_size(self._op_rows, shape.size_px, self._size_px),
        )

    def _clips(
        self,
        record: Record,
        clip: ClipSpec,
        ops: Sequence[Any],
        rngs: Sequence[np.random.Generator],
        places: Sequence[np.ndarray],
    ) -> list[Clip]:
        """A clip of the record for each generator; what several of them show is decoded once.

        Its frames are in its place of `places` already, unless they do not fit there.
        """
        about, more = (record.num_frames, clip), (_times(record, clip), self._extra_frames)
        if self._flow is None:
            with stages.stage(stages.SAMPLE):
                wanted = [sampling.train_indices(*about, rng, *more) for rng in rngs]
            videos = record.decode(np.stack(wanted))
            return [
                host_ops_lib.run(ops, {"video": video}, rng, {"video": place})
                for video, rng, place in zip(videos, rngs, places, strict=True)
            ]
        with stages.stage(stages.SAMPLE):
            wanted, fields = zip(
                *(flow_sampling.train_indices(*about, self._flow, rng, *more) for rng in rngs),
                strict=True,
            )
        numbers, snippets = _unique(np.stack(fields))
        flows = record.decode_flow(numbers)
        videos = record.decode(np.stack(wanted))
        clips = []
        for video, snippet, rng, place in zip(videos, snippets, rngs, places, strict=True):
            # Snippets overlap: each field is cropped once.
            used, again = _unique(snippet)
            streams = _one_size({"video": video, "flow": flows[used]})
            streams, is_mirrored = host_ops_lib.run(ops, streams, rng, {"video": place})
            streams["flow"] = flow_sampling.stack(streams["flow"][again])
            clips.append((streams, is_mirrored))
        return clips


class EvalBatch(BatchMaker):
    """First row of a whole batch -> this process's part of the batch, padded and masked."""

    def __init__(
        self,
        *,
        split: Split,
        part: slice,
        num_threads: int,
        clip: ClipSpec,
        extra_frames: int,
        view: ViewSpec,
        flow: FlowSpec | None,
    ):
        super().__init__(split, num_threads)
        self._part = part
        self._clip = clip
        self._extra_frames = extra_frames
        self._view = view
        self._flow = flow

    def __call__(self, first: int) -> Batch:
        """The part of the batch that begins with row `first`."""
        positions = first + np.arange(self._part.start, self._part.stop)
        mask = positions < len(self._split)
        rows = np.minimum(positions, len(self._split) - 1)
        num_read = max(1, int(mask.sum()))
        first_views, shapes = None, self._shapes()
        if shapes is None:
            first_views = self._views(rows[0])
            shapes = {name: views.shape for name, views in first_views.items()}

        def put(i: int, batch: Batch) -> None:
            is_first = i == 0 and first_views is not None
            for name, views in (first_views if is_first else self._views(rows[i])).items():
                self._check_shape(name, views, batch, rows[i])
                views.copy_to(batch[name][i])

        # Mirror images among the views keep the video's label; who scores them knows which they
        # are (`ViewSpec.mirrored`).
        batch = self._fill(rows[:num_read], shapes, put, num_read)
        last = np.minimum(np.arange(len(rows)), num_read - 1)
        if num_read < len(rows):
            batch = {key: value[last] for key, value in batch.items()}
        return batch | {"mask": mask}

    def _shapes(self) -> dict[str, tuple[int, ...]] | None:
        """Of one video's views; None if it depends on the video."""
        view = self._view
        if view.crop == "full":
            return None
        square = (view.size_px, view.size_px)
        shapes = {"video": (view.num_views, self._clip.num_read + self._extra_frames, *square, 3)}
        if self._flow is not None:
            channels = 2 * self._flow.num_fields
            shapes["flow"] = (view.num_views, self._flow.num_snippets, *square, channels)
        return shapes

    def _views(self, row: int) -> dict[str, Views]:
        view, record = self._view, self._split[row]
        draws = view_draws.draw(view, self._split.ids[row])
        times = _times(record, self._clip)
        about = view.num_clips, view.clip_starts, times, self._extra_frames, draws.starts
        # Clips overlap: each frame is decoded, resized and cropped once.
        places = {}
        if self._flow is None:
            with stages.stage(stages.SAMPLE):
                wanted = sampling.eval_indices(record.num_frames, self._clip, *about)
                frames, places["video"] = _unique(wanted[..., None])
            streams = {"video": record.decode(frames)}
        else:
            with stages.stage(stages.SAMPLE):
                wanted, fields = flow_sampling.eval_indices(
                    record.num_frames, self._clip, self._flow, *about
                )
                frames, places["video"] = _unique(wanted[..., None])
                numbers, places["flow"] = _unique(fields)
            streams = {"video": record.decode(frames), "flow": record.decode_flow(numbers)}
            with stages.stage(stages.RESIZE):
                streams = _one_size(streams)
        return host_ops_lib.view_streams(streams, places, view, draws)


def mirrored_labels(labels: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Labels of the mirrored videos.

    Args:
      labels: class numbers int32 [B], one of each group int32 [B,G] (-1, not known, stays), or
        multi-hot uint8 [B,K].
      mirror: int32 [K], class -> class of the mirror image; its own inverse.
    """
    if labels.dtype == np.uint8:
        return labels[:, mirror]
    return np.where(labels < 0, labels, mirror[labels])


def _times(record: Record, clip: ClipSpec) -> np.ndarray | None:
    """Times of a record's frames; None where nothing asks, which saves reading them."""
    return record.timestamps if clip.fps else None


def _unique(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers, and for each given one its place among them."""
    different, places = np.unique(numbers, return_inverse=True)
    return different, places.reshape(numbers.shape)


def _one_size(streams: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Frames in the size of the flow, where that was stored smaller."""
    size = streams["flow"].shape[1:3]
    if streams["video"].shape[1:3] == size:
        return streams
    return streams | {"video": geometry.resize(streams["video"], *size)}
