"""How the figures of a report look, and how one becomes an SVG and a PNG.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart. In an SVG they are
variables with a second value for readers who have their screen dark.
"""

import dataclasses
import io
import re
import warnings
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colors, figure

INK, QUIET, GRID = "#1f2328", "#59636e", "#d8dee4"
RUN, BASELINE = "#0072b2", "#d55e00"
SERIES = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5fb2", "#8c6d31",
)  # fmt: skip
OTHERS = "#b4bcc5"
ON_RUN = "#ffffff"  # on both pages, as a cell of a heat map is as dark on both
_DARK = {
    INK: "#e6e9ed", QUIET: "#9aa4af", GRID: "#343b44", OTHERS: "#77828e",
    "#0072b2": "#4aa8e0", "#d55e00": "#ee8a42", "#009e73": "#2fbf94", "#cc79a7": "#dd9cc0",
    "#e69f00": "#edb233", "#56b4e9": "#8fd0f5", "#7f5fb2": "#a98bdc", "#8c6d31": "#c2a25f",
}  # fmt: skip
_SETTINGS = {
    "font.size": 9.5,
    "font.family": "sans-serif",
    "text.color": INK,
    "text.parse_math": False,  # a class may be named "$5"
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",  # any script a class is named in; the reader's fonts
    "svg.hashsalt": "tempo",  # the same figure twice is the same file
}
_LONGEST_NAME = 34
MANY_POINTS = 1500
"""From here on points are drawn as one picture inside the SVG."""


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure as the bytes of its files."""

    svg: str
    png: bytes


def settings() -> Any:
    """A context in which figures are made and rendered."""
    return matplotlib.rc_context(_SETTINGS)


def new(width: float, height: float, *shape: int, **options: Any) -> tuple[figure.Figure, Any]:
    """An empty figure of so many inches, and its axes (`shape` rows and columns of them)."""
    drawn = figure.Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(*shape, **options)


def render(drawn: figure.Figure) -> Drawn:
    """The bytes of a figure."""
    png, svg = io.BytesIO(), io.StringIO()
    with warnings.catch_warnings():
        # A script that the bundled font lacks is still right in the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        drawn.savefig(png, format="png", dpi=150, facecolor="white", metadata={"Software": None})
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        drawn.savefig(svg, format="svg", dpi=150, transparent=True, metadata=empty)
    return Drawn(_with_dark(svg.getvalue()), png.getvalue())


def _with_dark(svg: str) -> str:
    """The SVG with variables for colours, and without the address of its document type."""
    svg = re.sub(r"<!DOCTYPE.*?>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1system-ui, sans-serif", svg)
    names = {light: f"--c{i}" for i, light in enumerate(_DARK)}
    for light, name in names.items():
        svg = re.sub(rf"((?:fill|stroke): ){light}\b", rf"\1var({name})", svg)
    light = " ".join(f"{name}: {color};" for color, name in names.items())
    dark = " ".join(f"{name}: {_DARK[color]};" for color, name in names.items())
    style = f":root{{{light}}} @media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return svg.replace('<style type="text/css">', f'<style type="text/css">{style}', 1)


def fading(color: str) -> colors.Colormap:
    """From nothing, which is the paper of light and dark pages, to a colour."""
    rgb = colors.to_rgb(color)
    return colors.LinearSegmentedColormap.from_list("fading", [(*rgb, 0.0), (*rgb, 1.0)])


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def extremes(values: np.ndarray, count: int) -> np.ndarray:
    """Places of at most `2 * count` values, falling: all, or the highest and the lowest ones.

    NaN is left out.
    """
    defined = np.flatnonzero(~np.isnan(values))
    order = defined[np.argsort(-values[defined], kind="stable")]
    return order if len(order) <= 2 * count else np.concatenate([order[:count], order[-count:]])
