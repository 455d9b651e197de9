"""Pooling over time and space: max pools with explicit padding, and ceil mode along time."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from tempo.layers.lowerings import Triple


def max_pool(x, window: Triple, strides: Triple, padding: Triple = (0, 0, 0)):
    """Max pool of `[B,T,H,W,C]`; `padding` adds -inf on both sides of T, H, W. Floor mode."""
    if window[0] == 1 and not padding[0]:
        # Frames are pooled as images: 2-D windows are the ones that backends are good at.
        x = x[:, :: strides[0]]
        frames = x.reshape((-1, *x.shape[2:]))
        pads = tuple((p, p) for p in padding[1:])
        y = nn.max_pool(frames, window[1:], strides[1:], pads)
        return y.reshape(x.shape[:2] + y.shape[1:])
    return nn.max_pool(x, window, strides, tuple((p, p) for p in padding))


def ceil_max_pool_time(x, size: int):
    """Max pool of `size` frames at stride `size` along T of `[B,T,...]`, in ceil mode.

    A last window that sticks out is completed by -inf at the end only, never at the start, so
    `T' = ceil(T / size)` and a window of negative numbers stays negative.
    """
    if size == 1:
        return x
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    missing = -x.shape[1] % size
    if missing:
        pads = [(0, 0, 0)] * x.ndim
        pads[1] = (0, missing, 0)
        x = lax.pad(x, jnp.asarray(lowest, x.dtype), pads)
    return x.reshape((x.shape[0], -1, size, *x.shape[2:])).max(axis=2)
