"""Trilinear resizing against PyTorch's, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo import trees
from tempo.layers import resize

SHAPES = [  # from, to
    ((1, 2, 4), (2, 4, 7)),
    ((4, 7, 1), (7, 14, 2)),
    ((2, 4, 3), (4, 7, 6)),
    ((2, 7, 7), (1, 5, 14)),
    ((3, 1, 4), (3, 3, 4)),
]


def random(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parity
@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_values_and_gradients_equal_torch(old, new):
    torch = pytest.importorskip("torch")
    x, dy = random(2, *old, 3), random(2, *new, 3)
    theirs = torch.from_numpy(np.moveaxis(x, -1, 1).copy()).requires_grad_()
    expected = torch.nn.functional.interpolate(
        theirs, size=new, mode="trilinear", align_corners=False
    )
    expected.backward(torch.from_numpy(np.moveaxis(dy, -1, 1).copy()))
    y, pullback = jax.vjp(lambda x: resize.trilinear(x, new), x)
    np.testing.assert_allclose(y, np.moveaxis(expected.detach().numpy(), 1, -1), atol=1e-6)
    np.testing.assert_allclose(pullback(dy)[0], np.moveaxis(theirs.grad.numpy(), 1, -1), atol=3e-6)


@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_constants_stay_and_the_dtype_too(old, new):
    x = jnp.full((1, *old, 2), 0.7, jnp.bfloat16)
    y = resize.trilinear(x, new)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, jnp.full((1, *new, 2), 0.7, jnp.bfloat16))


def test_the_same_shape_is_left_alone():
    x = random(1, 2, 3, 4, 2)
    assert resize.trilinear(x, (2, 3, 4)) is x


def test_resizing_counts_no_multiply_adds():
    x = jax.ShapeDtypeStruct((1, 2, 4, 4, 3), np.float32)
    assert trees.count_macs(lambda x: resize.trilinear(x, (4, 7, 7)), x) == 0
