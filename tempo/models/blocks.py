"""Blocks of residual networks: the convolutions of each kind, and the module that runs them.

Sources: He et al., arXiv 1512.03385; stride on the 3x3 convolution as in torchvision.
"""

import dataclasses
from collections.abc import Callable, Sequence

from flax import linen as nn

INFLATED = {
    "3x1x1": {"basic": (True, False), "bottleneck": (True, False, False)},
    "3x3x3": {"basic": (True, True), "bottleneck": (False, True, False)},
}
"""Which convolutions of a block carry its temporal kernel, by `inflate_style` and `block`."""


@dataclasses.dataclass(frozen=True)
class BlockConv:
    """One convolution of a residual block; a norm follows it, and between two of them `act`.

    Attributes:
      side: extent along H and W, in elements; made by the block's `conv` if 1,
        by its `conv_b` if more.
      expansion: channels out, as a multiple of the block's `features`.
      strided: it carries the block's spatial stride.
    """

    side: int
    expansion: int = 1
    strided: bool = False


BLOCKS: dict[str, tuple[BlockConv, ...]] = {
    "basic": (BlockConv(3, strided=True), BlockConv(3)),
    "bottleneck": (BlockConv(1), BlockConv(3, strided=True), BlockConv(1, expansion=4)),
}
"""Convolutions of a block in order, by name; the block's output has the channels of the last."""


class ResidualBlock(nn.Module):
    """Convolutions with norms beside a shortcut: the identity, or a projection where shapes differ.

    Attributes:
      layout: a row of `BLOCKS`.
      features: channels that the layout's expansions multiply.
      stride: spatial stride of the block.
      kernels_t: temporal extent of each convolution.
      conv, norm: factories; `norm` has `train` bound.
      conv_b: factory of the 3x3 convolutions.
      act: activation function.
      temporal: factory of the module on the input of conv1, or None.
      temporal_shortcut: put it on the input of the projection shortcut too.
      zero_init: start the last norm's scale at zero.
    """

    layout: Sequence[BlockConv]
    features: int
    stride: int
    kernels_t: Sequence[int]
    conv: Callable
    norm: Callable
    conv_b: Callable
    act: Callable
    temporal: Callable | None = None
    temporal_shortcut: bool = False
    zero_init: bool = False

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H/stride,W/stride,features x the layout's last expansion]`."""
        shifted = x if self.temporal is None else self.temporal(name="temporal")(x)
        space = (1, self.stride, self.stride)
        last = len(self.layout)
        y = shifted
        for i, (row, kernel_t) in enumerate(zip(self.layout, self.kernels_t, strict=True), start=1):
            conv = self.conv if row.side == 1 else self.conv_b
            y = conv(
                self.features * row.expansion,
                (kernel_t, row.side, row.side),
                space if row.strided else (1, 1, 1),
                name=f"conv{i}",
            )(y)
            scale = {"scale_init": nn.initializers.zeros} if self.zero_init and i == last else {}
            y = self.norm(name=f"norm{i}", **scale)(y)
            y = self.act(y) if i < last else y
        if self.stride != 1 or x.shape[-1] != y.shape[-1]:
            x = shifted if self.temporal_shortcut else x
            x = self.conv(y.shape[-1], (1, 1, 1), space, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        return self.act(y + x)
