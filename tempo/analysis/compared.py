"""A run and its baseline: their score files, chosen by kind, checked to be of the same videos."""

import dataclasses
import functools
import itertools
import os
import shlex
from collections.abc import Mapping

import numpy as np

from tempo.analysis import accuracy, scores, tempo
from tempo.analysis.scores import Scores
from tempo.errors import InputError


@dataclasses.dataclass(frozen=True)
class Run:
    """The score files of one workdir.

    Attributes:
      name: what the run is called in tables and figures.
      workdir: as the user gave it.
      scores: by evaluator's name.
    """

    name: str
    workdir: str
    scores: Mapping[str, Scores]

    def of_kind(self, kind: str, like: Scores | None = None) -> Scores | None:
        """The score file of a kind; None if there is none.

        Of several, that of the same evaluator as `like`, else the one named as the kind, else the
        first by name.
        """
        found = {name: s for name, s in self.scores.items() if s.kind == kind}
        preferred = (like.name if like else "", kind, *sorted(found))
        return next((found[name] for name in preferred if name in found), None)

    def command(self, kind: str) -> str:
        """What to type for scores of a kind."""
        folder = shlex.quote(self.workdir)
        return (
            f"python -m tempo.main --mode eval --checkpoint {folder} --workdir {folder} "
            f"--evaluators {kind}"
        )


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a report is about.

    Attributes:
      run: the run itself.
      baseline: what it is compared with; None for nothing.
      tempo_run: the run whose per-frame scores tell the tempo of videos; None if none has any.
      measurement: of their widths.
    """

    run: Run
    baseline: Run | None
    tempo_run: Run | None
    measurement: tempo.Measurement = tempo.AS_PUBLISHED

    @property
    def runs(self) -> list[Run]:
        """The run, then its baseline if there is one."""
        return [self.run, *([self.baseline] if self.baseline else [])]

    @property
    def all_runs(self) -> list[Run]:
        """These and the one that tells the tempo, each once."""
        others = [] if self.tempo_run is None or self.tempo_run in self.runs else [self.tempo_run]
        return self.runs + others

    def pair(self, kind: str) -> tuple[Scores | None, Scores | None]:
        """The score files of a kind, of the run and of its baseline."""
        own = self.run.of_kind(kind)
        return own, self.baseline.of_kind(kind, like=own) if self.baseline else None

    def of_runs(self, kind: str) -> list[tuple[Run, Scores]]:
        """The runs that have scores of a kind, with these."""
        found = zip(self.runs, self.pair(kind), strict=False)
        return [(run, s) for run, s in found if s is not None]

    @property
    def frames(self) -> Scores | None:
        """Per-frame scores that the tempo of videos comes from."""
        return self.tempo_run.of_kind("per_frame") if self.tempo_run else None

    @functools.cached_property
    def widths(self) -> Mapping[str, tempo.Widths]:
        """Widths of the videos of `frames` by mode; NaN of videos whose label is not known."""
        s = self.frames
        probs, offsets, fps = (s.arrays[name] for name in ("probs", "offsets", "fps"))
        unknown = np.repeat(~is_known(s), np.diff(offsets))
        probs = np.where(unknown, np.nan, probs)
        rest = offsets, float(fps), s.labels, s.arrays["predicted"]
        return {mode: self.measurement.widths(probs, *rest, mode=mode) for mode in tempo.MODES}


def load(
    workdir: str,
    baseline: str = "",
    tempo_from: str = "",
    measurement: tempo.Measurement = tempo.AS_PUBLISHED,
) -> Compared:
    """Reads and checks the score files of one to three runs.

    Args:
      workdir: of the run.
      baseline: of the run that it is compared with; "" for none.
      tempo_from: of the run whose per-frame scores tell the tempo of videos; "" takes the run's
        own, or else its baseline's.
      measurement: of the tempo.

    Raises:
      InputError: a run without scores, runs of other videos or classes, or no per-frame scores in
        `tempo_from`.
    """
    given = [folder for folder in (workdir, baseline, tempo_from) if folder]
    names = _names(given)
    loaded = {
        folder: Run(names[folder], folder, scores.load_all(folder))
        for folder in dict.fromkeys(given)
    }
    run, other = loaded[workdir], loaded.get(baseline)
    if tempo_from:
        tempo_run = loaded[tempo_from]
        if tempo_run.of_kind("per_frame") is None:
            raise InputError(
                f"{tempo_from!r} has no per-frame scores to take the tempo of videos from; make "
                f"them: {tempo_run.command('per_frame')}"
            )
    else:
        having = [r for r in (run, other) if r is not None and r.of_kind("per_frame") is not None]
        tempo_run = having[0] if having else None
    compared = Compared(run, other, tempo_run, measurement)
    _check(compared)
    return compared


def _names(folders: list[str]) -> dict[str, str]:
    """Last parts of the paths; the whole paths if two of them have the same one."""
    short = {folder: os.path.basename(os.path.abspath(folder)) for folder in folders}
    return short if len(set(short.values())) == len(short) else {f: f for f in folders}


def _check(compared: Compared) -> None:
    """Raises `InputError` unless all that a section puts side by side is of the same videos."""
    picked = [s for kind in scores.KINDS for s in compared.pair(kind) if s is not None]
    if compared.frames is not None:
        picked.append(compared.frames)
    for other in picked[1:]:
        scores.check_comparable(picked[0], other)
    if compared.baseline is not None:
        for name, s in compared.run.scores.items():
            if name in compared.baseline.scores:
                scores.check_comparable(s, compared.baseline.scores[name])


@dataclasses.dataclass(frozen=True)
class Group:
    """Classes of which a video has one: all of them, or those of one group (a verb, a noun).

    Attributes:
      name: of the group; "" if there is one only.
      class_names: of the group, K of them.
      part: their places among all classes.
      labels: within the group, [N]; -1 where not known.
    """

    name: str
    class_names: tuple[str, ...]
    part: slice
    labels: np.ndarray

    def hits(self, probs: np.ndarray) -> np.ndarray:
        """Whether the class is the best of its group, bool [..., N], for `probs` [..., N, all].

        A tie is no hit.
        """
        return accuracy.hits(probs[..., self.part], self.labels, 1)

    def predicted(self, probs: np.ndarray) -> np.ndarray:
        """The best class within the group, [..., N]."""
        return probs[..., self.part].argmax(axis=-1)


def groups(found: Scores) -> list[Group]:
    """The groups of classes of a score file; none where videos have any number of labels."""
    if found.label_kind == "single":
        return [Group("", found.class_names, slice(0, found.num_classes), found.labels)]
    if found.label_kind != "joint":
        return []
    ends = np.cumsum([0, *found.label_groups.values()]).tolist()
    return [
        Group(name, found.class_names[a:b], slice(a, b), np.where(own < 0, -1, own - a))
        for name, own, (a, b) in zip(
            found.label_groups, found.labels.T, itertools.pairwise(ends), strict=True
        )
    ]


def is_known(found: Scores) -> np.ndarray:
    """Videos of which every label is known, bool [N]."""
    return (found.labels.reshape(len(found), -1) >= 0).all(axis=1)
