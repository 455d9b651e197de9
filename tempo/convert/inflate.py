"""Inflation: the weights of a 2-D network as those of its 3-D version (arXiv 1705.07750, 2.1)."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from tempo.errors import InputError


def inflate_kernel(kernel, kernel_t: int):
    """`[1,kh,kw,C,F]` -> `[kernel_t,kh,kw,C,F]`, repeated along time and divided by `kernel_t`.

    On a clip of equal frames the inflated convolution gives, away from the ends where padding
    enters, what the 2-D one gives for the frame. At `kernel_t=1` it is the kernel itself, bit by
    bit.
    """
    if kernel.ndim != 5 or kernel.shape[0] != 1:
        raise InputError(
            f"Only kernels [1,kh,kw,C,F] of a 2-D network inflate; got {kernel.shape}."
        )
    return jnp.repeat(kernel, kernel_t, axis=0) / kernel_t


def inflate(params: Mapping[str, Any], like: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Parameters of a 2-D network in the shapes of `like`, a 3-D network of the same blocks.

    Args:
      params: nested dict of arrays (also `batch_stats`: norms are copied as they are).
      like: nested dict of arrays or `jax.ShapeDtypeStruct`s that tells the kernels' extents.
      path: where the dicts sit, for messages.

    Raises:
      InputError: the two have different leaves, or shapes that differ in more than kernel_t.
    """
    if params.keys() != like.keys():
        missing = ", ".join(sorted(params.keys() ^ like.keys()))
        raise InputError(f"Cannot inflate {path or 'the tree'}: only one side has {missing}.")
    out = {}
    for name, target in like.items():
        where, source = f"{path}/{name}".lstrip("/"), params[name]
        if isinstance(target, Mapping):
            out[name] = inflate(source, target, where)
            continue
        inflates = source.ndim == len(target.shape) == 5
        value = inflate_kernel(source, target.shape[0]) if inflates else source
        if value.shape != tuple(target.shape):
            raise InputError(f"Cannot inflate {where}: {source.shape} to {tuple(target.shape)}.")
        out[name] = value
    return out
