"""What the host does between two steps, in which order: nothing is timed, everything is counted."""

import types

import jax
import numpy as np
import pytest

from tempo import loop, progress, sharding, train, trainable, watchdog
from tempo.errors import RecordError


class Value:
    """A scalar on a device that notes who waits for it and who reads it."""

    def __init__(self, events, step):
        self._events, self._step = events, step

    def is_ready(self):
        return False

    def block_until_ready(self):
        self._events.append(f"wait {self._step}")
        return self

    def __array__(self, dtype=None, copy=None):
        self._events.append(f"read {self._step}")
        return np.array(1.0, dtype)


class Batches:
    """Counts from the first step on; the one of `broken` cannot be read."""

    def __init__(self, events, broken=None):
        self._events, self._broken, self._step = events, broken, 0

    def __next__(self):
        self._step += 1
        self._events.append(f"fetch {self._step}")
        if self._step == self._broken:
            raise RecordError(f"clip {self._step}")
        return {"video": np.full((4, 1), self._step, np.uint8), "id": np.array(["a"] * 4)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._events.append("closed")


@pytest.fixture
def events(monkeypatch):
    found = []
    to_global = sharding.to_global

    def send(batch, into):
        found.append(f"send {batch['video'][0, 0]}")
        return to_global(batch, into)

    monkeypatch.setattr(sharding, "to_global", send)
    return found


State = types.SimpleNamespace


def step_fn(events):
    def step(state, batch):
        # What is fed is the bytes of the records, on every device its own rows.
        assert batch.keys() == {"video"} and batch["video"].dtype == np.uint8
        assert len(batch["video"].sharding.device_set) == jax.device_count()
        now = state.step + 1
        events.append(f"step {now}")
        return State(step=now), {name: Value(events, now) for name in watchdog.WATCHED}

    return step


def run(events, batches, stop):
    mesh = sharding.make_mesh()
    with progress.Progress(0, stop, visible=False) as bar:
        yield from loop.steps(
            step_fn(events),
            State(step=0),
            loop.Feed(batches, sharding.batch_sharding(mesh)),
            start=0,
            stop=stop,
            num_clips=lambda step: 4,
            progress=bar,
            watch=watchdog.LossWatch(),
        )


def test_the_next_batch_is_sent_before_anything_is_waited_for(events):
    assert [step for step, _, _ in run(events, Batches(events), 5)] == [1, 2, 3, 4, 5]
    told = "fetch 1, send 1, step 1, fetch 2, send 2, wait 1, step 2, fetch 3, send 3, step 3"
    told += ", fetch 4, send 4, wait 1, step 4, fetch 5, send 5, wait 2, step 5, wait 3"
    assert ", ".join(events) == told


def test_a_batch_that_cannot_be_read_leaves_the_step_before_it_whole(events):
    seen = []
    with pytest.raises(RecordError, match="clip 3"):
        seen.extend(step for step, _, _ in run(events, Batches(events, broken=3), 5))
    assert seen == [1, 2] and events[-1] == "fetch 3"


def test_the_host_reads_from_the_device_when_it_logs_and_saves_and_else_never(
    events, monkeypatch, tmp_path
):
    class Checkpoints:
        best_metric = ""

        def save(self, step, state, info, scores):
            events.append(f"save {step}")

    monkeypatch.setattr(trainable, "batches", lambda *_: Batches(events))
    settings = types.SimpleNamespace(log_every_steps=3, checkpoint_every_steps=5, stop_at=0.0)
    exp = types.SimpleNamespace(
        recipe=types.SimpleNamespace(loop=settings),
        mesh=sharding.make_mesh(),
        extra_frames=0,
        checkpoint_info=dict,
    )
    plan = types.SimpleNamespace(
        num_steps=7,
        programs=lambda start: [None],
        at=lambda step: types.SimpleNamespace(batch_size=4),
        epochs=lambda step: step / 7,
    )

    class Writer:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write_scalars(self, step, scalars):
            events.append(f"log {step}")

    monkeypatch.setattr(train, "MetricWriter", Writer)
    monkeypatch.setattr(progress.Progress, "show", lambda *_: None)
    train._loop(exp, plan, step_fn(events), State(step=0), [], Checkpoints(), str(tmp_path))

    reads = {}  # what was read, by what it was read for
    pending = []
    for event in events:
        kind, _, number = event.partition(" ")
        if kind == "read":
            pending.append(int(number))
        elif kind in ("log", "save"):
            reads[event] = pending
            pending = []
    three = len(watchdog.WATCHED)
    assert not pending and reads == {
        "log 3": [1] * three + [2] * three + [3] * three + [3] * three,
        "save 5": [4] * three + [5] * three,
        "log 6": [6] * three + [6] * three,
        "log 7": [7] * three + [7] * three,
        "save 7": [],
    }
    waits = [e for e in events if e.startswith("wait")]
    assert waits == [f"wait {i}" for i in (1, 1, 2, 3, 4, 5)] and events[-1] == "closed"
