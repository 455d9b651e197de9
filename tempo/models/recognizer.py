"""The one composite model: backbone, optional neck, head."""

from typing import Any

import chex
from flax import linen as nn

from tempo.types import Array


class Recognizer(nn.Module):
    """A video classifier.

    Attributes:
      backbone: `(x, *, train) -> {"res2", ..., "res5", ...}`; its `top` names what it ends in.
      head: its `embed_and_score(features, *, train)` gives the embedding and the logits.
      neck: `(stage features, *, train) -> (features, aux_logits)`, or None: the head reads the
        backbone's `top`, a tuple if that is several.
    """

    backbone: nn.Module
    head: nn.Module
    neck: nn.Module | None = None

    def __call__(self, video, *, train: bool) -> dict[str, Any]:
        """Class scores of a batch of clips.

        Args:
          video: `[B,T,H,W,C]` float, normalised.
          train: use batch statistics and dropout (rng `dropout`), update `batch_stats`, and
            compute the auxiliary heads.

        Returns:
          `logits [B,K]` float32; `embedding [B,D]` float32, the pooled feature that the scores are
          linear in, before dropout; `features`, a dict of stage features; in training and when
          initialising, and if the neck has auxiliary heads, `aux_logits`, a tuple of `[B,K]`.
        """
        chex.assert_rank(video, 5)
        features: dict[str, Array] = self.backbone(video, train=train)
        outputs: dict[str, Any] = {"features": features}
        if self.neck is None:
            x = tuple(features[name] for name in self.backbone.top)
            x = x[0] if len(x) == 1 else x
        else:
            x, aux_logits = self.neck(features, train=train)
            if aux_logits:
                outputs["aux_logits"] = aux_logits
        outputs["embedding"], outputs["logits"] = self.head.embed_and_score(x, train=train)
        return outputs
