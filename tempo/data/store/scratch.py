"""Memory of one clip, used again for the next: decoded and cropped frames before they are batched.

A clip needs some MB for a few ms. Asked from the system each time, every page of it is faulted in
anew, which can cost more than decoding the frames, most of all in threads. Here a thread keeps one
block, and what was taken from it is given back all at once:

    with memory.clip():
        frames = scratch.empty((8, 240, 320, 3))  # valid until the end of the `with`

Outside of such a `with`, `empty` is `np.empty`.

A block grows to what the largest clip of its thread has needed, to 128 MiB at most, and keeps that
until the thread or its `Memory` ends: reckon with 128 MiB a thread at worst. 64 frames of 340x256
take 17 MB decoded and some 40 MB with a crop and a flip; all 300 frames of a video of 10 s, which
ten clips of it read, take 78 MB.
"""

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence

import numpy as np

_ALIGNMENT = 64
# Per thread, see above; what does not fit is allocated as usual.
_MAX_BYTES = 128 << 20


class Memory(threading.local):
    """A block of memory for each thread that uses it, as large as its clips needed so far.

    It grows to 128 MiB at most, and never shrinks.
    """

    def __init__(self):
        self._block = np.empty(0, np.uint8)
        self._used = 0
        self._missing = 0

    @contextlib.contextmanager
    def clip(self) -> Iterator[None]:
        """Arrays made by `empty` inside, by this thread, are valid until the end."""
        if self._missing:
            size = min(len(self._block) + self._missing, _MAX_BYTES)
            if size > len(self._block):
                self._block = np.empty(size, np.uint8)
        self._used = self._missing = 0
        before, _current.memory = _current.memory, self
        try:
            yield
        finally:
            _current.memory = before

    def empty(self, shape: Sequence[int]) -> np.ndarray:
        """Uninitialised uint8 memory of the block, or new memory if there is no more of it."""
        size = math.prod(shape)
        start = -(-self._used // _ALIGNMENT) * _ALIGNMENT
        if start + size > len(self._block):
            self._missing += size + _ALIGNMENT
            return np.empty(shape, np.uint8)
        self._used = start + size
        return self._block[start : self._used].reshape(shape)


class _Current(threading.local):
    memory: Memory | None = None


_current = _Current()


def empty(shape: Sequence[int]) -> np.ndarray:
    """An uninitialised uint8 array of this shape; see above for how long it is valid."""
    memory = _current.memory
    return np.empty(shape, np.uint8) if memory is None else memory.empty(shape)
