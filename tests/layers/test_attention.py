"""Non-local blocks and gates against plain numpy, and what they leave alone."""

import functools

import jax
import numpy as np
import pytest

import tempo
from tempo.layers.attention import ATTENTION, NonLocal
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm

EVAL = functools.partial(BatchNorm, use_running_average=True)


def x_of(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def made(module, x):
    """Variables with random numbers."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: rng.uniform(0.2, 0.9, s.shape).astype(np.float32), shapes)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pool(x):
    b, t, h, w, c = x.shape
    return x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(b, t, h // 2, 2, w // 2, 2, c).max((3, 5))


def nonlocal_numpy(variables, x, mode, pool_place):
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
    stats = variables["batch_stats"]["norm"]

    def project(name, x):
        return x @ params[name]["kernel"][0, 0, 0] + params[name]["bias"]

    pooled = pool(x) if pool_place == "input" else x
    queries, keys, values = project("theta", x), project("phi", pooled), project("g", pooled)
    if pool_place == "projections":
        keys, values = pool(keys), pool(values)
    d = keys.shape[-1]
    keys, values = keys.reshape(len(x), -1, d), values.reshape(len(x), -1, d)
    affinity = np.einsum("bthwd,bmd->bthwm", queries, keys)
    if mode == "dot_product":
        affinity /= keys.shape[1]
    else:
        affinity = np.exp(affinity * (d**-0.5 if mode == "softmax" else 1))
        affinity /= affinity.sum(-1, keepdims=True)
    y = project("out", np.einsum("bthwm,bmd->bthwd", affinity, values))
    y = (y - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    return x + y * params["norm"]["scale"] + params["norm"]["bias"]


@pytest.mark.parametrize(
    ("mode", "pool_place", "shape"),
    [
        ("dot_product", "input", (2, 2, 5, 4, 4)),  # more positions than channels
        ("dot_product", "input", (2, 1, 4, 4, 32)),  # fewer: the products in the other order
        ("dot_product", "none", (2, 2, 1, 3, 4)),
        ("softmax", "input", (2, 2, 5, 4, 4)),
        ("embedded_gaussian", "projections", (2, 2, 5, 4, 4)),
    ],
)
def test_nonlocal_is_the_sum_over_positions(mode, pool_place, shape):
    x = x_of(*shape)
    module = NonLocal(Conv, EVAL, mode, pool_place)
    variables = made(module, x)
    expected = nonlocal_numpy(variables, x.astype(np.float64), mode, pool_place)
    assert np.abs(expected - x).max() > 0.3
    np.testing.assert_allclose(jax.jit(module.apply)(variables, x), expected, rtol=1e-5, atol=1e-5)


def test_a_new_nonlocal_block_changes_nothing():
    x = x_of(1, 2, 2, 2, 4)
    y, variables = jax.jit(NonLocal(Conv, EVAL).init_with_output)(jax.random.key(0), x)
    np.testing.assert_array_equal(y, x)
    assert np.abs(variables["params"]["out"]["kernel"]).min() > 0


@pytest.mark.parametrize(("size", "expected"), [((1, 8, 8, 4), False), ((1, 2, 2, 64), True)])
def test_dot_products_are_taken_in_the_cheaper_order(size, expected):
    x = np.zeros((1, *size), np.float32)
    module = NonLocal(Conv, EVAL, pool="none")
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    jaxpr = str(jax.make_jaxpr(module.apply)(variables, x))
    positions = size[1] * size[2]
    assert (f"f32[1,{positions},{positions}]" in jaxpr) is expected


def test_nonlocal_says_when_nothing_is_left_to_pool():
    with pytest.raises(tempo.InputError, match="needs features of at least 2x2 and gets 1x4"):
        NonLocal(Conv, EVAL).init(jax.random.key(0), x_of(1, 2, 1, 4, 4))
    with pytest.raises(tempo.InputError, match="nonlocal_mode .*'dotproduct'.*'dot_product'"):
        NonLocal(Conv, EVAL, "dotproduct")


def perceptron(params, x):
    fc1, fc2 = params["fc1"], params["fc2"]
    hidden = np.maximum(x @ fc1["kernel"][0, 0, 0] + fc1["bias"], 0)
    return hidden @ fc2["kernel"][0, 0, 0] + fc2["bias"]


def test_squeeze_excite_weights_channels_by_their_means():
    x = x_of(2, 3, 4, 5, 8)
    module = ATTENTION["se"](conv=Conv, ratio=4)
    variables = made(module, x)
    assert variables["params"]["fc1"]["kernel"].shape == (1, 1, 1, 8, 2)
    gate = sigmoid(perceptron(variables["params"], x.mean((1, 2, 3))))
    expected = x * gate[:, None, None, None]
    np.testing.assert_allclose(jax.jit(module.apply)(variables, x), expected, rtol=1e-5, atol=1e-6)


def test_attention_gates_channels_and_then_places():
    x = x_of(2, 3, 4, 5, 8)
    module = ATTENTION["cbam"](conv=Conv, ratio=4)
    variables = made(module, x)
    params = variables["params"]
    # The mean of the frame before and the maximum one row below, and nothing else.
    params["conv"]["kernel"] = np.zeros((3, 7, 7, 2, 1), np.float32)
    params["conv"]["kernel"][0, 3, 3, 0] = 2.0
    params["conv"]["kernel"][1, 4, 3, 1] = -0.5
    axes = (1, 2, 3)
    gate = sigmoid(perceptron(params, x.mean(axes)) + perceptron(params, x.max(axes)))
    y = x * gate[:, None, None, None]
    planes = np.pad(y, ((0, 0), (1, 0), (0, 1), (0, 0), (0, 0)))
    planes = 2.0 * planes[:, :-1, :-1].mean(-1) - 0.5 * planes[:, 1:, 1:].max(-1)
    expected = y * sigmoid(planes)[..., None]
    np.testing.assert_allclose(jax.jit(module.apply)(variables, x), expected, rtol=1e-5, atol=1e-6)
