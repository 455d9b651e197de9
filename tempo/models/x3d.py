"""X3D: a small image network expanded along time, space, depth and width (arXiv 2004.04730).

The geometry is that of the public code, which differs from the paper's table 1 in the stem: its
depthwise convolution along time sees 5 frames, not 3.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import chex
from flax import linen as nn

from tempo.errors import lookup
from tempo.layers import attention, remat
from tempo.layers import conv as conv_lib
from tempo.layers.lowerings import Triple
from tempo.models import fields
from tempo.models.resnet import block_name


def round_width(width: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `width`, at least one and no less than 0.9 of it."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def _expanded(width_factor: float, depth_factor: float) -> dict[str, Any]:
    """Widths and depths of the network that 12 channels and 1, 2, 5, 3 blocks are expanded to."""
    return {
        "widths": tuple(round_width(12 * 2**i * width_factor) for i in range(4)),
        "depths": tuple(math.ceil(depth_factor * depth) for depth in (1, 2, 5, 3)),
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "x3d_xs": _expanded(2.0, 2.2),
    "x3d_s": _expanded(2.0, 2.2),
    "x3d_m": _expanded(2.0, 2.2),
    "x3d_l": _expanded(2.0, 5.0),
    "x3d_xl": _expanded(2.9, 5.0),
}
"""Geometry by name; of the first three only the clips differ, see `presets.CLIPS`."""

FIELDS: dict[str, fields.Check] = {
    "stem_kernel_t": fields.EXTENT,
    "se_every": fields.SIZE,
    "se_ratio": fields.COUNT,
    "zero_init": fields.SWITCH,
}
"""By field of `X3D`: what its value can be."""

PER_STAGE = ("depths", "widths", "strides", "strides_t")
"""Fields of `X3D` with one entry per stage, a whole number of at least 1."""

SHORTCUT_NORMS = ("on_change", "always")
"""Which projections of a shortcut a norm follows, see `X3D`."""


class X3D(nn.Module):
    """Bottlenecks whose 3x3x3 convolution is depthwise, and gated in every second block.

    Attributes:
      conv, norm: factories; `norm` takes `use_running_average`.
      dtype: of the activations.
      remat: what the backward pass computes again of each block, a name of `remat.POLICIES`.
      depths: blocks per stage, at least 1.
      widths: channels that the blocks of each stage give; the stem's are those of the first.
      expansion: channels inside a block, as a multiple of those that it gives (cut off).
      strides, strides_t: per stage, strides of its first block over H and W, and over T.
      stem_kernel_t: temporal extent of the stem.
      act: a name of `conv.ACTIVATIONS`, for all but the following.
      inner_act: the one behind the depthwise convolution, its norm and its gate.
      se_every: in each stage, blocks 0, n, 2n, ... have a squeeze-and-excitation gate; 0 is none.
      se_ratio: channels inside a block in channels inside its gate, see `round_width`.
      shortcut_norm: `on_change` of channels has a norm behind the projection of the shortcut, one
        that only has strides (that of res2) none, as in PyTorchVideo; `always` is PySlowFast.
      zero_init: start the last norm of every block at zero, as the public recipes do.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: str
    depths: Sequence[int] = (3, 5, 11, 7)
    widths: Sequence[int] = (24, 48, 96, 192)
    expansion: float = 2.25
    strides: Sequence[int] = (2, 2, 2, 2)
    strides_t: Sequence[int] = (1, 1, 1, 1)
    stem_kernel_t: int = 5
    act: str = "relu"
    inner_act: str = "swish"
    se_every: int = 2
    se_ratio: int = 16
    shortcut_norm: str = "on_change"
    zero_init: bool = True

    top = ("res5",)

    def __post_init__(self):
        for field in ("act", "inner_act"):
            table = conv_lib.ACTIVATIONS
            lookup(table, getattr(self, field), f"{field} (config.backbone.{field})")
        table = dict.fromkeys(SHORTCUT_NORMS)
        lookup(table, self.shortcut_norm, "shortcut_norm (config.backbone.shortcut_norm)")
        fields.check(self, FIELDS, dict.fromkeys(PER_STAGE, fields.COUNT))
        fields.check_expansion(self.expansion, self.widths)
        super().__post_init__()

    def pathways(self) -> dict[str, nn.Module]:
        """The residual networks of `resnet.ResNet` in it: none; see `SlowFast.pathways`."""
        return {}

    @nn.compact
    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> `{"res2", ..., "res5"}` of `[B,T,H/s,W/s,C']`, s = 4, 8, 16, 32.

        Raises:
          InputError: clips without frames or pixels.
        """
        chex.assert_rank(x, 5)
        fields.check_clips(x, "X3D")
        act = conv_lib.ACTIVATIONS[self.act]
        norm = functools.partial(self.norm, use_running_average=not train)
        x, stem = x.astype(self.dtype), self.widths[0]
        x = self.conv(stem, (1, 3, 3), (1, 2, 2), name="stem_conv")(x)
        x = self.conv(stem, (self.stem_kernel_t, 1, 1), groups=stem, name="stem_conv_t")(x)
        x = act(norm(name="stem_norm")(x))
        features = {}
        for stage in range(4):
            x = self._stage(x, stage, norm, act)
            features[f"res{stage + 2}"] = x
        return features

    def _stage(self, x, stage: int, norm, act):
        block = remat.block(X3DBlock, self.remat)
        time, space = self.strides_t[stage], self.strides[stage]
        width = self.widths[stage]
        inner = int(self.expansion * width)
        for i in range(self.depths[stage]):
            has_gate = self.se_every and i % self.se_every == 0
            x = block(
                features=width,
                inner=inner,
                strides=(time, space, space) if i == 0 else (1, 1, 1),
                conv=self.conv,
                norm=norm,
                act=act,
                inner_act=conv_lib.ACTIVATIONS[self.inner_act],
                gate_width=round_width(inner / self.se_ratio) if has_gate else 0,
                always_norms_shortcut=self.shortcut_norm == "always",
                zero_init=self.zero_init,
                name=block_name(stage, i),
            )(x)
        return x


class X3DBlock(nn.Module):
    """1x1x1, depthwise 3x3x3 and 1x1x1 convolutions with norms, beside a shortcut.

    Attributes:
      features: channels out.
      inner: channels of the depthwise convolution.
      strides: of the block, along T, H, W; the depthwise convolution and the projection have them.
      conv, norm: factories; `norm` has `train` bound.
      act: behind the first norm and the sum.
      inner_act: behind the second norm and the gate.
      gate_width: channels inside the gate; 0 is no gate.
      always_norms_shortcut: a norm follows every projection, not only one to other channels.
      zero_init: start the last norm's scale at zero.
    """

    features: int
    inner: int
    strides: Triple
    conv: Callable
    norm: Callable
    act: Callable
    inner_act: Callable
    gate_width: int = 0
    always_norms_shortcut: bool = False
    zero_init: bool = False

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T',H',W',features]`."""
        y = self.act(self.norm(name="norm1")(self.conv(self.inner, name="conv1")(x)))
        kernel_size = (3, 3, 3)
        y = self.conv(self.inner, kernel_size, self.strides, groups=self.inner, name="conv2")(y)
        y = self.norm(name="norm2")(y)
        if self.gate_width:
            y = attention.SqueezeExcite(self.conv, width=self.gate_width, name="se")(y)
        y = self.conv(self.features, name="conv3")(self.inner_act(y))
        scale_init = nn.initializers.zeros if self.zero_init else nn.initializers.ones
        y = self.norm(name="norm3", scale_init=scale_init)(y)
        is_changed = x.shape[-1] != self.features
        if is_changed or math.prod(self.strides) > 1:
            x = self.conv(self.features, (1, 1, 1), self.strides, name="conv_proj")(x)
            if is_changed or self.always_norms_shortcut:
                x = self.norm(name="norm_proj")(x)
        return self.act(x + y)
