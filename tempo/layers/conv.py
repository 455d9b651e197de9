"""The convolution of every network here: one parameter layout, a choice of how to compute it.

`AUTO` is the choice per backend and kind of kernel. Its rows for the CPU come from measurement
(`python -m experiments.benchmarks.conv`); those for GPU and TPU from how XLA lays convolutions
out there: 2-D convolutions get channels-last layouts and tensor-core kernels, 3-D ones do not.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.layers import activation, remat, target
from tempo.layers.lowerings import LOWERINGS, ConvSpec, Triple

he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He initialisation that keeps the variance of gradients (arXiv 1502.01852, section 2.2)."""

_ACCELERATOR = {
    ("pointwise", "dense"): "matmul_sum",
    ("pointwise", "grouped"): "matmul_sum",
    ("spatial", "dense"): "fold",
    ("spatial", "grouped"): "fold",
    ("temporal", "dense"): "fold_space",
    ("temporal", "grouped"): "matmul_sum",
    ("temporal_strided", "dense"): "fold_space",
    ("temporal_strided", "grouped"): "matmul_sum",
    ("full", "dense"): "fold_sum",
    ("full", "grouped"): "fold_sum",
    ("stem", "dense"): "fold_sum",
    ("stem_narrow", "dense"): "fold_sum",
    ("pointwise", "depthwise"): "shifted_products",
    ("spatial", "depthwise"): "shifted_products",
    ("temporal", "depthwise"): "shifted_products",
    ("temporal_strided", "depthwise"): "shifted_products",
    ("full", "depthwise"): "shifted_products",
}
AUTO = {
    "cpu": {
        **_ACCELERATOR,
        ("temporal", "dense"): "matmul_split",
        # Splitting would compute the outputs that the stride skips.
        ("temporal_strided", "dense"): "matmul_sum",
        # Five convolutions of three channels cost twice as much as one of fifteen.
        ("stem", "dense"): "fold_stack",
        # Of the fast pathway of a SlowFast network, say.
        ("stem_narrow", "dense"): "fold_split",
    },
    "gpu": _ACCELERATOR,
    "tpu": _ACCELERATOR,
}


def choose(spec: ConvSpec, lowering: str = "auto") -> str:
    """Name of the lowering that computes `spec`.

    `lowering` is `auto` (the row of the default backend), a backend (its row of `AUTO`), or a name
    of `LOWERINGS`, which is taken wherever it can compute the convolution; elsewhere `auto` is.

    Raises:
      InputError: `lowering` is none of these.
    """
    if lowering in LOWERINGS and LOWERINGS[lowering].suits(spec):
        return lowering
    check_lowering(lowering)
    backend = lowering if lowering in AUTO else target.backend()
    row = AUTO.get(backend, _ACCELERATOR)  # a backend nobody has measured
    name = row[spec.kernel_kind, spec.group_kind]
    return name if LOWERINGS[name].suits(spec) else "plain"


def check_lowering(lowering: str) -> None:
    """Raises `InputError` unless `lowering` is `auto`, a backend or a name of `LOWERINGS`."""
    lookup({"auto": None, **AUTO, **LOWERINGS}, lowering, "convolution lowering")


def convolve(x, kernel, *, strides: Triple, padding: Triple, groups: int = 1, lowering="auto"):
    """3-D convolution (cross-correlation), channels last: `[B,T,H,W,C] -> [B,T',H',W',features]`.

    Each of T', H', W' is `(n + 2 * padding - kernel) // stride + 1` of the input's n.

    Args:
      x: input, `[B,T,H,W,C]`.
      kernel: `[kt, kh, kw, C / groups, features]`.
      strides: step along T, H, W.
      padding: zeros added on both sides of T, H, W.
      groups: feature groups.
      lowering: see `choose`.
    """
    spec = ConvSpec(
        kernel_size=tuple(kernel.shape[:3]),
        strides=tuple(strides),
        padding=tuple(padding),
        groups=groups,
        in_features=x.shape[-1],
        features=kernel.shape[-1],
    )
    return LOWERINGS[choose(spec, lowering)].compute(x, kernel, spec)


class Conv(nn.Module):
    """Convolution over `[B,T,H,W,C]` with explicit symmetric padding.

    Parameters: `kernel [kt, kh, kw, C / groups, features]` and, with `use_bias`, `bias`, float32.

    Attributes:
      features: channels out.
      kernel_size: extent along T, H, W.
      strides: step along T, H, W.
      padding: zeros on both sides of each axis; None is half the kernel, which keeps the size at
        stride 1 and is what PyTorch networks do at stride 2 (`"SAME"` is not).
      groups: feature groups.
      use_bias: add a bias per channel.
      dtype: of the computation and the output; None keeps the promoted type of input and kernel.
      kernel_init: initialiser of the kernel.
      lowering: how to compute it, see `choose`; the numbers do not depend on it.
    """

    features: int
    kernel_size: Triple = (1, 1, 1)
    strides: Triple = (1, 1, 1)
    padding: Triple | None = None
    groups: int = 1
    use_bias: bool = False
    dtype: Any = None
    kernel_init: Callable = he_normal_fan_out
    lowering: str = "auto"

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T',H',W',features]`."""
        channels = x.shape[-1]
        if channels % self.groups or self.features % self.groups:
            raise InputError(
                f"Convolution {'/'.join(self.path)}: groups={self.groups} must divide its "
                f"{channels} input and {self.features} output channels; change groups or width."
            )
        shape = (*self.kernel_size, channels // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        padding = self.padding
        if padding is None:
            padding = tuple(k // 2 for k in self.kernel_size)
        y = convolve(
            x,
            kernel,
            strides=self.strides,
            padding=padding,
            groups=self.groups,
            lowering=self.lowering,
        )
        if bias is not None:
            # Added in float32, so that its gradient, a sum over all positions, is one of float32.
            y = (y.astype(jnp.promote_types(y.dtype, jnp.float32)) + bias).astype(y.dtype)
        return remat.conv_output(y, channels)


ACTIVATIONS: dict[str, Callable] = {
    "relu": activation.relu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "leaky_relu": functools.partial(nn.leaky_relu, negative_slope=0.01),
    "swish": nn.swish,
    "hard_swish": nn.hard_swish,
    "identity": operator.pos,
}
"""Elementwise activations by name: the `act` slot of the networks."""
