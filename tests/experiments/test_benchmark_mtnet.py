"""The MTNet benchmark replaces the parts that it names, and gives the shares of a step."""

import jax
import jax.numpy as jnp
import pytest

import tempo
from experiments.benchmarks import mtnet


def test_networks_differ_in_the_part_that_is_replaced(monkeypatch):
    create = tempo.create_model
    small = {"depths": (1, 1, 1, 1), "widths": (8, 8, 8, 8)}
    monkeypatch.setattr(
        tempo, "create_model", lambda *a, backbone, **k: create(*a, backbone=small | backbone, **k)
    )
    video = jax.ShapeDtypeStruct((1, 8, 64, 64, 3), jnp.float32)

    def traced(net):
        text = str(jax.make_jaxpr(lambda x: net.init(jax.random.key(0), x, train=False))(video))
        return "top_k" in text, " exp " in text, "tanh" in text

    with mtnet.stand_ins():
        found = {part: traced(net) for part, net in mtnet.networks("mtnet_s", 5).items()}
    assert found == {
        "whole": (True, True, True),
        "selection": (False, True, True),
        "pool": (True, False, True),
        "selection_and_pool": (False, False, True),
        "gate": (True, True, False),
    }


def test_share_is_what_the_step_saves_without_the_part():
    steps = {
        "whole": {"median": 100.0, "median_cpu": 200.0},
        "gate": {"median": 96.0, "median_cpu": 190.0},
    }
    assert mtnet.shares(steps) == {"gate": {"median": 0.04, "median_cpu": 0.05}}


def test_another_network_is_one_line(capsys):
    with pytest.raises(SystemExit) as exit_:
        mtnet.main(["--model", "x3d_m"])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --model x3d_m is no MTNet; take one of mtnet_l")
