"""Where the time of making a clip goes: a clock that the parts of the pipeline report to.

    with stages.measure() as clock:
        next(batches)
    clock.seconds  # {"read": 0.001, "decode": 0.002, ...}

Only what runs in the measuring thread counts. A stage inside another one is not counted twice: each
gets the time that no stage inside it took. While nothing measures, a stage costs well under a
microsecond.
"""

import contextlib
import threading
import time
from collections.abc import Iterator

READ, PARSE, DECODE, SAMPLE, STACK = "read", "parse", "decode", "sample", "stack"
"""Stages before and after the ops, which report under their own names."""
RESIZE, CROP = "resize", "crop"
"""Of the views of an evaluation."""


class Clock:
    """Seconds and number of times of each stage, in the order of first use."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._open: list[str] = []
        self._since = 0.0

    def enter(self, name: str) -> None:
        """Begins a stage; the one around it stands still meanwhile."""
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self.seconds.setdefault(name, 0.0)
        self.counts[name] = self.counts.get(name, 0) + 1
        self._open.append(name)
        self._since = now

    def leave(self) -> None:
        """Ends the stage begun last."""
        now = time.perf_counter()
        self.seconds[self._open.pop()] += now - self._since
        self._since = now


class _Current(threading.local):
    clock: Clock | None = None


_current = _Current()


class _Stage:
    __slots__ = ("_clock", "_name")

    def __init__(self, clock: Clock, name: str):
        self._clock, self._name = clock, name

    def __enter__(self):
        self._clock.enter(self._name)

    def __exit__(self, *_):
        self._clock.leave()


_UNMEASURED = contextlib.nullcontext()


def stage(name: str):
    """A context whose time is reported under `name` if this thread is being measured."""
    clock = _current.clock
    return _UNMEASURED if clock is None else _Stage(clock, name)


@contextlib.contextmanager
def measure() -> Iterator[Clock]:
    """Measures the stages that this thread goes through."""
    before, _current.clock = _current.clock, Clock()
    try:
        yield _current.clock
    finally:
        _current.clock = before
