"""Linear resizing along time and space."""

import jax
import jax.numpy as jnp

from tempo.layers.lowerings import Triple


def trilinear(x, shape: Triple):
    """`x [B,T,H,W,C]` at the sizes `shape` along T, H, W, by linear interpolation.

    That of PyTorch's `interpolate` with `align_corners=False`, without anti-aliasing. Computed in
    float32; gives `x`'s dtype.
    """
    shape = (x.shape[0], *shape, x.shape[-1])
    if x.shape == shape:
        return x
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jax.image.resize(wide, shape, "trilinear", antialias=False).astype(x.dtype)
