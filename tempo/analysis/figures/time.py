"""Figures of time: other strides (figure 5 of arXiv 2004.03548), other orders of the frames."""

from collections.abc import Mapping, Sequence

import numpy as np

from tempo.analysis.figures import style
from tempo.analysis.gain import Robustness

_COLORS = (style.RUN, style.BASELINE)
_MARKERS = ("D", "o")


def robustness(curves: Mapping[str, Robustness]) -> style.Drawn:
    """Accuracy, and how it differs from that at the trained stride, over strides.

    Args:
      curves: by name of the run: the run, and its baseline if there is one.
    """
    with style.settings():
        drawn, axes = style.new(8.4, 3.7, 1, 2)
        for i, (name, curve) in enumerate(curves.items()):
            color = _COLORS[i]
            for axis, values in ((axes[0], curve.top1), (axes[1], curve.drop)):
                axis.plot(
                    curve.strides, 100 * values, marker=_MARKERS[i], ms=5, lw=1.7, color=color,
                    label=name, zorder=4 - i,
                )  # fmt: skip
            axes[1].fill_between(
                curve.strides, 100 * curve.drop_low, 100 * curve.drop_high, color=color,
                alpha=0.16, lw=0,
            )  # fmt: skip
            for axis in axes:
                axis.axvline(curve.trained_stride, color=style.QUIET, lw=0.9, ls=(0, (4, 3)))
        axes[0].set_ylabel("top-1 (%)")
        axes[0].set_ylim(0, 102)
        axes[1].set_ylabel("difference to the trained stride (points)")
        for axis in axes:
            axis.set_xlabel("stride (frames)")
            axis.set_xticks(sorted({int(s) for c in curves.values() for s in c.strides}))
            axis.grid()
        handles, labels = axes[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper left", ncols=2)
        return style.render(drawn)


def orders(
    variants: Sequence[str], means: Mapping[str, np.ndarray], ends: Mapping[str, np.ndarray]
) -> style.Drawn:
    """Accuracy with the frames in other orders, with whiskers for the interval.

    Args:
      variants: M names.
      means: by name of the run, [M].
      ends: by name of the run, [2,M]: lower and upper end of the interval.
    """
    with style.settings():
        drawn, axes = style.new(7.6, 3.4)
        width = 0.76 / len(means)
        for i, name in enumerate(means):
            x = np.arange(len(variants)) + (i - (len(means) - 1) / 2) * width
            error = np.abs(ends[name] - means[name])
            axes.bar(x, 100 * means[name], 0.94 * width, color=_COLORS[i], label=name)
            axes.errorbar(
                x, 100 * means[name], 100 * error, fmt="none", ecolor=style.INK, elinewidth=1.1
            )
        axes.set_xticks(np.arange(len(variants)), [v.replace("_", " ") for v in variants])
        axes.tick_params(axis="x", length=0)
        axes.set(ylim=(0, 102), ylabel="top-1 (%)")
        axes.grid(axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
        return style.render(drawn)
