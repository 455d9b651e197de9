"""Time is told by a clock of the test's own: nothing here waits."""

import pytest

from tempo import progress


class Value:
    """Stands for a device array that gets ready at a time."""

    def __init__(self, clock, ready_at):
        self._clock, self._ready_at = clock, ready_at

    def is_ready(self):
        return self._clock.now >= self._ready_at

    def block_until_ready(self):
        self._clock.now = max(self._clock.now, self._ready_at)
        return self


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "perf_counter", clock.perf_counter)
    return clock


def run(clock, *, read_s, step_s, steps=10, first_s=30.0):
    """Rates of a loop whose batches take `read_s` to come and whose steps take `step_s`."""
    device_free = 0.0
    with progress.Progress(0, steps, visible=False) as bar:
        for step in range(steps):
            device_free = max(device_free, clock.now) + (first_s if step == 0 else step_s)
            bar.started(Value(clock, device_free), 8)
            with bar.waiting_for_input():
                clock.now += read_s
            bar.wait()
        return bar.rates()


def test_slow_input_is_told_from_slow_steps(clock):
    starved = run(clock, read_s=1.0, step_s=0.25)
    assert starved["input_bound"] == pytest.approx(1.0, abs=0.1)
    assert starved["clips_per_s"] == pytest.approx(8.0, rel=0.1)
    clock.now = 0.0
    assert run(clock, read_s=0.1, step_s=1.0)["input_bound"] < 0.05


def test_rates_leave_out_the_compilation_and_evaluations(clock):
    with progress.Progress(0, 10, visible=False) as bar:
        bar.started(Value(clock, 100.0), 8)
        bar.wait()
        clock.now += 2.0
        bar.started(Value(clock, 0.0), 8)
        bar.wait()
        with bar.paused():
            clock.now += 50.0
        assert bar.rates()["clips_per_s"] == pytest.approx(8 / 2.0)
