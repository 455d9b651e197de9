"""Recurrent gates: sizes, causality, the cells that are our own against numpy, consistency."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import trees
from tempo.layers import recurrent


def x_of(*shape):
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def made(module, x, seed=0):
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.normal(0, 0.4, s.shape).astype(np.float32), shapes)


@pytest.mark.parametrize(
    ("cell", "kernels", "vectors"),
    [
        # Vectors per layer in PyTorch: 6 of a GRU, 8 of an LSTM, 2 of an RNN.
        ("gru", 6, 4),
        ("gru_reset_before", 6, 3),
        ("rnn", 2, 1),
        ("lstm", 8, 4),
        ("lstm_peephole", 8, 7),
    ],
)
def test_parameters_of_a_layer(cell, kernels, vectors):
    channels = 24
    module = recurrent.SqueezeRecursion(cell, num_layers=2)
    tree = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 2, 3, 3, channels)))
    assert set(tree["params"]) == {"layer1", "layer2"}
    assert trees.count_params(tree) == 2 * (kernels * channels**2 + vectors * channels)


@pytest.mark.parametrize(("cell", "unroll"), [("gru", 16), ("lstm", 2)])
def test_gates_see_no_later_frame(cell, unroll):
    x = x_of(2, 5, 2, 2, 4)
    later = x.copy()
    later[:, 3] += 1
    module = recurrent.SqueezeRecursion(cell, unroll=unroll)
    variables = made(module, x)
    gates, other = jax.jit(lambda x: module.apply(variables, x, method="gates"))(
        np.stack([x, later]).reshape(4, *x.shape[1:])
    ).reshape(2, 2, 5, 4)
    np.testing.assert_array_equal(gates[:, :3], other[:, :3])
    assert (gates[:, 3:] != other[:, 3:]).all()


def test_features_are_multiplied_by_gates_of_float32():
    x = x_of(1, 2, 2, 2, 4)
    module = recurrent.SqueezeRecursion("rnn")
    variables = made(module, x)
    gates = module.apply(variables, x, method="gates")
    y = module.apply(variables, x)
    np.testing.assert_allclose(y, x * gates[:, :, None, None], rtol=1e-6)
    half = x.astype(jnp.bfloat16)
    assert jax.eval_shape(module.apply, variables, half).dtype == jnp.bfloat16
    assert module.apply(variables, half, method="gates").dtype == jnp.float32


def test_clips_of_few_frames_need_no_loop():
    module = recurrent.SqueezeRecursion()
    for frames, has_loop in ((4, False), (40, True)):
        x = jnp.zeros((1, frames, 1, 1, 2))
        variables = jax.eval_shape(module.init, jax.random.key(0), x)
        text = jax.jit(module.apply).lower(variables, x).as_text()
        assert ("stablehlo.while" in text) is has_loop


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reset_before_numpy(p, x):
    h, out = np.zeros_like(x[:, 0]), []

    def of(name, v):
        return v @ p[name]["kernel"] + p[name].get("bias", 0)

    for t in range(x.shape[1]):
        z = sigmoid(of("iz", x[:, t]) + of("hz", h))
        r = sigmoid(of("ir", x[:, t]) + of("hr", h))
        h = z * h + (1 - z) * np.tanh(of("in", x[:, t]) + of("hn", r * h))
        out.append(h)
    return np.stack(out, 1)


def peephole_numpy(p, x):
    h, c, out = np.zeros_like(x[:, 0]), np.zeros_like(x[:, 0]), []

    def of(gate, v, memory):
        y = v @ p[f"i{gate}"]["kernel"] + h @ p[f"h{gate}"]["kernel"] + p[f"h{gate}"]["bias"]
        return y if memory is None else y + p[f"p{gate}"] * memory

    for t in range(x.shape[1]):
        i, f = sigmoid(of("i", x[:, t], c)), sigmoid(of("f", x[:, t], c))
        c = f * c + i * np.tanh(of("g", x[:, t], None))
        h = sigmoid(of("o", x[:, t], c)) * np.tanh(c)
        out.append(h)
    return np.stack(out, 1)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("gru_reset_before", reset_before_numpy), ("lstm_peephole", peephole_numpy)],
)
def test_cells_of_our_own(cell, expected):
    x = x_of(2, 4, 3)
    module = recurrent.SqueezeRecursion(cell)
    variables = made(module, x)
    gates = jax.jit(lambda v, x: module.apply(v, x, method="gates"))(variables, x)
    layer = jax.tree.map(lambda leaf: leaf.astype(np.float64), variables["params"]["layer1"])
    np.testing.assert_allclose(gates, expected(layer, x.astype(np.float64)), atol=1e-6)


def consistent_numpy(a, b):
    for one, other in ((a, b), (b, a)):
        for i, frame in enumerate(one):
            weights = np.exp(-((frame - other) ** 2).sum(-1))
            reached = (weights[:, None] * other).sum(0) / weights.sum()
            if ((reached - one) ** 2).sum(-1).argmin() != i:
                return False
    return True


def test_sequences_are_consistent_if_every_frame_comes_back():
    rng = np.random.default_rng(1)
    a = 4 * rng.normal(size=(12, 4, 3)).astype(np.float32)
    b = (a + rng.uniform(0, 3, (12, 1, 1)) * rng.normal(size=a.shape)).astype(np.float32)
    found = np.asarray(recurrent.is_consistent(a, b))
    assert list(found) == [consistent_numpy(*clip) for clip in zip(a, b, strict=True)]
    assert 0 < found.sum() < 12
    assert recurrent.is_consistent(a[:, :1], b[:, :1]).all()


def test_a_temporal_gate_multiplies_consistent_clips_alone():
    x = x_of(32, 3, 1, 1, 2)
    gated, plain = recurrent.TemporalGate(), recurrent.TemporalGate(is_gated=False)
    variables = made(gated, x)
    # Open gates and no memory: the LSTM's outputs are near its inputs, and some clips consistent.
    for layer in variables["params"]["recursion"].values():
        layer["ig"]["kernel"] = 2 * np.eye(2, dtype=np.float32)
        for name, bias in (("hi", 9.0), ("hf", -9.0), ("ho", 9.0)):
            layer[name]["bias"] = np.full(2, bias, np.float32)

    def run(v, x):
        recursion = recurrent.SqueezeRecursion("lstm", 2)
        inner = {"params": v["params"]["recursion"]}
        gates = recursion.apply(inner, x, method="gates")
        consistent = recurrent.is_consistent(recurrent.squeeze(x), gates)
        return consistent, gates, gated.apply(v, x), plain.apply(v, x)

    consistent, gates, y, all_gated = (np.asarray(z) for z in jax.jit(run)(variables, x))
    assert 0 < consistent.sum() < 32
    np.testing.assert_allclose(all_gated, x * gates[:, :, None, None], rtol=1e-6)
    chosen = consistent[:, None, None, None, None]
    np.testing.assert_array_equal(y, np.where(chosen, all_gated, x))


def test_refusals_are_one_line():
    for fields, message in [
        ({"cell": "gr"}, "recurrent cell 'gr'.*'gru'"),
        ({"num_layers": 0}, "num_layers of the recurrent gate must be .* at least 1; got 0"),
    ]:
        with pytest.raises(tempo.InputError, match=message):
            recurrent.SqueezeRecursion(**fields)
