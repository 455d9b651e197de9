"""The pooling head: equal ways to score a feature map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import models
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


def test_pathways_are_pooled_each_and_concatenated():
    rng = np.random.default_rng(0)
    slow, fast = (
        rng.normal(size=(2, *size)).astype(np.float32) for size in ((1, 7, 7, 6), (8, 7, 5, 2))
    )
    logits, variables = PoolHead(3).init_with_output(jax.random.key(0), (slow, fast), train=False)
    pooled = np.concatenate([slow.mean((1, 2, 3)), fast.mean((1, 2, 3))], -1)
    fc = variables["params"]["fc"]
    np.testing.assert_allclose(PoolHead(3).embed((slow, fast)), pooled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits, pooled @ fc["kernel"] + fc["bias"], rtol=1e-4, atol=1e-6)
    with pytest.raises(tempo.InputError, match="one feature map; got 2 pathways"):
        PoolHead(3, fully_convolutional=True).init(jax.random.key(0), (slow, fast), train=False)


@pytest.mark.parametrize("neck", [{}, {"name": "tpn", "groups": 2}])
@pytest.mark.parametrize("fully_convolutional", [False, True])
def test_logits_of_a_model_are_linear_in_its_embedding(neck, fully_convolutional, random_variables):
    model = models.create(
        5,
        backbone={"variant": "slowonly_r18", "depths": (1, 1, 1, 1), "width": 2},
        neck=neck,
        head={"fully_convolutional": fully_convolutional},
        dtype="bfloat16",
    )
    clip = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    variables = random_variables(model, clip, train=False)
    outputs = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, clip)
    embedding, fc = outputs["embedding"], variables["params"]["head"]["fc"]
    assert embedding.dtype == jnp.float32
    assert embedding.shape == (2, 16)
    np.testing.assert_allclose(
        outputs["logits"], embedding @ fc["kernel"] + fc["bias"], rtol=1e-4, atol=1e-5
    )
    assert np.abs(embedding[0] - embedding[1]).max() > 1e-3


def test_embedding_is_taken_before_dropout(random_variables):
    model = models.create(
        5, backbone={"variant": "c2d_r18", "depths": (1, 1, 1, 1), "width": 2, "partial_norm": True}
    )
    clip = np.random.default_rng(0).normal(size=(2, 1, 32, 32, 3)).astype(np.float32)
    variables = random_variables(model, clip, train=False)

    def embedding(seed):
        rngs = {"dropout": jax.random.key(seed)}
        outputs, _ = model.apply(variables, clip, train=True, mutable=["batch_stats"], rngs=rngs)
        return outputs["embedding"], outputs["logits"]

    (a, logits_a), (b, logits_b) = embedding(0), embedding(1)
    np.testing.assert_array_equal(a, b)
    assert np.abs(logits_a - logits_b).max() > 1e-4
