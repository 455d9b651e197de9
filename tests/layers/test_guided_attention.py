"""Guided attention: equal weights at first, then wherever the guide says, and nowhere else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import trees
from tempo.layers.conv import Conv
from tempo.layers.guided_attention import GuidedAttention

CONV = functools.partial(Conv, lowering="plain")


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    x, guide = (rng.normal(size=(2, 1, 3, 4, c)).astype(np.float32) for c in (5, 6))
    module = GuidedAttention(CONV, width=3)
    return module, module.init(jax.random.key(0), x, guide), x, guide


def test_a_new_one_is_the_mean(made):
    module, variables, x, guide = made
    pooled, weights = module.apply(variables, x, guide)
    np.testing.assert_allclose(pooled, x.mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(weights, 1 / 12, rtol=1e-6)


def test_weights_sum_to_one_over_places_and_move_with_them(made):
    module, variables, x, guide = made
    trained = jax.tree.map(lambda v: v + 0.5, variables)
    pooled, weights = module.apply(trained, x, guide)
    np.testing.assert_allclose(weights.sum((2, 3)), 1, rtol=1e-6)
    assert weights.min() >= 0 and weights.std() > 0.01
    turned = module.apply(trained, x[:, :, ::-1], guide[:, :, ::-1])
    np.testing.assert_allclose(turned[1], weights[:, :, ::-1], rtol=1e-5)
    np.testing.assert_allclose(turned[0], pooled, rtol=1e-4, atol=1e-6)


def test_a_certain_guide_picks_one_place():
    x = np.random.default_rng(1).normal(size=(1, 2, 3, 3, 4)).astype(np.float32)
    guide = np.zeros((1, 2, 3, 3, 1), np.float32)
    guide[0, 0, 1, 2], guide[0, 1, 0, 1] = 1, 1
    module = GuidedAttention(CONV, width=1)
    variables = module.init(jax.random.key(0), x, guide)
    variables = jax.tree.map(lambda v: jnp.full_like(v, 1.0 if v.ndim == 1 else 30.0), variables)
    pooled, _ = module.apply(variables, x, guide)
    np.testing.assert_array_equal(pooled[0], [x[0, 0, 1, 2], x[0, 1, 0, 1]])


def test_published_number_of_parameters():
    """131,136 and 65, of 2048 channels."""
    x, guide = (jax.ShapeDtypeStruct((1, 1, 7, 7, c), jnp.float32) for c in (1024, 2048))
    shapes = jax.eval_shape(GuidedAttention(CONV).init, jax.random.key(0), x, guide)
    assert trees.count_params(shapes["params"]) == 131_201


def test_maps_of_two_sizes_are_refused(made):
    module, variables, x, guide = made
    with pytest.raises(tempo.InputError, match="must be alike but for their channels"):
        module.apply(variables, x, guide[:, :, :2])
