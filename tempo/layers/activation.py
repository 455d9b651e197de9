"""Activations whose gradient reads what the backward pass finds in memory anyway."""

import jax
import jax.numpy as jnp

from tempo.layers import memory


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """`max(x, 0)`, whose gradient (0 where x is 0) is known from the result.

    The next convolution keeps the result for its own gradient. Derived from the input instead,
    which nothing keeps, XLA computes the norms and the sum before it once more to find its sign.
    """
    return jnp.maximum(x, 0)


def _relu_fwd(x):
    y = relu(x)
    return y, y


def _relu_bwd(y, dy):
    (y,) = memory.stored(y)
    return (jnp.where(y > 0, dy, jnp.zeros_like(dy)),)


relu.defvjp(_relu_fwd, _relu_bwd)
