"""Lines, correlations and their bootstrap intervals: numpy arrays in, plain numbers out.

Every interval is a percentile interval of resampled rows, drawn with a seed that the caller gives.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from tempo.errors import InputError

NUM_RESAMPLES = 2000
_TAILS = (0.025, 0.975)
_CHUNK = 1 << 19
"""Rows that are drawn at once, of all resamples together; no number depends on it."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number and how far it may move on another sample.

    Attributes:
      value: NaN where it is undefined (a correlation of fewer than 2 points, or of a constant).
      low: lower end of the interval; NaN where too few resamples had a value.
      high: upper end.
      num: rows it was computed from.
    """

    value: float
    low: float
    high: float
    num: int


@dataclasses.dataclass(frozen=True)
class Line:
    """`y = slope * x + intercept` with Pearson's `r` of its `num` points; NaN if undefined."""

    slope: float
    intercept: float
    r: float
    num: int


@dataclasses.dataclass(frozen=True)
class Paired:
    """Two sets of hits on the same rows.

    Attributes:
      difference: first minus second, with its interval over pairs.
      only_first: rows that are hits of the first only.
      only_second: rows that are hits of the second only.
      p: of the exact McNemar test, two-sided: how often the rows in which they differ would fall
        this unevenly if either were as likely to be the hit; 1 if they differ in none.
    """

    difference: Estimate
    only_first: int
    only_second: int
    p: float


def resamples(num: int, *, seed: int, num_resamples: int = NUM_RESAMPLES) -> Iterator[np.ndarray]:
    """Bootstrap samples: each draws `num` of `num` rows, with repeats.

    One generator draws them in order, so neither they nor what is computed of each of them depends
    on how many come at once.

    Yields:
      The rows of some samples, int64 [R',N]; those of all chunks together are `num_resamples`.
    """
    rng = np.random.default_rng(seed)
    at_once = max(_CHUNK // max(num, 1), 1)
    for start in range(0, num_resamples, at_once):
        yield rng.integers(0, num, (min(at_once, num_resamples - start), num))


def resampled_means(x: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES) -> np.ndarray:
    """Means of bootstrap samples, [..., R], of `x` [..., N]; all rows of `x` share the samples."""
    x = np.asarray(x, np.float64)
    flat = x.reshape(-1, x.shape[-1])
    means = [
        np.stack([row[drawn].mean(axis=1) for row in flat])
        for drawn in resamples(x.shape[-1], seed=seed, num_resamples=num_resamples)
    ]
    return np.concatenate(means, axis=1).reshape(*x.shape[:-1], num_resamples)


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of resampled values [R]; undefined (NaN) ones are left out.

    NaN at both ends if more than half are undefined: the rest would tell of lucky samples only.
    """
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    if len(defined) * 2 <= len(values):
        return (float("nan"), float("nan"))
    low, high = np.quantile(defined, _TAILS)
    return float(low), float(high)


def mean(x: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES) -> Estimate:
    """Mean of `x` [N], NaN rows left out, with its interval over rows."""
    x = np.asarray(x, np.float64)
    x = x[~np.isnan(x)]
    if not len(x):
        return _undefined(0)
    again = resampled_means(x, seed=seed, num_resamples=num_resamples)
    return Estimate(float(x.mean()), *interval(again), len(x))


def paired(first: np.ndarray, second: np.ndarray, *, seed: int) -> Paired:
    """Compares hits, bool [N], of two on the same rows."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(~first & second))
    differing = only_first + only_second
    # Here, for its import would be a third of what a command takes to start.
    from scipy import stats

    p = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    difference = mean(first.astype(np.float64) - second, seed=seed)
    return Paired(difference, only_first, only_second, p)


def ols(x: np.ndarray, y: np.ndarray) -> Line:
    """Ordinary least squares of `y` [N] on `x` [N], unweighted; pairs with a NaN are left out."""
    x, y = _pairs(x, y)
    if len(np.unique(x)) < 2:
        return Line(float("nan"), float("nan"), float("nan"), len(x))
    from scipy import stats

    fit = stats.linregress(x, y)
    r = float(_rowwise_pearson(x[None], y[None])[0])
    return Line(float(fit.slope), float(fit.intercept), r, len(x))


def pearson(
    x: np.ndarray, y: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Estimate:
    """Pearson's correlation of `x` [N] and `y` [N] with its interval over pairs.

    Pairs with a NaN are left out.
    """
    return _correlation(lambda values, rows: values[rows], x, y, seed, num_resamples)


def spearman(
    x: np.ndarray, y: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Estimate:
    """Spearman's rank correlation (ties take their mean rank), else as `pearson`."""
    return _correlation(_ranks, x, y, seed, num_resamples, _places)


def grouped(groups: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a sample that keeps the size of every group (a stratified bootstrap).

    Args:
      groups: group of each row, [N].
      rows: uniform numbers in [0, 1), one for each row, [N].

    Returns:
      int64 [N]; place i holds a row of the same group as row i.
    """
    drawn = np.empty(len(groups), np.int64)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        drawn[members] = members[(rows[members] * len(members)).astype(np.int64)]
    return drawn


def _correlation(
    pick: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    seed: int,
    num_resamples: int,
    prepare: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Estimate:
    """Pearson's of what `pick` makes of prepared values [N] and rows [R',N]: numbers [R',N]."""
    x, y = _pairs(x, y)
    if len(x) < 2:
        return _undefined(len(x))
    x, y = prepare(x), prepare(y)

    def correlate(rows):
        return _rowwise_pearson(pick(x, rows), pick(y, rows))

    drawn = resamples(len(x), seed=seed, num_resamples=num_resamples)
    again = np.concatenate([correlate(rows) for rows in drawn])
    return Estimate(float(correlate(np.arange(len(x))[None])[0]), *interval(again), len(x))


def _pairs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"x and y must be two lists of one length; got {x.shape} and {y.shape}.")
    defined = ~(np.isnan(x) | np.isnan(y))
    return x[defined], y[defined]


def _rowwise_pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of every row of `x` [R,N] with that of `y`: [R], NaN where one of them is constant."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.sum(x * x, axis=1) * np.sum(y * y, axis=1))
    # A constant leaves rounding noise after its mean is gone; that is no variation.
    norm[_is_constant(x) | _is_constant(y)] = np.nan
    return np.clip(np.sum(x * y, axis=1) / norm, -1, 1)


def _is_constant(x: np.ndarray) -> np.ndarray:
    return np.ptp(x, axis=1) == 0


def _places(x: np.ndarray) -> np.ndarray:
    """Place of each value among the different ones, rising: int64 [N]."""
    return np.unique(x, return_inverse=True)[1].reshape(-1)


def _ranks(places: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Ranks within samples: the mean of the ranks that equal values share, from 1.

    Counts of the places, which are sorted once, in place of sorting every sample.

    Args:
      places: from `_places`, [N].
      rows: of some samples, [R',N].

    Returns:
      float64 [R',N].
    """
    drawn, num = places[rows], int(places.max()) + 1
    shift = num * np.arange(len(rows))[:, None]
    counts = np.bincount((drawn + shift).ravel(), minlength=num * len(rows)).reshape(-1, num)
    ranks = counts.cumsum(axis=1) - (counts - 1) / 2
    return np.take_along_axis(ranks, drawn, axis=1)


def _undefined(num: int) -> Estimate:
    return Estimate(float("nan"), float("nan"), float("nan"), num)
