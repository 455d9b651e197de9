"""MTNet as its authors released it: short and long features in two tensors, at two resolutions.

The code is `network/MTnet.py` of github.com/alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates
and is not the network that the paper's tables count (arXiv 2011.03949; `mtnet.MTNet` is). It
differs from the paper in this:

* a ResNet of widths 64, 128, 256, 512, not an X3D;
* the long features stay at half of T, H and W from the stem to the end, so that no layer enlarges
  them, and the streams never mix but through the laterals;
* laterals read the short convolution's output before its norm and activation, and share the norm of
  the long stream, whose running statistics move twice per step;
* of three frames in a row those are kept that are most alike: the highest mean of squared cosines;
* laterals take averages over 2x2 locations (or, where the code is told `soft`, every location: its
  SoftPool is commented out);
* the channels are rounded down to the short stream, and each stream has a gate of its own, of two
  layers.

The release's parameter counts (200 classes) are 39.9 M (s), 43.9 M (m) and 88.0 M (l); the paper
says 25.8, 25.8 and 50.1 M of networks with the same accuracies.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.layers import activation, frame_selection, pooling, remat, resize
from tempo.layers.lowerings import Triple
from tempo.layers.recurrent import CELLS, SqueezeRecursion
from tempo.models import fields

VARIANTS: dict[str, dict[str, Any]] = {
    "mtnet_xs_released": {"depths": (2, 2, 2, 2)},
    "mtnet_s_released": {"depths": (2, 2, 5, 3)},
    "mtnet_m_released": {"depths": (3, 4, 6, 3)},
    "mtnet_l_released": {"depths": (3, 4, 23, 3)},
}
"""Geometry by name: rows of `TwoStreamMTNet` fields, each of which can be overridden."""

Streams = tuple[Any, Any]
"""Short and long features, each `[B,T,H,W,C]` of its own sizes."""


class TwoStreamMTNet(nn.Module):
    """The released MTNet: features of four stages, of the short stream and of the long one.

    Two deviations, where the release stops with an error: a stem that leaves 1 or 2 frames keeps
    them, and an average over 2x2 of a side of one location is the location.

    Attributes:
      conv, norm: factories; `norm` takes `use_running_average`.
      dtype: of the activations.
      remat: what the backward pass computes again of each block, a name of `remat.POLICIES`.
      depths: blocks per stage.
      width: channels of the stem; stage i has `width * 2**i`, of both streams together.
      ratio: part of the channels that are short, rounded down; between 0 and 1.
      cell: a name of `recurrent.CELLS`.
      sr_layers: layers of each gate; 0 is none.
      pool: a name of `POOLS`: what laterals do over space.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: str
    depths: Sequence[int] = (3, 4, 6, 3)
    width: int = 64
    ratio: float = 0.875
    cell: str = "gru"
    sr_layers: int = 2
    pool: str = "avg"

    top = ("res5", "long_res5")

    def __post_init__(self):
        lookup(POOLS, self.pool, "pool (config.backbone.pool)")
        lookup(CELLS, self.cell, "cell (config.backbone.cell)")
        fields.check_whole(self, ("width", "sr_layers"))
        fields.check(self, {}, {"depths": fields.COUNT})
        is_ratio = fields.is_number(self.ratio) and 0 < self.ratio < 1
        if not is_ratio or 0 in split(self.width, self.ratio):
            raise InputError(
                f"backbone.ratio={self.ratio!r} must be between 0 and 1 and leave each stream "
                f"at least one of width={self.width} channels, such as 0.875."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, x, *, train: bool) -> dict[str, Any]:
        """`[B,T,H,W,C]` -> `res2` to `res5` and `long_res2` to `long_res5`.

        The short stream has T/2, T/4, T/8, T/16 frames and strides 4, 8, 16, 32; the long one half
        as many frames and twice the strides, each at least 1, rounded up but for the halving.
        """
        chex.assert_rank(x, 5)
        norm = functools.partial(self.norm, use_running_average=not train)
        streams = self._stem(x.astype(self.dtype), norm)
        block = remat.block(TwoStreamBlock, self.remat)
        features = {}
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                streams = block(
                    conv=self.conv,
                    norm=norm,
                    features=self.width * 2**stage,
                    stride=2 if stage and not i else 1,
                    ratio=self.ratio,
                    cell=self.cell,
                    sr_layers=self.sr_layers,
                    pool=self.pool,
                    name=f"stage{stage + 1}_block{i + 1}",
                )(streams)
            features[f"res{stage + 2}"], features[f"long_res{stage + 2}"] = streams
        return features

    def pathways(self) -> dict[str, nn.Module]:
        """The residual networks of `resnet.ResNet` in it: none; see `SlowFast.pathways`."""
        return {}

    def _stem(self, x, norm) -> Streams:
        x = self.conv(self.width, (3, 7, 7), (1, 2, 2), name="stem_conv")(x)
        x = activation.relu(norm(name="stem_norm")(x))
        if x.shape[2] % 2 or x.shape[3] % 2:
            # Both sides, even if one alone is odd, and at the start.
            x = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0), (0, 0)), mode="edge")
        x = pooling.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        x = _fewer_frames(x)
        num_short, _ = split(self.width, self.ratio)
        return x[..., :num_short], _fewer_frames(_average(x[..., num_short:]))


class TwoStreamBlock(nn.Module):
    """1x1x1, 1x1x1, 3x3x3 and 1x3x3 convolutions of both streams, gates, and the shortcut.

    With a stride the last convolution is 1x1x1 and the shortcut is one too.
    """

    conv: Callable
    norm: Callable
    features: int
    stride: int
    ratio: float
    cell: str
    sr_layers: int
    pool: str

    @nn.compact
    def __call__(self, streams: Streams) -> Streams:
        """Short and long features -> those of the next block."""
        num_in = sum(x.shape[-1] for x in streams)
        is_strided = self.stride > 1 or num_in != self.features
        layer = functools.partial(
            TwoStreamConv, conv=self.conv, norm=self.norm, ratio=self.ratio, pool=self.pool
        )
        strides = (self.stride,) * 3
        y = _relu(layer(features=self.features, name="conv1")(streams))
        y = _relu(layer(features=num_in, name="conv2")(y))
        y = _relu(
            layer(features=self.features, kernel_size=(3, 3, 3), strides=strides, name="conv3")(y)
        )
        last = (1, 1, 1) if is_strided else (1, 3, 3)
        y = layer(features=self.features, kernel_size=last, name="conv4")(y)
        if self.sr_layers:
            gate = functools.partial(SqueezeRecursion, self.cell, self.sr_layers)
            y = gate(name="short_gate")(y[0]), gate(name="long_gate")(y[1])
        if is_strided:
            short, long = streams
            if long.shape[2] < 3:
                long = resize.trilinear(long, (long.shape[1], 3, 3))
            streams = layer(
                features=self.features, strides=strides, has_lateral=False, name="proj"
            )((short, long))
        streams = (_fitted(x, branch) for x, branch in zip(streams, y, strict=True))
        return _relu(branch + x for branch, x in zip(y, streams, strict=True))


class TwoStreamConv(nn.Module):
    """A convolution and a norm of each stream, and the lateral from the short to the long one.

    Leaves: `short_conv`, `short_norm`, `long_conv`, `long_norm` and, with a lateral,
    `lateral_conv`, whose norm is `long_norm` too.

    Attributes:
      conv, norm: factories.
      features: channels out, of both streams together.
      ratio: part of them that are short.
      pool: a name of `POOLS`.
      kernel_size, strides: of both streams' convolutions.
      has_lateral: whether the long stream reads the short one.
    """

    conv: Callable
    norm: Callable
    features: int
    ratio: float
    pool: str
    kernel_size: Triple = (1, 1, 1)
    strides: Triple = (1, 1, 1)
    has_lateral: bool = True

    @nn.compact
    def __call__(self, streams: Streams) -> Streams:
        """Short and long features -> those behind the norms, without an activation."""
        num_short, num_long = split(self.features, self.ratio)
        conv = functools.partial(self.conv, kernel_size=self.kernel_size, strides=self.strides)
        short = conv(num_short, name="short_conv")(streams[0])
        long = conv(num_long, name="long_conv")(streams[1])
        short_norm, long_norm = self.norm(name="short_norm"), self.norm(name="long_norm")
        # First of the long features: the order in which the running statistics move.
        out = long_norm(long)
        if self.has_lateral:
            x = _fitted(_fewer_frames(POOLS[self.pool](short)), long)
            out = out + long_norm(self.conv(num_long, name="lateral_conv")(x))
        return short_norm(short), out


def split(channels: int, ratio: float) -> tuple[int, int]:
    """(short, long) channels; the short ones are rounded down."""
    num_short = int(channels * ratio + 1e-9)
    return num_short, channels - num_short


def _average(x):
    """Means over 2x2 locations; a last odd row or column is left out, a single one kept."""
    height, width = (n - n % 2 if n > 1 else 1 for n in x.shape[2:4])
    return pooling.average_pool(x[:, :, :height, :width], (1, 2, 2))


def _keep(x):
    return x


POOLS: dict[str, Callable] = {"avg": _average, "identity": _keep}
"""What a lateral does over space before it selects frames; the second is the release's `soft`."""


def _fewer_frames(x):
    """The half of the frames that are most like their neighbours, in order; 1 or 2 are kept."""
    if x.shape[1] <= 2:
        return x
    return frame_selection.select_frames(x, select="highest", square=True)


def _fitted(x, like):
    """`x` with T, H, W of `like`."""
    shape = like.shape[1:4]
    return x if x.shape[1:4] == shape else resize.trilinear(x, shape)


def _relu(streams) -> Streams:
    short, long = streams
    return activation.relu(short), activation.relu(long)
