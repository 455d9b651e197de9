"""Accuracy of a split from one or several views of each video (clips along time x crops)."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from tempo.evaluators import metrics, scoring
from tempo.evaluators.evaluator import VIEW_KEYS, Measured
from tempo.evaluators.streaming import Scorer
from tempo.types import ClipSpec, ViewSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiView:
    """Scores of the views of a video, averaged.

    Its scores file holds `probs` and `logits` `[N,K]`, the means over the views.

    Attributes:
      save_views: whether the file also holds every view's logits, `view_logits [N,V,K]`.
      save_embedding: whether it also holds the pooled features that the scores are linear in,
        `embedding [N,D]`, mean over the views.
    """

    name: ClassVar[str] = "multi_view"
    view_keys: ClassVar[tuple[str, ...]] = VIEW_KEYS

    save_views: bool = False
    save_embedding: bool = False

    def check(self, where: str, scorer: Scorer) -> None:
        """Every scorer will do."""

    def protocol(self, scorer: Scorer) -> str:
        """Clips, crops, and how they are averaged."""
        return scoring.protocol(scorer.clip, scorer.view, scorer.flow)

    def views(self, view: ViewSpec) -> str:
        """See `tempo.evaluators.evaluator.Kind`."""
        return scoring.counted(view)

    def clips(self, clip: ClipSpec, timestamps: np.ndarray) -> dict[str, ClipSpec]:
        """See `tempo.evaluators.evaluator.Kind`."""
        return {"": clip}

    def measure(self, scorer: Scorer, variables: Any) -> Measured:
        """See `tempo.evaluators.evaluator.Kind`."""
        found, clips_per_s = scorer.videos(
            variables, save_views=self.save_views, save_embedding=self.save_embedding
        )
        [probs], [logits] = found.probs, found.logits
        arrays = {"probs": probs, "logits": logits}
        if self.save_views:
            [arrays["view_logits"]] = found.view_logits
        if self.save_embedding:
            [arrays["embedding"]] = found.embedding
        row = {
            "views": scorer.view.num_views,
            **metrics.accuracies(scorer.task, probs, scorer.split.labels),
            "clips_per_s": clips_per_s,
        }
        return Measured(row, arrays, found.bad)
