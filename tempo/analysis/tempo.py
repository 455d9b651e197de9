"""Visual tempo from per-frame scores: of a video, of a class, and whether it is the true one.

From the Temporal Pyramid Network (arXiv 2004.03548, section 4.3, figure 1). What the paper leaves
open is settled here, and said where it is.
"""

import dataclasses
import itertools

import numpy as np
from scipy import ndimage

from tempo.analysis import statistics
from tempo.errors import InputError, lookup

MODES = {
    "main": "from crossing to crossing of the lobe that holds the maximum",
    "outermost": "from the first crossing to the last one",
    "total": "all time at or above half the maximum",
}


@dataclasses.dataclass(frozen=True)
class Width:
    """Full width at half maximum of one video's curve; times in frames of the sampled rate.

    Attributes:
      frames: the width; NaN if the curve has none (no frame, a NaN, or nowhere above 0).
      left: where it starts, NaN likewise. Between frames, by linear interpolation.
      right: where it ends.
      peak: highest value.
      peak_frame: first frame that has it; -1 if there is none.
      is_left_censored: the curve starts above half its maximum: the true start is not in it.
      is_right_censored: it ends above.
      num_lobes: separate stretches above half the maximum.
    """

    frames: float
    left: float
    right: float
    peak: float
    peak_frame: int
    is_left_censored: bool
    is_right_censored: bool
    num_lobes: int


_NAN = float("nan")
_NO_WIDTH = Width(_NAN, _NAN, _NAN, _NAN, -1, False, False, 0)


def fwhm(probs: np.ndarray, *, mode: str = "main", smoothing_frames: float = 0.0) -> Width:
    """Full width at half maximum of per-frame probabilities: wide is slow.

    Half of the maximum itself: no baseline is taken off. The paper does not name the class whose
    probability it takes; here it is the video's own.

    Args:
      probs: of the video's class at each sampled frame, [n]; one frame has width 0.
      mode: row of `MODES`.
      smoothing_frames: sigma of a Gaussian, run first; 0 (the paper has none) leaves it out.

    Raises:
      InputError: unknown mode, negative smoothing, or not a list.
    """
    lookup(MODES, mode, "width mode")
    if not smoothing_frames >= 0:
        raise InputError(f"smoothing_frames must be at least 0; got {smoothing_frames}.")
    p = np.asarray(probs, np.float64)
    if p.ndim != 1:
        raise InputError(f"Probabilities of one video are a list [n]; got shape {p.shape}.")
    if not len(p) or not np.isfinite(p).all() or p.max() <= 0:
        return _NO_WIDTH
    if smoothing_frames:
        p = ndimage.gaussian_filter1d(p, smoothing_frames, mode="nearest")
    peak_frame, half = int(p.argmax()), p.max() / 2
    is_above = p > half
    starts, ends = _lobes(is_above)
    lobe = int(np.searchsorted(starts, peak_frame, side="right")) - 1
    first, last = (lobe, lobe) if mode == "main" else (0, len(starts) - 1)
    left = _crossing(p, half, int(starts[first]), -1)
    right = _crossing(p, half, int(ends[last]), 1)
    return Width(
        frames=_time_at_least(p, half) if mode == "total" else right - left,
        left=left,
        right=right,
        peak=float(p[peak_frame]),
        peak_frame=peak_frame,
        is_left_censored=bool(starts[first] == 0),
        is_right_censored=bool(ends[last] == len(p) - 1),
        num_lobes=len(starts),
    )


def _lobes(is_above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last frame of each stretch of True."""
    edges = np.diff(np.concatenate([[0], is_above.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


def _crossing(p: np.ndarray, half: float, edge: int, step: int) -> float:
    """Where the curve falls to `half` beyond `edge`, a lobe's last frame in direction `step`.

    `edge` itself where the curve ends there.
    """
    beyond = edge + step
    if not 0 <= beyond < len(p):
        return float(edge)
    return edge + step * float((p[edge] - half) / (p[edge] - p[beyond]))


def _time_at_least(p: np.ndarray, half: float) -> float:
    """Measure of where the polygon through `p` is at or above `half`."""
    low, high = np.minimum(p[:-1], p[1:]), np.maximum(p[:-1], p[1:])
    is_part = (low < half) & (high >= half)
    parts = (high[is_part] - half) / (high[is_part] - low[is_part])
    return float(np.sum(low >= half) + parts.sum())


@dataclasses.dataclass(frozen=True)
class Widths:
    """The widths of N videos; the fields of `Width` as arrays [N], and widths in seconds.

    Attributes:
      frames: see `Width`.
      seconds: `frames` divided by the sampled rate.
      peak: see `Width`.
      peak_frame: see `Width`.
      is_left_censored: see `Width`.
      is_right_censored: see `Width`.
      num_lobes: see `Width`.
    """

    frames: np.ndarray
    seconds: np.ndarray
    peak: np.ndarray
    peak_frame: np.ndarray
    is_left_censored: np.ndarray
    is_right_censored: np.ndarray
    num_lobes: np.ndarray

    @property
    def is_valid(self) -> np.ndarray:
        """Which videos have a width, bool [N]."""
        return ~np.isnan(self.frames)

    @property
    def is_censored(self) -> np.ndarray:
        """Which videos are censored on a side or both, bool [N]."""
        return self.is_left_censored | self.is_right_censored


def widths(
    probs: np.ndarray,
    offsets: np.ndarray,
    fps: float | np.ndarray,
    *,
    mode: str = "main",
    smoothing_frames: float = 0.0,
) -> Widths:
    """`fwhm` of every video of a per-frame score file.

    Args:
      probs: of each video's class, all frames one video after the other, [sum n].
      offsets: where each video's frames start, and their end, int [N+1].
      fps: rate that frames were sampled at, one number or [N].
      mode: row of `MODES`.
      smoothing_frames: see `fwhm`.

    Raises:
      InputError: a rate that is not positive, or what `fwhm` refuses.
    """
    fps = np.broadcast_to(np.asarray(fps, np.float64), len(offsets) - 1)
    if not (fps > 0).all():
        raise InputError(f"fps must be positive; got {fps[~(fps > 0)][0]:g}.")
    found = [
        fwhm(probs[start:end], mode=mode, smoothing_frames=smoothing_frames)
        for start, end in itertools.pairwise(offsets)
    ]
    frames = np.array([w.frames for w in found], np.float64)
    return Widths(
        frames=frames,
        seconds=frames / fps,
        peak=np.array([w.peak for w in found], np.float64),
        peak_frame=np.array([w.peak_frame for w in found], np.int64),
        is_left_censored=np.array([w.is_left_censored for w in found], bool),
        is_right_censored=np.array([w.is_right_censored for w in found], bool),
        num_lobes=np.array([w.num_lobes for w in found], np.int64),
    )


def kept(
    found: Widths,
    *,
    min_peak: float = 0.0,
    correct_only: bool = False,
    labels: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
) -> np.ndarray:
    """Which videos to count, bool [N]; all that have a width by default, as in the paper.

    Args:
      found: from `widths`.
      min_peak: lowest peak probability to keep.
      correct_only: keep a video only if the class predicted at its peak is its own.
      labels: class of each video, [N] (or of each of its groups, [N,G]); with `correct_only`.
      predicted: class predicted at every frame, [sum n] or [sum n,G]; with `correct_only`.
      offsets: as in `widths`; with `correct_only`.

    Raises:
      InputError: `correct_only` without what it needs.
    """
    keep = found.is_valid & ~(found.peak < min_peak)
    if not correct_only:
        return keep
    if labels is None or predicted is None or offsets is None:
        raise InputError("correct_only needs the labels, the predicted classes and the offsets.")
    valid = np.flatnonzero(keep)
    at_peak = np.asarray(predicted)[np.asarray(offsets)[valid] + found.peak_frame[valid]]
    is_own = at_peak == np.asarray(labels)[valid]
    keep[valid] = is_own.reshape(len(valid), -1).all(axis=1)
    return keep


@dataclasses.dataclass(frozen=True)
class Measurement:
    """How widths are measured, and of which videos; the paper's way by default.

    Attributes:
      smoothing_frames: see `fwhm`.
      min_peak: see `kept`.
      correct_only: see `kept`.

    Raises:
      InputError: a value out of its range.
    """

    smoothing_frames: float = 0.0
    min_peak: float = 0.0
    correct_only: bool = False

    def __post_init__(self):
        if not 0 <= self.smoothing_frames < float("inf"):
            raise InputError(
                f"smoothing_frames is a number of frames, at least 0; got {self.smoothing_frames}."
            )
        if not 0 <= self.min_peak <= 1:
            raise InputError(f"min_peak is a probability, from 0 to 1; got {self.min_peak}.")

    def widths(
        self,
        probs: np.ndarray,
        offsets: np.ndarray,
        fps: float,
        labels: np.ndarray,
        predicted: np.ndarray,
        *,
        mode: str = "main",
    ) -> Widths:
        """`widths` of the videos that are `kept`; the others have none (NaN)."""
        found = widths(probs, offsets, fps, mode=mode, smoothing_frames=self.smoothing_frames)
        keep = kept(
            found, min_peak=self.min_peak, correct_only=self.correct_only, labels=labels,
            predicted=predicted, offsets=offsets,
        )  # fmt: skip
        return dataclasses.replace(
            found,
            frames=np.where(keep, found.frames, np.nan),
            seconds=np.where(keep, found.seconds, np.nan),
        )

    def __str__(self) -> str:
        """What differs from the paper, in words; "" if nothing does."""
        said = []
        if self.smoothing_frames:
            said.append(f"curves smoothed by a Gaussian of {self.smoothing_frames:g} frames")
        if self.min_peak:
            said.append(f"only videos with a peak of at least {self.min_peak:g}")
        if self.correct_only:
            said.append("only videos whose class is predicted at their peak")
        return ", ".join(said)


AS_PUBLISHED = Measurement()


@dataclasses.dataclass(frozen=True)
class ClassTempo:
    """Tempo of each class; arrays [K].

    Variances divide by n, and are NaN for fewer than 2 videos. The end of a video cuts widths off,
    which makes the variance of continuous actions too small: see `censored_share`.

    Attributes:
      num_videos: counted.
      mean_frames: mean width.
      mean_s: mean width in seconds.
      var_frames2: variance of widths in frames (figure 1).
      var_s2: variance of widths in seconds.
      censored_share: of the counted videos; NaN if there are none.
    """

    num_videos: np.ndarray
    mean_frames: np.ndarray
    mean_s: np.ndarray
    var_frames2: np.ndarray
    var_s2: np.ndarray
    censored_share: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Classes by falling variance, those without one left out."""
        defined = np.flatnonzero(~np.isnan(self.var_frames2))
        return defined[np.argsort(-self.var_frames2[defined], kind="stable")]


def class_tempo(
    found: Widths, labels: np.ndarray, num_classes: int, *, keep: np.ndarray | None = None
) -> ClassTempo:
    """Mean and variance of the widths of each class.

    Args:
      found: from `widths`.
      labels: class of each video, [N].
      num_classes: K.
      keep: videos to count, bool [N]; None counts all that have a width.
    """
    keep = found.is_valid if keep is None else found.is_valid & keep
    labels = np.asarray(labels)
    columns = [
        [
            rows.sum(),
            _mean(found.frames[rows]),
            _mean(found.seconds[rows]),
            _variance(found.frames[rows]),
            _variance(found.seconds[rows]),
            _mean(found.is_censored[rows]),
        ]
        for rows in (keep & (labels == c) for c in range(num_classes))
    ]
    num, *others = np.array(columns, np.float64).reshape(num_classes, 6).T
    return ClassTempo(num.astype(np.int64), *others)


def _mean(x: np.ndarray) -> float:
    return float(x.mean()) if len(x) else _NAN


def _variance(x: np.ndarray) -> float:
    return float(x.var()) if len(x) >= 2 else _NAN


@dataclasses.dataclass(frozen=True)
class Validation:
    """How well measured widths rank videos by their true period (Spearman's correlation).

    Attributes:
      overall: over all videos with a width and a period.
      per_class: of each class, K of them.
    """

    overall: statistics.Estimate
    per_class: tuple[statistics.Estimate, ...]


def validate(
    measured: np.ndarray,
    true_periods: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    seed: int = 0,
    num_resamples: int = statistics.NUM_RESAMPLES,
) -> Validation:
    """Rank correlation of measured widths with the true periods of the same videos.

    Ranks, as a width is a part of the period that depends on the class. Over all videos a
    correlation can also come from classes that differ in both; within a class it cannot.

    Args:
      measured: widths in one unit, [N]; videos with NaN are left out.
      true_periods: in one unit, [N]; NaN where unknown, left out likewise.
      labels: class of each video, [N].
      num_classes: K.
      seed: of the bootstrap over videos.
      num_resamples: of the bootstrap.
    """
    measured, true_periods = np.asarray(measured), np.asarray(true_periods)

    def ranked(rows):
        return statistics.spearman(
            measured[rows], true_periods[rows], seed=seed, num_resamples=num_resamples
        )

    every_class = tuple(ranked(np.asarray(labels) == c) for c in range(num_classes))
    return Validation(ranked(slice(None)), every_class)
