"""What `end_to_end` tells, from turns that are given, and one small run of the real thing."""

import json
from unittest import mock

import pytest

from experiments.benchmarks import end_to_end, work
from experiments.benchmarks.end_to_end import Turn


def turns(bare_s, loop_s, input_s, input_bound):
    return {
        "bare": [Turn(bare_s * x, 1.0) for x in (1.0, 1.2, 0.8)],
        "end_to_end": [Turn(loop_s * x, 1.5, input_bound) for x in (1.0, 1.2, 0.8)],
        "input": [Turn(input_s, 0.5)] * 3,
    }


def test_the_ratio_counts_where_the_input_is_faster_than_the_step():
    row = end_to_end.assemble(turns(10.0, 10.2, 5.0, 0.01), batch=8, num_steps=10)
    assert row["clips_per_s"]["bare"] == {"median": 8.0, "min": 6.67, "max": 10.0}
    assert row["clips_per_s"]["input"]["median"] == 16.0
    assert row["ratio"]["median"] == pytest.approx(0.98, abs=1e-3)
    assert row["is_input_able"] and row["is_reached"] and row["input_bound"] == 0.01
    assert row["cpu_ms"] == {"bare": 100.0, "end_to_end": 150.0, "input": 50.0}
    slow = end_to_end.assemble(turns(10.0, 12.0, 5.0, 0.2), batch=8, num_steps=10)
    assert slow["is_input_able"] and slow["is_reached"] is False
    starved = end_to_end.assemble(turns(10.0, 12.0, 9.5, 0.9), batch=8, num_steps=10)
    assert not starved["is_input_able"] and starved["is_reached"] is None


def test_a_small_run(tmp_path, capsys, monkeypatch):
    # The network of a preset takes a minute to compile: here one of four blocks has its name.
    tiny = {"backbone": {"variant": "slowonly_r18", "depths": (1, 1, 1, 1), "width": 4}}
    config = end_to_end.config
    monkeypatch.setattr(
        end_to_end, "config", lambda *args: config(*args) | {"model": tiny | {"head": {}}}
    )
    monkeypatch.setattr(work, "gmacs", lambda *_, **__: 0.5)
    monkeypatch.setattr(work.peaks, "matmul_flops_per_s", lambda dtype: 1e9)
    monkeypatch.setattr(work.peaks, "copy_bytes_per_s", lambda: 1e9)
    command = "--clip 4x32 --stride 2 --batch 4 --video 64x48 --steps 2 --rounds 1 --workers 1"
    assert end_to_end.main([*command.split(), "--data", str(tmp_path / "data")]) == 0
    row = json.loads(capsys.readouterr().out)
    # Bytes of the frames, not of the floats that the network takes; labels and rows are int32.
    assert row["transferred_bytes_per_step"] == 4 * 4 * 32 * 32 * 3 + 4 * 4 + 4 * 4
    assert row["clips_per_s"].keys() == {"bare", "end_to_end", "input"} == row["cpu_ms"].keys()
    assert 0 <= row["input_bound"] <= 1 and row["gflop"] == 3.0
    assert {"command", "commit", "date", "versions", "hardware"} <= row.keys()


def test_what_is_wrong_is_told_in_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(end_to_end, "media", mock.Mock())
    assert end_to_end.main(["--data", str(tmp_path / "data")]) == 2
    assert "holds no prepared dataset" in capsys.readouterr().err
