"""MTNet: residual blocks of multi-temporal convolutions behind a recurrent gate (arXiv 2011.03949).

The paper gives the idea and the sizes, not the geometry. What is built here is the network of X3D's
stages whose parameters and multiply-adds are those of the paper's tables of MTNet-S and MTNet-M.
Of MTNet-L only the multiply-adds are; nothing of one kind with the others has its 50.1 M.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.layers import (
    activation,
    attention,
    frame_selection,
    mtconv,
    pooling,
    recurrent,
    remat,
    slots,
)
from tempo.layers.lowerings import Triple
from tempo.layers.slots import Slot
from tempo.models import fields

_M, _L = (3, 5, 11, 7), (5, 10, 25, 15)  # as X3D's, arXiv 2004.04730

VARIANTS: dict[str, dict[str, Any]] = {
    # The small network is the medium one on smaller frames.
    "mtnet_s": {"depths": _M},
    "mtnet_m": {"depths": _M},
    "mtnet_l": {"depths": _L},
}
"""Geometry by name: rows of `MTNet` fields, each of which can be overridden."""


@dataclasses.dataclass(frozen=True)
class BodyConv:
    """One convolution of a block's body; a norm follows it, and an activation but for the last.

    Attributes:
      kernel_size: along T, H, W.
      width: channels out: those of the block's input (`in`), its output (`out`), or `inner`.
      is_split: a multi-temporal convolution, not a plain one.
      is_strided: it carries the block's strides.
      kernel_projected: its kernel where the block's shortcut is a projection, if it is another.
    """

    kernel_size: Triple
    width: str
    is_split: bool = True
    is_strided: bool = False
    kernel_projected: Triple | None = None


_POINT, _SPACE, _BOTH = (1, 1, 1), (1, 3, 3), (3, 3, 3)

BLOCKS: dict[str, tuple[BodyConv, ...]] = {
    # The authors' block, which the sizes in the paper are of.
    "mt4": (
        BodyConv(_POINT, "inner"),
        BodyConv(_POINT, "in"),
        BodyConv(_BOTH, "inner", is_strided=True),
        BodyConv(_SPACE, "out", kernel_projected=_POINT),
    ),
    # X3D's bottleneck with its depthwise convolution replaced.
    "x3d": (
        BodyConv(_POINT, "inner", is_split=False),
        BodyConv(_BOTH, "inner", is_strided=True),
        BodyConv(_POINT, "out", is_split=False),
    ),
    # ResNet's, its output as wide as its 3x3x3 convolution.
    "bottleneck": (
        BodyConv(_POINT, "out", is_split=False),
        BodyConv(_BOTH, "out", is_strided=True),
        BodyConv(_POINT, "out", is_split=False),
    ),
}
"""Convolutions of a block's body in order, by name: the `block` field."""


def _whole_clip(x):
    return x


STEM_FRAMES = {**frame_selection.FRAMES, "all": _whole_clip}
"""What halves the frames behind the stem, by name; `pool` is the `mtconv` field's pool."""

# What the blocks say of a convolution, and no option does.
_PLACE = {
    "features": 1,
    "kernel_size": _POINT,
    "strides": (1, 1, 1),
    "is_activated": True,
    "scale_init": None,
    "train": False,
}


_FIELDS: dict[str, fields.Check] = {
    "ratio": (
        lambda x: fields.is_number(x) and 0 < x <= 1,
        "a number above 0 and at most 1, such as 0.875",
    ),
    "mtconv": (lambda x: isinstance(x, Mapping), 'a mapping of options, such as {"pool": "avg"}'),
    "sr_layers": fields.SIZE,
    "stem_kernel_t": fields.EXTENT,
    **dict.fromkeys(("stem_pool", "use_se", "is_last_activated"), fields.SWITCH),
}
_PER_STAGE: dict[str, fields.Check] = {
    "depths": fields.SIZE,
    **dict.fromkeys(("widths", "strides", "strides_t"), fields.COUNT),
}


class MTBlock(nn.Module):
    """`act(gate(body(x)) + shortcut(x))`, the shortcut a projection where shapes differ.

    Attributes:
      body: a row of `BLOCKS`.
      features: channels out.
      inner: channels of what the body calls `inner`.
      strides: of the block, along T, H, W.
      conv, norm: factories; `norm` has `train` bound.
      split: factory of `mtconv.MTConv` without its geometry.
      act: activation function.
      gate: factory of a gate on the body's output, or None.
      squeeze_excite: factory of a gate behind the strided convolution, or None.
      is_last_activated: an activation behind the last convolution too.
    """

    body: Sequence[BodyConv]
    features: int
    inner: int
    strides: Triple
    conv: Callable
    norm: Callable
    split: Callable
    act: Callable
    gate: Callable | None = None
    squeeze_excite: Callable | None = None
    is_last_activated: bool = False

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T',H',W',features]`."""
        is_projected = any(n > 1 for n in self.strides) or x.shape[-1] != self.features
        y = self._branch(x, is_projected)
        if self.gate is not None:
            y = self.gate(name="gate")(y)
        if is_projected:
            x = self.conv(self.features, _POINT, self.strides, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        return self.act(y + x)

    def _branch(self, y, is_projected: bool):
        widths = {"in": y.shape[-1], "inner": self.inner, "out": self.features}
        last = len(self.body)
        for i, row in enumerate(self.body, start=1):
            kernel_size = row.kernel_size
            if is_projected and row.kernel_projected is not None:
                kernel_size = row.kernel_projected
            strides = self.strides if row.is_strided else (1, 1, 1)
            place = (widths[row.width], kernel_size, strides)
            is_activated = i < last or self.is_last_activated
            if row.is_split:
                y = self._split(i, *place, is_activated=is_activated)(y)
            else:
                y = self.norm(name=f"norm{i}")(self.conv(*place, name=f"conv{i}")(y))
                y = self.act(y) if is_activated else y
            if row.is_strided and self.squeeze_excite is not None:
                y = self.squeeze_excite(name="se")(y)
        return y

    def _split(self, i: int, features: int, kernel_size: Triple, strides: Triple, **kwargs):
        return self.split(
            features=features,
            kernel_size=kernel_size,
            strides=strides,
            name=f"mtconv{i}",
            **kwargs,
        )


class MTNet(nn.Module):
    """A network of `MTBlock`s over clips that returns the features of its four stages.

    A clip of 16x224x224 is 8x56x56, 4x28x28, 2x14x14 and 1x7x7 in res2 to res5. Clips may have any
    number of frames and any size; nothing gets smaller than 1.

    Attributes:
      conv, norm: factories; `norm` takes `use_running_average`.
      dtype: of the activations; those of the selection of frames and the gates are float32.
      remat: what the backward pass computes again of each block, a name of `remat.POLICIES`.
      depths: blocks per stage; a stage of 0 hands on what it gets.
      widths: channels per stage; the stem has those of the first.
      expansion: inner width of a block as a multiple of its output's channels, rounded down.
      block: a name of `BLOCKS`.
      ratio: the part of the channels that sees every frame at full size, in (0, 1]; 1 is plain
        convolutions alone.
      mtconv: options of `tempo.layers.mtconv.MTConv`, such as `{"pool": "avg"}`.
      cell: a name of `recurrent.CELLS`: what runs over the frames to make the gates.
      sr_layers: recurrent layers of a gate; 0 is no gates. The paper says 2, its tables fit 1.
      use_se: squeeze-and-excitation behind the strided convolution of every second block, as in
        X3D; off in the paper.
      is_last_activated: a block's last convolution has an activation too, as the paper's equations
        say of each; residual blocks, and the release, have none.
      stem_kernel_t: temporal extent of the 3x3 stem.
      stem_pool: a 1x3x3 max pool at stride 2 behind the stem.
      stem_frames: slot of `STEM_FRAMES`: what halves the frames behind that.
      strides, strides_t: per stage, strides of its first block over H and W, and over T.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: str
    depths: Sequence[int] = _M
    widths: Sequence[int] = (24, 48, 96, 192)
    expansion: float = 2.25
    block: str = "mt4"
    ratio: float = 0.875
    mtconv: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cell: str = "gru"
    sr_layers: int = 1
    use_se: bool = False
    is_last_activated: bool = False
    stem_kernel_t: int = 3
    stem_pool: bool = True
    stem_frames: Slot = "triplet"
    strides: Sequence[int] = (1, 2, 2, 2)
    strides_t: Sequence[int] = (1, 2, 2, 2)

    top = ("res5",)

    def __post_init__(self):
        lookup(BLOCKS, str(self.block), "block (config.backbone.block)")
        lookup(recurrent.CELLS, str(self.cell), "cell (config.backbone.cell)")
        fields.check(self, _FIELDS, _PER_STAGE)
        fields.check_expansion(self.expansion, self.widths)
        if "name" in self.mtconv:
            raise InputError(
                f"backbone.mtconv has options and no name; got name={self.mtconv['name']!r}: leave "
                "it out."
            )
        # One is made, so that a wrong option is told before anything is traced.
        self._split(self.norm)(parent=None)
        self._frames()
        super().__post_init__()

    @nn.compact
    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> `{"res2", ..., "res5"}` of `[B,T',H/s,W/s,C']`, s = 4, 8, 16, 32.

        Raises:
          InputError: a clip without frames or pixels.
        """
        chex.assert_rank(x, 5)
        fields.check_clips(x, "MTNet")
        norm = functools.partial(self.norm, use_running_average=not train)
        x = self._stem(x.astype(self.dtype), norm, train)
        features = {}
        for stage in range(4):
            x = self._stage(x, stage, norm, train)
            features[f"res{stage + 2}"] = x
        return features

    def pathways(self) -> dict[str, nn.Module]:
        """The residual networks of `resnet.ResNet` in it: none; see `SlowFast.pathways`."""
        return {}

    def _stem(self, x, norm, train: bool):
        kernel_size = (self.stem_kernel_t, 3, 3)
        x = self.conv(self.widths[0], kernel_size, (1, 2, 2), name="stem_conv")(x)
        x = activation.relu(norm(name="stem_norm")(x))
        if self.stem_pool:
            x = pooling.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        frames = self._frames()
        if frames is not None:
            return frames(x)
        pool = pooling.POOLS[self.mtconv.get("pool", "soft")]
        key = self.make_rng("dropout") if train and self.has_rng("dropout") else None
        return pool(x, (2, 1, 1), key=key, train=train)

    def _frames(self) -> Callable | None:
        return slots.make(
            self.stem_frames, STEM_FRAMES, "stem_frames (config.backbone.stem_frames)"
        )

    def _split(self, norm, train: bool = False) -> Callable:
        """`MTConv` with the network's options bound."""
        return slots.make(
            {**self.mtconv, "name": "mtconv"},
            {"mtconv": mtconv.MTConv},
            "config.backbone",
            **{**_PLACE, "train": train},
            conv=self.conv,
            norm=norm,
            act=activation.relu,
            ratio=float(self.ratio),
        )

    def _stage(self, x, stage: int, norm, train: bool):
        block = remat.block(MTBlock, self.remat)
        time, space = self.strides_t[stage], self.strides[stage]
        width = self.widths[stage]
        split = self._split(norm, train)
        gate = functools.partial(
            recurrent.SqueezeRecursion, cell=self.cell, num_layers=self.sr_layers
        )
        squeeze_excite = functools.partial(attention.SqueezeExcite, conv=self.conv)
        for i in range(self.depths[stage]):
            x = block(
                body=BLOCKS[self.block],
                features=width,
                inner=int(self.expansion * width),
                strides=(time, space, space) if i == 0 else (1, 1, 1),
                conv=self.conv,
                norm=norm,
                split=split,
                act=activation.relu,
                gate=gate if self.sr_layers else None,
                squeeze_excite=squeeze_excite if self.use_se and i % 2 == 0 else None,
                is_last_activated=self.is_last_activated,
                name=f"stage{stage + 1}_block{i + 1}",
            )(x)
        return x
