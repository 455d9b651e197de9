"""The neck benchmark: its shares add up, it finds the grouped convolutions, and the neck trains."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import neck
from tempo import models
from tempo.layers import conv


def times(median):
    return {"median": median, "min": median, "max": median, "median_cpu": median, "runs": 5}


def test_shares_of_the_row(tmp_path, capsys, monkeypatch):
    """With times made up: 100 for the step, 60 without the neck, 8 for whatever else is timed."""
    monkeypatch.setattr(
        neck, "measure_step", lambda model, *_: times(60.0 if model.neck is None else 100.0)
    )
    monkeypatch.setattr(neck, "alone", lambda run, runs: times(8.0))
    monkeypatch.setattr(neck, "measure_neck", lambda *_: times(32.0))
    out = tmp_path / "rows.jsonl"
    neck.main(["--model", "tpn_slowonly_r18", "--clip", "2x32", "--out", str(out)])
    row = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == row
    # Two levels' temporal modulation, and two levels in each of the two fusions.
    assert sorted((r["kernel"], r["count"]) for r in row["grouped_convolutions"]) == [
        ("1x1x1", 4),
        ("3x1x1", 2),
    ]
    assert row["neck_share_of_step"] == 0.4
    assert row["grouped_ms"] == {"forward": 48.0, "gradients": 48.0}
    assert row["grouped_share_of_neck"] == 1.5
    assert row["grouped_share_of_step"] == 0.48
    assert {"command", "commit", "date", "versions", "hardware"} <= row.keys()
    for r in row["grouped_convolutions"]:
        assert r["groups"] == 32
        assert r["auto"] in r["ms"]
        assert {"plain", "fold_sum", "matmul_sum"} <= r["ms"].keys()


def test_only_the_lowering_that_auto_takes(capsys, monkeypatch):
    monkeypatch.setattr(neck, "measure_step", lambda *_: times(1.0))
    monkeypatch.setattr(neck, "alone", lambda run, runs: times(1.0))
    neck.main(["--model", "tpn_slowonly_r18", "--clip", "2x32", "--only", "auto"])
    for r in json.loads(capsys.readouterr().out)["grouped_convolutions"]:
        assert list(r["ms"]) == [r["auto"]]
        assert r["auto"] in conv.AUTO[jax.default_backend()].values()


def test_neck_is_run_forward_and_backward_on_the_stages_of_its_backbone():
    model = models.create(
        3,
        name="tpn_slowonly_r18",
        backbone={"depths": (1, 1, 1, 1), "width": 2},
        neck={"groups": 2},
    )
    stages = neck.stage_features(model, (2, 4, 32, 32, 3))
    assert {name: x.shape for name, x in stages.items()} == {
        f"res{i}": (2, 4, 32 // 2**i, 32 // 2**i, 2 ** (i - 1)) for i in (2, 3, 4, 5)
    }
    assert len({float(jnp.std(x)) for x in stages.values()}) == 4
    measured = neck.measure_neck(model.neck, stages, 5)
    assert 0 < measured["min"] <= measured["median"] <= measured["max"]
    assert np.isfinite(measured["median_cpu"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--runs", "4"], "at least 5"),
        (["--model", "slowonly_r18", "--clip", "2x32"], "has no neck"),
    ],
)
def test_what_is_refused(command, message, capsys):
    with pytest.raises(SystemExit) as error:
        neck.main(command)
    assert message in capsys.readouterr().err + str(error.value)
