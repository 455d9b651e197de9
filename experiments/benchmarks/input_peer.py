"""What the input pipeline is compared with: plain PyTorch loaders of the same clips.

`decord` opens each video and reads the clip's frames; `files` reads frames that lie on disk as JPEG
files, by cv2. Both crop, resize and flip with cv2 in a `Dataset`, and a `DataLoader` makes batches
in its worker processes. Draws are those of `tempo`, so that clips and crops are the same.

Not a part of tempo: pip install torch==2.13.0 decord==0.6.0
"""

import dataclasses
import os
import time
from collections.abc import Iterable

import cv2
import numpy as np

from tempo.data import host_ops, sampling
from tempo.data.augment import crops
from tempo.errors import InputError
from tempo.types import ClipSpec

try:
    import decord
    import torch
    from torch.utils.data import DataLoader, Dataset
except ImportError:
    decord = None
    Dataset = object

INSTALL = "pip install torch==2.13.0 decord==0.6.0"
# Threads of decord in each worker; 0 lets it choose. The better one counts.
DECORD_THREADS = (1, 0)


@dataclasses.dataclass(frozen=True)
class Video:
    """A video as the peers see it: the file, and a folder with its frames."""

    path: str
    frames_dir: str
    num_frames: int


class Clips(Dataset):
    """Item i is the clip that `tempo` draws from (seed, step, slot), with i = step * batch + slot.

    Args:
      videos: shown in turn.
      clip: which frames.
      size_px: side of the crop.
      batch: clips in a batch.
      read: (video, frame numbers) -> RGB frames uint8 [T,H,W,3].
    """

    def __init__(self, videos, clip: ClipSpec, size_px: int, batch: int, read):
        self._videos = videos
        self._clip = clip
        self._batch = batch
        self._read = read
        self._crop = crops.RandomResizedCrop(size_px)
        self._flip = host_ops.Flip()

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, i: int):
        return torch.from_numpy(self.clip(i, self._videos[i % len(self._videos)])), i % 2

    def clip(self, i: int, video: Video) -> np.ndarray:
        """Clip i, taken from this video, uint8 [T,size,size,3]."""
        rng = np.random.default_rng((0, *divmod(i, self._batch)))
        wanted = sampling.train_indices(video.num_frames, self._clip, rng)
        frames = self._read(video, wanted)
        top, left, height, width = self._crop.draw(frames.shape, rng)
        is_flipped = self._flip.draw(frames.shape, rng)
        size = (self._crop.size_px, self._crop.size_px)
        out = np.empty((len(frames), *size, 3), np.uint8)
        for frame, to in zip(frames, out, strict=True):
            part = frame[top : top + height, left : left + width]
            cv2.resize(part, size, dst=to, interpolation=cv2.INTER_LINEAR)
            if is_flipped:
                cv2.flip(to, 1, dst=to)
        return out


class ReadDecord:
    """Frames by decord with some number of threads."""

    def __init__(self, num_threads: int):
        self._num_threads = num_threads

    def __call__(self, video: Video, wanted: np.ndarray) -> np.ndarray:
        """RGB frames, uint8 [T,H,W,3]."""
        reader = decord.VideoReader(video.path, num_threads=self._num_threads)
        return reader.get_batch(wanted).asnumpy()


def read_files(video: Video, wanted: np.ndarray) -> np.ndarray:
    """RGB frames of a folder, uint8 [T,H,W,3]."""
    frames = [cv2.imread(_frame_path(video.frames_dir, i)) for i in wanted]
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in frames])


READERS = {
    **{f"decord, {n or 'auto'} threads": ReadDecord(n) for n in DECORD_THREADS},
    "files": read_files,
}


def check_installed() -> None:
    """Raises `InputError` with the command that installs what is missing."""
    if decord is None:
        raise InputError(f"The peer is not installed: {INSTALL}; or run with --no-peer.")


def write_frames(folder: str, frames: Iterable[bytes]) -> None:
    """Writes JPEG frames as the files that `read_files` reads, once."""
    if os.path.isdir(folder):
        return
    os.makedirs(folder + ".tmp", exist_ok=True)
    for i, data in enumerate(frames):
        with open(_frame_path(folder + ".tmp", i), "wb") as f:
            f.write(data)
    os.replace(folder + ".tmp", folder)


def one_round(clips: Clips, num_workers: int, batch: int, seconds: float) -> float:
    """Clips per second after the first batches."""
    cv2.setNumThreads(0)
    loader = DataLoader(
        clips,
        batch_size=batch,
        num_workers=num_workers,
        prefetch_factor=2 if num_workers else None,
        worker_init_fn=_one_thread,
    )
    batches = iter(loader)
    for _ in range(4 + 2 * num_workers):  # what had been made ahead must not count
        next(batches)
    start, num_clips, passed = time.perf_counter(), 0, 0.0
    while not num_clips or passed < seconds:
        next(batches)
        num_clips += batch
        passed = time.perf_counter() - start
    del batches, loader  # ends its workers
    return num_clips / passed


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _frame_path(folder: str, number: int) -> str:
    return os.path.join(folder, f"{number:05d}.jpg")
