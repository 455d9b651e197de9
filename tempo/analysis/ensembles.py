"""Score files of several evaluations combined: one score file, and what it gains over a single one.

Members differ in their network, in the views that it was shown, or in both; all are of the same
videos. The ensemble's scores are the weighted mean of theirs,

    sum_m w_m * s_m / sum_m w_m,

with s_m the member's mean over its views: logits, before any softmax (as arXiv 2007.08180 has it),
or probabilities. Dividing by the sum of the weights changes no ranking; it keeps the ensemble's
logits on the scale of one network's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tempo.analysis import accuracy, compared, statistics
from tempo.analysis import scores as scores_lib
from tempo.analysis.scores import Scores
from tempo.errors import InputError, lookup

SEED = 0
"""Of every bootstrap."""
AVERAGES = {"logits": "logits before softmax", "probs": "probabilities"}
"""What is averaged: name of the scores file's array, and what it is."""


@dataclasses.dataclass(frozen=True)
class Result:
    """An ensemble and what was measured of it.

    Attributes:
      scores: of the ensemble, as those of one more evaluator.
      numbers: for JSON; see `measure`.
    """

    scores: Scores
    numbers: dict[str, Any]


def combine(
    members: Mapping[str, Scores],
    weights: Mapping[str, float],
    *,
    average: str = "logits",
    calibrate: str = "none",
    name: str = "ensemble",
) -> Scores:
    """The ensemble's scores, as those of one more evaluator on the same videos.

    Its `probs` are the weighted mean of the members' probabilities, or the probabilities of its
    `logits`, the weighted mean of theirs. Where they were calibrated, the mean stands for logits
    either way.

    Args:
      members: multi-view scores by name, of the same videos.
      weights: by name, at least 0 and not all 0.
      average: row of `AVERAGES`.
      calibrate: row of `CALIBRATIONS`.
      name: of the ensemble.

    Raises:
      InputError: scores of other videos, classes or labels, without logits or not finite.
    """
    first, *others = members.values()
    first.correct()  # refuses labels that know no hits
    for other in others:
        scores_lib.check_comparable(first, other)
    lookup(AVERAGES, average, "average of an ensemble")
    scale = lookup(CALIBRATIONS, calibrate, "calibration of an ensemble")
    weights = {member: weights[member] for member in members}
    check_weights(weights)
    mean = np.zeros((len(first), first.num_classes))
    for member, found in members.items():
        mean += weights[member] * scale(found.path, _scores(found, average))
    mean /= sum(weights.values())
    arrays = {"probs": mean}
    if average == "logits" or calibrate != "none":
        arrays = {"probs": _probs(first, mean), "logits": mean}
    return dataclasses.replace(
        first,
        path=f"{name}.npz",
        name=name,
        checkpoint_step=max(found.checkpoint_step for found in members.values()),
        protocol=_protocol(weights, average, calibrate),
        arrays=arrays,
        row="",
    )


def _protocol(weights: Mapping[str, float], average: str, calibrate: str) -> str:
    what = AVERAGES[average] + ("" if calibrate == "none" else f" ({calibrate})")
    if len(set(weights.values())) == 1:
        return f"mean of {what} of {len(weights)} members: {', '.join(weights)}"
    said = ", ".join(f"{name} x{weight:g}" for name, weight in weights.items())
    return f"weighted mean of {what} of {len(weights)} members: {said}"


def measure(
    members: Mapping[str, Scores],
    weights: Mapping[str, float],
    *,
    against: Scores | None = None,
    **how: str,
) -> Result:
    """Combines members and compares the ensemble with a single one, on the same videos.

    The best single member is chosen on these very videos, which favours it a little.

    Args:
      members: multi-view scores by name.
      weights: by name.
      against: scores to compare with; None for the best member that counts,
        the first of equals.
      **how: `average`, `calibrate` and `name` of `combine`.

    Returns:
      The ensemble, and numbers: `members` and `ensemble` with their accuracies, `difference` in
      top-1 with its bootstrap interval and McNemar's exact test, `same_scores` (pairs of members
      with the very same ones), and which videos.
    """
    whole = combine(members, weights, **how)
    rows = [
        {
            "name": name,
            "weight": float(weights[name]),
            "path": found.path,
            **accuracies(found),
            "protocol": found.protocol,
            "checkpoint_step": found.checkpoint_step,
            "row": found.row,
        }
        for name, found in members.items()
    ]
    counted = [row for row in rows if row["weight"]]
    best = max(counted, key=lambda row: row["top1"])["name"]
    name, rival = (best, members[best]) if against is None else (against.name, against)
    numbers = {
        "dataset": whole.dataset,
        "split": whole.split,
        "manifest_sha256": whole.manifest_sha256,
        "num_videos": len(whole),
        "members": rows,
        "ensemble": {**accuracies(whole), "protocol": whole.protocol},
        "difference": {
            "against": name,
            "path": rival.path,
            "is_best_member": against is None,
            **_difference(whole, rival),
        },
        "same_scores": _same(members),
    }
    return Result(whole, numbers)


def _difference(whole: Scores, rival: Scores) -> dict[str, Any]:
    scores_lib.check_comparable(whole, rival)
    known = compared.is_known(whole)
    pair = statistics.paired(whole.correct()[known], rival.correct()[known], seed=SEED)
    return {
        "protocol": rival.protocol,
        "top1": pair.difference.value,
        "ci95": [pair.difference.low, pair.difference.high],
        "only_ensemble_right": pair.only_first,
        "only_other_right": pair.only_second,
        "mcnemar_p": pair.p,
    }


def accuracies(found: Scores) -> dict[str, Any]:
    """Top-1 with its bootstrap interval, top-5 and, of single labels, mean class accuracy.

    Of the videos whose labels are known, by the names of a row of `results.json`.
    """
    known = compared.is_known(found)
    if not known.any():
        raise InputError(f"{found.path!r}: no video has a label of every group.")
    top1, top5 = (found.correct(k)[known] for k in (1, 5))
    row = {"top1": float(top1.mean()), "top5": float(top5.mean())}
    row["ci95"] = accuracy.bootstrap_ci95(top1, seed=SEED)
    if found.label_kind == "single":
        row["mean_class"] = accuracy.mean_class(found.arrays["probs"], found.labels)
    return row


def check_weights(weights: Mapping[str, float]) -> None:
    """Raises `InputError` unless all are numbers from 0 up and one of them is not 0."""
    for name, weight in weights.items():
        if not (isinstance(weight, int | float) and 0 <= weight < float("inf")):
            raise InputError(f"The weight of {name} must be a number from 0 up; got {weight!r}.")
    if not sum(weights.values()):
        raise InputError("All weights are 0; at least one member must count.")


def _as_they_are(path: str, x: np.ndarray) -> np.ndarray:
    del path
    return x


def _zscored(path: str, x: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1 over all scores of the file, those of all videos and classes.

    One shift and one scale for a member, so its ranking of classes stays, and so does which videos
    it is sure of; only how loud it speaks beside the others changes.
    """
    if not np.ptp(x):
        raise InputError(f"{path!r}: all scores are {x.flat[0]:g}; they have no scale to z-score.")
    return (x - x.mean()) / x.std()


CALIBRATIONS = {"none": _as_they_are, "zscore": _zscored}
"""How the scores of a member are brought to a scale that it shares with the others."""


def _scores(found: Scores, average: str) -> np.ndarray:
    """What is averaged, float64 [N,K]."""
    if average not in found.arrays:
        raise InputError(
            f"{found.path!r} holds no {average}; evaluate again, or average probabilities "
            "(--average probs)."
        )
    x = np.asarray(found.arrays[average], np.float64)
    if not np.isfinite(x).all():
        raise InputError(f"{found.path!r} has {average} that are not finite; evaluate again.")
    return x


def _probs(like: Scores, logits: np.ndarray) -> np.ndarray:
    """Softmax within each group of classes."""
    probs = np.empty_like(logits)
    for group in compared.groups(like):
        own = logits[:, group.part]
        own = np.exp(own - own.max(axis=1, keepdims=True))
        probs[:, group.part] = own / own.sum(axis=1, keepdims=True)
    return probs


def _same(members: Mapping[str, Scores]) -> list[list[str]]:
    """Pairs of members with the very same scores: a copy, or a repetition with the same seed."""
    seen: dict[bytes, str] = {}
    pairs = []
    for name, found in members.items():
        key = np.ascontiguousarray(found.arrays["probs"]).tobytes()
        if key in seen:
            pairs.append([seen[key], name])
        seen.setdefault(key, name)
    return pairs
