"""Fills one batch: reads its records, picks and decodes their frames, crops, and puts in place.

A maker is called with the rows of a batch by the grain dataset of `tempo.data.pipeline`; what it
gives depends on its arguments alone.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import cv2
import numpy as np

from tempo.data import host_ops as host_ops_lib
from tempo.data import sampling
from tempo.data.records import Split
from tempo.errors import InputError
from tempo.types import Batch, ClipSpec, ViewSpec


class BatchMaker:
    """Fills batches, with its own threads if there are any; goes to worker processes by pickle."""

    def __init__(self, split: Split, part: slice, num_threads: int):
        self._split = split
        self._part = part
        self._num_threads = num_threads
        self._set_up()

    def _set_up(self) -> None:
        # Records run side by side; cv2's own threads over one small frame only get in the way.
        cv2.setNumThreads(0)
        self._lock = threading.Lock()
        self._pool = None

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_pool")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()

    def close(self) -> None:
        """Ends the threads; work that has not begun is dropped."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._num_threads = 0

    def _run(self, function: Callable[[int], None], count: int) -> None:
        """`function(0)` to `function(count - 1)`, on the threads."""
        with self._lock:
            if self._num_threads and self._pool is None:
                self._pool = futures.ThreadPoolExecutor(self._num_threads, "tempo-read")
            running = self._pool and [self._pool.submit(function, i) for i in range(count)]
        if running is None:
            for i in range(count):
                function(i)
            return
        for future in running:
            future.result()

    def _fill(
        self, rows: np.ndarray, shape: Sequence[int] | None, make: Callable[[int], np.ndarray]
    ) -> Batch:
        """A batch of the split's `rows`; slot i holds the uint8 array `make(i)` of this shape.

        Each is copied into its place in the batch as it comes: a list of them and `np.stack` would
        hold everything twice.
        """
        done = 0
        if shape is None:
            first = make(0)
            shape, done = first.shape, 1
        video = np.empty((len(rows), *shape), np.uint8)
        if done:
            video[0] = first

        def put(i: int) -> None:
            array = make(i + done)
            if array.shape != video.shape[1:]:
                raise InputError(
                    f"{self._split.ids[rows[i + done]]}: {array.shape} does not fit a batch of "
                    f"{video.shape[1:]}; crop all videos to one size."
                )
            video[i + done] = array

        self._run(put, len(rows) - done)
        return {
            "video": video,
            "label": self._split.labels[rows],
            "index": rows.astype(np.int32),
            "id": np.array([self._split.ids[row] for row in rows], dtype=np.str_),
        }


class TrainBatch(BatchMaker):
    """(step, rows of the whole batch) -> this process's part of the batch."""

    def __init__(self, *, split, part, num_threads, clip: ClipSpec, size_px: int, ops, seed: int):
        super().__init__(split, part, num_threads)
        self._clip = clip
        self._size_px = size_px
        self._ops = ops
        self._seed = seed

    def __call__(self, step: int, rows: np.ndarray) -> Batch:
        """The part of batch `step`, whose `rows` of the split are given for the whole batch."""
        rows = rows[self._part]

        def make(i: int) -> np.ndarray:
            rng = np.random.default_rng((self._seed, step, self._part.start + i))
            record = self._split[rows[i]]
            wanted = sampling.train_indices(record.num_frames, self._clip, rng, record.timestamps)
            return host_ops_lib.run(self._ops, record.decode(wanted), rng)

        shape = (self._clip.num_frames, self._size_px, self._size_px, 3)
        return self._fill(rows, shape, make)


class EvalBatch(BatchMaker):
    """First row of a whole batch -> this process's part of the batch, padded and masked."""

    def __init__(self, *, split, part, num_threads, clip: ClipSpec, view: ViewSpec):
        super().__init__(split, part, num_threads)
        self._clip = clip
        self._view = view

    def __call__(self, first: int) -> Batch:
        """The part of the batch that begins with row `first`."""
        positions = first + np.arange(self._part.start, self._part.stop)
        mask = positions < len(self._split)
        rows = np.minimum(positions, len(self._split) - 1)
        num_read = max(1, int(mask.sum()))
        batch = self._fill(rows[:num_read], self._shape(), lambda i: self._views(rows[i]))
        last = np.minimum(np.arange(len(rows)), num_read - 1)
        if num_read < len(rows):
            batch = {key: value[last] for key, value in batch.items()}
        return batch | {"mask": mask}

    def _shape(self) -> tuple[int, ...] | None:
        """Of one video's views; None if it depends on the video."""
        view = self._view
        if view.crop == "full":
            return None
        return (view.num_views, self._clip.num_frames, view.size_px, view.size_px, 3)

    def _views(self, row: int) -> np.ndarray:
        view, record = self._view, self._split[row]
        wanted = sampling.eval_indices(
            record.num_frames, self._clip, view.num_clips, view.clip_starts, record.timestamps
        )
        # Clips overlap: each frame is decoded and resized once.
        frames, places = np.unique(wanted, return_inverse=True)
        resized = host_ops_lib.resize_short_side(record.decode(frames), view.short_side_px)
        crops = host_ops_lib.crop_views(resized, view.crop, view.size_px)
        by_clip = crops[:, places.reshape(wanted.shape)].swapaxes(0, 1)
        return by_clip.reshape(-1, *by_clip.shape[2:])
