"""Multi-fiber network: units of parallel lanes that a multiplexer joins (arXiv 1807.11195).

The geometry is that of the authors' release (cypw/PyTorch-MFNet).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.layers import conv as conv_lib
from tempo.layers import pooling, remat
from tempo.layers.lowerings import Triple
from tempo.models import fields
from tempo.models.resnet import block_name

VARIANTS: dict[str, dict[str, Any]] = {"mfnet": {"depths": (3, 4, 6, 3)}}
"""Geometry by name: rows of `MultiFiber` fields, each of which can be overridden."""

_FIELDS: dict[str, fields.Check] = {
    **dict.fromkeys(("stem_width", "width", "num_fibers", "multiplexer_div"), fields.COUNT)
}
_PER_STAGE: dict[str, fields.Check] = {
    "depths": fields.SIZE,
    **dict.fromkeys(("strides", "strides_t"), fields.COUNT),
}


class MultiFiber(nn.Module):
    """Units of grouped convolutions, each behind a multiplexer that mixes all channels.

    Attributes:
      conv, norm: factories; `norm` takes `use_running_average`.
      dtype: of the activations.
      remat: what the backward pass computes again of each unit, a name of `remat.POLICIES`.
      depths: units per stage; a stage of 0 hands on what it gets.
      stem_width: channels of the 3x5x5 stem.
      width: channels of stage i are `width * 2**i`.
      num_fibers: groups of the 3x3x3 and 1x3x3 convolutions.
      multiplexer_div: channels of a unit in channels inside its multiplexer.
      strides, strides_t: per stage, strides of its first unit over H and W, and over T.
      act: a name of `conv.ACTIVATIONS`.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: str
    depths: Sequence[int] = (3, 4, 6, 3)
    stem_width: int = 16
    width: int = 96
    num_fibers: int = 16
    multiplexer_div: int = 4
    strides: Sequence[int] = (1, 2, 2, 2)
    strides_t: Sequence[int] = (2, 1, 1, 1)
    act: str = "relu"

    top = ("res5",)

    def __post_init__(self):
        lookup(conv_lib.ACTIVATIONS, self.act, "act (config.backbone.act)")
        fields.check(self, _FIELDS, _PER_STAGE)
        for field in ("stem_width", "width"):
            if getattr(self, field) % self.num_fibers:
                raise InputError(
                    f"backbone.{field}={getattr(self, field)} cannot be parted into "
                    f"backbone.num_fibers={self.num_fibers} fibers; give a multiple of it."
                )
        super().__post_init__()

    def pathways(self) -> dict[str, nn.Module]:
        """The residual networks of `resnet.ResNet` in it: none; see `SlowFast.pathways`."""
        return {}

    @nn.compact
    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> `{"res2", ..., "res5"}` of `[B,T/2,H/s,W/s,C']`, s = 4, 8, 16, 32.

        Units end in a sum; the last stage alone has a norm and the activation behind it.
        """
        chex.assert_rank(x, 5)
        act = conv_lib.ACTIVATIONS[self.act]
        norm = functools.partial(self.norm, use_running_average=not train)
        conv = functools.partial(self.conv, kernel_init=nn.initializers.xavier_uniform())
        unit = remat.block(MultiFiberUnit, self.remat)
        x = conv(self.stem_width, (3, 5, 5), (1, 2, 2), name="stem_conv")(x.astype(self.dtype))
        x = act(norm(name="stem_norm")(x))
        x = pooling.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        features = {}
        for stage in range(4):
            time, space = self.strides_t[stage], self.strides[stage]
            for i in range(self.depths[stage]):
                x = unit(
                    features=self.width * 2**stage,
                    strides=(time, space, space) if i == 0 else (1, 1, 1),
                    is_first=i == 0,
                    num_fibers=self.num_fibers,
                    multiplexer_div=self.multiplexer_div,
                    conv=conv,
                    norm=norm,
                    act=act,
                    name=block_name(stage, i),
                )(x)
            features[f"res{stage + 2}"] = x
        features["res5"] = act(norm(name="final_norm")(x))
        return features


class MultiFiberUnit(nn.Module):
    """A multiplexer and two grouped convolutions beside a shortcut (1807.11195, figure 2e).

    Every convolution stands behind a norm and the activation. conv1 and conv2 are the multiplexer,
    whose output is added to its input; conv3 is the 3x3x3 one and has the strides; conv4 is 1x3x3,
    and in the first unit of a stage 1x1x1 and ungrouped.

    Attributes:
      features: channels out.
      strides: of the unit, along T, H, W.
      is_first: of its stage: the shortcut is a projection.
      num_fibers: groups of conv3 and conv4.
      multiplexer_div: `features` in channels of conv1.
      conv, norm: factories; `norm` has `train` bound.
      act: activation function.
    """

    features: int
    strides: Triple
    is_first: bool
    num_fibers: int
    multiplexer_div: int
    conv: Callable
    norm: Callable
    act: Callable

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T',H',W',features]`."""
        channels = x.shape[-1]
        y = self._conv("1", x, max(1, self.features // self.multiplexer_div))
        y = x + self._conv("2", y, channels)
        grouped = {"groups": self.num_fibers}
        y = self._conv("3", y, self.features, (3, 3, 3), self.strides, **grouped)
        if not self.is_first:
            return x + self._conv("4", y, self.features, (1, 3, 3), **grouped)
        y = self._conv("4", y, self.features)
        return y + self._conv("_proj", x, self.features, (1, 1, 1), self.strides)

    def _conv(self, name: str, x, *geometry, **options):
        x = self.act(self.norm(name=f"norm{name}")(x))
        return self.conv(*geometry, name=f"conv{name}", **options)(x)
