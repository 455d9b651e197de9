"""The training-step benchmark prints what it promises, and its step trains."""

import functools
import json
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from experiments.benchmarks import running, train_step
from tempo import models, peaks


def test_row_of_a_small_run(tmp_path, capsys, monkeypatch):
    # One block per stage, for what takes long is to compile.
    shallow = functools.partial(tempo.create_model, backbone={"depths": (1, 1, 1, 1)})
    monkeypatch.setattr(tempo, "create_model", shallow)
    monkeypatch.setattr(peaks, "matmul_flops_per_s", lambda dtype: 5e9)
    monkeypatch.setattr(peaks, "copy_bytes_per_s", lambda: 2e9)
    out = tmp_path / "rows.jsonl"
    command = "--model tsn_r18 --clip 2x32 --batch 2 --classes 5 --lowering plain"
    train_step.main([*command.split(), "--out", str(out)])
    row = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == row
    assert (row["model"], row["lowering"], row["dtype"]) == ("tsn_r18", "plain", "float32")
    assert row["ms"]["runs"] == 5
    assert 0 < row["ms"]["min"] <= row["ms"]["median"] <= row["ms"]["max"]
    assert row["clips_per_s"]["median"] == pytest.approx(2e3 / row["ms"]["median"], abs=0.01)
    # Multiply-adds of a 32 x 32 frame: the stem's, those of stage 1 and of each later one.
    macs = 7 * 7 * 3 * 64 * 16**2 + 2 * 9 * 64**2 * 8**2 + 3 * (9 * 2 + 9 * 4 + 2) * 64**2 * 4**2
    assert row["gflop"] == pytest.approx(6 * 4 * macs / 1e9, rel=0.01)
    rate = row["gflop"] / row["ms"]["median"] * 1e3
    assert row["gflop_per_s"] == pytest.approx(rate, abs=0.06)
    assert row["share_of_matmul"] == pytest.approx(rate / 5, abs=1e-3)
    assert row["peaks"] == {"matmul_gflop_per_s": 5.0, "copy_gbyte_per_s": 2.0}
    assert row["share_of_copy"] == pytest.approx(row["gbyte_per_s"] / 2, abs=6e-3)
    # Of its arguments alone: parameters and velocities in float32, read and written.
    assert row["gbyte"] > 4 * 4 * row["params"] / 1e9
    assert row["memory_mib"]["process_peak"] > 50
    assert {"command", "commit", "date", "versions", "hardware"} <= row.keys()
    assert len(row["losses"]) == 7


def test_fewer_than_five_steps_are_refused(capsys):
    with pytest.raises(SystemExit):
        train_step.main(["--steps", "4"])
    assert "at least 5" in capsys.readouterr().err


def test_a_line_for_each_preset_in_a_process_of_its_own(tmp_path, capsys, monkeypatch):
    commands = []

    def run(command, **kwargs):
        commands.append(command)
        if "--model=tsm_r50" in command:
            return subprocess.CompletedProcess(command, 2, "", "Traceback\nInputError: too short\n")
        row = {
            "model": command[3].removeprefix("--model="),
            "params": 1234567,
            "ms": {"median": 12.34},
            "gflop_per_s": 8.9,
            "memory_mib": {"process_peak": 321.0},
        }
        return subprocess.CompletedProcess(command, 0, json.dumps(row), "")

    monkeypatch.setattr(train_step.subprocess, "run", run)
    out = tmp_path / "rows.jsonl"
    with pytest.raises(SystemExit) as exit_:
        train_step.main(["--models", "tsm_r*,tsn_r18", "--remat", "--batch=2", f"--out={out}"])
    assert exit_.value.code == 1
    table = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in table] == ["tsm_r101", "tsm_r18", "tsm_r50", "tsn_r18"]
    assert table[0][1:] == ["1,234,567", "12.3", "8.9", "321"]
    assert table[2][1:] == ["failed:", "InputError:", "too", "short"]
    rows = [json.loads(line)["model"] for line in out.read_text().splitlines()]
    assert rows == ["tsm_r101", "tsm_r18", "tsn_r18"]
    assert {"--batch=2", "--remat=blocks", "--clip=8x112"} <= set(commands[0])


def test_a_pattern_that_matches_no_preset_is_refused():
    with pytest.raises(SystemExit, match="No preset matches 'tsm_x'"):
        train_step.main(["--models", "tsm_x"])


def test_step_lowers_the_loss_and_moves_the_statistics():
    tiny = {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 4}
    model = models.create(2, backbone=tiny, head={"dropout_prob": 0.0})
    rng = np.random.default_rng(0)
    video = jnp.asarray(rng.normal(size=(4, 2, 32, 32, 3)), jnp.float32)
    label = jnp.array([0, 1, 1, 0])
    variables = running.cheap_init(model, video)
    zeros = jax.tree.map(jnp.zeros_like, variables["params"])
    state = (variables["params"], variables["batch_stats"], zeros, jax.random.key(0))
    step = jax.jit(running.make_step(model))
    losses = []
    for _ in range(8):
        state, loss = step(state, video, label)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    before, after = variables["batch_stats"]["backbone"], state[1]["backbone"]
    assert np.abs(after["stem_norm"]["mean"] - before["stem_norm"]["mean"]).max() > 0
