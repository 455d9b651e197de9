"""Mean average precision of saved multi-label scores, with its interval over videos."""

import numpy as np

from tempo.analysis import statistics

NUM_RESAMPLES = 500
"""Fewer than elsewhere: each ranks all videos for every class."""


def resampled(
    probs: np.ndarray, labels: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision of each class, [K], and the mean over classes of each resample, [R].

    The area under the steps of the precision-recall curve; NaN for a class without a positive,
    which the means leave out. With the same seed, two networks are resampled alike.

    Args:
      probs: [N,K].
      labels: multi-hot [N,K].
      seed: of the bootstrap over videos.
      num_resamples: R.
    """
    num, num_classes = probs.shape
    counts = np.ones((num_resamples + 1, num))  # row 0: the videos as they are
    rng = np.random.default_rng(seed)
    for row in counts[1:]:
        row[:] = np.bincount(rng.integers(0, num, num), minlength=num)
    sums, defined = np.zeros(num_resamples + 1), np.zeros(num_resamples + 1)
    own = np.full(num_classes, np.nan)
    for k in range(num_classes):
        order = np.argsort(-probs[:, k], kind="stable")
        weights = counts[:, order]
        positives = weights * (labels[order, k] > 0)
        with np.errstate(invalid="ignore"):
            precision = positives.cumsum(axis=1) / weights.cumsum(axis=1)
            found = np.nansum(positives * precision, axis=1) / positives.sum(axis=1)
        own[k] = found[0]
        sums += np.nan_to_num(found)
        defined += ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        return own, (sums / defined)[1:]


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
