"""BN-Inception over the frames of a clip: the network of TSN and two-stream models of its time.

Sources: Ioffe and Szegedy, arXiv 1502.03167 (section 4.2.1 and figure 5); the widths and pools are
those of the deployment that TSN (arXiv 1608.00859) publishes weights for.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import chex
from flax import linen as nn
from jax import lax
from jax import numpy as jnp

from tempo.layers import activation, pooling, remat
from tempo.models import fields

VARIANTS: dict[str, dict[str, Any]] = {"bninception": {}}
"""Geometry by name: rows of `BNInception` fields, each of which can be overridden."""

WIDTH = 64
"""Channels of the stem that the numbers of `BLOCKS` go with."""


@dataclasses.dataclass(frozen=True)
class Inception:
    """Channels of the convolutions of one block, and its pool.

    Attributes:
      b1x1: of the branch of one 1x1 convolution; 0 is none.
      b3x3: of the 1x1 convolution that reduces, and of the 3x3 one behind it.
      double: of the 1x1 convolution that reduces, and of the two 3x3 ones behind it.
      pool: `avg` or `max` of 3x3.
      proj: of the 1x1 convolution behind the pool; 0 hands on what the pool gives.
      stride: 2 in a block that halves the size: its last 3x3 convolutions and its pool do it.
    """

    b1x1: int
    b3x3: tuple[int, int]
    double: tuple[int, int, int]
    pool: str
    proj: int
    stride: int = 1


BLOCKS: dict[str, Inception] = {
    "inc3a": Inception(64, (64, 64), (64, 96, 96), "avg", 32),
    "inc3b": Inception(64, (64, 96), (64, 96, 96), "avg", 64),
    "inc3c": Inception(0, (128, 160), (64, 96, 96), "max", 0, stride=2),
    "inc4a": Inception(224, (64, 96), (96, 128, 128), "avg", 128),
    "inc4b": Inception(192, (96, 128), (96, 128, 128), "avg", 128),
    "inc4c": Inception(160, (128, 160), (128, 160, 160), "avg", 128),
    "inc4d": Inception(96, (128, 192), (160, 192, 192), "avg", 128),
    "inc4e": Inception(0, (128, 192), (192, 256, 256), "max", 0, stride=2),
    "inc5a": Inception(352, (192, 320), (160, 224, 224), "avg", 128),
    "inc5b": Inception(352, (192, 320), (192, 224, 224), "max", 128),
}
"""The blocks in order, by name."""

FEATURES = {"inc3b": "res3", "inc4d": "res4", "inc5b": "res5"}
"""Blocks whose output is the last of its size, and the feature that it is."""

_WIDTH: fields.Check = (
    lambda width: fields.is_whole(width, 2) and width % 2 == 0,
    "an even whole number of at least 2, of which every convolution's channels are a multiple",
)


class BNInception(nn.Module):
    """Ten Inception blocks behind a stem; each frame on its own.

    Every convolution has a bias, as published weights do, a norm and a ReLU. At frames of 224 px
    the features are res2 `[B,T,56,56,192]`, res3 `[B,T,28,28,320]`, res4 `[B,T,14,14,608]` and res5
    `[B,T,7,7,1024]`.

    Attributes:
      conv, norm: factories; `norm` takes `use_running_average`.
      dtype: of the activations.
      remat: what the backward pass computes again of each block, a name of `remat.POLICIES`.
      width: channels of the stem; those of all other convolutions are in proportion.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: str
    width: int = WIDTH

    top = ("res5",)
    is_per_frame = True

    def __post_init__(self):
        fields.check(self, {"width": _WIDTH}, {})
        super().__post_init__()

    def pathways(self) -> dict[str, nn.Module]:
        """The residual networks of `resnet.ResNet` in it: none; see `SlowFast.pathways`."""
        return {}

    @nn.compact
    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> `{"res2", ..., "res5"}` of `[B,T,H/s,W/s,C']`, s = 4, 8, 16, 32.

        res2 is what the stem's last convolution gives, before its pool.
        """
        chex.assert_rank(x, 5)
        fields.check_clips(x, "BN-Inception")
        norm = functools.partial(self.norm, use_running_average=not train)
        unit = functools.partial(_unit, self.conv, norm)
        block = remat.block(InceptionBlock, self.remat)
        x = unit("stem_conv", x.astype(self.dtype), self.width, 7, 2, norm_name="stem_norm")
        x = _halved(x, _ceil_mode(x))
        x = unit("conv2_reduce", x, self.width)
        features = {"res2": unit("conv2", x, 3 * self.width, 3)}
        x = _halved(features["res2"], _ceil_mode(features["res2"]))
        for name, row in BLOCKS.items():
            x = block(row=_scaled(row, self.width), conv=self.conv, norm=norm, name=name)(x)
            if name in FEATURES:
                features[FEATURES[name]] = x
        return features


class InceptionBlock(nn.Module):
    """Branches side by side, their channels in the order 1x1, 3x3, double 3x3, pool.

    Attributes:
      row: its geometry.
      conv, norm: factories; `norm` has `train` bound.
    """

    row: Inception
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H',W',C']`, H' and W' are halves at stride 2, rounded up."""
        row = self.row
        unit = functools.partial(_unit, self.conv, self.norm)
        branches = [unit("b1x1", x, row.b1x1)] if row.b1x1 else []
        y = unit("b3x3_reduce", x, row.b3x3[0])
        branches.append(unit("b3x3", y, row.b3x3[1], 3, row.stride))
        y = unit("bd_1", unit("bd_reduce", x, row.double[0]), row.double[1], 3)
        branches.append(unit("bd_2", y, row.double[2], 3, row.stride))
        if row.stride == 2:
            # An odd side is rounded up as the convolutions beside the pool do.
            y = _halved(x, branches[0].shape[2:4])
        elif row.pool == "max":
            y = pooling.max_pool(x, (1, 3, 3), (1, 1, 1), (0, 1, 1))
        else:
            y = _average(x)
        branches.append(unit("pool_proj", y, row.proj) if row.proj else y)
        return jnp.concatenate(branches, -1)


def _unit(conv, norm, name: str, x, channels: int, side: int = 1, stride: int = 1, norm_name=""):
    """A convolution with a bias, its norm and a ReLU."""
    x = conv(channels, (1, side, side), (1, stride, stride), use_bias=True, name=name)(x)
    return activation.relu(norm(name=norm_name or f"{name}_norm")(x))


def _halved(x, sides):
    """3x3 max pool at stride 2 that gives `sides` (H', W').

    What is missing is added behind the last element first, as Caffe's pools in ceil mode do.
    """
    missing = [2 * out + 1 - n for n, out in zip(x.shape[2:4], sides, strict=True)]
    pads = [(0, 0), (0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)]
    x = jnp.pad(x, pads, constant_values=-jnp.inf)
    return pooling.max_pool(x, (1, 3, 3), (1, 2, 2))


def _ceil_mode(x):
    """Sides of a 3x3 pool at stride 2 in ceil mode, at least 1."""
    return [max(n // 2, 1) for n in x.shape[2:4]]


def _average(x):
    """3x3 mean at stride 1; the elements beyond the border are zeros that count."""
    for axis in (2, 3):
        size = x.shape[axis]
        x = jnp.pad(x, [(int(i == axis),) * 2 for i in range(x.ndim)])
        x = sum(lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(3))
    return x / 9


def _scaled(row: Inception, width: int) -> Inception:
    """The channels of a row in proportion to a stem of `width`."""

    def of(channels):
        return channels * width // WIDTH

    return dataclasses.replace(
        row,
        b1x1=of(row.b1x1),
        b3x3=tuple(map(of, row.b3x3)),
        double=tuple(map(of, row.double)),
        proj=of(row.proj),
    )
