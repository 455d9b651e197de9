"""Attention: the non-local block between blocks, and gates inside one (the ATTENTION table)."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.layers import gates, pooling, recurrent


def dot_product(queries, keys, values):
    """`queries keys^T values / M` of `[B,N,D]`, `[B,M,D]`, `[B,M,D]` (1711.07971, equation 4).

    Nothing stands between the two products, so they are taken in the order that costs less:
    N M against D (N + M) / 2, with `[D,D]` numbers between them instead of `[N,M]`.
    """
    n, m, d = queries.shape[1], keys.shape[1], keys.shape[2]
    if 2 * n * m <= d * (n + m):
        affinity = _einsum("bnd,bmd->bnm", queries, keys) / m
        y = _einsum("bnm,bmd->bnd", affinity.astype(values.dtype), values)
    else:
        summary = _einsum("bmd,bme->bde", keys, values) / m
        y = _einsum("bnd,bde->bne", queries, summary.astype(values.dtype))
    return y.astype(values.dtype)


def softmax(queries, keys, values):
    """`softmax(queries keys^T / sqrt(D)) values`, the softmax over M and in float32."""
    return embedded_gaussian(queries * keys.shape[2] ** -0.5, keys, values)


def embedded_gaussian(queries, keys, values):
    """`softmax(queries keys^T) values` (1711.07971, equation 3), the softmax in float32."""
    weights = jax.nn.softmax(_einsum("bnd,bmd->bnm", queries, keys), axis=-1)
    return _einsum("bnm,bmd->bnd", weights.astype(values.dtype), values).astype(values.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _einsum(subscripts, x, y):
    """In float32 from operands of their own dtype, in which the gradient's products are too."""
    return jnp.einsum(subscripts, x, y, preferred_element_type=jnp.float32)


def _einsum_fwd(subscripts, x, y):
    return _einsum(subscripts, x, y), (x, y)


def _einsum_bwd(subscripts, operands, dy):
    _, pullback = jax.vjp(functools.partial(jnp.einsum, subscripts), *operands)
    return pullback(dy.astype(operands[0].dtype))


_einsum.defvjp(_einsum_fwd, _einsum_bwd)


NONLOCAL_MODES = {
    "dot_product": dot_product,
    "softmax": softmax,
    "embedded_gaussian": embedded_gaussian,
}
"""How values are summed over positions, by name; `softmax` is PySlowFast's, scaled by D."""

NONLOCAL_POOLS = ("input", "projections", "none")
"""Where the 1x2x2 max pool of keys and values stands, see `NonLocal`."""


class NonLocal(nn.Module):
    """`x + norm(out(sum over positions))`: every position sees all of the clip (arXiv 1711.07971).

    Its norm's scale starts at zero, so a block that is added to a trained network changes nothing
    at first (section 4.1 there).

    Attributes:
      conv, norm: factories; `norm` has `train` bound.
      mode: a name of `NONLOCAL_MODES`.
      pool: keys and values come from a 1x2x2 max pool of the `input` (PySlowFast), of the
        `projections` (mmaction2 and the TSM release), or from every position (`none`).
      reduction: C in channels of the projections.
    """

    conv: Callable
    norm: Callable
    mode: str = "dot_product"
    pool: str = "input"
    reduction: int = 2

    def __post_init__(self):
        lookup(NONLOCAL_MODES, self.mode, "nonlocal_mode (config.backbone.nonlocal_mode)")
        lookup(dict.fromkeys(NONLOCAL_POOLS), self.pool, "pool of the non-local block")
        super().__post_init__()

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`.

        Raises:
          InputError: H or W is 1 and there is a pool.
        """
        batch, *_, channels = x.shape
        if self.pool != "none" and min(x.shape[2:4]) < 2:
            raise InputError(
                f"Non-local block {'/'.join(self.path)}: its pool needs features of at least 2x2 "
                f"and gets {x.shape[2]}x{x.shape[3]}; give larger frames or move it to an earlier "
                "stage (nonlocal_blocks)."
            )
        width = max(1, channels // self.reduction)
        pooled = _pool(x) if self.pool == "input" else x
        queries = self.conv(width, use_bias=True, name="theta")(x)
        keys = self.conv(width, use_bias=True, name="phi")(pooled)
        values = self.conv(width, use_bias=True, name="g")(pooled)
        if self.pool == "projections":
            keys, values = _pool(keys), _pool(values)
        rows = [y.reshape(batch, -1, width) for y in (queries, keys, values)]
        y = NONLOCAL_MODES[self.mode](*rows).reshape(queries.shape)
        y = self.conv(channels, use_bias=True, name="out")(y)
        return x + self.norm(name="norm", scale_init=nn.initializers.zeros)(y)


def _pool(x):
    return pooling.max_pool(x, (1, 2, 2), (1, 2, 2))


class SqueezeExcite(nn.Module):
    """Channels weighted by a gate from their means over the clip (arXiv 1709.01507, section 3).

    Attributes:
      conv: factory of the two 1x1x1 convolutions on the means, which are computed in float32.
      ratio: C in channels between the two.
      width: channels between the two; 0 takes those of `ratio`.
    """

    conv: Callable
    ratio: int = 16
    width: int = 0

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`."""
        means = jnp.mean(x, axis=(1, 2, 3), keepdims=True, dtype=jnp.float32)
        width = self.width or max(1, x.shape[-1] // self.ratio)
        gate = jax.nn.sigmoid(_perceptron(means, self.conv, width))
        return gates.gated(x, gate)


class SpatioTemporalAttention(nn.Module):
    """A gate per channel, then one per place and frame (arXiv 1807.06521, section 3, with time).

    The channel gate is the sigmoid of a perceptron on the means over the clip plus the same
    perceptron on its maxima; the second gate that of a 3x7x7 convolution of the mean and the
    maximum over channels. Both are computed in float32.

    Attributes:
      conv: factory of the convolutions, the perceptron's included.
      ratio: C in hidden channels of the perceptron.
    """

    conv: Callable
    ratio: int = 16

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`."""
        axes = {"axis": (1, 2, 3), "keepdims": True}
        means = jnp.mean(x, **axes, dtype=jnp.float32)
        # Their gradient counts equal maxima, which bfloat16 could not.
        maxima = jnp.max(x.astype(jnp.float32), **axes)
        width = max(1, x.shape[-1] // self.ratio)
        both = _perceptron(jnp.concatenate([means, maxima], axis=1), self.conv, width)
        x = gates.gated(x, jax.nn.sigmoid(both.sum(axis=1, keepdims=True)))
        means = jnp.mean(x, axis=-1, keepdims=True, dtype=jnp.float32)
        maxima = jnp.max(x.astype(jnp.float32), axis=-1, keepdims=True)
        planes = jnp.concatenate([means, maxima], axis=-1)
        gate = self.conv(1, (3, 7, 7), dtype=jnp.float32, name="conv")(planes)
        return gates.gated(x, jax.nn.sigmoid(gate))


def _perceptron(x, conv, width: int):
    """Two 1x1x1 convolutions, fc1 and fc2, with `width` channels between; float32."""
    channels = x.shape[-1]
    x = conv(width, use_bias=True, dtype=jnp.float32, name="fc1")(x)
    return conv(channels, use_bias=True, dtype=jnp.float32, name="fc2")(nn.relu(x))


ATTENTION = {
    "none": None,
    "se": SqueezeExcite,
    "cbam": SpatioTemporalAttention,
    "sr": recurrent.SqueezeRecursion,
    "srtg": recurrent.TemporalGate,
}
"""Gates of a residual block, by name: the `attention` slot.

They stand behind its last norm, unless the attribute `place` of the class says `final`: behind its
last activation.
"""
