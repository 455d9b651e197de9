"""Figures of measured tempo: widths of videos, their variance and gain, and whether they are true.

Figures 1 and 4 of the Temporal Pyramid Network (arXiv 2004.03548).
"""

from collections.abc import Sequence

import numpy as np

from tempo.analysis.figures import style
from tempo.analysis.gain import GainFit

_STRIP_CLASSES = 24


def instances(
    names: Sequence[str],
    frames: np.ndarray,
    is_censored: np.ndarray,
    labels: np.ndarray,
    fps: float,
) -> style.Drawn:
    """The width of every video: a strip for each class, or one histogram where there are many.

    Args:
      names: of the classes, K.
      frames: widths, [N]; NaN is left out.
      is_censored: cut off by the end of the video, [N].
      labels: class of each video, [N]; -1 is left out.
      fps: rate that frames were sampled at.
    """
    keep = ~np.isnan(frames) & (labels >= 0)
    frames, is_censored, labels = frames[keep], is_censored[keep], labels[keep]
    is_strip = len(names) <= _STRIP_CLASSES
    with style.settings():
        drawn, axes = style.new(7.6, 1.6 + 0.34 * len(names) if is_strip else 3.4)
        if is_strip:
            _strips(axes, names, frames, is_censored, labels)
        else:
            edges = np.linspace(0, max(frames.max(initial=1), 1), 41)
            axes.hist(
                [frames[~is_censored], frames[is_censored]], edges, stacked=True,
                color=[style.RUN, style.OTHERS], label=["whole", "cut off by the video's end"],
            )  # fmt: skip
            axes.set_ylabel("videos")
            axes.legend()
        axes.set_xlabel("width (sampled frames)")
        axes.set_xlim(left=0)
        axes.grid(axis="x")
        seconds = axes.secondary_xaxis("top", functions=(lambda x: x / fps, lambda s: s * fps))
        seconds.set_xlabel("width (s)")
        return style.render(drawn)


def _strips(axes, names, frames, is_censored, labels):
    offsets = np.random.default_rng(0).uniform(-0.3, 0.3, len(frames))
    is_many = len(frames) >= style.MANY_POINTS
    for rows, color, label in (
        (~is_censored, style.RUN, "whole"),
        (is_censored, style.OTHERS, "cut off by the video's end"),
    ):
        axes.scatter(
            frames[rows], labels[rows] + offsets[rows], s=9, color=color, lw=0, alpha=0.75,
            label=label, rasterized=is_many,
        )  # fmt: skip
    for k in range(len(names)):
        if (labels == k).any():
            middle = np.median(frames[labels == k])
            axes.plot([middle, middle], [k - 0.38, k + 0.38], color=style.INK, lw=2)
    axes.plot([], [], color=style.INK, lw=2, label="median")
    axes.set_yticks(np.arange(len(names)), [style.short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.55 / (0.34 * len(names) + 0.3)), ncols=3
    )


def gain(fit: GainFit, variance: np.ndarray, gains: np.ndarray) -> style.Drawn:
    """Gain of each class and of each bin against the variance of tempo, with the line of the bins.

    Args:
      fit: bins and line.
      variance: of each class, [K].
      gains: of each class as shares, [K].
    """
    with style.settings():
        drawn, axes = style.new(7.6, 3.9)
        axes.axhline(0, color=style.QUIET, lw=0.8)
        axes.scatter(
            variance, 100 * gains, s=15, color=style.QUIET, lw=0, label="classes", zorder=3,
            rasterized=len(gains) >= style.MANY_POINTS,
        )  # fmt: skip
        axes.plot(
            fit.bins.left, 100 * fit.bins.gain, "D", ms=6, color=style.RUN, label="means of bins"
        )
        if np.isfinite(fit.line.slope):
            ends = np.array([fit.bins.left.min(), fit.bins.left.max()])
            axes.plot(
                ends, 100 * (fit.line.intercept + fit.line.slope * ends), color=style.RUN, lw=1.6,
                label="least squares of the bins",
            )  # fmt: skip
        axes.set(xlabel="variance of widths in the class (frames²)", ylabel="gain (points)")
        axes.grid()
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
        return style.render(drawn)


def validation(
    names: Sequence[str], measured_s: np.ndarray, period_s: np.ndarray, labels: np.ndarray
) -> style.Drawn:
    """Measured width against true period, one dot for each video.

    Args:
      names: of the classes, K; the first 8 have colours.
      measured_s: widths in seconds, [N].
      period_s: true ones, [N].
      labels: class of each video, [N].
    """
    with style.settings():
        drawn, axes = style.new(7.6, 4.2)
        num = min(len(names), len(style.SERIES))
        is_many = len(labels) >= style.MANY_POINTS
        rest = labels >= num
        if rest.any():
            axes.scatter(
                period_s[rest], measured_s[rest], s=10, lw=0, color=style.OTHERS, alpha=0.7,
                label="other classes", rasterized=is_many,
            )  # fmt: skip
        for k in range(num):
            own = labels == k
            axes.scatter(
                period_s[own], measured_s[own], s=12, lw=0, color=style.SERIES[k], alpha=0.75,
                label=style.short(names[k]), rasterized=is_many,
            )  # fmt: skip
        axes.set(xlabel="true period (s)", ylabel="measured width (s)")
        axes.set_ylim(bottom=0)
        axes.grid()
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.6)
        return style.render(drawn)
