"""ResNet over video: per frame (2-D), SlowOnly, or inflated by any pattern of temporal kernels.

Sources: He et al., arXiv 1512.03385; SlowOnly is the slow pathway of arXiv 1812.03982; inflation is
that of arXiv 1705.07750.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
from flax import linen as nn
from jax import numpy as jnp

from tempo.errors import InputError, lookup
from tempo.layers import conv as conv_lib
from tempo.layers import pooling, temporal
from tempo.models import blocks

R18, R34_50, R101 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3)
_SLOWONLY = (1, 1, 3, 3)
_I3D = {
    "kernels_t": ((3, 3, 3), (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1)),
    "stem_kernel_t": 5,
    "stem_stride_t": 2,
    "pool1_stride_t": 2,
    "pool2_stride_t": 2,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "c2d_r18": {"block": "basic", "depths": R18},
    "c2d_r34": {"block": "basic", "depths": R34_50},
    "c2d_r50": {"depths": R34_50},
    "c2d_r101": {"depths": R101},
    "slowonly_r18": {"block": "basic", "depths": R18, "kernels_t": _SLOWONLY},
    "slowonly_r34": {"block": "basic", "depths": R34_50, "kernels_t": _SLOWONLY},
    "slowonly_r50": {"depths": R34_50, "kernels_t": _SLOWONLY},
    "slowonly_r101": {"depths": R101, "kernels_t": _SLOWONLY},
    "i3d_r50": {"depths": R34_50, **_I3D},
    "i3d_r101": {"depths": R101, **_I3D},
}
"""Geometry by name: rows of `ResNet` fields, each of which can be overridden."""


class ResNet(nn.Module):
    """A residual network over clips that returns the features of its four stages.

    Attributes:
      conv, norm: factories; `norm` takes `use_running_average`.
      dtype: of the activations.
      remat: recompute each block's activations in the backward pass instead of keeping them.
      block: a name of `blocks.BLOCKS`.
      depths: blocks per stage.
      width: channels of the stem; stage i has `width * 2**i`, times the block's expansion.
      kernels_t: temporal extent of the inflated convolutions, per stage: one number, or a pattern
        repeated over the blocks of the stage.
      inflate_style: which convolutions of a block are inflated, a name of `blocks.INFLATED`.
      stem_kernel_t, stem_stride_t: temporal extent and stride of the 7x7 stem.
      pool1_stride_t: temporal stride of the 3x3 pool behind the stem (no extent in time).
      pool2_stride_t: extent and stride of a pool along time behind res2; 1 is none.
      temporal: a name of `temporal.TEMPORAL`: the module on the input of each block's conv1.
      shift_div: the temporal shift's reciprocal fold.
      shift_shortcut: the projection shortcut reads the shifted input too (the TPN release does,
        MIT's TSM does not).
      shift_every: in each stage, blocks 0, n, 2n, ... have the temporal module (TSM: 2 for R101).
      act: a name of `conv.ACTIVATIONS`.
      conv_b: factory of the blocks' 3x3 convolutions; None is `conv`.
      zero_init: zero the scale of the last norm of every block, for training from scratch.
      partial_norm: every norm but the stem's uses its running statistics in training too and does
        not update them (partial BN of TSN, arXiv 1608.00859 section 3.2). It does not freeze
        scale and bias; a learning-rate multiplier does.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: bool
    block: str = "bottleneck"
    depths: Sequence[int] = R34_50
    width: int = 64
    kernels_t: Sequence[int | Sequence[int]] = (1, 1, 1, 1)
    inflate_style: str = "3x1x1"
    stem_kernel_t: int = 1
    stem_stride_t: int = 1
    pool1_stride_t: int = 1
    pool2_stride_t: int = 1
    temporal: str = "none"
    shift_div: int = 8
    shift_shortcut: bool = False
    shift_every: int = 1
    act: str = "relu"
    conv_b: Callable | None = None
    zero_init: bool = False
    partial_norm: bool = False

    top = ("res5",)

    def __post_init__(self):
        lookup(blocks.BLOCKS, self.block, "block (config.backbone.block)")
        lookup(blocks.INFLATED, self.inflate_style, "inflate_style (config.backbone.inflate_style)")
        lookup(temporal.TEMPORAL, self.temporal, "temporal module (config.backbone.temporal)")
        lookup(conv_lib.ACTIVATIONS, self.act, "activation (config.backbone.act)")
        for field in ("depths", "kernels_t"):
            value = getattr(self, field)
            if len(value) != 4:
                raise InputError(f"backbone.{field} needs one entry per stage, 4; got {value}.")
        if self.shift_every < 1:
            raise InputError(f"backbone.shift_every must be at least 1; got {self.shift_every}.")
        super().__post_init__()

    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> `{"res2", ..., "res5"}` of `[B,T,H/s,W/s,C]`, s = 4, 8, 16, 32."""
        features = self.stages(x, train=train)
        del features["stem"]
        return features

    @nn.compact
    def stages(self, x, *, train: bool, laterals: Sequence[Any] = ()):
        """What `__call__` gives, and `stem`, the pooled output of the stem.

        Args:
          x: `[B,T,H,W,C]`.
          train: use batch statistics and update them.
          laterals: features of another pathway, which the next stage reads behind the channels of
            `stem`, `res2`, `res3` and `res4`; each has their B, T, H, W. The features returned
            are without them.
        """
        chex.assert_rank(x, 5)
        act = conv_lib.ACTIVATIONS[self.act]
        norm = functools.partial(self.norm, use_running_average=not train)
        x = self.conv(
            self.width,
            (self.stem_kernel_t, 7, 7),
            (self.stem_stride_t, 2, 2),
            name="stem_conv",
        )(x.astype(self.dtype))
        x = act(norm(name="stem_norm")(x))
        x = pooling.max_pool(x, (1, 3, 3), (self.pool1_stride_t, 2, 2), (0, 1, 1))
        if self.partial_norm:
            norm = functools.partial(self.norm, use_running_average=True)
        features = {"stem": x}
        for stage in range(4):
            x = _join(x, laterals[stage]) if laterals else x
            # Only now, so that a lateral connection from res2 meets the frames of res2.
            x = pooling.ceil_max_pool_time(x, self.pool2_stride_t) if stage == 1 else x
            x = self._stage(x, stage, norm, act)
            features[f"res{stage + 2}"] = x
        return features

    def _stage(self, x, stage: int, norm, act):
        block = nn.remat(blocks.ResidualBlock) if self.remat else blocks.ResidualBlock
        inflated = blocks.INFLATED[self.inflate_style][self.block]
        module = temporal.TEMPORAL[self.temporal]
        if module is not None:
            module = functools.partial(module, shift_div=self.shift_div)
        pattern = self.kernels_t[stage]
        pattern = (pattern,) if isinstance(pattern, int) else pattern
        for i in range(self.depths[stage]):
            kernel_t = pattern[i % len(pattern)]
            x = block(
                layout=blocks.BLOCKS[self.block],
                features=self.width * 2**stage,
                stride=2 if stage > 0 and i == 0 else 1,
                kernels_t=tuple(kernel_t if is_inflated else 1 for is_inflated in inflated),
                conv=self.conv,
                norm=norm,
                conv_b=self.conv_b or self.conv,
                act=act,
                temporal=module if i % self.shift_every == 0 else None,
                temporal_shortcut=self.shift_shortcut,
                zero_init=self.zero_init,
                name=f"stage{stage + 1}_block{i + 1}",
            )(x)
        return x


def _join(x, lateral):
    """Channels of `lateral` behind those of `x`."""
    if x.shape[:-1] != lateral.shape[:-1]:
        raise InputError(
            f"A lateral connection of shape {lateral.shape} cannot join features of shape "
            f"{x.shape}; give both pathways the same strides."
        )
    return jnp.concatenate([x, lateral], -1)
