"""From the recorded rows of the tempo study to its numbers: accuracies, drops, gains, widths.

Intervals are bootstraps over training seeds and test videos together (videos within their class),
unless they say otherwise. With three seeds they are rough.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from experiments import recorded
from tempo.analysis import gain, statistics, tempo
from tempo.errors import InputError

BASELINE = "slowonly"
VIDEOS = "videos"
"""Name of the row that holds what is true of the test videos."""


@dataclasses.dataclass(frozen=True)
class Study:
    """The recorded runs, by name of their row; S seeds, N test videos, K classes.

    Attributes:
      class_names: in label order.
      labels: class of each video, [N].
      periods: true period of each video in frames, [N].
      phases: true phase of its first frame in cycles, [N].
      log_tempo_std: true spread of each class: standard deviation of ln(tempo), [K].
      median_period: of all classes, in frames.
      num_frames: of a video.
      seeds: of each row.
      hits: at the trained stride, bool [S,N].
      strides: that were tested.
      trained_stride: one of them.
      curve: hits at each stride, bool [S,len(strides),N].
      use_of_time: hits by variant, bool [S,N].
      widths: of the rows with per-frame scores, by mode: one `[N]` in frames for each seed.
      censored: of the width of the main lobe, bool [S,N].
      frame_accuracy: of single frames, one number for each seed.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    periods: np.ndarray
    phases: np.ndarray
    log_tempo_std: np.ndarray
    median_period: float
    num_frames: int
    seeds: Mapping[str, Sequence[int]]
    hits: Mapping[str, np.ndarray]
    strides: np.ndarray
    trained_stride: int
    curve: Mapping[str, np.ndarray]
    use_of_time: Mapping[str, Mapping[str, np.ndarray]]
    widths: Mapping[str, Mapping[str, np.ndarray]]
    censored: Mapping[str, np.ndarray]
    frame_accuracy: Mapping[str, Sequence[float]]

    @property
    def tpn_rows(self) -> list[str]:
        """Rows with a TPN."""
        return [row for row in self.hits if row.startswith("tpn_")]


def gather(rows: Sequence[Mapping[str, Any]]) -> Study:
    """The study that rows of `results.jsonl` tell of.

    Raises:
      InputError: rows of different videos, or none.
    """
    runs = [row for row in rows if row["row"] != VIDEOS]
    truths = [row for row in rows if row["row"] == VIDEOS]
    if not runs or len(truths) != 1:
        raise InputError(
            f"The records need runs and one row {VIDEOS!r} of the truth about their videos; got "
            f"{len(runs)} runs and {len(truths)} such rows. Evaluate the runs again."
        )
    (truth,) = truths
    if {row["manifest_sha256"] for row in rows} != {truth["manifest_sha256"]}:
        raise InputError("The rows are not all of the same videos; evaluate all runs again.")
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        by_row.setdefault(run["row"], []).append(run)
    num = len(truth["label"])

    def stacked(name: str, key: Callable[[Mapping[str, Any]], str]) -> np.ndarray:
        return np.stack([recorded.unpack(key(run), num) for run in by_row[name]])

    with_frames = [name for name, mine in by_row.items() if "widths" in mine[0]]
    strides = [int(stride) for stride in runs[0]["hits"]["tempo_robustness"]]
    return Study(
        class_names=tuple(truth["class_names"]),
        labels=np.array(truth["label"]),
        periods=np.array(truth["period_frames"]),
        phases=np.array(truth["phase"]),
        log_tempo_std=np.array(truth["class_log_tempo_std"]),
        median_period=truth["median_period_frames"],
        num_frames=truth["num_frames"],
        seeds={name: [run["seed"] for run in mine] for name, mine in by_row.items()},
        hits={name: stacked(name, lambda run: run["hits"]["multi_view"]) for name in by_row},
        strides=np.array(strides),
        trained_stride=runs[0]["trained_stride"],
        curve={
            name: np.stack(
                [
                    stacked(name, lambda run, s=stride: run["hits"]["tempo_robustness"][str(s)])
                    for stride in strides
                ],
                axis=1,
            )
            for name in by_row
        },
        use_of_time={
            name: {
                variant: stacked(name, lambda run, v=variant: run["hits"]["use_of_time"][v])
                for variant in mine[0]["hits"]["use_of_time"]
            }
            for name, mine in by_row.items()
        },
        widths={
            name: {
                mode: np.array([run["widths"][mode] for run in by_row[name]], np.float64)
                for mode in tempo.MODES
            }
            for name in with_frames
        },
        censored={name: stacked(name, lambda run: run["censored"]) for name in with_frames},
        frame_accuracy={
            name: [run["frame_accuracy"] for run in by_row[name]] for name in with_frames
        },
    )


def accuracy_gain(study: Study, row: str, **options: Any) -> statistics.Estimate:
    """Accuracy of a row minus that of the baseline."""
    return recorded.resampled(
        study.labels,
        lambda videos, own, base: own.mean() - base.mean(),
        study.hits[row],
        study.hits[BASELINE],
        **options,
    )


def class_gains(study: Study, row: str) -> np.ndarray:
    """Gain over the baseline of each class, [K], mean over seeds."""
    own, base = (_class_accuracy(study, study.hits[name]) for name in (row, BASELINE))
    return own - base


def spread_correlation(study: Study, row: str, **options: Any) -> statistics.Estimate:
    """Rank correlation over the classes of their gain with their true spread of tempo.

    Its interval is over classes, as in `gain.fit`: with few of them, which classes there are moves
    the number far more than which seeds and videos do.
    """
    gains = class_gains(study, row)
    return statistics.spearman(study.log_tempo_std, gains, **{"seed": 0, **options})


def distance_correlation(study: Study, row: str, **options: Any) -> statistics.Estimate:
    """Correlation over the videos of a class, of their gain with how far their tempo is off.

    Off is |ln(period / median)|, as its rank within the class; a video's gain is the share of seeds
    that hit it, minus the baseline's, minus the mean of the class. All classes together, but none
    of it comes from differences between them.
    """
    distance = np.abs(np.log(study.periods / study.median_period))
    ranked = np.empty(len(distance))
    for label in range(len(study.class_names)):
        ranked[study.labels == label] = stats.rankdata(distance[study.labels == label])
    sizes = np.bincount(study.labels)

    def centred(x):
        return x - (np.bincount(study.labels, x) / sizes)[study.labels]

    def correlation(videos, own, base):  # a resample keeps the classes in place
        x, y = centred(ranked[videos]), centred(own - base)
        norm = np.sqrt((x @ x) * (y @ y))
        return x @ y / norm if norm > 1e-9 else float("nan")

    return recorded.resampled(
        study.labels, correlation, study.hits[row], study.hits[BASELINE], **options
    )


def drops(study: Study, row: str) -> np.ndarray:
    """Accuracy at each stride minus that at the trained one, of each seed: [S, strides]."""
    top1 = study.curve[row].mean(axis=2)
    return top1 - top1[:, study.strides == study.trained_stride]


def mean_abs_drop(study: Study, row: str, **options: Any) -> statistics.Estimate:
    """Mean |drop| over the strides that were not trained, of the mean over seeds."""
    trained = study.strides == study.trained_stride

    def mean(videos, hits):
        top1 = hits.mean(axis=1)
        return np.abs(top1[~trained] - top1[trained]).mean()

    return recorded.resampled(study.labels, mean, study.curve[row], **options)


def measured_widths(
    study: Study, row: str, mode: str = "main", *, is_uncensored: bool = False
) -> np.ndarray:
    """Width of each video in frames, [N]: mean over the seeds that have one, NaN if none has.

    Args:
      study: the study.
      row: with per-frame scores.
      mode: of the widths.
      is_uncensored: leave out widths that an end of the video cuts off.
    """
    found = study.widths[row][mode]
    counts = ~np.isnan(found)
    if is_uncensored:
        counts &= ~study.censored[row]
    with np.errstate(invalid="ignore"):
        return np.where(counts, found, 0).sum(axis=0) / counts.sum(axis=0)


def validation(
    study: Study, row: str, mode: str = "main", *, is_uncensored: bool = False, **options: Any
) -> tempo.Validation:
    """Whether `measured_widths` rank videos by their true period; options of the bootstrap."""
    found = measured_widths(study, row, mode, is_uncensored=is_uncensored)
    return tempo.validate(found, study.periods, study.labels, len(study.class_names), **options)


def control(study: Study, sharpness: float = 4.0, **options: Any) -> tempo.Validation:
    """The same measurement where the curve is known to follow the motion.

    Instead of a network's probabilities, `exp(sharpness * (cos(2 pi phase) - 1))` of every video's
    true phase: one peak a cycle. What this misses is lost to the measurement and to the length of
    the videos, not to the network.
    """
    cycles = np.arange(study.num_frames) / study.periods[:, None] + study.phases[:, None]
    curves = np.exp(sharpness * (np.cos(2 * np.pi * cycles) - 1))
    measured = np.array([tempo.fwhm(curve).frames for curve in curves])
    return tempo.validate(measured, study.periods, study.labels, len(study.class_names), **options)


def _class_accuracy(study: Study, hits: np.ndarray) -> np.ndarray:
    return gain.class_accuracy(hits.mean(axis=0), study.labels, len(study.class_names))


def class_accuracies(study: Study, row: str) -> np.ndarray:
    """Accuracy of each class, [K], mean over seeds."""
    return _class_accuracy(study, study.hits[row])
