"""The pooling benchmark: its row, its share of a step, and what it refuses."""

import json

import jax
import pytest

from experiments.benchmarks import stcb
from experiments.benchmarks.turns import CLOCKS
from tempo import models

TINY = {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}


class Traced:
    """In place of a compiled function: traced, so that it fits its arguments, and not run."""

    def __init__(self, function, *args):
        jax.eval_shape(function, *args)

    def memory_analysis(self):
        return None

    def __call__(self, *args):
        return None


def test_row_of_a_tiny_pyramid(capsys, monkeypatch):
    """With times made up: 20 for the step, 3 for the neck and whatever else is timed."""
    pair = {"variant": "two_stream", "spatial": TINY, "temporal": TINY}
    dims = {"level1_dim": 8, "level2_dim": 8, "level3_dim": 8, "attention_width": 2}
    tiny = models.create(3, backbone=pair, neck={"name": "stpn", **dims})
    monkeypatch.setattr(stcb.tempo, "create_model", lambda name, num_classes: tiny)
    monkeypatch.setattr(stcb, "_compiled", lambda function, *args: (Traced(function, *args), 0.5))
    monkeypatch.setattr(stcb, "take_turns", lambda runs, _: {k: times_of(k) for k in runs})
    sizes = ["--locations", "6", "--width", "5", "--dims", "8", "--side", "16", "--batch", "2"]
    stcb.main([*sizes, "--methods", "matmul", "--model", "stpn_r50", "--classes", "3"])
    row = json.loads(capsys.readouterr().out)
    assert set(row["pooling"]["8"]) == {"matmul_forward", "matmul_gradients"}
    assert row["outer_product_mib"] == round(6 * 125 * 4 / 2**20, 1)
    assert row["step"]["share_of_step"] == {"median": 0.15, "median_cpu": 0.15}


def times_of(name):
    return {"median": 20.0, "median_cpu": 20.0} if name == "step" else dict.fromkeys(CLOCKS, 3.0)


def test_pooling_is_run_and_timed(capsys):
    stcb.main(["--locations", "6", "--width", "5", "--inputs", "2", "--dims", "8"])
    forward = json.loads(capsys.readouterr().out)["pooling"]["8"]["auto_forward"]
    assert forward["ms"]["median"] > 0 and forward["results_mib"] >= 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--runs", "4"], "at least 5"),
        (["--dims", "8", "0"], "--dims must be at least 1; got 0"),
        (["--inputs", "1"], "--inputs must be at least 2; got 1"),
        (["--methods", "sorted"], "none of auto, matmul, scatter, loop"),
        (["--model", "tsn_r50"], "no pyramid; take one of stpn_bninception"),
    ],
)
def test_what_is_refused(command, message, capsys):
    with pytest.raises(SystemExit):
        stcb.main(command)
    assert message in capsys.readouterr().err
