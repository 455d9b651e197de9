"""Gradients to the kernels of dense convolutions, as matrix products that contract the batch."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from tempo.layers import target

_PART_BYTES = 24 * 2**20
"""What the windows of all pixels of the images that are taken at a time may be, copied out: about
what a processor's last cache holds. More is no faster, and is held beside the activations."""


def of_product(rows: jax.Array, dy: jax.Array) -> jax.Array:
    """`rows.T @ dy` of `[N, C]` and `[N, F]`, in the order that transposes the narrower of them."""
    over_rows = (((0,), (0,)), ((), ()))
    if rows.shape[1] <= dy.shape[1]:
        return lax.dot_general(rows, dy, over_rows)
    return lax.dot_general(dy, rows, over_rows).T


def is_wanted(groups: int) -> bool:
    """Whether `of_conv2d` is quicker than the gradient that jax derives, which is a convolution.

    There the image is the kernel and the batch the channels; XLA on the CPU transposes both
    operands for it and takes two to eight times as long.
    """
    return groups == 1 and target.backend() == "cpu"


def of_conv2d(
    x: jax.Array,
    dy: jax.Array,
    shape: tuple[int, ...],
    strides: tuple[int, int],
    pads: tuple[tuple[int, int], ...],
) -> jax.Array:
    """Gradient to a dense 2-D kernel: for each of its rows a product over all pixels.

    Args:
      x: `[N,H,W,C]`.
      dy: gradient of the output, `[N,H',W',F]`.
      shape: `(kh, kw, C, F)` of the kernel.
      strides: along H, W.
      pads: zeros before and after H, W.

    Returns:
      `shape`, of the dtype of `x`; summed in float32.
    """
    num_images = len(x)
    num_bytes = dy.size // shape[3] * math.prod(shape[:3]) * x.dtype.itemsize
    wanted = -(-num_bytes // _PART_BYTES)
    parts = next(n for n in range(min(wanted, num_images), num_images + 1) if not num_images % n)
    if parts == 1:
        return _at_once(x, dy, shape, strides, pads)

    def add_part(i, total):
        images, gradients = (_every(a, parts, i) for a in (x, dy))
        return total + _at_once(images, gradients, shape, strides, pads)

    total = jnp.zeros(shape, jnp.float32)
    return lax.fori_loop(0, parts, add_part, total).astype(x.dtype)


def _every(images, parts, i):
    """Images i, i + parts, ...: of a batch over several devices, some of each."""
    return lax.dynamic_index_in_dim(
        images.reshape(-1, parts, *images.shape[1:]), i, axis=1, keepdims=False
    )


def _at_once(x, dy, shape, strides, pads):
    height, width, channels, features = shape
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))

    def reached(x, axis, tap):
        stride = strides[axis - 1]
        end = tap + (dy.shape[axis] - 1) * stride + 1
        return lax.slice_in_dim(x, tap, end, stride, axis)

    x = jnp.concatenate([reached(x, 2, tap) for tap in range(width)], axis=-1)
    rows = [
        of_product(
            reached(x, 1, tap).reshape(-1, width * channels),
            dy.reshape(-1, features),
        )
        for tap in range(height)
    ]
    return jnp.stack(rows).reshape(shape)
