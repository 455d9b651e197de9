"""Figures of saved numbers, as PNG or SVG files. Those of a report are in `figures`."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib import figure, ticker

from tempo import files
from tempo.errors import InputError

FORMATS = ("png", "svg", "pdf")
_LONGEST_NAME = 40  # characters of a class name in a legend


def check_path(path: str) -> str:
    """The format of a figure's file, by its name; `InputError` if it is none of `FORMATS`."""
    suffix = os.path.splitext(path)[1].lower().removeprefix(".")
    if suffix not in FORMATS:
        raise InputError(
            f"A figure's file must end with {', '.join(f'.{name}' for name in FORMATS)}; got "
            f"{path!r}."
        )
    return suffix


def timeline(
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
    drawn = figure.Figure(figsize=(10, 4), layout="constrained")
    axes = drawn.subplots()
    middles = (np.asarray(start_s) + np.asarray(end_s)) / 2
    marker = "o" if len(middles) == 1 else None  # a line of one point is invisible
    for name, column in zip(names, np.asarray(probs).T, strict=True):
        axes.plot(middles, column, label=_short(name), marker=marker, linewidth=1.4)
    end = float(np.max(end_s))
    axes.set(xlim=(0, end), ylim=(0, 1.02), ylabel="probability", title=title)
    axes.set_xlabel("time (h:min:s)" if end > 90 else "time (s)")
    if end > 90:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(steps=[1, 1.5, 3, 6, 10]))
        axes.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    with files.replacing(path, "wb") as f:
        drawn.savefig(f, format=kind, dpi=120)


def _short(name: str) -> str:
    # A dollar sign would begin a formula, and a leading underscore hides a line from the legend.
    name = name.replace("$", r"\$")
    name = f" {name}" if name.startswith("_") else name
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
