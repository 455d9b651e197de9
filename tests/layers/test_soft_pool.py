"""SoftPool and the other pools of whole windows: definitions, gradients, ceil mode, extremes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo.layers import pooling

FIRST = {  # windows of one place and channel -> what stands there in evaluation
    "soft": lambda e: (e * np.exp(e)).sum(-1) / np.exp(e).sum(-1),
    "avg": lambda e: e.mean(-1),
    "max": lambda e: e.max(-1),
    "stochastic": lambda e: (e * e).sum(-1) / e.sum(-1),
}


def windows(x, window):
    """`[B,T',H',W',C]` lists of the elements that there are, by a loop."""
    counts = [-(-n // k) for n, k in zip(x.shape[1:4], window, strict=True)]
    out = np.empty((x.shape[0], *counts, x.shape[-1]), object)
    for place in np.ndindex(*counts):
        cut = tuple(slice(i * k, (i + 1) * k) for i, k in zip(place, window, strict=True))
        for b, c in itertools.product(range(x.shape[0]), range(x.shape[-1])):
            out[(b, *place, c)] = x[(b, *cut, c)].ravel()
    return out


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", pooling.POOLS)
@pytest.mark.parametrize("window", [(1, 2, 2), (2, 2, 2), (2, 3, 1)])
def test_pools_against_a_loop_in_ceil_mode(name, window):
    x = np.abs(random(2, 3, 4, 7, 2)) + 0.1
    expected = np.vectorize(FIRST[name])(windows(x, window))
    y = pooling.POOLS[name](jnp.asarray(x), window)
    np.testing.assert_allclose(y, expected.astype(np.float32), rtol=2e-6)


def test_pools_compute_in_float32_and_keep_the_dtype():
    x = jnp.asarray(random(1, 2, 5, 5, 3) * 4, jnp.bfloat16)
    for pool in pooling.POOLS.values():
        y = pool(x, (2, 2, 2))
        assert y.dtype == jnp.bfloat16
        np.testing.assert_array_equal(y, pool(x.astype(jnp.float32), (2, 2, 2)).astype(y.dtype))


def test_soft_pool_of_a_known_window_and_its_gradient():
    x = jnp.asarray([1.0, 2, 3, 4]).reshape(1, 1, 2, 2, 1)
    y, gradient = jax.value_and_grad(lambda x: pooling.soft_pool(x, (1, 2, 2)).sum())(x)
    np.testing.assert_allclose(y, 3.49265273, rtol=1e-7)
    expected = [-0.047852, -0.042932, 0.120182, 0.970602]
    np.testing.assert_allclose(gradient.ravel(), expected, atol=1e-6)


def test_soft_pool_gradient_is_that_of_the_definition_at_float64():
    with jax.enable_x64(True):
        x, dy = np.random.default_rng(1).normal(size=(2, 1, 1, 3, 3, 2))
        dy = dy[:, :, :2, :2]
        y, pullback = jax.vjp(lambda x: pooling.soft_pool(x, (1, 2, 2)), jnp.asarray(x))
        (dx,) = pullback(jnp.asarray(dy))
        (ones,) = pullback(jnp.ones_like(y))
        definition = np.vectorize(FIRST["soft"])
        np.testing.assert_allclose(y, definition(windows(x, (1, 2, 2))).astype(float), atol=1e-14)
        numeric = np.zeros_like(x)
        for place in np.ndindex(*x.shape):
            step = np.zeros_like(x)
            step[place] = 1e-5
            change = [definition(windows(v, (1, 2, 2))).astype(float) for v in (x + step, x - step)]
            numeric[place] = ((change[0] - change[1]) * dy).sum() / 2e-5
    np.testing.assert_allclose(dx, numeric, atol=1e-8)
    sums = [np.sum(e) for e in windows(np.asarray(ones), (1, 2, 2)).ravel()]
    np.testing.assert_allclose(sums, 1.0, atol=1e-12)


def test_soft_pool_lies_between_mean_and_maximum_and_knows_no_order():
    x = random(2, 2, 4, 4, 3) * 3
    pooled = {name: np.asarray(pooling.POOLS[name](x, (2, 2, 2))) for name in pooling.POOLS}
    assert (pooled["avg"] < pooled["soft"]).all() and (pooled["soft"] < pooled["max"]).all()
    shifted = pooling.soft_pool(x + 5, (2, 2, 2))
    np.testing.assert_allclose(shifted, pooled["soft"] + 5, atol=1e-5)
    turned = pooling.soft_pool(x[:, ::-1, ::-1, ::-1], (2, 2, 2))
    np.testing.assert_allclose(turned[:, ::-1, ::-1, ::-1], pooled["soft"], atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_soft_pool_of_extremes_is_finite(dtype):
    x = jnp.asarray([[200, -200, 3], [-200, 200, 3], [88, 88, -90]], dtype).reshape(1, 1, 3, 3, 1)
    y, pullback = jax.vjp(lambda x: pooling.soft_pool(x, (1, 2, 2)), x)
    assert y.ravel().tolist() == [200, 3, 88, -90]
    gradient = pullback(jnp.ones_like(y))[0].reshape(3, 3)
    np.testing.assert_array_equal(gradient, [[0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 1]])


@pytest.mark.parametrize("name", pooling.POOLS)
def test_odd_sizes_leave_constants_constant(name):
    y = pooling.POOLS[name](jnp.full((1, 5, 7, 3, 2), 1.5), (2, 2, 2))
    np.testing.assert_array_equal(y, np.full((1, 3, 4, 2, 2), 1.5, np.float32))


@pytest.mark.parametrize("name", ["avg", "max", "stochastic"])
def test_gradients_of_the_other_pools(name):
    x = np.abs(random(1, 2, 3, 3, 1)) + 0.5
    total = jax.jit(
        lambda x: (
            pooling.POOLS[name](x, (2, 2, 2)) * jnp.arange(1.0, 5).reshape(1, 1, 2, 2, 1)
        ).sum()
    )
    gradient = jax.grad(total)(x)
    for place in [(0, 0, 0, 0, 0), (0, 1, 2, 2, 0), (0, 0, 1, 2, 0)]:
        step = np.zeros_like(x)
        step[place] = 1e-2
        numeric = (total(x + step) - total(x - step)) / 2e-2
        np.testing.assert_allclose(gradient[place], numeric, atol=2e-3)


def test_stochastic_pool_draws_in_proportion():
    x = jnp.tile(jnp.asarray([1.0, 0, 2, 5]).reshape(1, 1, 2, 2, 1), (4, 8, 16, 16, 2))
    pool = jax.jit(lambda key, x: pooling.stochastic_pool(x, (1, 2, 2), key=key, train=True))
    y = np.asarray(pool(jax.random.key(0), x))
    shares = [np.mean(y == value) for value in (1, 0, 2, 5)]
    np.testing.assert_allclose(shares, np.array([1, 0, 2, 5]) / 8, atol=0.02)
    gradient = jax.grad(lambda x: pool(jax.random.key(0), x).sum())(x)
    np.testing.assert_array_equal(
        gradient.reshape(4, 8, 16, 2, 16, 2, 2).sum((3, 5)), np.ones(y.shape)
    )
    assert np.asarray(x)[np.asarray(gradient) == 1].sum() == y.sum()


def test_stochastic_pool_of_zeros_is_zero_and_training_needs_a_key():
    x = jnp.zeros((1, 1, 3, 3, 1))
    for options in ({}, {"key": jax.random.key(0), "train": True}):
        y, gradient = jax.value_and_grad(
            lambda x, o=options: pooling.stochastic_pool(x, (1, 2, 2), **o).sum()
        )(x)
        assert y == 0 and np.isfinite(gradient).all()
    with pytest.raises(tempo.InputError, match="random key"):
        pooling.stochastic_pool(x, (1, 2, 2), train=True)
