"""Batch normalisation with statistics of the whole batch or of parts of it; the NORMS table."""

import functools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from tempo import trees
from tempo.errors import InputError
from tempo.layers import remat


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, with float32 statistics (arXiv 1502.03167).

    Under jit with the batch sharded over devices the statistics are those of the global batch.
    `norm_groups = G` takes them over G contiguous parts of the batch instead, as G devices that do
    not synchronise would; the running statistics are the means of the groups' statistics.

    Variables: `params/{scale,bias} [C]`, `batch_stats/{mean,var} [C]`, all float32. The running
    variance is that of the biased estimate.

    Attributes:
      use_running_average: normalise with the running statistics and leave them as they are.
      momentum: weight of the old running statistics in each update (PyTorch's is 1 minus this).
      epsilon: added to the variance.
      norm_groups: G, parts of the batch with statistics of their own; must divide the batch.
      group_size: clips of each part, in place of their number: batches that change their size
        (multigrid) keep statistics of as many clips. A batch of fewer is one part; 0 is off.
      scale_init: initialiser of `scale`; zeros make a residual branch start as the identity.
      frozen_pattern: regular expression of paths such as `backbone/stage1_block1/norm1`; a norm
        whose path has a match uses its running statistics in training too and does not update
        them (partial BN of TSN, arXiv 1608.00859, section 3.2). Its scale and bias still train,
        unless the optimizer freezes them. "" freezes none.
      dtype: of the output; None keeps the input's.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    norm_groups: int = 1
    group_size: int = 0
    scale_init: Any = nn.initializers.ones
    frozen_pattern: str = ""
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        """`[B,...,C] -> [B,...,C]`."""
        channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        dtype = self.dtype or x.dtype
        if self.use_running_average or self._is_frozen():
            return _normalise(x, mean.value, var.value, scale, bias, self.epsilon).astype(dtype)
        groups = 1
        if not self.is_initializing():
            groups = num_groups(x.shape[0], self.norm_groups, self.group_size)
        # [G, B/G, ..., C]: a contiguous split, so a batch sharded over G devices is not moved.
        parts = x.reshape((groups, x.shape[0] // groups, *x.shape[1:]))
        y, batch_mean, batch_var = _by_batch(self.epsilon, parts, mean.value, scale, bias)
        if not self.is_initializing():
            for running, batch in ((mean, batch_mean), (var, batch_var)):
                new = jnp.mean(batch.reshape(groups, channels), 0)
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        return y.reshape(x.shape).astype(dtype)

    def _is_frozen(self) -> bool:
        pattern = self.frozen_pattern
        return bool(pattern) and re.search(pattern, "/".join(self.path)) is not None


def check_pattern(pattern: str, where: str) -> str:
    """The regular expression.

    Raises:
      InputError: it is none; `where` is its name in a config.
    """
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise InputError(
            f"{where}={pattern!r} is no regular expression ({error}); give one of paths such as "
            "backbone/stem_norm."
        ) from None
    return pattern


def check_frozen(pattern: str, batch_stats: Any) -> None:
    """Raises `InputError` for a pattern of frozen norms that matches none of a network's.

    Args:
      pattern: as of `BatchNorm.frozen_pattern`; "" freezes none.
      batch_stats: of the network, arrays or shapes.
    """
    paths = sorted({name.rpartition("/")[0] for name in trees.leaf_names(batch_stats)})
    if pattern and not any(re.search(pattern, path) for path in paths):
        some = f"norms are named such as {paths[0]!r}" if paths else "it has no norms"
        raise InputError(
            f"model.norm_frozen={pattern!r} matches no norm of the network: {some}; leave it out, "
            "or mend it."
        )


def num_groups(batch_size: int, norm_groups: int = 1, group_size: int = 0) -> int:
    """Parts of a batch that have statistics of their own.

    Args:
      batch_size: clips of a forward pass.
      norm_groups: as of `BatchNorm`.
      group_size: as of `BatchNorm`.

    Raises:
      InputError: parts that would not be equal, or that are told by number and by size.
    """
    if group_size and norm_groups != 1:
        raise InputError(
            f"norm_groups={norm_groups} and norm_group_size={group_size} both divide the batch; "
            "leave one out."
        )
    told = f"norm_group_size={group_size}" if group_size else f"norm_groups={norm_groups}"
    if batch_size % (min(group_size, batch_size) or norm_groups):
        raise InputError(
            f"{told} does not divide the batch of {batch_size} clips; use a divisor of the batch "
            "size."
        )
    return max(batch_size // group_size, 1) if group_size else norm_groups


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_batch(epsilon: float, x, about, scale, bias):
    """`x [G,...,C]` normalised by statistics of its own, and those: mean and variance `[G,1..,C]`.

    The gradient is written out: derived, it is half of the programs that XLA makes of a network.
    None passes through the statistics that are returned.

    Args:
      epsilon: added to the variance.
      x: parts of the batch, each with its statistics.
      about: `[C]`, see `_moments`.
      scale: `[C]`.
      bias: `[C]`.
    """
    mean, var = _moments(x, about)
    return _normalise(x, mean, var, scale, bias, epsilon), mean, var


def _by_batch_fwd(epsilon, x, about, scale, bias):
    mean, var = remat.moments(*_moments(x, about))
    y = _normalise(x, mean, var, scale, bias, epsilon)
    return (y, mean, var), (x, mean, jax.lax.rsqrt(var + epsilon), scale, about)


def _by_batch_bwd(epsilon, residuals, cotangents):
    x, mean, inverse, scale, about = residuals
    dy = cotangents[0].astype(jnp.float32)
    axes = tuple(range(1, x.ndim - 1))
    count = math.prod(x.shape[1:-1])
    x = x.astype(jnp.float32)
    d_bias = jnp.sum(dy, axes, keepdims=True)
    d_inverse = jnp.sum(dy * (x - mean), axes, keepdims=True)
    slope = jax.lax.square(inverse) * d_inverse / count
    # `x - mean` once and no more: shared, XLA makes an array of it, and since nothing in it waits
    # for dy, in the forward pass already; such arrays of all layers are a third of a step's memory.
    factor = scale * inverse
    dx = factor * dy - (factor * slope) * x + factor * (slope * mean - d_bias / count)
    d_scale, d_bias = (jnp.sum(d, tuple(range(x.ndim - 1))) for d in (d_inverse * inverse, d_bias))
    return dx.astype(residuals[0].dtype), jnp.zeros_like(about), d_scale, d_bias


_by_batch.defvjp(_by_batch_fwd, _by_batch_bwd)


def _moments(x, about):
    """Mean and variance of each part, `[G,...,C] -> [G,1..,C]` in float32.

    Both in one pass, about the running mean, so that a mean far from zero does not cancel the
    digits of the variance.
    """
    axes = tuple(range(1, x.ndim - 1))
    shifted = x.astype(jnp.float32) - about
    offset = jnp.mean(shifted, axes, keepdims=True)
    var = jnp.mean(jax.lax.square(shifted), axes, keepdims=True)
    return offset + about, jnp.maximum(var - jax.lax.square(offset), 0.0)


def _normalise(x, mean, var, scale, bias, epsilon):
    """`(x - mean) / sqrt(var + epsilon) * scale + bias` as one multiply-add per element."""
    factor = scale * jax.lax.rsqrt(var + epsilon)
    return x * factor + (bias - mean * factor)


NORMS = {"batch": BatchNorm}
"""Normalisations by name; each takes the fields of `BatchNorm`."""
