"""What a row of `results.json` says of scores, by the kind of their labels."""

from typing import Any

import numpy as np

from tempo.analysis import accuracy
from tempo.errors import InputError
from tempo.task import Task


def accuracies(task: Task, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What a row of `results.json` says of scores; the main number first.

    Args:
      task: says what kind of labels there are.
      scores: probabilities `[N,K]`.
      labels: as the split has them.
    """
    if task.kind == "multi":
        return {"mean_average_precision": accuracy.mean_average_precision(scores, labels)}
    if task.kind == "joint":
        return _joint_accuracies(task, scores, labels)
    return {
        "top1": accuracy.top_k(scores, labels, 1),
        "top5": accuracy.top_k(scores, labels, 5),
        "mean_class": accuracy.mean_class(scores, labels),
        "ci95": accuracy.bootstrap_ci95(accuracy.hits(scores, labels, 1)),
    }


def task_hits(task: Task, scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """`[N]` booleans: `accuracy.hits` of single labels, `accuracy.joint_hits` of joint ones."""
    if task.kind == "single":
        return accuracy.hits(scores, labels, k)
    parts = list(task.slices.values())
    within = labels - np.array([part.start for part in parts])
    return accuracy.joint_hits([scores[:, part] for part in parts], within, k)


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
        "ci95": accuracy.bootstrap_ci95(top1),
    }
    if not whole.all():
        row["labelled_videos"] = int(whole.sum())
    for (name, part), own, has in zip(task.slices.items(), labels.T, known.T, strict=True):
        own, group = own[has] - part.start, scores[has, part]
        row |= {f"{name}_top{k}": accuracy.top_k(group, own, k) for k in (1, 5)}
        if not has.all():
            row[f"{name}_labelled_videos"] = int(has.sum())
    return row
