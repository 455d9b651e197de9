"""The pooling head: equal ways to score a feature map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo.models.heads import PoolHead


@pytest.mark.parametrize("size", [(1, 7, 7), (1, 8, 8), (3, 2, 4)])
def test_scores_of_locations_averaged_equal_scores_of_the_average(size):
    x = np.random.default_rng(0).normal(size=(2, *size, 16)).astype(np.float32)
    variables = PoolHead(5).init(jax.random.key(0), x, train=False)
    kernel, bias = (np.asarray(variables["params"]["fc"][k]) for k in ("kernel", "bias"))
    pooled = PoolHead(5).apply(variables, x, train=False)
    per_location = PoolHead(5, fully_convolutional=True).apply(variables, x, train=False)
    np.testing.assert_allclose(pooled, x.mean((1, 2, 3)) @ kernel + bias, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(per_location, pooled, rtol=1e-4, atol=1e-6)


def test_dropout_acts_in_training_only():
    x = jnp.ones((1, 1, 1, 1, 4096))
    variables = PoolHead(1).init(jax.random.key(0), x, train=False)
    variables = jax.tree.map(jnp.ones_like, variables)
    scores = PoolHead(1).apply(variables, x, train=True, rngs={"dropout": jax.random.key(1)})
    # Kept features are doubled: the sum stays near 4096 + bias but is not equal to it.
    assert 3500 < float(scores[0, 0]) < 4700
    assert float(scores[0, 0]) != 4097
    assert float(PoolHead(1).apply(variables, x, train=False)[0, 0]) == 4097


def test_logits_of_bfloat16_features_are_float32():
    x = jnp.ones((1, 2, 2, 2, 8), jnp.bfloat16)
    logits, variables = PoolHead(3).init_with_output(jax.random.key(0), x, train=False)
    assert logits.dtype == variables["params"]["fc"]["kernel"].dtype == jnp.float32
