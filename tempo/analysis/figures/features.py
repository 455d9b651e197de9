"""The figure of pooled features in the plane."""

from collections.abc import Sequence

import numpy as np

from tempo.analysis.figures import style


def plane(xy: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> style.Drawn:
    """A dot for each video; the classes with the most videos have colours, the others are grey.

    Args:
      xy: [n,2].
      labels: class of each, [n].
      names: of the classes.
    """
    counts = np.bincount(labels, minlength=len(names))
    chosen = np.sort(np.argsort(-counts, kind="stable")[: len(style.SERIES)])
    chosen = chosen[counts[chosen] > 0]
    rest = ~np.isin(labels, chosen)
    is_many = len(labels) >= style.MANY_POINTS
    with style.settings():
        drawn, axes = style.new(7.6, 5.2)
        if rest.any():
            axes.scatter(
                *xy[rest].T, s=8, lw=0, color=style.OTHERS, alpha=0.6, label="other classes",
                rasterized=is_many,
            )  # fmt: skip
        for color, k in zip(style.SERIES, chosen, strict=False):
            axes.scatter(
                *xy[labels == k].T, s=13, lw=0, color=color, alpha=0.85,
                label=style.short(names[k]), rasterized=is_many,
            )  # fmt: skip
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=style.GRID)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.8)
        return style.render(drawn)
