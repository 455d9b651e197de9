"""The benchmark of rematerialisation has a row per policy, with what the compiler plans for it."""

import functools
import json

import pytest

import tempo
from experiments.benchmarks import memory

OPTIONS = "--model slowonly_r50 --clip 4x32 --batch 2 --classes 3 --dtypes float32"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    backbone = {"depths": (2, 0, 0, 0), "width": 16}
    made = functools.partial(tempo.create_model, backbone=backbone)
    monkeypatch.setattr(tempo, "create_model", made)


def test_a_policy_computes_more(tmp_path):
    out = tmp_path / "rows.jsonl"
    memory.main([*OPTIONS.split(), "--policies", "none,blocks", "--steps", "0", "--out", str(out)])
    none, blocks = (json.loads(line) for line in out.read_text().splitlines())
    assert (none["remat"], blocks["remat"]) == ("none", "blocks")
    assert none["gflop_of_first"] == 1 < blocks["gflop_of_first"] < 2
    assert none["arguments_mib"] == blocks["arguments_mib"] > 0
    assert none["temporaries_mib_per_clip"] == pytest.approx(none["temporaries_mib"] / 2, abs=0.1)
    assert "clips_per_s" not in none  # nothing was timed


def test_no_such_policy_is_one_line(capsys):
    with pytest.raises(SystemExit) as exit_:
        memory.main([*OPTIONS.split(), "--policies", "some"])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "some" in line
