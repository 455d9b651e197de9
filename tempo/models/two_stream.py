"""Two backbones side by side: one sees the frames of a clip, one its optical flow.

Sources: two-stream networks (arXiv 1406.2199); the spatiotemporal pyramid network (arXiv
1903.01038), whose temporal network sees several snippets of flow with one set of weights.
"""

from typing import Any

from flax import linen as nn

from tempo.errors import InputError
from tempo.types import Array

STREAMS = {"spatial": "video", "temporal": "flow"}
"""What each pathway reads."""


class TwoStream(nn.Module):
    """Features of both pathways, each from a whole backbone of its own.

    Attributes:
      spatial: backbone of the frames.
      temporal: backbone of the flow, whose snippets are its frames.
    """

    spatial: nn.Module
    temporal: nn.Module

    top = tuple(STREAMS)
    streams = tuple(STREAMS.values())

    def __call__(self, x: dict[str, Array], *, train: bool) -> dict[str, Any]:
        """`{"video": [B,T,H,W,3], "flow": [B,S,H,W,2L]}` -> the last features of each pathway.

        Returns:
          `spatial [B,t,h,w,C]` and `temporal [B,s,h',w',C']`: of per-frame backbones t = T, s = S.

        Raises:
          InputError: a backbone that ends in several feature maps.
        """
        found = {}
        for name, stream in STREAMS.items():
            backbone = getattr(self, name)
            if len(backbone.top) != 1:
                raise InputError(
                    f"backbone.{name} ends in {len(backbone.top)} feature maps "
                    f"({', '.join(backbone.top)}); use one of a single pathway."
                )
            found[name] = backbone(x[stream], train=train)[backbone.top[0]]
        return found

    def pathways(self) -> dict[str, nn.Module]:
        """The backbones by name."""
        return {name: getattr(self, name) for name in STREAMS}
