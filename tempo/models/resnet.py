"""ResNet over video: per frame (2-D), SlowOnly, or inflated by any pattern of temporal kernels.

Sources: He et al., arXiv 1512.03385; SlowOnly is the slow pathway of arXiv 1812.03982; inflation is
that of arXiv 1705.07750.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
from flax import linen as nn
from jax import numpy as jnp

from tempo.errors import InputError, lookup
from tempo.layers import attention, block_conv, pooling, remat, slots, temporal
from tempo.layers import conv as conv_lib
from tempo.layers.slots import Slot
from tempo.models import blocks, fields

R18, R34_50, R101, R152 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
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
    "c2d_r152": {"depths": R152},
    "slowonly_r18": {"block": "basic", "depths": R18, "kernels_t": _SLOWONLY},
    "slowonly_r34": {"block": "basic", "depths": R34_50, "kernels_t": _SLOWONLY},
    "slowonly_r50": {"depths": R34_50, "kernels_t": _SLOWONLY},
    "slowonly_r101": {"depths": R101, "kernels_t": _SLOWONLY},
    "i3d_r50": {"depths": R34_50, **_I3D},
    "i3d_r101": {"depths": R101, **_I3D},
}
"""Geometry by name: rows of `ResNet` fields, each of which can be overridden."""

NAMES = {
    "block": blocks.BLOCKS,
    "inflate_style": blocks.INFLATED,
    "act": conv_lib.ACTIVATIONS,
    "downsample": blocks.DOWNSAMPLE,
    "stride_on": dict.fromkeys(blocks.STRIDE_ON),
    "nonlocal_mode": attention.NONLOCAL_MODES,
    "nonlocal_pool": dict.fromkeys(attention.NONLOCAL_POOLS),
}
"""Fields of `ResNet` that are a name, and the table of each."""

PER_FRAME_CONV_B = ("plain", "acb2d")
"""Rows of `block_conv.CONV_B` that see one frame where the kernel they replace does."""


class ResNet(nn.Module):
    """A residual network over clips that returns the features of its four stages.

    Attributes:
      conv, norm: factories; `norm` takes `use_running_average`.
      dtype: of the activations.
      remat: what the backward pass computes again of each block, a name of `remat.POLICIES`.
      block: a name of `blocks.BLOCKS`.
      depths: blocks per stage; a stage of 0 hands on what it gets.
      width: channels of the stem; the convolutions of stage i have `width * 2**i`, the block's
        output that many times its expansion.
      kernels_t: temporal extent of the inflated convolutions, per stage: one number, or a pattern
        repeated over the blocks of the stage.
      inflate_style: which convolutions of a block are inflated, a name of `blocks.INFLATED`.
      expansion: output channels of a block as a multiple of `width * 2**i`; 0 is the block's own.
      strides, strides_t: per stage, strides of its first block over H and W, and over T.
      stride_on: of bottleneck blocks, the convolution that carries them: `conv2`, or `conv1` as in
        the networks of Caffe.
      stem_kernel_t, stem_stride_t: temporal extent and stride of the 7x7 stem.
      stem_inner: if not 0, the stem is a 1x7x7 convolution to so many channels, a norm, `act`, and
        a convolution along time (R(2+1)D, arXiv 1711.11248).
      stem_pool: a 3x3 max pool at stride 2 behind the stem.
      pool1_kernel_t, pool1_stride_t: temporal extent and stride of that pool.
      pool2_stride_t: extent and stride of a pool along time behind res2; 1 is none.
      temporal: slot of `temporal.TEMPORAL`: the module in every block, where its `place` says.
      shift_div: the temporal shift's reciprocal fold, unless its slot says it.
      shift_shortcut: the projection shortcut reads the shifted input too (the TPN release does,
        MIT's TSM does not).
      shift_every: in each stage, blocks 0, n, 2n, ... have the temporal module (TSM: 2 for R101).
      act: a name of `conv.ACTIVATIONS`.
      conv_b: slot of `block_conv.CONV_B`: what the blocks' 3x3 convolutions are.
      downsample: a name of `blocks.DOWNSAMPLE`: what blocks with strides do.
      pool_stem: the stem has no stride over H and W and a further 3x3 max pool at stride 2.
      attention: slot of `attention.ATTENTION`: the gate in every block, where its `place` says:
        behind the last norm, or behind the last activation.
      nonlocal_blocks: per stage, the blocks (from 0) behind which a non-local block stands.
      nonlocal_mode: a name of `attention.NONLOCAL_MODES`.
      nonlocal_pool: a name of `attention.NONLOCAL_POOLS`.
      zero_init: zero the scale of the last norm of every block, for training from scratch.
      partial_norm: every norm but the stem's uses its running statistics in training too and does
        not update them (partial BN of TSN, arXiv 1608.00859 section 3.2). It does not freeze
        scale and bias; a learning-rate multiplier does.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: str
    block: str = "bottleneck"
    depths: Sequence[int] = R34_50
    width: int = 64
    kernels_t: Sequence[int | Sequence[int]] = (1, 1, 1, 1)
    inflate_style: str = "3x1x1"
    expansion: int = 0
    strides: Sequence[int] = (1, 2, 2, 2)
    strides_t: Sequence[int] = (1, 1, 1, 1)
    stride_on: str = "conv2"
    stem_kernel_t: int = 1
    stem_stride_t: int = 1
    stem_inner: int = 0
    stem_pool: bool = True
    pool1_kernel_t: int = 1
    pool1_stride_t: int = 1
    pool2_stride_t: int = 1
    temporal: Slot = "none"
    shift_div: int = 8
    shift_shortcut: bool = False
    shift_every: int = 1
    act: str = "relu"
    conv_b: Slot = "plain"
    downsample: str = "strided"
    pool_stem: bool = False
    attention: Slot = "none"
    nonlocal_blocks: Sequence[Sequence[int]] = ((), (), (), ())
    nonlocal_mode: str = "dot_product"
    nonlocal_pool: str = "input"
    zero_init: bool = False
    partial_norm: bool = False

    top = ("res5",)

    def __post_init__(self):
        for field, table in NAMES.items():
            lookup(table, str(getattr(self, field)), f"{field} (config.backbone.{field})")
        self._slots(self.norm)
        fields.check(self)
        super().__post_init__()

    @property
    def layout(self) -> tuple[blocks.BlockConv, ...]:
        """The convolutions of every block."""
        return blocks.layout(self.block, self.expansion, self.stride_on)

    @property
    def is_per_frame(self) -> bool:
        """Whether frames do not see each other and none is left out."""
        extents = (
            self.stem_kernel_t,
            self.stem_stride_t,
            self.pool1_kernel_t,
            self.pool1_stride_t,
            self.pool2_stride_t,
            *self.strides_t,
            *(k for kernels in self.kernels_t for k in _tuple(kernels)),
        )
        return (
            set(extents) == {1}
            and slots.name_of(self.temporal) == "none"
            and slots.name_of(self.attention) == "none"
            and slots.name_of(self.conv_b) in PER_FRAME_CONV_B
            and not any(self.nonlocal_blocks)
        )

    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> `{"res2", ..., "res5"}` of `[B,T',H/s,W/s,C']`.

        With the default strides s is 4, 8, 16, 32.
        """
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
        x = self._stem(x.astype(self.dtype), norm, act)
        if self.partial_norm:
            norm = functools.partial(self.norm, use_running_average=True)
        features = {"stem": x}
        for stage in range(4):
            x = _join(x, laterals[stage]) if laterals else x
            # Only now, so that a lateral connection from res2 meets the frames of res2.
            x = pooling.ceil_max_pool_time(x, self.pool2_stride_t) if stage == 1 else x
            x = self._stage(x, stage, norm, act, train)
            features[f"res{stage + 2}"] = x
        return features

    def _stem(self, x, norm, act):
        space, time = 1 if self.pool_stem else 2, self.stem_stride_t
        if self.stem_inner:
            x = self.conv(self.stem_inner, (1, 7, 7), (1, space, space), name="stem_conv")(x)
            x = act(norm(name="stem_norm_inner")(x))
            kernel_size = (self.stem_kernel_t, 1, 1)
            x = self.conv(self.width, kernel_size, (time, 1, 1), name="stem_conv_t")(x)
        else:
            kernel_size = (self.stem_kernel_t, 7, 7)
            x = self.conv(self.width, kernel_size, (time, space, space), name="stem_conv")(x)
        x = act(norm(name="stem_norm")(x))
        if self.pool_stem:
            x = pooling.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        if self.stem_pool:
            window, pad = (self.pool1_kernel_t, 3, 3), (self.pool1_kernel_t // 2, 1, 1)
            x = pooling.max_pool(x, window, (self.pool1_stride_t, 2, 2), pad)
        return x

    def _slots(self, norm, train: bool = False) -> dict[str, Callable | None]:
        """What the slots of the blocks name, with their options bound."""
        given = {"conv": self.conv, "norm": norm}
        options = self.temporal if isinstance(self.temporal, Mapping) else {}
        shift = {} if "shift_div" in options else {"shift_div": self.shift_div}
        tables = {
            "temporal": (temporal.TEMPORAL, {**given, **shift}),
            "conv_b": (block_conv.CONV_B, {"train": train}),
            "attention": (attention.ATTENTION, given),
        }
        return {
            name: slots.make(
                getattr(self, name), table, f"{name} (config.backbone.{name})", **bound
            )
            for name, (table, bound) in tables.items()
        }

    def pathways(self) -> dict[str, "ResNet"]:
        """The one there is, by the name its leaves are under, none; see `SlowFast.pathways`."""
        return {"": self}

    def block_kernels(self, stage: int, i: int) -> tuple[int, ...]:
        """Frames that each convolution of block `i` sees, unless `conv_b` says it; both from 0."""
        pattern = _tuple(self.kernels_t[stage])
        kernel_t = pattern[i % len(pattern)]
        inflated = blocks.INFLATED[self.inflate_style][self.block]
        return tuple(kernel_t if is_inflated else 1 for is_inflated in inflated)

    def _stage(self, x, stage: int, norm, act, train: bool):
        block = remat.block(blocks.ResidualBlock, self.remat)
        modules = self._slots(norm, train)
        module = modules.pop("temporal")
        time, space = self.strides_t[stage], self.strides[stage]
        for i in range(self.depths[stage]):
            name = block_name(stage, i)
            x = block(
                layout=self.layout,
                features=self.width * 2**stage,
                strides=(time, space, space) if i == 0 else (1, 1, 1),
                kernels_t=self.block_kernels(stage, i),
                conv=self.conv,
                norm=norm,
                act=act,
                downsample=blocks.DOWNSAMPLE[self.downsample],
                temporal=module if i % self.shift_every == 0 else None,
                temporal_place=_place(module, "input"),
                temporal_shortcut=self.shift_shortcut,
                attention_place=_place(modules["attention"], "branch"),
                zero_init=self.zero_init,
                name=name,
                **modules,
            )(x)
            if i in self.nonlocal_blocks[stage]:
                x = attention.NonLocal(
                    conv=self.conv,
                    norm=norm,
                    mode=self.nonlocal_mode,
                    pool=self.nonlocal_pool,
                    name=f"{name}_nonlocal",
                )(x)
        return x


def block_name(stage: int, i: int) -> str:
    """Name of a block and its leaves; `stage` and `i` from 0."""
    return f"stage{stage + 1}_block{i + 1}"


def _place(module: functools.partial | None, default: str) -> str:
    """Where in a block a row's class says that it stands."""
    return getattr(module and module.func, "place", default)


def _tuple(value: int | Sequence[int]) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _join(x, lateral):
    """Channels of `lateral` behind those of `x`."""
    if x.shape[:-1] != lateral.shape[:-1]:
        raise InputError(
            f"A lateral connection of shape {lateral.shape} cannot join features of shape "
            f"{x.shape}; give both pathways the same strides."
        )
    return jnp.concatenate([x, lateral], -1)
