"""Max pools: ceil mode along time, explicit padding by -inf."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from tempo.layers import pooling


@pytest.mark.parametrize(("num_frames", "out"), [(4, 1), (7, 1), (8, 1), (9, 2), (12, 2), (16, 2)])
def test_ceil_mode_counts_the_last_partial_window(num_frames, out):
    x = -1.0 - np.random.default_rng(0).random((2, num_frames, 2, 2, 3)).astype(np.float32)
    y = np.asarray(pooling.ceil_max_pool_time(x, 8))
    expected = np.stack([x[:, i * 8 : (i + 1) * 8].max(1) for i in range(out)], 1)
    np.testing.assert_array_equal(y, expected)
    assert (y < 0).all()


def test_ceil_mode_of_whole_numbers_pads_with_the_lowest():
    x = np.array([-5, -7, -9], np.int32).reshape(1, 3, 1, 1, 1)
    assert np.ravel(pooling.ceil_max_pool_time(x, 2)).tolist() == [-5, -9]


@pytest.mark.parametrize(
    ("window", "strides", "padding"),
    [
        ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        ((1, 3, 3), (2, 2, 2), (0, 1, 1)),
        ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ],
)
def test_max_pool_against_a_loop(window, strides, padding):
    x = -1.0 - np.random.default_rng(0).random((2, 5, 6, 7, 3)).astype(np.float32)
    pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
    padded = np.pad(x, pads, constant_values=-np.inf)
    sizes = [(n - k) // s + 1 for n, k, s in zip(padded.shape[1:4], window, strides, strict=True)]
    expected = np.zeros((2, *sizes, 3), np.float32)
    for index in np.ndindex(*sizes):
        cut = tuple(slice(i * s, i * s + k) for i, s, k in zip(index, strides, window, strict=True))
        expected[(slice(None), *index)] = padded[(slice(None), *cut)].max((1, 2, 3))
    np.testing.assert_array_equal(pooling.max_pool(x, window, strides, padding), expected)


@pytest.mark.parametrize(
    ("window", "strides", "padding"),
    [((1, 3, 3), (1, 2, 2), (0, 1, 1)), ((2, 3, 3), (2, 1, 2), (1, 0, 1))],
)
def test_gradient_of_max_pool_goes_to_the_first_maximum(window, strides, padding):
    """As XLA's own windowed maximum does it, ties included."""
    x = np.random.default_rng(0).integers(-3, 3, size=(2, 5, 6, 7, 3)).astype(np.float32)
    gradients = []
    for pool in (
        lambda x: pooling.max_pool(x, window, strides, padding),
        lambda x: nn.max_pool(x, window, strides, tuple((p, p) for p in padding)),
    ):
        y, pullback = jax.vjp(pool, x)
        gradients.append(pullback(np.arange(y.size, dtype=np.float32).reshape(y.shape))[0])
    np.testing.assert_array_equal(*gradients)
