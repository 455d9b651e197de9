"""Accuracies of saved scores: plain numpy, so that they can be computed again from a file."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tempo.errors import InputError
from tempo.task import Task


def top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of rows whose label is among the k highest scores.

    A label that ties with others takes the worst place among them, so constant scores get nothing.

    Args:
      scores: `[N,K]`.
      labels: class indices `[N]`.
      k: at most K counts.
    """
    return float(np.mean(hits(scores, labels, k)))


def hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """`[N]` booleans: is the label among the k highest scores? See `top_k`; NaN is never a hit."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    rank = np.sum(~(scores < own), axis=1)  # counts the label itself
    return (rank <= k) & np.isfinite(own[:, 0])


def joint_hits(scores: Sequence[np.ndarray], labels: np.ndarray, k: int) -> np.ndarray:
    """`[N]` booleans: are the labels of all groups together among the k best combinations?

    A combination takes one class of each group, and its score is the product of theirs.

    Args:
      scores: probabilities `[N,K_g]` of each group.
      labels: class of each group within that group, `[N,G]`; a row with one below 0, which is not
        known, is never a hit.
      k: at least 1.
    """
    found = np.zeros(len(labels), bool)
    for row in np.flatnonzero((labels >= 0).all(axis=1)):
        own = labels[row]
        combined = functools.reduce(np.multiply.outer, [group[row] for group in scores])
        best = combined[tuple(own)]
        found[row] = np.isfinite(best) and np.sum(~(combined < best)) <= k
    return found


def mean_class(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of their top-1 accuracy."""
    correct = hits(scores, labels, 1)
    return float(np.mean([correct[labels == c].mean() for c in np.unique(labels)]))


def bootstrap_ci95(correct: np.ndarray, *, num_resamples: int = 2000, seed: int = 0) -> list[float]:
    """95 % percentile interval of the mean of `correct [N]`, by resampling videos.

    It tells how far the number may move on another sample of test videos; not how far another
    training run would move it.
    """
    rng = np.random.default_rng(seed)
    correct = np.asarray(correct, np.float64)
    means = [rng.choice(correct, size=len(correct)).mean() for _ in range(num_resamples)]
    return [float(q) for q in np.quantile(means, (0.025, 0.975))]


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes with a positive of the area under their precision-recall steps.

    Args:
      scores: `[N,K]`.
      labels: multi-hot `[N,K]`.
    """
    precisions = []
    for column, positive in zip(scores.T, labels.T.astype(bool), strict=True):
        if positive.any():
            ranked = positive[np.argsort(-column, kind="stable")]
            precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
            precisions.append(precision[ranked].mean())
    return float(np.mean(precisions))


def accuracies(task: Task, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What a row of `results.json` says of scores; the main number first.

    Args:
      task: says what kind of labels there are.
      scores: probabilities `[N,K]`.
      labels: as the split has them.
    """
    if task.kind == "multi":
        return {"mean_average_precision": mean_average_precision(scores, labels)}
    if task.kind == "joint":
        return _joint_accuracies(task, scores, labels)
    return {
        "top1": top_k(scores, labels, 1),
        "top5": top_k(scores, labels, 5),
        "mean_class": mean_class(scores, labels),
        "ci95": bootstrap_ci95(hits(scores, labels, 1)),
    }


def task_hits(task: Task, scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """`[N]` booleans: `hits` of single labels, `joint_hits` of joint ones."""
    if task.kind == "single":
        return hits(scores, labels, k)
    parts = list(task.slices.values())
    within = labels - np.array([part.start for part in parts])
    return joint_hits([scores[:, part] for part in parts], within, k)


def _joint_accuracies(task: Task, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Of all groups together (the action of a verb and a noun), then of each group.

    Each of the videos whose label is known (not -1); how many these are, if not all.
    """
    known = labels >= 0
    whole = known.all(axis=1)
    if not whole.any():
        raise InputError("No video of the evaluated split has a label of every group.")
    top1, top5 = (task_hits(task, scores[whole], labels[whole], k) for k in (1, 5))
    row = {
        "top1": float(top1.mean()),
        "top5": float(top5.mean()),
        "ci95": bootstrap_ci95(top1),
    }
    if not whole.all():
        row["labelled_videos"] = int(whole.sum())
    for (name, part), own, has in zip(task.slices.items(), labels.T, known.T, strict=True):
        own, group = own[has] - part.start, scores[has, part]
        row |= {f"{name}_top{k}": top_k(group, own, k) for k in (1, 5)}
        if not has.all():
            row[f"{name}_labelled_videos"] = int(has.sum())
    return row
