"""Batch norm: statistics, running averages, parts of the batch."""

import collections

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo.layers import norm
from tempo.layers.norm import BatchNorm


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(2.0, 3.0, size=(4, 2, 3, 3, 5)).astype(np.float32)


def apply(x, variables=None, **fields):
    module = BatchNorm(**fields)
    if variables is None:
        variables = module.init(jax.random.key(0), x)
    return module.apply(variables, x, mutable=["batch_stats"])


def test_training_normalises_with_the_batch_and_moves_running_statistics(x):
    y, new = apply(x, use_running_average=False)
    mean, var = x.mean((0, 1, 2, 3)), x.var((0, 1, 2, 3))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["var"], 0.9 + 0.1 * var, rtol=1e-5)


def test_evaluation_uses_running_statistics_and_keeps_them(x):
    stats = {"mean": np.full(5, 1.0, np.float32), "var": np.full(5, 4.0, np.float32)}
    params = {"scale": np.full(5, 3.0, np.float32), "bias": np.full(5, -1.0, np.float32)}
    variables = {"params": params, "batch_stats": stats}
    y, new = apply(x, variables, use_running_average=True)
    np.testing.assert_allclose(y, (x - 1) / np.sqrt(4 + 1e-5) * 3 - 1, rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, new["batch_stats"], stats)


def test_norm_groups_equal_separate_batches(x):
    y, new = apply(x, use_running_average=False, norm_groups=2)
    halves = [apply(half, use_running_average=False) for half in (x[:2], x[2:])]
    np.testing.assert_allclose(y, np.concatenate([h[0] for h in halves]), rtol=1e-5, atol=1e-5)
    mean_of_halves = jax.tree.map(lambda a, b: (a + b) / 2, halves[0][1], halves[1][1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        new["batch_stats"],
        mean_of_halves["batch_stats"],
    )
    assert np.abs(y - apply(x, use_running_average=False)[0]).max() > 1e-3


def test_norm_groups_must_divide_the_batch(x):
    with pytest.raises(tempo.InputError, match="norm_groups=3 does not divide the batch of 4"):
        apply(x, use_running_average=False, norm_groups=3)


def test_groups_of_clips_are_as_many_groups(x):
    by_size = apply(x, use_running_average=False, group_size=2)
    by_number = apply(x, use_running_average=False, norm_groups=2)
    jax.tree.map(np.testing.assert_array_equal, by_size, by_number)
    whole = apply(x, use_running_average=False)
    # A batch of fewer clips is one group.
    jax.tree.map(
        np.testing.assert_array_equal, apply(x, use_running_average=False, group_size=8), whole
    )
    with pytest.raises(tempo.InputError, match="norm_group_size=3 does not divide the batch of 4"):
        apply(x, use_running_average=False, group_size=3)
    with pytest.raises(tempo.InputError, match="norm_groups=2 and norm_group_size=2 both"):
        apply(x, use_running_average=False, norm_groups=2, group_size=2)


def test_gradients_equal_those_of_the_definition(x):
    def reference(x, scale, bias):
        mean, var = x.mean((0, 1, 2, 3)), x.var((0, 1, 2, 3))
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    def module(x, scale, bias):
        variables = BatchNorm(False).init(jax.random.key(0), x)
        variables = {**variables, "params": {"scale": scale, "bias": bias}}
        return BatchNorm(False).apply(variables, x, mutable=["batch_stats"])[0]

    scale, bias = np.linspace(-1, 2, 5, dtype=np.float32), np.ones(5, np.float32)
    weights = np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.shape)
    gradients = [
        jax.grad(lambda *a, f=f: jnp.sum(f(*a) * weights), argnums=(0, 1, 2))(x, scale, bias)
        for f in (module, reference)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *gradients)


def test_the_backward_pass_shares_no_array_that_the_forward_pass_could_make(x):
    """XLA would make it there and hold it: as much memory again as the activations."""
    x = x[None]
    residuals = norm._by_batch_fwd(1e-5, x, *np.ones((3, 5), np.float32))[1]

    def backward(dy, residuals):
        return norm._by_batch_bwd(1e-5, residuals, (dy, None, None))

    jaxpr = jax.make_jaxpr(backward)(x, residuals).jaxpr
    after, uses, made = {jaxpr.invars[0]}, collections.Counter(), []
    for eqn in jaxpr.eqns:
        inputs = [v for v in eqn.invars if not isinstance(v, jax.extend.core.Literal)]
        uses.update(inputs)
        if after & set(inputs):
            after |= set(eqn.outvars)
        else:
            made += [v for v in eqn.outvars if v.aval.size == x.size]
    assert made  # x less its mean
    assert all(uses[v] == 1 for v in made)


def test_large_mean_does_not_cancel_the_variance(x):
    """Moments are taken about the running mean: no loss of digits once it is near."""
    stats = {"mean": np.full(5, 9990.0, np.float32), "var": np.ones(5, np.float32)}
    params = {"scale": np.ones(5, np.float32), "bias": np.zeros(5, np.float32)}
    variables = {"params": params, "batch_stats": stats}
    y, new = apply(x + np.float32(1e4), variables, use_running_average=False)
    np.testing.assert_allclose(y.std((0, 1, 2, 3)), 1.0, atol=0.01)
    expected = 0.9 * 9990 + 0.1 * (x.mean((0, 1, 2, 3)) + 1e4)
    np.testing.assert_allclose(new["batch_stats"]["mean"], expected, rtol=1e-6)


def test_bfloat16_activations_keep_float32_statistics(x):
    y, new = apply(x.astype(jnp.bfloat16), use_running_average=False, dtype=jnp.bfloat16)
    assert y.dtype == jnp.bfloat16
    assert new["batch_stats"]["var"].dtype == jnp.float32
    np.testing.assert_allclose(new["batch_stats"]["mean"], 0.1 * x.mean((0, 1, 2, 3)), rtol=0.02)


@pytest.mark.parametrize("stats", [{"backbone": {"stem_norm": {"mean": np.zeros(2)}}}, {}])
def test_frozen_norms_that_are_not_there_are_refused(stats):
    norm.check_frozen("", stats)
    with pytest.raises(tempo.InputError, match="model.norm_frozen='norm2' matches no norm"):
        norm.check_frozen("norm2", stats)
