import glob
import json

import numpy as np

from tempo.metric_writer import MetricWriter


def rows(folder):
    with open(folder / "metrics.jsonl") as f:
        return [json.loads(line) for line in f]


def test_rows_and_event_files(tmp_path):
    from tensorboard.backend.event_processing import event_file_loader

    with MetricWriter(tmp_path) as writer:
        writer.write_scalars(10, {"loss": np.float32(0.5), "lr": 0.1})
        writer.write_scalars(20, {"loss": float("nan")})
    assert rows(tmp_path) == [
        {"step": 10, "loss": 0.5, "lr": 0.1},
        {"step": 20, "loss": "nan"},
    ]
    [path] = glob.glob(str(tmp_path / "tensorboard" / "*tfevents*"))
    tags = {
        value.tag
        for event in event_file_loader.RawEventFileLoader(path).Load()
        for value in _summary(event).value
    }
    assert tags == {"loss", "lr"}


def _summary(event):
    from tensorboard.compat.proto import event_pb2

    return event_pb2.Event.FromString(event).summary


def test_resume_drops_what_will_be_written_again(tmp_path):
    with MetricWriter(tmp_path) as writer:
        for step in (10, 20, 30):
            writer.write_scalars(step, {"loss": step})
    with open(tmp_path / "metrics.jsonl", "a") as f:
        f.write('{"step": 4')  # cut short by a kill
    with MetricWriter(tmp_path, start_step=20) as writer:
        writer.write_scalars(30, {"loss": -1})
    assert [(r["step"], r["loss"]) for r in rows(tmp_path)] == [(10, 10), (20, 20), (30, -1)]


def test_other_processes_write_nothing(tmp_path):
    with MetricWriter(tmp_path, enabled=False) as writer:
        writer.write_scalars(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())
