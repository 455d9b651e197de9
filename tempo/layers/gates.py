"""Features weighted by gates, of which one is for many positions."""

import jax


def gated(x: jax.Array, gates: jax.Array) -> jax.Array:
    """`x * gates`, of the dtype of `x`.

    The product is one of float32, so that the gradient of the gates is: it is a sum over all
    positions that share a gate, in which bfloat16 would lose most of the addends.

    Args:
      x: `[B,T,H,W,C]`.
      gates: float32, of extent 1 where positions share one.
    """
    return (x * gates).astype(x.dtype)
