"""The figure of what a network says over the time of a video, as a file of its own."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib import ticker

from tempo import files
from tempo.analysis.figures import style
from tempo.errors import InputError

FORMATS = ("png", "svg", "pdf")
_LINES = ("-", "--", ":", "-.")
"""One after the other for as many classes as there are colours."""


def check_path(path: str) -> str:
    """The format of a figure's file, by its name; `InputError` if it is none of `FORMATS`."""
    suffix = os.path.splitext(path)[1].lower().removeprefix(".")
    if suffix not in FORMATS:
        raise InputError(
            f"A figure's file must end with {', '.join(f'.{name}' for name in FORMATS)}; got "
            f"{path!r}."
        )
    return suffix


def draw(
    path: str,
    start_s: np.ndarray,
    end_s: np.ndarray,
    probs: np.ndarray,
    names: Sequence[str],
    *,
    title: str = "",
) -> None:
    """Draws the probabilities of classes over the time of a video, a line for each.

    A window's probability stands at its middle.

    Args:
      path: of the figure, see `check_path`.
      start_s: [n], seconds at which each window begins.
      end_s: [n], seconds at which each window ends.
      probs: [n,C], of the classes that are drawn.
      names: [C], of these classes.
      title: above the figure.

    Raises:
      InputError: a file of another kind than a figure's.
    """
    kind = check_path(path)
    middles = (np.asarray(start_s) + np.asarray(end_s)) / 2
    marker = "o" if len(middles) == 1 else None  # a line of one point is invisible
    num, end = len(style.SERIES), float(np.max(end_s))
    with style.settings():
        drawn, axes = style.new(10, 4)
        for i, (name, column) in enumerate(zip(names, np.asarray(probs).T, strict=True)):
            axes.plot(
                middles, column, marker=marker, lw=1.4, color=style.SERIES[i % num],
                ls=_LINES[i // num % len(_LINES)],
                # An underscore at its beginning would hide a line from the legend.
                label=style.short(f" {name}" if name.startswith("_") else name),
            )  # fmt: skip
        axes.set(xlim=(0, end), ylim=(0, 1.02), ylabel="probability", title=title)
        axes.set_xlabel("time (h:min:s)" if end > 90 else "time (s)")
        if end > 90:
            axes.xaxis.set_major_locator(ticker.MaxNLocator(steps=[1, 1.5, 3, 6, 10]))
            axes.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds))
        axes.grid()
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        with files.replacing(path, "wb") as f:
            drawn.savefig(f, format=kind, dpi=120, facecolor="white")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
