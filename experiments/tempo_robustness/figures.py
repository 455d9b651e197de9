"""The figures of the tempo study: accuracy over strides, gain by tempo spread, measured tempo."""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.tempo_robustness import study

# Colours that differ for colour-blind readers too (Okabe and Ito); the baseline is black.
COLORS = {
    "slowonly": "#000000",
    "tpn_isolation": "#999999",
    "tpn_bottom_up": "#E69F00",
    "tpn_top_down": "#56B4E9",
    "tpn_cascade": "#009E73",
    "tpn_parallel": "#D55E00",
    "tsn": "#CC79A7",
}
FILES = ("robustness.png", "gain.png", "measured_tempo.png")


def draw(s: study.Study, folder: pathlib.Path) -> None:
    """Writes `FILES` into a folder."""
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        for name, make in zip(FILES, (robustness, gain, measured_tempo), strict=True):
            figure = make(s)
            figure.savefig(folder / name, dpi=150, metadata={"Software": None})
            plt.close(figure)


def robustness(s: study.Study) -> plt.Figure:
    """Accuracy and drop at each stride: lines are means, bands the range over seeds."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for row in [study.BASELINE, *s.tpn_rows]:
        for axis, values in (
            (axes[0], 100 * s.curve[row].mean(axis=2)),
            (axes[1], 100 * study.drops(s, row)),
        ):
            axis.fill_between(
                s.strides, values.min(0), values.max(0), color=COLORS[row], alpha=0.1, lw=0
            )
            axis.plot(s.strides, values.mean(0), "o-", ms=3, color=COLORS[row], label=row)
    axes[0].set_ylabel("top-1 (%)")
    axes[1].set_ylabel(f"top-1 minus that at stride {s.trained_stride} (points)")
    for axis in axes:
        axis.axvline(s.trained_stride, color="0.8", zorder=0)
        axis.set_xlabel("stride of the clip's frames")
    axes[0].legend(frameon=False)
    return figure


def gain(s: study.Study) -> plt.Figure:
    """Gain of each class against its spread of tempo, one panel a network, all seed pairs."""
    rows = s.tpn_rows
    figure, axes = plt.subplots(
        1, len(rows), figsize=(2.2 * len(rows), 3), sharey=True, layout="constrained", squeeze=False
    )
    for axis, row in zip(axes[0], rows, strict=True):
        axis.axhline(0, color="0.8", zorder=0)
        axis.scatter(s.log_tempo_std, 100 * study.class_gains(s, row), s=18, color=COLORS[row])
        axis.set_title(row)
        axis.set_xlabel("std of ln(tempo)")
    axes[0][0].set_ylabel(f"gain over {study.BASELINE} (points)")
    return figure


def measured_tempo(s: study.Study) -> plt.Figure:
    """Measured width against the true period of every video, where there are per-frame scores."""
    rows = list(s.widths)
    figure, axes = plt.subplots(
        1, max(len(rows), 1), figsize=(5 * max(len(rows), 1), 3.8), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for axis, row in zip(axes[0], rows, strict=False):
        measured = study.measured_widths(s, row)
        for c, name in enumerate(s.class_names):
            of_class = s.labels == c
            axis.scatter(
                s.periods[of_class], measured[of_class], s=8, alpha=0.6, label=name, lw=0,
                color=plt.get_cmap("tab10")(c),
            )  # fmt: skip
        axis.set_xlabel("true period (frames)")
        axis.set_ylabel("full width at half maximum (frames)")
        axis.set_title(f"{row}, mean over {len(s.widths[row]['main'])} seeds")
        axis.set_ylim(0, np.nanmax(measured) * 1.05)
        axis.legend(frameon=False, fontsize=7, bbox_to_anchor=(1, 1), loc="upper left")
    return figure
