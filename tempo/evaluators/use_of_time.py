"""Whether a network uses the order of frames: scores of clips whose frames change places."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tempo.errors import InputError
from tempo.evaluators import metrics, scoring
from tempo.evaluators.evaluator import VIEW_KEYS, Measured, check_frames_alone
from tempo.evaluators.streaming import Scorer
from tempo.types import ClipSpec, ViewSpec

VARIANTS = ("normal", "shuffled", "reversed", "single_frame")


@dataclasses.dataclass(frozen=True, kw_only=True)
class UseOfTime:
    """Accuracy of the same clips with their frames as they are, and in other orders.

    `normal`; `shuffled`, one permutation per video, drawn from the seed and the video's row alone
    and never the identity; `reversed`; `single_frame`, the middle frame (number T // 2 of the clip)
    in all places. Each view's decoded frames change places: what is shown is otherwise the same. A
    network that ignores time scores alike on the first three.

    Its scores file holds `variants [M]` and `probs [M,N,K]`; its row has the accuracies of
    `normal`, and the main one of each variant as `variants`.

    Attributes:
      shuffle_seed: of the permutations.
    """

    name: ClassVar[str] = "use_of_time"
    view_keys: ClassVar[tuple[str, ...]] = VIEW_KEYS

    shuffle_seed: int = 0

    def __post_init__(self):
        if not isinstance(self.shuffle_seed, int) or self.shuffle_seed < 0:
            raise InputError(
                f"shuffle_seed must be a whole number from 0; got {self.shuffle_seed!r}."
            )

    def check(self, where: str, scorer: Scorer) -> None:
        """Raises `InputError` for clips of one frame, and for flow."""
        check_frames_alone(where, self.name, scorer)
        if scorer.clip.num_frames + scorer.extra_frames < 2:
            raise InputError(
                f"{where} (use_of_time) reorders the frames of a clip, but clip.num_frames="
                f"{scorer.clip.num_frames}; leave the evaluator out, or use at least 2 frames."
            )

    def protocol(self, scorer: Scorer) -> str:
        """The views, and the orders of their frames."""
        views = scoring.protocol(scorer.clip, scorer.view)
        return f"{views}; frames {', '.join(VARIANTS)} (seed {self.shuffle_seed})"

    def views(self, view: ViewSpec) -> str:
        """See `tempo.evaluators.evaluator.Kind`."""
        return scoring.counted(view)

    def clips(self, clip: ClipSpec, timestamps: np.ndarray) -> dict[str, ClipSpec]:
        """See `tempo.evaluators.evaluator.Kind`."""
        return {"": clip}

    def measure(self, scorer: Scorer, variables: Any) -> Measured:
        """See `tempo.evaluators.evaluator.Kind`."""
        num_frames = scorer.clip.num_frames + scorer.extra_frames
        found, clips_per_s = scorer.videos(
            variables,
            orders=make_orders(num_frames, scorer.clip.num_frames // 2, self.shuffle_seed),
            num_orders=len(VARIANTS),
        )
        labels = scorer.split.labels
        rows = [metrics.accuracies(scorer.task, probs, labels) for probs in found.probs]
        main = next(iter(rows[0]))
        row = {
            "views": scorer.view.num_views,
            **rows[0],
            "variants": {name: row[main] for name, row in zip(VARIANTS, rows, strict=True)},
            "clips_per_s": clips_per_s,
        }
        return Measured(row, {"variants": np.asarray(VARIANTS), "probs": found.probs}, found.bad)


def make_orders(
    num_frames: int, middle: int, seed: int
) -> Callable[[np.ndarray], list[np.ndarray | None]]:
    """Rows of a split `[b]` -> for each of `VARIANTS` the frames in its places, int `[b,T]`.

    Args:
      num_frames: T, at least 2.
      middle: the frame of `single_frame`.
      seed: of the permutations.
    """
    forwards = np.arange(num_frames)

    def orders(rows: np.ndarray) -> list[np.ndarray | None]:
        shuffled = np.stack([_permutation(num_frames, (seed, int(row))) for row in rows])
        turned = np.broadcast_to(forwards[::-1], shuffled.shape)
        return [None, shuffled, turned, np.full(shuffled.shape, middle)]

    return orders


def _permutation(num_frames: int, seed: tuple[int, int]) -> np.ndarray:
    """A permutation other than the identity, each of the others equally likely."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(num_frames)
        if not np.array_equal(order, np.arange(num_frames)):
            return order
