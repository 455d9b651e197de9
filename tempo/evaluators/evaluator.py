"""One evaluator of a config: when it runs, its row of `results.json` and its file of scores."""

import dataclasses
import os
from typing import Any, ClassVar, Protocol

import numpy as np

from tempo import sharding
from tempo.analysis import scores
from tempo.errors import InputError, NonFiniteError
from tempo.evaluators.streaming import Scorer
from tempo.multigrid import Plan
from tempo.types import ClipSpec, ViewSpec

VIEW_KEYS = ("views", *(field.name for field in dataclasses.fields(ViewSpec)))
"""Keys of a config that say which views a video has: a named set, and single fields."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a kind of evaluator found.

    Attributes:
      row: its part of the row of `results.json`.
      arrays: its part of the scores file.
      bad: videos with scores that are not finite, bool `[N]`.
    """

    row: dict[str, Any]
    arrays: dict[str, np.ndarray]
    bad: np.ndarray


class Kind(Protocol):
    """What is measured: a frozen dataclass whose fields are keys of `config.eval.<name>`.

    Attributes:
      name: `config.eval.<name>.kind`, a row of `tempo.evaluators.KINDS`.
      view_keys: fields of `ViewSpec` that it uses, as further keys; `views` if it takes a named
        set of them.
    """

    name: ClassVar[str]
    view_keys: ClassVar[tuple[str, ...]]

    def check(self, where: str, scorer: Scorer) -> None:
        """Raises `InputError` for a scorer that it cannot be measured on; computes nothing.

        Args:
          where: how the config calls the evaluator.
          scorer: what it would be measured on.
        """

    def protocol(self, scorer: Scorer) -> str:
        """What was done to the videos, in words: it belongs to every number."""

    def views(self, view: ViewSpec) -> str:
        """What it shows of a video, in a few words: `2 clips (linspace) x 1 crop = 2 views`."""

    def clips(self, clip: ClipSpec, timestamps: np.ndarray) -> dict[str, ClipSpec]:
        """Which frames it shows, by what sets them apart; "" for the clips as they are.

        Args:
          clip: as the config has it.
          timestamps: of a video, [N] seconds.
        """

    def measure(self, scorer: Scorer, variables: Any) -> Measured:
        """Runs the network on all videos of the split.

        Args:
          scorer: the videos and the network.
          variables: `{"params", "batch_stats"}`.
        """


def check_frames_alone(where: str, kind: str, scorer: Scorer) -> None:
    """Raises `InputError` if frames cannot be chosen anew, as what else is read goes with them.

    Args:
      where: how the config calls the evaluator.
      kind: its kind, which chooses frames of its own.
      scorer: what it would be measured on.
    """
    if scorer.flow is not None:
        what = "optical flow, which cannot follow"
    elif scorer.clip.frames_per_segment > 1:
        what = "differences of neighbouring frames (device op `stack_differences`)"
    else:
        return
    raise InputError(
        f"{where} ({kind}) shows other frames than the clip's, but the network reads {what}; leave "
        "the evaluator out."
    )


class Evaluator:
    """Evaluates every video of a split exactly once.

    Attributes:
      name: of the evaluator; names its rows and its scores file.
      kind: what it measures.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        scorer: Scorer,
        *,
        every_epochs: float,
        scores_dir: str = "",
        row: str = "",
    ):
        """Checks that the kind can be measured; reads nothing yet.

        Args:
          name: of the evaluator.
          kind: what it measures.
          scorer: the videos and the network.
          every_epochs: interval during training; 0 is at the end only.
          scores_dir: where `<name>.npz` goes, in place of an older one; "" stores nothing.
          row: of its recipe that the network is, for the scores file.

        Raises:
          InputError: what the kind cannot be measured on.
        """
        kind.check(f"eval.{name}", scorer)
        self.name = name
        self.kind = kind
        self._scorer = scorer
        self._every_epochs = every_epochs
        self._scores_dir = scores_dir
        self._row = row

    @property
    def metric(self) -> str:
        """Key of its rows that says how good a checkpoint is."""
        return "mean_average_precision" if self._scorer.task.kind == "multi" else "top1"

    @property
    def main_metric(self) -> str:
        """That metric's name among all evaluators' metrics."""
        return f"{self.name}/{self.metric}"

    @property
    def is_periodic(self) -> bool:
        """Whether it runs during training."""
        return self._every_epochs > 0

    def is_due(self, step: int, plan: Plan) -> bool:
        """Whether to run after `step` steps of training: by epochs shown, however long they are."""
        if not self.is_periodic:
            return False
        return step == plan.num_steps or plan.passes(step, self._every_epochs)

    @property
    def protocol(self) -> str:
        """What was done to the videos, in words: it belongs to every number."""
        return self.kind.protocol(self._scorer)

    def run(self, variables: Any, step: int) -> dict[str, Any]:
        """The row of `results.json` for these variables; writes the scores file beside it.

        Args:
          variables: `{"params", "batch_stats"}`.
          step: finished steps of the checkpoint.

        Raises:
          NonFiniteError: scores that are not finite; nothing is written then.
        """
        split, records = self._scorer.split, self._scorer.records
        measured = self.kind.measure(self._scorer, sharding.gathered(variables))
        if measured.bad.any():
            some = ", ".join(split.ids[i] for i in np.flatnonzero(measured.bad)[:3])
            raise NonFiniteError(
                f"eval.{self.name}: {measured.bad.sum()} of {len(split)} videos have scores that "
                f"are not finite ({some}, ...); the weights of step {step} have diverged."
            )
        if self._scores_dir and sharding.is_lead_process():
            self._save(measured.arrays, step)
        return {
            "name": self.name,
            "kind": self.kind.name,
            "split": split.name,
            "protocol": self.protocol,
            "num_videos": len(split),
            **measured.row,
            "checkpoint_step": step,
            "dataset": records.name,
            "manifest_sha256": records.manifest_sha256,
        }

    def _save(self, arrays: dict[str, np.ndarray], step: int) -> None:
        split, records = self._scorer.split, self._scorer.records
        path = os.path.join(self._scores_dir, f"{self.name}.npz")
        found = scores.Scores(
            path=path,
            name=self.name,
            kind=self.kind.name,
            ids=tuple(split.ids),
            labels=split.labels,
            class_names=tuple(records.class_names),
            checkpoint_step=step,
            protocol=self.protocol,
            manifest_sha256=records.manifest_sha256,
            dataset=records.name,
            split=split.name,
            label_kind=records.label_kind,
            label_groups=records.label_groups,
            facts=tuple(dict(row.get("metadata") or {}) for row in split.manifest),
            arrays=arrays,
            row=self._row,
        )
        scores.save(found, path)
