"""Hits, misses and accuracies: what evaluation writes and what reads it are counted alike.

A label that ties with others takes the worst place among them, so constant scores get nothing; NaN
is never a hit.
"""

import functools
from collections.abc import Sequence

import numpy as np

from tempo.analysis import average_precision, statistics


def hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Is the label among the k highest scores? Booleans `[..., N]`.

    Args:
      scores: `[..., N, K]`.
      labels: class indices `[N]`; one below 0, which is not known, is never a hit.
      k: at most K counts.
    """
    column = np.broadcast_to(np.maximum(labels, 0), scores.shape[:-1])[..., None]
    own = np.take_along_axis(scores, column, axis=-1)
    rank = np.sum(~(scores < own), axis=-1)  # counts the label itself
    return (rank <= k) & np.isfinite(own[..., 0]) & (labels >= 0)


def joint_hits(scores: Sequence[np.ndarray], labels: np.ndarray, k: int) -> np.ndarray:
    """Are the labels of all groups together among the k best combinations? Booleans `[..., N]`.

    A combination takes one class of each group, and its score is the product of theirs.

    Args:
      scores: probabilities `[..., N, K_g]` of each group.
      labels: class of each group within that group, `[N,G]`; a row with one below 0, which is not
        known, is never a hit.
      k: at least 1.
    """
    shape = scores[0].shape[:-1]
    found = np.zeros(shape, bool)
    for place in np.ndindex(shape):  # all combinations of all rows may not fit into memory
        own = labels[place[-1]]
        if (own >= 0).all():
            combined = functools.reduce(np.multiply.outer, [group[place] for group in scores])
            best = combined[tuple(own)]
            found[place] = np.isfinite(best) and np.sum(~(combined < best)) <= k
    return found


def top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of the rows `[N,K]` whose label `[N]` is among the k highest scores; see `hits`."""
    return float(np.mean(hits(scores, labels, k)))


def mean_class(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of their top-1 accuracy."""
    correct = hits(scores, labels, 1)
    return float(np.mean([correct[labels == c].mean() for c in np.unique(labels)]))


def bootstrap_ci95(correct: np.ndarray, *, num_resamples: int = 2000, seed: int = 0) -> list[float]:
    """95 % percentile interval of the mean of `correct [N]`, by resampling videos.

    It tells how far the number may move on another sample of test videos; not how far another
    training run would move it.
    """
    found = statistics.mean(correct, seed=seed, num_resamples=num_resamples)
    return [found.low, found.high]


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes with a positive of the area under their precision-recall steps.

    Args:
      scores: `[N,K]`.
      labels: multi-hot `[N,K]`.
    """
    found = average_precision.each(scores, labels)
    return float(np.mean(found[~np.isnan(found)]))
