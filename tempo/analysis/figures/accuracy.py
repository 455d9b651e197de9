"""Figures of accuracy: classes with and without a baseline, and what is taken for what."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colors

from tempo.analysis.figures import style

MOST_CLASSES = 20
"""At each end, where there are more than twice as many."""
_NAMED_CLASSES = 32
_NUMBERED_CLASSES = 14


def classes(
    names: Sequence[str], accuracy: np.ndarray, baseline: np.ndarray | None, runs: Sequence[str]
) -> style.Drawn:
    """Accuracy of each class; with a baseline, from its accuracy to the run's.

    Args:
      names: of the classes, K.
      accuracy: [K], NaN where there are no videos.
      baseline: likewise; None for none.
      runs: names of the run and its baseline.
    """
    order = style.extremes(accuracy if baseline is None else accuracy - baseline, MOST_CLASSES)
    with style.settings():
        drawn, axes = style.new(7.6, 1.1 + 0.24 * len(order))
        y = np.arange(len(order))
        if baseline is not None:
            axes.hlines(
                y, 100 * baseline[order], 100 * accuracy[order], color=style.OTHERS, lw=2, zorder=1
            )
            axes.plot(
                100 * baseline[order], y, "o", color=style.BASELINE, ms=6, label=runs[1], zorder=2
            )
        axes.plot(100 * accuracy[order], y, "D", color=style.RUN, ms=5.5, label=runs[0], zorder=3)
        _name_rows(axes, names, order, len(accuracy))
        axes.set(xlim=(-2, 102), xlabel="top-1 (%)")
        axes.grid(axis="x")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
        return style.render(drawn)


def _name_rows(axes, names, order, total):
    axes.set_yticks(np.arange(len(order)), [style.short(names[k]) for k in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if len(order) == 2 * MOST_CLASSES < total:
        axes.axhline(MOST_CLASSES - 0.5, color=style.QUIET, lw=0.8, ls=(0, (4, 3)))


def bars(
    names: Sequence[str], values: np.ndarray, label: str, *, count: int = MOST_CLASSES
) -> style.Drawn:
    """A bar for each class, falling; at most `count` from each end.

    Args:
      names: of the classes, K.
      values: [K]; NaN is left out.
      label: of their axis.
      count: at each end.
    """
    order = style.extremes(values, count)
    with style.settings():
        drawn, axes = style.new(7.6, 0.9 + 0.24 * len(order))
        axes.barh(np.arange(len(order)), values[order], color=style.RUN, height=0.68)
        _name_rows(axes, names, order, len(values))
        axes.set_xlabel(label)
        axes.grid(axis="x")
        return style.render(drawn)


def confusion(matrix: np.ndarray, names: Sequence[str]) -> style.Drawn:
    """Which class is taken for which.

    Args:
      matrix: share of each true class (row) that is taken for each class (column), [K,K]; NaN rows
        have no video.
      names: of the classes; left out where there are more than fit.
    """
    num = len(names)
    is_named = num <= _NAMED_CLASSES
    side = 1.7 + 0.42 * num if num <= 10 else 6.2
    with style.settings():
        drawn, axes = style.new(max(4.6, side) + 0.6, max(3.6, side))
        shown = axes.imshow(
            100 * np.nan_to_num(matrix), cmap=style.fading(style.RUN),
            # Of many classes each error is a small share: lift them.
            norm=colors.PowerNorm(1 if is_named else 0.5, vmin=0, vmax=100),
            interpolation="nearest" if num <= 100 else "antialiased", aspect="equal",
        )  # fmt: skip
        if is_named:
            shortened = [style.short(name, 20) for name in names]
            axes.set_xticks(np.arange(num), shortened, rotation=90 if num > 4 else 0)
            axes.set_yticks(np.arange(num), shortened)
            axes.tick_params(length=0)
        if num <= _NUMBERED_CLASSES:
            for (row, column), value in np.ndenumerate(matrix):
                if value > 0:
                    axes.text(
                        column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8,
                        color=style.ON_RUN if value > 0.55 else style.INK,
                    )  # fmt: skip
        for spine in axes.spines.values():
            spine.set_visible(True)
        number = "" if is_named else " (number)"
        axes.set(xlabel=f"predicted class{number}", ylabel=f"true class{number}")
        bar = drawn.colorbar(shown, ax=axes, shrink=0.7, pad=0.02)
        bar.set_label("share of the true class (%)")
        bar.outline.set_edgecolor(style.GRID)
        return style.render(drawn)
