"""Single frames of every video of a split at a fixed rate, in batches of one shape.

A batch may end in the middle of a video and the next go on there, so a long video takes no more
memory than a short one.
"""

import numpy as np

from tempo.data import host_ops, pipeline, sampling
from tempo.data.batches import BatchMaker
from tempo.data.records import Split
from tempo.types import Batch, ViewSpec


def sampled(split: Split, frames_per_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Frames of all N videos at a rate: offsets int64 [N+1] and frame numbers int64 [M].

    The frames of video i, nearest to the ticks of a clock (`sampling.resample`), are
    `numbers[offsets[i] : offsets[i + 1]]`, at least one.

    Args:
      split: whose timestamps are read, of every video.
      frames_per_s: rate of the clock, so that videos of any frame rate agree.
    """
    numbers = [sampling.resample(split[i].timestamps, frames_per_s) for i in range(len(split))]
    offsets = np.concatenate([[0], np.cumsum([len(n) for n in numbers])]).astype(np.int64)
    return offsets, np.concatenate(numbers)


def frame_batches(
    split: Split,
    offsets: np.ndarray,
    numbers: np.ndarray,
    *,
    short_side_px: int,
    size_px: int,
    batch_size: int,
    num_workers: int = 0,
    worker_kind: str = "thread",
    process_index: int = 0,
    process_count: int = 1,
) -> pipeline.Batches:
    """Every sampled frame exactly once, in order, cut at the centre.

    Yields `video` uint8 [b,1,size_px,size_px,C], `place` int64 [b] (of the frame in `numbers`),
    `mask` bool [b], and `index`, `label` and `id` of its video, b = batch_size / process_count.
    Where the frames do not fill the last batch its last frame is repeated with `mask` False.

    Args:
      split: of `sampled`.
      offsets: of `sampled`.
      numbers: of `sampled`.
      short_side_px: frames are first resized to this short side.
      size_px: side of the square.
      batch_size: frames of a batch over all processes.
      num_workers: as of `pipeline.eval_batches`.
      worker_kind: as of `pipeline.eval_batches`.
      process_index: as of `pipeline.eval_batches`.
      process_count: as of `pipeline.eval_batches`.

    Raises:
      InputError: sizes that do not fit. A `RecordError` while iterating names the record.
    """
    view = ViewSpec(short_side_px=short_side_px, size_px=size_px)
    threads = num_workers if worker_kind == "thread" else 0

    def make_maker(part: slice) -> FrameBatch:
        return FrameBatch(split, part, threads, offsets=offsets, numbers=numbers, view=view)

    return pipeline.batches_of(
        len(numbers),
        make_maker,
        batch_size=batch_size,
        num_workers=num_workers,
        worker_kind=worker_kind,
        process_index=process_index,
        process_count=process_count,
    )


class FrameBatch(BatchMaker):
    """First place of a whole batch -> this process's part of it, padded and masked."""

    def __init__(
        self,
        split: Split,
        part: slice,
        num_threads: int,
        *,
        offsets: np.ndarray,
        numbers: np.ndarray,
        view: ViewSpec,
    ):
        super().__init__(split, num_threads)
        self._part = part
        self._offsets = offsets
        self._numbers = numbers
        self._view = view

    def __call__(self, first: int) -> Batch:
        """The part of the batch that begins with place `first`."""
        places = first + np.arange(self._part.start, self._part.stop)
        mask = places < len(self._numbers)
        places = np.minimum(places, len(self._numbers) - 1)
        rows = np.searchsorted(self._offsets, places, side="right") - 1
        # Neighbouring frames of one video are read together, but not more than a thread's share.
        most = -(-len(places) // max(self._num_threads, 1))
        starts = [0]
        for i in range(1, len(places)):
            if rows[i] != rows[starts[-1]] or i - starts[-1] == most:
                starts.append(i)
        ends = [*starts[1:], len(places)]

        def put(i: int, batch: Batch) -> None:
            own = slice(starts[i], ends[i])
            wanted = self._numbers[places[own]]
            frames = self._split[rows[starts[i]]].decode(wanted)
            at = {"video": np.arange(len(wanted))[:, None, None]}
            views = host_ops.view_streams({"video": frames}, at, self._view)["video"]
            views.copy_to(batch["video"][own])

        side = self._view.size_px
        batch = self._fill(rows, {"video": (1, side, side, 3)}, put, len(starts))
        return batch | {"place": places, "mask": mask}
