"""Geometry of a convolution, which the lowerings share."""

import dataclasses

Triple = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """Geometry of one convolution, without the size of its input.

    Attributes:
      kernel_size: extent along T, H, W.
      strides: step along T, H, W.
      padding: zeros added before and after each of T, H, W.
      groups: feature groups; `in_features` for a depthwise convolution.
      in_features: C of the input.
      features: C of the output.
    """

    kernel_size: Triple
    strides: Triple
    padding: Triple
    groups: int
    in_features: int
    features: int

    @property
    def kernel_kind(self) -> str:
        """`pointwise` (1x1x1), `spatial` (1xkxk), `temporal` (kx1x1) or `full` (kxkxk).

        A temporal kernel with a stride in time is `temporal_strided`, a full one that reads the
        few channels of pixels `stem`, or `stem_narrow` if it has no stride in time and its output
        has fewer numbers than its input.
        """
        kt, kh, kw = self.kernel_size
        if kh == kw == 1:
            if kt == 1:
                return "pointwise"
            return "temporal" if self.strides[0] == 1 else "temporal_strided"
        if kt == 1:
            return "spatial"
        if self.in_features > 4 or self.groups > 1:
            return "full"
        stride_t, stride_h, stride_w = self.strides
        is_narrow = self.features < self.in_features * stride_h * stride_w
        return "stem_narrow" if is_narrow and stride_t == 1 else "stem"

    @property
    def group_kind(self) -> str:
        """`dense` (one group), `depthwise` (one channel per group) or `grouped`."""
        if self.groups == 1:
            return "dense"
        return "depthwise" if self.groups == self.in_features == self.features else "grouped"

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Padding in lax's form: (before, after) per axis."""
        return tuple((p, p) for p in self.padding)
