"""Pooling over time and space: max pools with explicit padding, and ceil mode along time."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from tempo.layers.lowerings import Triple


def max_pool(x, window: Triple, strides: Triple, padding: Triple = (0, 0, 0)):
    """Max pool of `[B,T,H,W,C]`; `padding` adds -inf on both sides of T, H, W. Floor mode.

    The gradient goes to the first maximum of a window, in the order T, H, W.
    """
    # One axis after the other, the innermost first, which also finds the first maximum.
    for axis in (3, 2, 1):
        size, stride, pad = (v[axis - 1] for v in (window, strides, padding))
        if size == 1 and pad == 0:
            x = lax.slice_in_dim(x, 0, None, stride, axis)
        else:
            x = _max_along(axis, size, stride, pad, x)
    return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _max_along(axis: int, size: int, stride: int, pad: int, x):
    """Max pool along one axis as a maximum of strided slices.

    XLA differentiates a windowed maximum by scattering to the places it was found at, which costs
    as much as ten convolutions on the CPU and is slow on GPUs; slices are fast everywhere.
    """
    return functools.reduce(jnp.maximum, _slices(axis, size, stride, pad, x))


def _max_along_fwd(axis, size, stride, pad, x):
    y = _max_along(axis, size, stride, pad, x)
    return y, (x, y)


def _max_along_bwd(axis, size, stride, pad, residuals, dy):
    x, y = residuals
    length = x.shape[axis] + 2 * pad
    free = jnp.ones(y.shape, bool)
    total = jnp.zeros((), dy.dtype)
    for i, value in enumerate(_slices(axis, size, stride, pad, x)):
        hit = free & (value == y)
        free = free & ~hit
        back = [(0, 0, 0)] * x.ndim
        span = (y.shape[axis] - 1) * stride + 1
        back[axis] = (i, length - span - i, stride - 1)
        total += lax.pad(jnp.where(hit, dy, 0), jnp.zeros((), dy.dtype), back)
    return (lax.slice_in_dim(total, pad, length - pad, axis=axis),)


_max_along.defvjp(_max_along_fwd, _max_along_bwd)


def _slices(axis, size, stride, pad, x):
    """For each element of the window, what every window has there."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (pad, pad, 0)
    padded = lax.pad(x, _lowest(x.dtype), pads)
    span = ((padded.shape[axis] - size) // stride) * stride + 1
    return [lax.slice_in_dim(padded, i, i + span, stride, axis) for i in range(size)]


def _lowest(dtype):
    lowest = -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min
    return jnp.asarray(lowest, dtype)


def ceil_max_pool_time(x, size: int):
    """Max pool of `size` frames at stride `size` along T of `[B,T,...]`, in ceil mode.

    A last window that sticks out is completed by -inf at the end only, never at the start, so
    `T' = ceil(T / size)` and a window of negative numbers stays negative.
    """
    if size == 1:
        return x
    missing = -x.shape[1] % size
    if missing:
        pads = [(0, 0, 0)] * x.ndim
        pads[1] = (0, missing, 0)
        x = lax.pad(x, _lowest(x.dtype), pads)
    return x.reshape((x.shape[0], -1, size, *x.shape[2:])).max(axis=2)
