"""Late fusion: each stream is classified on its own, and the scores are averaged."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.models import fields
from tempo.models.heads import PoolHead
from tempo.models.two_stream import STREAMS
from tempo.models.vgg import VGGHead


def _of_logits(logits, weights):
    return sum(w * x for w, x in zip(weights, logits, strict=True))


def _of_probabilities(logits, weights):
    """The logarithm of the weighted mean of probabilities, of which softmax gives that mean."""
    scores = jnp.stack([jax.nn.log_softmax(x) for x in logits])
    shares = jnp.asarray(weights, jnp.float32)[:, None, None] / sum(weights)
    return jax.nn.logsumexp(scores, axis=0, b=shares)


LATE_SPACES: dict[str, Callable] = {"logit": _of_logits, "prob": _of_probabilities}
"""What is averaged: `(logits [B,K] of each stream, a weight of each) -> [B,K]`.

TSN adds logits (arXiv 1608.00859, section 4.2), two-stream networks average probabilities (arXiv
1406.2199, section 2).
"""

STREAM_HEADS: dict[str, type[nn.Module]] = {"pool": PoolHead, "vgg": VGGHead}
"""Heads of a stream by name."""


class LateFusion(nn.Module):
    """Scores of two networks that share nothing, averaged.

    Its layers have the names of each stream's own head: what was trained there goes here.

    Attributes:
      num_classes: K.
      conv: factory.
      dropout_prob: of both streams' heads.
      init_std: of the classifiers' initial weights.
      late_weight: of the spatial and of the temporal scores.
      late_space: a name of `LATE_SPACES`.
      stream_head: a name of `STREAM_HEADS`.
    """

    num_classes: int
    conv: Callable
    dropout_prob: float = 0.5
    init_std: float = 0.01
    late_weight: Sequence[float] = (1.0, 1.5)
    late_space: str = "logit"
    stream_head: str = "pool"

    def __post_init__(self):
        lookup(LATE_SPACES, self.late_space, "late_space (config.head.late_space)")
        lookup(STREAM_HEADS, self.stream_head, "stream_head (config.head.stream_head)")
        weights = self.late_weight
        is_pair = isinstance(weights, list | tuple) and len(weights) == len(STREAMS)
        if (
            not is_pair
            or not all(fields.is_number(w) and w >= 0 for w in weights)
            or not any(weights)
        ):
            raise InputError(
                "head.late_weight must be two numbers of at least 0 and not both 0, of the spatial "
                f"and the temporal scores, such as (1, 1.5); got {weights!r}."
            )
        super().__post_init__()

    @nn.compact
    def embed_and_score(self, x, *, train: bool):
        """What each stream's head reads, side by side `[B,D]`, and the logits `[B,K]`; float32.

        Args:
          x: the features of the spatial and of the temporal network, `[B,T,H,W,C]` each.
          train: drop features; needs the rng `dropout`.

        Raises:
          InputError: not two feature maps.
        """
        if not isinstance(x, tuple) or len(x) != len(STREAMS):
            got = f"{len(x)} feature maps" if isinstance(x, tuple) else "one feature map"
            raise InputError(
                f"The head late_fusion averages the scores of two streams and reads {got}; give a "
                "backbone of variant two_stream, and no neck."
            )
        embeddings, logits = [], []
        for name, features in zip(STREAMS, x, strict=True):
            given = {"conv": self.conv} if self.stream_head == "vgg" else {}
            head = STREAM_HEADS[self.stream_head](
                self.num_classes,
                **given,
                dropout_prob=self.dropout_prob,
                init_std=self.init_std,
                name=name,
            )
            embedding, scores = head.embed_and_score(features, train=train)
            embeddings.append(embedding)
            logits.append(scores)
        fused = LATE_SPACES[self.late_space](logits, self.late_weight)
        return jnp.concatenate(embeddings, -1), fused

    def __call__(self, x, *, train: bool):
        """The logits of `embed_and_score`."""
        return self.embed_and_score(x, train=train)[1]
