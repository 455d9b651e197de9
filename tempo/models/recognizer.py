"""The one composite model: backbone, optional neck, head."""

from typing import Any

import chex
import jax
from flax import linen as nn

from tempo.types import Array


class Recognizer(nn.Module):
    """A video classifier.

    Attributes:
      backbone: `(x, *, train) -> {"res2", ..., "res5", ...}`; its `top` names what it ends in.
      head: its `embed_and_score(features, *, train)` gives the embedding and the logits.
      neck: `(stage features, *, train) -> (features, aux_logits)`, or None: the head reads the
        backbone's `top`, a tuple if that is several.
      stream: what it reads, a row of `tempo.types.STREAMS`; a backbone that reads several says so
        itself.
    """

    backbone: nn.Module
    head: nn.Module
    neck: nn.Module | None = None
    stream: str = "video"

    @property
    def streams(self) -> tuple[str, ...]:
        """Rows of `tempo.types.STREAMS` that it reads."""
        return getattr(self.backbone, "streams", (self.stream,))

    def __call__(self, clips, *, train: bool) -> dict[str, Any]:
        """Class scores of a batch of clips.

        Args:
          clips: `[B,T,H,W,C]` float, normalised, of the one stream that it reads (of flow, T are
            the snippets); of several a dict by name.
          train: use batch statistics and dropout (rng `dropout`), update `batch_stats`, and
            compute the auxiliary heads.

        Returns:
          `logits [B,K]` float32; `embedding [B,D]` float32, the pooled feature that the scores are
          linear in, before dropout; `features`, a dict of stage features; in training and when
          initialising, and if the neck has auxiliary heads, `aux_logits`, a tuple of `[B,K]`.
        """
        chex.assert_rank(jax.tree.leaves(clips), 5)
        features: dict[str, Array] = self.backbone(clips, train=train)
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
