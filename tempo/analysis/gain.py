"""What a network gains over its baseline where tempo varies, and how it bears another tempo.

From the Temporal Pyramid Network (arXiv 2004.03548, section 4.3, figures 4 and 5).
"""

import dataclasses

import numpy as np

from tempo.analysis import statistics
from tempo.errors import InputError

BIN_WIDTH = 10.0
"""Of figure 4: its 15 points lie at 20, 30, ..., 160 on the axis of variance."""


def class_accuracy(correct: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of hits of each class, [..., K]; NaN for a class without videos.

    Args:
      correct: whether each video is a hit, bool [..., N].
      labels: class of each video, [N].
      num_classes: K.
    """
    is_member = np.asarray(labels)[:, None] == np.arange(num_classes)
    hits = np.asarray(correct, np.float64) @ is_member
    with np.errstate(invalid="ignore"):
        return hits / is_member.sum(axis=0)


@dataclasses.dataclass(frozen=True)
class Bins:
    """Classes by their variance of tempo; arrays [B], empty bins left out.

    Attributes:
      left: left edge of the bin on the axis of variance: where figure 4 has the point.
      gain: unweighted mean over the classes of the bin.
      num_classes: in the bin.
    """

    left: np.ndarray
    gain: np.ndarray
    num_classes: np.ndarray


def bin_gains(variance: np.ndarray, gain: np.ndarray, *, bin_width: float = BIN_WIDTH) -> Bins:
    """Mean gain of the classes in bins of variance; bin b holds `floor(variance / width) == b`.

    Args:
      variance: of each class, [K]; classes with a NaN here or in `gain` are left out.
      gain: accuracy of the network minus that of its baseline, [K].
      bin_width: in the unit of `variance`; the paper's 10 is of frames squared.

    Raises:
      InputError: a width that is not positive.
    """
    if not bin_width > 0:
        raise InputError(f"bin_width must be positive; got {bin_width}.")
    variance, gain = np.asarray(variance, np.float64), np.asarray(gain, np.float64)
    defined = ~(np.isnan(variance) | np.isnan(gain))
    numbers = np.floor(variance[defined] / bin_width)
    found, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    sums = np.zeros(len(found))
    np.add.at(sums, places, gain[defined])
    return Bins(found * bin_width, sums / counts, counts)


@dataclasses.dataclass(frozen=True)
class GainFit:
    """Gain against variance of tempo (figure 4).

    Attributes:
      bins: the points of the figure.
      line: least squares over those points, unweighted; its `r` is theirs too.
      pearson: over classes, without bins, with its interval over classes.
      spearman: likewise, of ranks.
    """

    bins: Bins
    line: statistics.Line
    pearson: statistics.Estimate
    spearman: statistics.Estimate


def fit(
    variance: np.ndarray,
    gain: np.ndarray,
    *,
    bin_width: float = BIN_WIDTH,
    seed: int = 0,
    num_resamples: int = statistics.NUM_RESAMPLES,
) -> GainFit:
    """Whether classes gain more where tempo varies more.

    Means over bins hide how classes scatter, so the correlations over classes stand beside the
    line of the paper's figure. The unit of the figure's y axis is unclear: compare its sign and
    correlation, not its slope.

    Args:
      variance: see `bin_gains`.
      gain: see `bin_gains`.
      bin_width: see `bin_gains`.
      seed: of the bootstrap over classes.
      num_resamples: of the bootstrap.
    """
    bins = bin_gains(variance, gain, bin_width=bin_width)
    options = {"seed": seed, "num_resamples": num_resamples}
    return GainFit(
        bins=bins,
        line=statistics.ols(bins.left, bins.gain),
        pearson=statistics.pearson(variance, gain, **options),
        spearman=statistics.spearman(variance, gain, **options),
    )


@dataclasses.dataclass(frozen=True)
class Robustness:
    """Accuracy at strides that the network was not trained at (figure 5); arrays [S].

    Attributes:
      strides: frames between two of a clip, rising.
      trained_stride: one of them.
      top1: share of hits at each stride.
      drop: `top1` minus that at the trained stride: 0 there, mostly negative elsewhere.
      drop_low: lower end of its interval over videos.
      drop_high: upper end.
      mean_abs_drop: mean of `|drop|` over the other strides; NaN if there is none.
    """

    strides: np.ndarray
    trained_stride: int
    top1: np.ndarray
    drop: np.ndarray
    drop_low: np.ndarray
    drop_high: np.ndarray
    mean_abs_drop: statistics.Estimate


def robustness(
    correct: np.ndarray,
    strides: np.ndarray,
    trained_stride: int,
    *,
    seed: int = 0,
    num_resamples: int = statistics.NUM_RESAMPLES,
) -> Robustness:
    """How accuracy falls when clips are played faster or slower than in training.

    Each network is compared with itself, video by video: a resample holds the same videos at all
    strides.

    Args:
      correct: whether each video is a hit at each stride, bool [S,N].
      strides: all different, [S].
      trained_stride: one of them.
      seed: of the bootstrap over videos.
      num_resamples: of the bootstrap.

    Raises:
      InputError: the trained stride is not among the strides, or a stride comes twice.
    """
    strides = np.asarray(strides)
    correct = np.asarray(correct, np.float64)
    listed = ", ".join(map(str, strides.tolist()))
    if len(np.unique(strides)) != len(strides) or correct.shape[:1] != strides.shape:
        raise InputError(
            f"{len(correct)} rows of hits need as many different strides; got {listed}."
        )
    if trained_stride not in strides:
        raise InputError(
            f"The trained stride {trained_stride} is not among {listed}; evaluate it too, as drops "
            "are counted from it."
        )
    order = np.argsort(strides)
    strides, correct = strides[order], correct[order]
    trained = int(np.flatnonzero(strides == trained_stride)[0])
    others = np.arange(len(strides)) != trained
    top1 = correct.mean(axis=1)
    drop = top1 - top1[trained]
    again = statistics.resampled_means(correct, seed=seed, num_resamples=num_resamples).T  # [R,S]
    again = again - again[:, [trained]]
    low, high = np.array([statistics.interval(column) for column in again.T]).T
    if others.any():
        mean = statistics.Estimate(
            float(np.abs(drop[others]).mean()),
            *statistics.interval(np.abs(again[:, others]).mean(axis=1)),
            correct.shape[1],
        )
    else:
        mean = statistics.Estimate(*[float("nan")] * 3, correct.shape[1])
    return Robustness(strides, int(trained_stride), top1, drop, low, high, mean)
