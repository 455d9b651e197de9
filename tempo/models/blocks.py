"""Blocks of residual networks: the convolutions of each kind, and the module that runs them.

Sources: He et al., arXiv 1512.03385, whose strides are on the first 1x1 convolution, and
torchvision, whose strides are on the 3x3 one.
"""

import dataclasses
from collections.abc import Callable, Sequence

from flax import linen as nn

from tempo.layers import block_conv, pooling
from tempo.layers.lowerings import Triple

INFLATED = {
    "3x1x1": {"basic": (True, False), "bottleneck": (True, False, False)},
    "3x3x3": {"basic": (True, True), "bottleneck": (False, True, False)},
}
"""Which convolutions of a block carry its temporal kernel, by `inflate_style` and `block`."""


@dataclasses.dataclass(frozen=True)
class BlockConv:
    """One convolution of a residual block; a norm follows it, and between two of them `act`.

    Attributes:
      side: extent along H and W, in elements; the block's `conv_b` makes those of more than 1.
      expansion: channels out, as a multiple of the block's `features`.
      strided: it carries the block's strides.
    """

    side: int
    expansion: int = 1
    strided: bool = False


BLOCKS: dict[str, tuple[BlockConv, ...]] = {
    "basic": (BlockConv(3, strided=True), BlockConv(3)),
    "bottleneck": (BlockConv(1), BlockConv(3, strided=True), BlockConv(1, expansion=4)),
}
"""Convolutions of a block in order, by name; the block's output has the channels of the last."""


STRIDE_ON = ("conv2", "conv1")
"""Convolutions of a bottleneck block that can carry its strides: torchvision's 3x3, Caffe's 1x1."""


def layout(block: str, expansion: int = 0, stride_on: str = "conv2") -> tuple[BlockConv, ...]:
    """A row of `BLOCKS`, its last convolution with another expansion if that is not 0.

    Of a bottleneck, the convolution that `stride_on` names carries the strides.
    """
    *convs, last = BLOCKS[block]
    if block == "bottleneck":
        convs = [
            dataclasses.replace(row, strided=stride_on == f"conv{i}")
            for i, row in enumerate(convs, start=1)
        ]
    return (*convs, dataclasses.replace(last, expansion=expansion or last.expansion))


@dataclasses.dataclass(frozen=True)
class Downsample:
    """Where a block that has strides max-pools (3x3, or 3 frames) instead of leaving elements out.

    The pool has the block's strides and what stands there has none. Parameters and sizes are the
    same everywhere.

    Attributes:
      pools_input: the input of the whole block, once for both branches.
      pools_conv: behind the strided convolution, its norm and activation.
      pools_shortcut: before the projection.
    """

    pools_input: bool = False
    pools_conv: bool = False
    pools_shortcut: bool = False


DOWNSAMPLE: dict[str, Downsample] = {
    "strided": Downsample(),
    "pool_block": Downsample(pools_conv=True, pools_shortcut=True),
    "pool_pre": Downsample(pools_input=True),
    "pool_shortcut": Downsample(pools_shortcut=True),
}
"""Readings of "max pools in place of downsampling convolutions" (arXiv 2007.08180), by name."""


class ResidualBlock(nn.Module):
    """Convolutions with norms beside a shortcut: the identity, or a projection where shapes differ.

    Attributes:
      layout: a row of `BLOCKS`.
      features: channels that the layout's expansions multiply.
      strides: of the block, along T, H, W.
      kernels_t: temporal extent of each convolution.
      conv, norm: factories; `norm` has `train` bound.
      conv_b: a row of `block_conv.CONV_B`, which makes the 3x3 convolutions.
      act: activation function.
      downsample: a row of `DOWNSAMPLE`.
      temporal: factory of a temporal module, or None.
      temporal_place: where it stands: `input`, or `conv1`, behind conv1, its norm and activation.
      temporal_shortcut: what stands on the block's input is read by the projection too.
      attention: factory of a gate, or None.
      attention_place: where it stands: `branch`, behind the branch's last norm, or `final`, behind
        the block's last activation.
      zero_init: start the last norm's scale at zero.
    """

    layout: Sequence[BlockConv]
    features: int
    strides: Triple
    kernels_t: Sequence[int]
    conv: Callable
    norm: Callable
    act: Callable
    conv_b: Callable = block_conv.plain
    downsample: Downsample = DOWNSAMPLE["strided"]
    temporal: Callable | None = None
    temporal_place: str = "input"
    temporal_shortcut: bool = False
    attention: Callable | None = None
    attention_place: str = "branch"
    zero_init: bool = False

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T',H',W',features x the layout's last expansion]`."""
        strides = self.strides
        if self.downsample.pools_input:
            x, strides = _pool(x, strides), (1, 1, 1)
        shifted = self._temporal("input", x)
        y = self._branch(shifted, strides)
        if any(n > 1 for n in self.strides) or x.shape[-1] != y.shape[-1]:
            x = shifted if self.temporal_shortcut else x
            if self.downsample.pools_shortcut:
                x, strides = _pool(x, strides), (1, 1, 1)
            x = self.conv(y.shape[-1], (1, 1, 1), strides, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        return self._attention("final", self.act(y + x))

    def _branch(self, y, strides: Triple):
        pools = self.downsample.pools_conv
        last = len(self.layout)
        for i, (row, kernel_t) in enumerate(zip(self.layout, self.kernels_t, strict=True), start=1):
            make = block_conv.plain if row.side == 1 else self.conv_b
            y = make(
                y,
                conv=self.conv,
                norm=self.norm,
                act=self.act,
                features=self.features * row.expansion,
                kernel_size=(kernel_t, row.side, row.side),
                strides=strides if row.strided and not pools else (1, 1, 1),
                name_suffix=str(i),
                scale_init=nn.initializers.zeros if self.zero_init and i == last else None,
            )
            y = self.act(y) if i < last else y
            y = self._temporal(f"conv{i}", y)
            y = _pool(y, strides) if row.strided and pools else y
        return self._attention("branch", y)

    def _temporal(self, place: str, x):
        """`x` behind the temporal module, if this is the place where it stands."""
        if self.temporal is None or self.temporal_place != place:
            return x
        return self.temporal(name="temporal")(x)

    def _attention(self, place: str, x):
        """`x` behind the gate, if this is the place where it stands."""
        if self.attention is None or self.attention_place != place:
            return x
        return self.attention(name="attention")(x)


def _pool(x, strides: Triple):
    """Max pool of 3 along the axes that have a stride."""
    window = tuple(3 if n > 1 else 1 for n in strides)
    return pooling.max_pool(x, window, strides, tuple(k // 2 for k in window))
