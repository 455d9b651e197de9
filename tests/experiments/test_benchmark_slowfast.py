"""The SlowFast benchmark: what it runs in turns, and the shares it makes of the times."""

import json

import jax.numpy as jnp
import pytest

import tempo
from experiments.benchmarks import running, slowfast

SETTINGS = {"backbone": {"width": 8, "depths": (1, 1, 1, 1)}, "num_classes": 3}


def test_the_slow_path_alone_is_the_network_without_the_fast_one():
    model = slowfast.slow_alone(tempo.create_model("slowfast_r50_4x16", **SETTINGS))
    alone = tempo.create_model("slowonly_r50", **SETTINGS)
    a, b = (slowfast.size.count_traced(m.clone(), (4, 32, 32, 3)) for m in (model, alone))
    assert a == b


def test_residual_and_normalized_frames_are_made_of_the_same_clip():
    ops = slowfast.input_ops((1, 3, 8, 8, 3), 2)
    residual, normalized = (ops[name]()["video"] for name in ("residual", "normalize"))
    assert residual.shape == normalized.shape == (1, 3, 8, 8, 3)
    # Of neighbours; both are in units of the same deviation per channel.
    expected = normalized[:, 1:] - normalized[:, :-1]
    assert jnp.abs(residual[:, :-1] - expected).max() < 1e-3


def test_runs_take_turns():
    order = []
    runs = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    times = slowfast.take_turns(runs, 2)
    assert order == ["a", "b"] * 3
    assert times["a"]["runs"] == 2
    assert 0 <= times["b"]["min"] <= times["b"]["median"] <= times["b"]["max"]


def test_shares_of_the_row(capsys, monkeypatch):
    made_up = {"both": 120.0, "slow": 100.0, "residual": 0.6, "normalize": 0.5}
    monkeypatch.setattr(running.Running, "__init__", lambda self, *_: None)
    monkeypatch.setattr(running.Running, "compile", lambda self: 1.0)
    monkeypatch.setattr(
        slowfast,
        "take_turns",
        lambda runs, _: {name: dict.fromkeys(slowfast.CLOCKS, made_up[name]) for name in runs},
    )
    slowfast.main(["--clip", "8x32", "--batch", "1"])
    row = json.loads(capsys.readouterr().out)
    assert row["added_by_fast_and_lateral"]["median"] == 0.2
    assert row["residual_share_of_step"]["median"] == 0.005
    assert row["residual_added_to_step"]["median_cpu"] == pytest.approx(0.1 / 120, abs=1e-5)
    assert row["gmacs"]["both"] > row["gmacs"]["slow"] > 0
    assert {"command", "commit", "date", "versions", "hardware"} <= row.keys()


@pytest.mark.parametrize(
    ("command", "message"),
    [(["--runs", "4"], "at least 5"), (["--model", "slowonly_r50"], "is no SlowFast")],
)
def test_what_is_refused(command, message, capsys):
    with pytest.raises(SystemExit) as error:
        slowfast.main(command)
    assert message in capsys.readouterr().err + str(error.value)
