"""How much accuracy is lost when the same network sees videos at another tempo.

TPN, arXiv 2004.03548, section 4.3 and figure 5: a network trained on T frames at one stride is
tested, unchanged, on T frames at others.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from tempo.errors import InputError
from tempo.evaluators import metrics, scoring
from tempo.evaluators.evaluator import VIEW_KEYS, Measured, check_frames_alone
from tempo.evaluators.streaming import Scorer
from tempo.types import ClipSpec, ViewSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class TempoRobustness:
    """Accuracy over strides: same weights, same T, same views.

    The starts of the clips are computed anew for each stride, since its clips have another length;
    where a video is shorter than a clip, `ClipSpec.short` says what follows. A stride above the
    trained one makes the action faster, one below slower. All strides share one compiled shape.

    Its scores file holds `strides [S]`, `trained_stride` and `probs [S,N,K]`; its row has the
    accuracies at the trained stride, `curve` (of each stride those and `drop`, the main one minus
    that at the trained stride, as shares) and `mean_abs_drop` over the other strides.

    Attributes:
      strides: to be scored, besides the one that the network was trained with.
    """

    name: ClassVar[str] = "tempo_robustness"
    view_keys: ClassVar[tuple[str, ...]] = VIEW_KEYS

    strides: tuple[int, ...] = (2, 4, 6, 8, 10, 12, 14, 16)

    def __post_init__(self):
        # A config that went through JSON has lists.
        object.__setattr__(self, "strides", tuple(self.strides))
        for stride in self.strides:
            if not isinstance(stride, int) or stride < 1:
                raise InputError(
                    f"strides of tempo_robustness must be whole numbers from 1; got {stride!r}."
                )

    def check(self, where: str, scorer: Scorer) -> None:
        """Raises `InputError` for clips without a stride, or with none to compare, and for flow."""
        check_frames_alone(where, self.name, scorer)
        sampling, trained = scorer.clip.sampling, scorer.clip.stride
        if sampling != "dense":
            raise InputError(
                f"{where} (tempo_robustness) changes the stride of clips, but clip.sampling="
                f"{sampling!r} has none; leave the evaluator out, or use sampling='dense'."
            )
        if scorer.view.stride:
            raise InputError(
                f"{where} (tempo_robustness) goes through strides of its own, but its views are at "
                f"stride={scorer.view.stride}; set {where}.stride=0, or use other views."
            )
        if set(self.strides) <= {trained}:
            raise InputError(
                f"{where}.strides={self.strides} has no other stride than clip.stride={trained}, "
                "which it would be compared with; add some."
            )

    def protocol(self, scorer: Scorer) -> str:
        """The views at the trained stride, and the other strides."""
        strides = ", ".join(map(str, self._strides(scorer.clip.stride)))
        return f"{scoring.protocol(scorer.clip, scorer.view)}; at the strides {strides}"

    def views(self, view: ViewSpec) -> str:
        """See `tempo.evaluators.evaluator.Kind`."""
        return scoring.counted(view)

    def clips(self, clip: ClipSpec, timestamps: np.ndarray) -> dict[str, ClipSpec]:
        """See `tempo.evaluators.evaluator.Kind`."""
        strides = self._strides(clip.stride)
        return {f"stride {n}": dataclasses.replace(clip, stride=n) for n in strides}

    def measure(self, scorer: Scorer, variables: Any) -> Measured:
        """See `tempo.evaluators.evaluator.Kind`."""
        trained = scorer.clip.stride
        strides = self._strides(trained)
        found = []
        for stride in strides:
            clip = dataclasses.replace(scorer.clip, stride=stride)
            scores, clips_per_s = scorer.videos(variables, clip=clip, title=f"stride {stride}")
            found.append(scores)
        labels = scorer.split.labels
        rows = [metrics.accuracies(scorer.task, scores.probs[0], labels) for scores in found]
        at_trained = rows[strides.index(trained)]
        main = next(iter(at_trained))
        curve = [
            {
                "stride": stride,
                **{key: row[key] for key in (main, "top5") if key in row},
                "drop": row[main] - at_trained[main],
            }
            for stride, row in zip(strides, rows, strict=True)
        ]
        drops = [abs(row["drop"]) for row in curve if row["stride"] != trained]
        row = {
            "views": scorer.view.num_views,
            **at_trained,
            "trained_stride": trained,
            "curve": curve,
            "mean_abs_drop": float(np.mean(drops)),
            "clips_per_s": clips_per_s,
        }
        arrays = {
            "strides": np.asarray(strides),
            "trained_stride": np.asarray(trained),
            "probs": np.concatenate([scores.probs for scores in found]),
        }
        return Measured(row, arrays, np.any([scores.bad for scores in found], axis=0))

    def _strides(self, trained: int) -> list[int]:
        """All that are scored, ascending."""
        return sorted({*self.strides, trained})
