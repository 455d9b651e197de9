"""The evaluation benchmark prints what it promises."""

import json

import pytest

from experiments.benchmarks import evaluate

SMALL = (
    "--width 4 --frames 2 --size 32 --clips 2 --crop three --batch 8 --videos 7 --rounds 3 "
    "--workers 1"
)


def test_row_of_a_small_run(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    command = [*SMALL.split(), "--data", str(tmp_path / "records"), "--out", str(out)]
    evaluate.main(command)
    row = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == row
    assert (row["num_videos"], row["num_clips"], row["batch"]) == (7, 42, 8)
    for what in ("evaluator", "forward", "reader"):
        figures = row[f"{what}_clips_per_s"]
        assert 0 < figures["min"] <= figures["median"] <= figures["max"]
        assert figures["runs"] == row[f"{what}_cpu_ms_per_clip"]["runs"] == 3
    shares = (row["evaluator_clips_per_s"], row["forward_clips_per_s"])
    low = shares[0]["min"] / shares[1]["max"]
    high = shares[0]["max"] / shares[1]["min"]
    assert low - 1e-3 <= row["evaluator_share_of_forward"] <= high + 1e-3
    assert {"command", "commit", "date", "versions", "hardware"} <= row.keys()


def test_fewer_than_three_rounds_are_refused(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--rounds", "2"])
    assert "at least 3" in capsys.readouterr().err
