"""Linear resizing along time and space."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from tempo import trees
from tempo.layers.lowerings import Triple


def trilinear(x, shape: Triple):
    """`x [B,T,H,W,C]` at the sizes `shape` along T, H, W, by linear interpolation.

    That of PyTorch's `interpolate` with `align_corners=False`, without anti-aliasing. Computed in
    float32; gives `x`'s dtype.
    """
    shape = (x.shape[0], *shape, x.shape[-1])
    if x.shape == shape:
        return x
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    for axis in (1, 2, 3):
        if shape[axis] == 2 * y.shape[axis]:
            y = _doubled(axis, y)
    if y.shape != shape:
        y = _resized(y, shape)
    return y.astype(x.dtype)


@functools.partial(trees.uncounted, static=("shape",))
def _resized(x, shape: tuple[int, ...]):
    """As products with matrices of weights."""
    return jax.image.resize(x, shape, "trilinear", antialias=False)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _doubled(axis: int, x):
    """Twice as many elements along an axis: each between its two nearest at 3/4 and 1/4.

    A product with a matrix of those weights, most of them zeros, takes three times as long on the
    CPU, and so does the sum of padded arrays that is the derivative of the interleaving.
    """
    size = x.shape[axis]
    first, last = _cut(x, axis, 0, 1), _cut(x, axis, size - 1, size)
    before = jnp.concatenate([first, _cut(x, axis, 0, size - 1)], axis)
    behind = jnp.concatenate([_cut(x, axis, 1, size), last], axis)
    y = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * behind], axis + 1)
    return y.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])


def _doubled_fwd(axis, x):
    return _doubled(axis, x), None


def _doubled_bwd(axis, _, dy):
    """Element i is read by the outputs 2i - 1 to 2i + 2; an end is read in place of what lacks."""
    size = dy.shape[axis]
    first, last = _cut(dy, axis, 0, 1), _cut(dy, axis, size - 1, size)
    padded = jnp.concatenate([first, dy, last], axis)
    outer, left, right, far = (_cut(padded, axis, i, size - 1 + i, 2) for i in range(4))
    return (0.25 * (outer + far) + 0.75 * (left + right),)


_doubled.defvjp(_doubled_fwd, _doubled_bwd)


def _cut(x, axis: int, start: int, stop: int, stride: int = 1):
    return lax.slice_in_dim(x, start, stop, stride, axis)
