"""The training-step benchmark prints what it promises, and its step trains."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import train_step
from tempo import models


def test_row_of_a_small_run(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    command = "--model tsn_r18 --clip 2x32 --batch 2 --classes 5 --lowering plain"
    train_step.main([*command.split(), "--out", str(out)])
    row = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == row
    assert (row["model"], row["lowering"], row["dtype"]) == ("tsn_r18", "plain", "float32")
    for times in (row["step_ms"], row["forward_ms"]):
        assert times["runs"] == 5
        assert 0 < times["min"] <= times["median"] <= times["max"]
    assert row["clips_per_s"] == pytest.approx(2e3 / row["step_ms"]["median"], rel=0.01)
    # 0.0374 multiply-adds (in G) per 32 x 32 frame, in 4 frames.
    assert row["gflop_per_step"] == pytest.approx(6 * 4 * 0.0374, rel=0.05)
    assert row["memory_mib"]["process_peak"] > 50
    assert {"command", "commit", "date", "versions", "hardware"} <= row.keys()
    assert len(row["losses"]) == 6


def test_fewer_than_five_steps_are_refused(capsys):
    with pytest.raises(SystemExit):
        train_step.main(["--steps", "4"])
    assert "at least 5" in capsys.readouterr().err


def test_step_lowers_the_loss_and_moves_the_statistics():
    tiny = {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 4}
    model = models.create(2, backbone=tiny, head={"dropout_prob": 0.0})
    rng = np.random.default_rng(0)
    video = jnp.asarray(rng.normal(size=(4, 2, 32, 32, 3)), jnp.float32)
    label = jnp.array([0, 1, 1, 0])
    variables = train_step.cheap_init(model, video)
    zeros = jax.tree.map(jnp.zeros_like, variables["params"])
    state = (variables["params"], variables["batch_stats"], zeros, jax.random.key(0))
    step = jax.jit(train_step.make_step(model))
    losses = []
    for _ in range(8):
        state, loss = step(state, video, label)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    before, after = variables["batch_stats"]["backbone"], state[1]["backbone"]
    assert np.abs(after["stem_norm"]["mean"] - before["stem_norm"]["mean"]).max() > 0
