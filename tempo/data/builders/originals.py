"""The files that videos are made from: what is asked of a file many videos share is found once."""

import functools
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent import futures

from tempo.data import manifest
from tempo.data.builders import frame_folders

# Folders of frames whose lists are kept; the parts of one folder come one after the other.
_NUM_LISTS = 32
_CHUNK_BYTES = 1 << 20


class Originals:
    """Looks up files below the videos directory. Safe to share between threads."""

    def __init__(self, videos_dir: str | os.PathLike):
        self.videos_dir = os.fspath(videos_dir)
        self._lock = threading.Lock()
        self._facts: dict[str, tuple[int, int]] = {}
        self._hashes: dict[str, futures.Future[str]] = {}
        self.frames: Callable[[str], dict[int, str]] = functools.lru_cache(_NUM_LISTS)(
            frame_folders.list_frames
        )

    def path(self, source: manifest.Source) -> str:
        """Where a video's file or folder of frames is."""
        return os.path.join(self.videos_dir, source.path)

    def is_folder(self, source: manifest.Source) -> bool:
        """Whether a video is a folder of frames."""
        return os.path.isdir(self.path(source))

    def facts(self, source: manifest.Source) -> tuple[int, int]:
        """Size in bytes and time of the last change in ns; (-1, -1) if there is no such file.

        Of a folder of frames, the sum and the latest.
        """
        if source.path not in self._facts:
            self._facts[source.path] = _file_facts(self.path(source))
        return self._facts[source.path]

    def sha256(self, source: manifest.Source) -> str:
        """Hash of a whole file (hex), computed once however many videos are parts of it."""
        with self._lock:
            is_first = source.path not in self._hashes
            if is_first:
                self._hashes[source.path] = futures.Future()
            future = self._hashes[source.path]
        if is_first:
            try:
                future.set_result(_file_sha256(self.path(source)))
            except BaseException as error:
                future.set_exception(error)
        return future.result()


def _file_facts(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
        if not os.path.isdir(path):
            return stat.st_size, stat.st_mtime_ns
        with os.scandir(path) as entries:
            stats = [e.stat() for e in entries if frame_folders.is_frame(e.name)]
    except FileNotFoundError:
        return -1, -1
    return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)


def _file_sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
