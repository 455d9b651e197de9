"""From records to batches: which videos, in which order, which frames, on how many workers.

An element of the grain dataset is one whole batch, so its content is a pure function of
(seed, step): the number of workers, their kind, and the number of processes change who makes a
batch, never what is in it, and a run resumes by starting the stream at its step.

    records = pipeline.open_records("data/mine")
    with pipeline.train_batches(records.split("train"), clip=..., batch_size=64, ...) as batches:
        for batch in batches: ...
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from tempo.data import batches, flow_sampling, order, sampling
from tempo.data import host_ops as host_ops_lib
from tempo.data.records import Records, Split, is_complete, open_records
from tempo.errors import InputError
from tempo.types import Batch, ClipSpec, FlowSpec, ShapeAt, ViewSpec

__all__ = [
    "Batches",
    "Records",
    "Split",
    "batches_of",
    "eval_batches",
    "is_complete",
    "open_records",
    "steps_per_epoch",
    "train_batches",
]

WORKER_KINDS = ("thread", "process")
# Batches made ahead of the consumer: one ready and one in the making.
_BATCHES_AHEAD = 2


def train_batches(
    split: Split,
    *,
    clip: ClipSpec,
    batch_size: int,
    size_px: int,
    host_ops: Sequence[str | Mapping[str, Any]] = host_ops_lib.DEFAULT_TRAIN_OPS,
    flow: FlowSpec | None = None,
    extra_frames: int = 0,
    clips_per_video: int = 1,
    shape_at: ShapeAt | None = None,
    seed: int = 0,
    start_step: int = 0,
    num_steps: int | None = None,
    num_workers: int = 0,
    worker_kind: str = "thread",
    process_index: int = 0,
    process_count: int = 1,
) -> "Batches":
    """Shuffled, augmented training batches, step after step.

    Yields `video` uint8 [b,T,size_px,size_px,C], `label` (int32 [b] or [b,G], uint8 [b,K]: as the
    split has it), `index` int32 [b] (row of the split) and `id` str [b], with b = batch_size /
    process_count; with `flow` also `flow` uint8 [b,S,size_px,size_px,2L], which has the same crop
    and flip. A mirrored clip has the mirrored label where the split knows one.

    A step shows `batch_size / clips_per_video` videos, an epoch is `steps_per_epoch` steps: every
    video at most once, with all its clips in one step; what fills no batch is dropped; each epoch
    has another order. Clip i of step s draws from (seed, s, i) alone.

    Args:
      split: what to train on.
      clip: which frames make a clip.
      batch_size: clips of a step over all processes.
      size_px: side of the clips that `host_ops` must give.
      host_ops: rows of `host_ops.OPS`: names, or dicts with arguments.
      flow: which optical flow to read beside the frames.
      extra_frames: frames to read beyond T at the same stride (`device_ops.extra_frames`), of
        dense clips.
      clips_per_video: clips of each video in a step, side by side in the batch (repeated
        augmentation, arXiv 1901.09335); its frames are decoded once.
      shape_at: step -> shape of its clips, in place of T, strides, `size_px` and `batch_size`, see
        `ClipShape`; must be picklable for worker processes. `host_ops` are made for that size,
        see `host_ops.at_size`.
      seed: decides order and augmentation.
      start_step: first step to yield, counted from 0 over the whole run.
      num_steps: the stream ends before this step; None for no end.
      num_workers: 0 makes a batch when it is asked for; else batches are made ahead.
      worker_kind: `thread` (decoding releases the GIL) or `process`.
      process_index: which contiguous part of each batch is yielded.
      process_count: parts of a batch.

    Raises:
      InputError: sizes that do not fit. A `RecordError` while iterating names the record.
    """
    _check(batch_size, num_workers, worker_kind, process_index, process_count, clips_per_video)
    num_videos = batch_size // clips_per_video
    if len(split) < num_videos:
        raise InputError(
            f"batch_size={batch_size} is more than the {len(split)} videos of split "
            f"{split.name!r}; use at most {len(split) * clips_per_video}."
        )
    sampling.check(clip, extra_frames)
    if flow is not None:
        flow_sampling.check(clip)
        split.check_flow()
    if start_step < 0 or (num_steps is not None and num_steps < start_step):
        raise InputError(f"Need 0 <= start_step <= num_steps; got {start_step} and {num_steps}.")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must be 0 to 2**32 - 1; got {seed}.")
    if shape_at is not None:
        host_ops_lib.check_sizes(host_ops)
    make_batch = batches.TrainBatch(
        split=split,
        order=order.Order(len(split), seed),
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        clip=clip,
        extra_frames=extra_frames,
        flow=flow,
        size_px=size_px,
        ops=host_ops,
        clips_per_video=clips_per_video,
        shape_at=shape_at,
        seed=seed,
        num_threads=num_workers if worker_kind == "thread" else 0,
    )
    steps = grain.MapDataset.range(start_step, sys.maxsize if num_steps is None else num_steps)
    return Batches(steps.map(make_batch), make_batch, num_workers, worker_kind)


def steps_per_epoch(num_videos: int, batch_size: int, clips_per_video: int = 1) -> int:
    """Steps that show every video once, without those that fill no batch."""
    return num_videos // (batch_size // clips_per_video)


def eval_batches(
    split: Split,
    *,
    clip: ClipSpec,
    view: ViewSpec,
    batch_size: int,
    flow: FlowSpec | None = None,
    extra_frames: int = 0,
    num_workers: int = 0,
    worker_kind: str = "thread",
    process_index: int = 0,
    process_count: int = 1,
) -> "Batches":
    """Every video of a split exactly once, in order, with all its views.

    Yields `video` uint8 [b,V,T,h,w,C] (views clip by clip: clip 0 with its crops, clip 1, ...),
    `label` (as the split has it), `index` int32 [b], `mask` bool [b] and `id` str [b]; with `flow`
    also `flow` uint8 [b,V,S,h,w,2L]. Where the split does not fill the last batch, its last video
    is repeated with `mask` False, so every process has the same number of batches of the same
    shape.

    Args:
      split: what to evaluate on.
      clip: which frames make a clip.
      view: which clips and crops of each video; what it says of frames and snippets stands in place
        of what `clip` and `flow` say.
      batch_size: videos of a batch over all processes.
      flow: which optical flow to read beside the frames.
      extra_frames: frames to read beyond T at the same stride (`device_ops.extra_frames`), of
        dense clips.
      num_workers: 0 makes a batch when it is asked for; else batches are made ahead.
      worker_kind: `thread` (decoding releases the GIL) or `process`.
      process_index: which contiguous part of each batch is yielded.
      process_count: parts of a batch.

    Raises:
      InputError: sizes that do not fit. A `RecordError` while iterating names the record.
    """
    if not len(split):
        raise InputError(f"Split {split.name!r} has no videos to evaluate on.")
    clip, flow = view.clip_of(clip), view.flow_of(flow)
    sampling.check(clip, extra_frames)
    if flow is not None:
        flow_sampling.check(clip)
        split.check_flow()

    def make_maker(part: slice) -> batches.EvalBatch:
        return batches.EvalBatch(
            split=split,
            clip=clip,
            extra_frames=extra_frames,
            view=view,
            flow=flow,
            part=part,
            num_threads=num_workers if worker_kind == "thread" else 0,
        )

    return batches_of(
        len(split),
        make_maker,
        batch_size=batch_size,
        num_workers=num_workers,
        worker_kind=worker_kind,
        process_index=process_index,
        process_count=process_count,
    )


def batches_of(
    count: int,
    make_maker: Callable[[slice], batches.BatchMaker],
    *,
    batch_size: int,
    num_workers: int,
    worker_kind: str,
    process_index: int,
    process_count: int,
) -> "Batches":
    """Batches of `count` things in their order, each made from the number of its first thing.

    Args:
      count: at least 1.
      make_maker: slots of a whole batch that are made here -> first number -> batch.
      batch_size: as of `eval_batches`.
      num_workers: as of `eval_batches`.
      worker_kind: as of `eval_batches`.
      process_index: as of `eval_batches`.
      process_count: as of `eval_batches`.

    Raises:
      InputError: sizes that do not fit.
    """
    _check(batch_size, num_workers, worker_kind, process_index, process_count)
    make_batch = make_maker(batches.part_of(batch_size, process_index, process_count))
    num_batches = -(-count // batch_size)
    firsts = grain.MapDataset.range(0, num_batches * batch_size, batch_size)
    return Batches(firsts.map(make_batch), make_batch, num_workers, worker_kind)


class Batches:
    """An iterator over batches; close it, or use it in a `with`.

    Attributes:
      num_batches: how many there are; near `sys.maxsize` without an end.
    """

    def __init__(self, dataset, make_batch: batches.BatchMaker, num_workers: int, worker_kind: str):
        self.num_batches = len(dataset)
        self._make_batch = make_batch
        self._is_closed = False
        self._in_processes = num_workers > 0 and worker_kind == "process"
        if self._in_processes:
            self._iterator = iter(_in_processes(dataset, num_workers))
            return
        # The threads of grain only wait: a batch is filled by the threads of its maker.
        num_ahead = _BATCHES_AHEAD if num_workers else 0
        options = grain.ReadOptions(num_threads=num_ahead, prefetch_buffer_size=num_ahead)
        self._iterator = iter(dataset.to_iter_dataset(options))

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        if self._is_closed:
            raise StopIteration
        try:
            batch = next(self._iterator)
        except BaseException as error:
            if self._is_closed and isinstance(error, Exception):
                # Closed by another thread meanwhile: that is the end, not a failure.
                raise StopIteration from None
            # Past the end, or past a broken record: grain would go on with the batches after it.
            self.close()
            raise
        if self._is_closed:
            raise StopIteration
        if not self._in_processes:
            return batch
        # What processes send lies in shared memory: an open file per array for as long as anybody
        # holds it. A copy costs little beside decoding and has no such strings.
        return {key: np.array(value) for key, value in batch.items()}

    def close(self) -> None:
        """Ends the workers; the iterator gives nothing more. May be called again, by any thread."""
        if not self._is_closed:
            self._is_closed = True
            self._iterator.close()
            self._make_batch.close()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _in_processes(dataset, num_workers: int):
    """The batches of a grain dataset made by worker processes, in the same order."""
    if not flags.FLAGS.is_parsed():
        # grain 0.2.18 reads a flag on the way and fails in programs without absl
        # (google/grain issue 1355).
        flags.FLAGS.mark_as_parsed()
    one_by_one = dataset.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    return one_by_one.mp_prefetch(
        grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=1)
    )


def _check(
    batch_size, num_workers, worker_kind, process_index, process_count, clips_per_video=1
) -> None:
    if batch_size < 1 or num_workers < 0:
        raise InputError(
            f"Need batch_size >= 1 and num_workers >= 0; got {batch_size} and {num_workers}."
        )
    if worker_kind not in WORKER_KINDS:
        raise InputError(f"worker_kind must be thread or process; got {worker_kind!r}.")
    if not 0 <= process_index < process_count:
        raise InputError(f"process_index={process_index} of {process_count} processes.")
    if batch_size % process_count:
        below = batch_size // process_count * process_count
        raise InputError(
            f"batch_size={batch_size} is no multiple of the {process_count} processes; use "
            f"{below or process_count} or {below + process_count}."
        )
    if clips_per_video < 1 or batch_size // process_count % clips_per_video:
        raise InputError(
            f"clips_per_video={clips_per_video} does not divide the {batch_size // process_count} "
            "clips of a step in each process; change it, or batch_size."
        )
