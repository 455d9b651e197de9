"""Lines, correlations and their bootstrap intervals: numpy arrays in, plain numbers out.

Every interval is a percentile interval of resampled rows, drawn with a seed that the caller gives.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from tempo.errors import InputError

NUM_RESAMPLES = 2000
LEVEL = 0.95


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


def resamples(num: int, *, seed: int, num_resamples: int = NUM_RESAMPLES) -> np.ndarray:
    """Rows of bootstrap samples, int64 [R,N]: each draws `num` of `num` rows, with repeats."""
    return np.random.default_rng(seed).integers(0, num, (num_resamples, num))


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of resampled values [R]; undefined (NaN) ones are left out.

    NaN at both ends if more than half are undefined: the rest would tell of lucky samples only.
    """
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    if len(defined) * 2 <= len(values):
        return (float("nan"), float("nan"))
    tail = (1 - level) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return float(low), float(high)


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    num: int,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> Estimate:
    """Any statistic with its interval.

    Args:
      statistic: rows [M] (indices below `num`, with repeats) -> a number.
      num: rows there are.
      seed: of the resampling.
      num_resamples: R.
    """
    if num == 0:
        return _undefined(0)
    value = float(statistic(np.arange(num)))
    drawn = resamples(num, seed=seed, num_resamples=num_resamples)
    low, high = interval(np.array([statistic(rows) for rows in drawn]))
    return Estimate(value, low, high, num)


def mean(x: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES) -> Estimate:
    """Mean of `x` [N], NaN rows left out, with its interval over rows."""
    x = np.asarray(x, np.float64)
    x = x[~np.isnan(x)]
    if not len(x):
        return _undefined(0)
    drawn = resamples(len(x), seed=seed, num_resamples=num_resamples)
    return Estimate(float(x.mean()), *interval(x[drawn].mean(axis=1)), len(x))


def ols(x: np.ndarray, y: np.ndarray) -> Line:
    """Ordinary least squares of `y` [N] on `x` [N], unweighted; pairs with a NaN are left out."""
    x, y = _pairs(x, y)
    if len(np.unique(x)) < 2:
        return Line(float("nan"), float("nan"), float("nan"), len(x))
    fit = stats.linregress(x, y)
    r = float(_rowwise_pearson(x[None], y[None])[0])
    return Line(float(fit.slope), float(fit.intercept), r, len(x))


def pearson(
    x: np.ndarray, y: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Estimate:
    """Pearson's correlation of `x` [N] and `y` [N] with its interval over pairs.

    Pairs with a NaN are left out.
    """
    return _correlation(_rowwise_pearson, x, y, seed, num_resamples)


def spearman(
    x: np.ndarray, y: np.ndarray, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Estimate:
    """Spearman's rank correlation (ties take their mean rank), else as `pearson`."""
    return _correlation(_rowwise_spearman, x, y, seed, num_resamples)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation alone; NaN where `spearman` has none."""
    x, y = _pairs(x, y)
    return float(_rowwise_spearman(x[None], y[None])[0]) if len(x) > 1 else float("nan")


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
    correlate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    seed: int,
    num_resamples: int,
) -> Estimate:
    x, y = _pairs(x, y)
    if len(x) < 2:
        return _undefined(len(x))
    drawn = resamples(len(x), seed=seed, num_resamples=num_resamples)
    value = correlate(x[None], y[None])[0]
    return Estimate(float(value), *interval(correlate(x[drawn], y[drawn])), len(x))


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


def _rowwise_spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    ranked = functools.partial(stats.rankdata, axis=1)
    return _rowwise_pearson(ranked(x), ranked(y))


def _undefined(num: int) -> Estimate:
    return Estimate(float("nan"), float("nan"), float("nan"), num)


def joined(estimates: Sequence[Estimate]) -> dict[str, np.ndarray]:
    """Estimates as columns `value`, `low`, `high`, `num`, for tables and figures."""
    names = [field.name for field in dataclasses.fields(Estimate)]
    return {name: np.array([getattr(e, name) for e in estimates]) for name in names}
