"""Times of functions that take turns, so that what else the machine does disturbs all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

CLOCKS = ("median", "median_cpu")


def take_turns(runs: Mapping[str, Callable[[], Any]], times: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each run, by the wall and of the processor, after one not counted.

    Args:
      runs: functions by name; each returns arrays to wait for, or None when it is done.
      times: how often each is run, in turns.
    """
    wall = {name: [] for name in runs}
    cpu = {name: [] for name in runs}
    for i in range(times + 1):
        for name, run in runs.items():
            start = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            if i:
                wall[name].append(1e3 * (time.perf_counter() - start[0]))
                cpu[name].append(1e3 * (time.process_time() - start[1]))
    return {
        name: {
            "median": round(statistics.median(wall[name]), 3),
            "min": round(min(wall[name]), 3),
            "max": round(max(wall[name]), 3),
            "median_cpu": round(statistics.median(cpu[name]), 3),
            "runs": times,
        }
        for name in runs
    }
