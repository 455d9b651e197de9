"""Time is told by a clock of the test's own: nothing here waits."""

import threading

import pytest

from tempo.data import stages


@pytest.fixture
def now(monkeypatch):
    class Now:
        s = 0.0

    monkeypatch.setattr(stages.time, "perf_counter", lambda: Now.s)
    return Now


def test_each_stage_gets_the_time_of_no_other(now):
    with stages.measure() as clock:
        with stages.stage("decode"):
            now.s += 1
            with stages.stage("read"):
                now.s += 10
            now.s += 100
        now.s += 1000  # of nobody
        with stages.stage("read"):
            now.s += 10_000
    assert clock.seconds == {"decode": 101, "read": 10_010}
    assert clock.counts == {"decode": 1, "read": 2}


def test_an_error_ends_its_stage(now):
    with stages.measure() as clock:
        with pytest.raises(KeyError), stages.stage("read"):
            now.s += 1
            raise KeyError
        with stages.stage("decode"):
            now.s += 2
    assert clock.seconds == {"read": 1, "decode": 2}


def test_other_threads_and_later_stages_do_not_count(now):
    def work():
        with stages.stage("read"):
            now.s += 1

    with stages.measure() as clock:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    work()
    assert clock.seconds == {}
