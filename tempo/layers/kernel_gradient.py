"""Gradients to the kernels of dense convolutions, as matrix products that contract the batch."""

import functools
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
    # Where the batch is spread over devices, each of them sums what it has, part after part, and
    # the sums meet once, behind the loop.
    shards = jax.device_count()
    shards = 1 if len(x) % shards else shards
    num_images = len(x) // shards
    num_bytes = dy.size // shape[3] * math.prod(shape[:3]) * x.dtype.itemsize // shards
    wanted = max(1, -(-num_bytes // _PART_BYTES))
    parts = next(n for n in range(min(wanted, num_images), num_images + 1) if not num_images % n)
    if parts == 1:
        return _at_once(x, dy, shape, strides, pads)
    lead = (shards,) if shards > 1 else ()
    products = functools.partial(_at_once, shape=shape, strides=strides, pads=pads)
    x, dy = (a.reshape(*lead, parts, -1, *a.shape[1:]) for a in (x, dy))

    def add_part(i, total):
        part = (lax.dynamic_index_in_dim(a, i, len(lead), keepdims=False) for a in (x, dy))
        return total + (jax.vmap(products) if lead else products)(*part)

    total = lax.fori_loop(0, parts, add_part, jnp.zeros((*lead, *shape), jnp.float32))
    return (total.sum(0) if lead else total).astype(x.dtype)


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
