"""The multigrid benchmark: its seconds are those of the steps, its savings plain over multigrid."""

import json
import os
import types

import pytest

from experiments.benchmarks import multigrid
from tempo import experiment, recipe


def test_savings_of_made_up_runs(tmp_path, capsys, monkeypatch):
    """A clip takes 1/100 s in the plain run and 1/400 s in the other."""

    class Split(list):
        def split(self, _):
            return range(560)

    def run(config, workdir):
        made = recipe.from_config(config)
        plan = experiment.plan_of(made, 560)
        assert made.multigrid.cycle == ("none" if plan.is_plain else "both")
        os.makedirs(workdir)
        with open(os.path.join(workdir, "metrics.jsonl"), "w") as f:
            for step in (1, 5, plan.num_steps):
                rate = 0.0 if step == 1 else 100.0 if plan.is_plain else 400.0
                f.write(json.dumps({"step": step, "clips_per_s": rate}) + "\n")
        return types.SimpleNamespace(rows=[{"top1": 0.5}])

    monkeypatch.setattr(multigrid.train, "run", run)
    monkeypatch.setattr(multigrid.embedded, "open_or_make", lambda *_: Split())
    multigrid.main(["--epochs", "16", "--out", str(tmp_path / "rows.jsonl")])
    row = json.loads(capsys.readouterr().out)
    plain, other = row["plain"], row["multigrid"]
    assert (plain["steps"], plain["shapes"], plain["epochs"]) == (16 * 70, 1, 16.0)
    assert other["shapes"] == 8 and other["epochs"] == pytest.approx(16, abs=0.1)
    # All clips but those of the first step.
    assert plain["training_s"] == pytest.approx((16 * 560 - 8) / 100)
    assert other["training_s"] == pytest.approx((other["epochs"] * 560 - 128) / 400, abs=0.1)
    assert row["saving"]["training_s"] == pytest.approx(
        plain["training_s"] / other["training_s"], abs=0.01
    )
    assert row["saving"]["steps"] == round(plain["steps"] / other["steps"], 2)
