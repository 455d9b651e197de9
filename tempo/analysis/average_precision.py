"""Mean average precision of multi-label scores, with its interval over videos."""

import numpy as np

from tempo.analysis import statistics

NUM_RESAMPLES = 500
"""Fewer than elsewhere: each ranks all videos for every class."""


def each(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of each class, [K]; NaN for a class without a positive.

    The area under the steps of the precision-recall curve.

    Args:
      probs: [N,K].
      labels: multi-hot [N,K].
    """
    once = np.ones((1, len(probs)))
    ranked = zip(probs.T, labels.T, strict=True)
    return np.array([_weighted(once, *_ranked(column, own))[0] for column, own in ranked])


def resampled(
    probs: np.ndarray, labels: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """`each`, [K], and the mean over classes of each resample, [R].

    The means leave out classes without a positive. With the same seed, two networks are resampled
    alike.

    Args:
      probs: [N,K].
      labels: multi-hot [N,K].
      seed: of the bootstrap over videos.
      num_resamples: R.
    """
    num = len(probs)
    ranked = [_ranked(column, own) for column, own in zip(probs.T, labels.T, strict=True)]
    means = []
    for drawn in statistics.resamples(num, seed=seed, num_resamples=num_resamples):
        counts = np.stack([np.bincount(rows, minlength=num) for rows in drawn]).astype(np.float64)
        found = np.stack([_weighted(counts, *one) for one in ranked])
        is_defined = ~np.isnan(found)
        with np.errstate(invalid="ignore"):
            means.append(np.where(is_defined, found, 0).sum(axis=0) / is_defined.sum(axis=0))
    return each(probs, labels), np.concatenate(means)


def _ranked(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Videos by falling probability of one class, and the places of its positives among them."""
    order = np.argsort(-probs, kind="stable")
    return order, np.flatnonzero(labels[order] > 0)


def _weighted(counts: np.ndarray, order: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Average precision of one class, where videos count so many times: [R] for [R,N]."""
    weights = counts[:, order]
    own = weights[:, places]
    total = weights.cumsum(axis=1)[:, places]
    # A video that counts has a total; one that does not adds nothing.
    precision = own.cumsum(axis=1) / np.maximum(total, 1)
    with np.errstate(invalid="ignore"):
        return (own * precision).sum(axis=1) / own.sum(axis=1)


def mean(
    probs: np.ndarray, labels: np.ndarray, *, seed: int, **options: int
) -> statistics.Estimate:
    """Mean over the classes with its interval over videos; see `resampled`."""
    own, again = resampled(probs, labels, seed=seed, **options)
    return _estimate(own, again, len(probs))


def difference(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, *, seed: int, **options: int
) -> statistics.Estimate:
    """That of `first` minus that of `second`, resampled in pairs."""
    a, again_a = resampled(first, labels, seed=seed, **options)
    b, again_b = resampled(second, labels, seed=seed, **options)
    return _estimate(a - b, again_a - again_b, len(labels))


def _estimate(own: np.ndarray, again: np.ndarray, num: int) -> statistics.Estimate:
    defined = own[~np.isnan(own)]
    value = float(defined.mean()) if len(defined) else float("nan")
    return statistics.Estimate(value, *statistics.interval(again), num)
