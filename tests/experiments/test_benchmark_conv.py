"""What the benchmark of convolutions concludes: three ways to choose lowerings, in milliseconds."""

import jax.numpy as jnp
import pytest

import tempo
from experiments.benchmarks import conv, zoo
from tempo.layers import lowerings

ROWS = [
    {"kind": "full dense", "count": 2, "auto": "a", "ms": {"a": (1, 10), "b": (1, 4)}},
    {
        "kind": "full dense",
        "count": 1,
        "auto": "a",
        "ms": {"a": (1, 20), "b": (1, 35), "c": (0, 1)},
    },
    {"kind": "stem dense", "count": 1, "auto": "b", "ms": {"a": (1, 7), "b": (2, 5)}},
]


def test_a_table_has_one_lowering_per_kind_that_suits_all_of_it():
    assert conv.choices(ROWS) == {
        "table_ms": 2 * 10 + 20 + 5,
        # a: 40, b: 43; c does not suit the first.
        "best_table_ms": 40 + 5,
        "per_shape_ms": 2 * 4 + 1 + 5,
        "best_table": {"full dense": "a", "stem dense": "b"},
    }


def test_what_was_not_measured_is_not_summed():
    rows = [*ROWS, {"kind": "spatial dense", "count": 1, "auto": "fold", "ms": {"a": (1, 1)}}]
    assert conv.choices(rows)["table_ms"] is None


def test_models_that_are_none_are_refused():
    with pytest.raises(tempo.InputError, match="fits no preset"):
        conv.main(["--models", "slowonly_r51"])


def test_a_wrong_lowering_differs(monkeypatch):
    spec = lowerings.ConvSpec((1, 1, 1), (1, 1, 1), (0, 0, 0), 1, 4, 6)
    right = lowerings.LOWERINGS["plain"]

    def wrong(x, kernel, spec):
        return right.compute(jnp.roll(x, 1, axis=1), kernel, spec)

    broken = lowerings.Lowering(wrong, lambda spec: True)
    monkeypatch.setattr(conv, "LOWERINGS", {})
    monkeypatch.setattr(zoo, "LOWERINGS", {"plain": right, "wrong": broken, "right": right})
    found = conv.differences(spec, (1, 2, 3, 3, 4))
    assert found["right"] == 0 < 0.1 < found["wrong"]


def test_few_windows_leave_over_what_the_true_size_does():
    spec = lowerings.ConvSpec((5, 1, 3), (8, 1, 2), (2, 0, 1), 1, 8, 16)
    assert zoo.few_windows(spec, (9, 32, 56, 56, 8)) == (2, 5 + 8 + 27 % 8, 2, 3 + 2 + 1, 8)


def test_convolutions_of_a_model_are_those_it_computes():
    found = zoo.convolutions("tsn_r18", (1, 2, 32, 32, 3))
    assert sum(found.values()) == 20  # 17 in the trunk, and three projections
    stem = lowerings.ConvSpec((1, 7, 7), (1, 2, 2), (0, 3, 3), 1, 3, 64)
    assert found[stem, (1, 2, 32, 32, 3)] == 1
