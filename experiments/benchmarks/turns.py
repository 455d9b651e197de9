"""Times of functions that take turns, so that what else the machine does disturbs all alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

CLOCKS = ("median", "median_cpu")


class Times(NamedTuple):
    """Milliseconds of every run of one function, by the wall and of the processor."""

    wall: Sequence[float]
    cpu: Sequence[float]

    def summary(self) -> dict[str, float]:
        """Median, least and most by the wall, median of the processor, and how many."""
        return {
            "median": round(statistics.median(self.wall), 3),
            "min": round(min(self.wall), 3),
            "max": round(max(self.wall), 3),
            "median_cpu": round(statistics.median(self.cpu), 3),
            "runs": len(self.wall),
        }


def record(runs: Mapping[str, Callable[[], Any]], times: int) -> dict[str, Times]:
    """Times of each function, by its name, after a turn that is not counted.

    Args:
      runs: functions by name; each returns arrays to wait for, or None when it is done.
      times: how often each is run, in turns.
    """
    recorded = {name: Times([], []) for name in runs}
    for i in range(times + 1):
        for name, run in runs.items():
            start = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            if i:
                recorded[name].wall.append(1e3 * (time.perf_counter() - start[0]))
                recorded[name].cpu.append(1e3 * (time.process_time() - start[1]))
    return recorded


def take_turns(runs: Mapping[str, Callable[[], Any]], times: int) -> dict[str, dict[str, float]]:
    """Summaries of the times of each run, in turns; see `record` and `Times.summary`."""
    return {name: recorded.summary() for name, recorded in record(runs, times).items()}


def ratio(theirs: Times, ours: Times) -> dict[str, float]:
    """How many times as long theirs took as ours: over 1, ours is faster.

    `median` and `median_cpu` are of the medians by either clock; `min` and `max` are the least and
    the largest of the turns, each of two neighbours in time.
    """
    turns = [a / b for a, b in zip(theirs.wall, ours.wall, strict=True)]
    return {
        "median": round(statistics.median(theirs.wall) / statistics.median(ours.wall), 3),
        "min": round(min(turns), 3),
        "max": round(max(turns), 3),
        "median_cpu": round(statistics.median(theirs.cpu) / statistics.median(ours.cpu), 3),
    }
