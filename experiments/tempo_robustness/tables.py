"""The numbers of the tempo study as Markdown tables, as its README has them."""

import numpy as np

from experiments import recorded
from experiments.tempo_robustness import study
from tempo.analysis import statistics, tempo


def page(s: study.Study) -> str:
    """All tables, each under its heading."""
    parts = {
        "Accuracy": accuracy(s),
        "At another tempo": robustness(s),
        "Gain by class": gains(s),
        "Does it use time": use_of_time(s),
        "Is the measured tempo the true one": validation(s),
    }
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts.items())


def accuracy(s: study.Study) -> str:
    """Top-1 of every network, and what it gains over the baseline."""
    rows = []
    for row, hits in s.hits.items():
        top1 = hits.mean(axis=1)
        gained = ""
        if row in s.tpn_rows:
            gained = _signed(study.accuracy_gain(s, row), 100)
        rows.append([row, len(top1), _mean_and_range(top1), gained])
    return recorded.table(
        ["network", "seeds", "top-1, mean (range over seeds)", "gain in points (95 % interval)"],
        rows,
    )


def robustness(s: study.Study) -> str:
    """Drop of every network at every stride against itself, in points."""
    others = s.strides != s.trained_stride
    rows = []
    for row in s.curve:
        drop = study.drops(s, row).mean(axis=0)[others] * 100
        mean = study.mean_abs_drop(s, row)
        rows.append([row, *(f"{d:+.1f}" for d in drop), _plain(mean, 100)])
    strides = [f"stride {stride}" for stride in s.strides[others]]
    return recorded.table(["network", *strides, "mean of abs (95 % interval)"], rows)


def gains(s: study.Study) -> str:
    """Gain of each class in points, classes by their true spread of tempo; then correlations."""
    order = np.argsort(s.log_tempo_std, kind="stable")
    base = study.class_accuracies(s, study.BASELINE)
    columns = {row: study.class_gains(s, row) * 100 for row in s.tpn_rows}
    rows = [
        [
            s.class_names[c],
            f"{s.log_tempo_std[c]:.2f}",
            f"{base[c]:.3f}",
            *(f"{gained[c]:+.1f}" for gained in columns.values()),
        ]
        for c in order
    ]
    for title, correlation in (
        ("rank correlation with the spread (interval over classes)", study.spread_correlation),
        ("correlation with the distance from the median, within classes",
         study.distance_correlation),
    ):  # fmt: skip
        rows.append([title, "", "", *(_signed(correlation(s, row)) for row in columns)])
    return recorded.table(["class", "std of ln(tempo)", study.BASELINE, *columns], rows)


def use_of_time(s: study.Study) -> str:
    """Top-1 with the frames of a clip in other orders, mean over seeds."""
    variants = list(next(iter(s.use_of_time.values())))
    rows = [
        [row, *(f"{by_variant[v].mean():.3f}" for v in variants)]
        for row, by_variant in s.use_of_time.items()
    ]
    return recorded.table(["network", *(v.replace("_", " ") for v in variants)], rows)


def validation(s: study.Study) -> str:
    """Rank correlation of measured widths with true periods, overall and by class."""
    columns = {"phase known": study.control(s)}
    notes = []
    for row in s.widths:
        columns |= {f"{row}, {mode}": study.validation(s, row, mode) for mode in tempo.MODES}
        columns[f"{row}, main, uncensored"] = study.validation(s, row, is_uncensored=True)
        notes.append(
            f"Single frames of {row}: top-1 {_mean_and_range(np.array(s.frame_accuracy[row]))}; "
            f"{100 * s.censored[row].mean():.0f} % of the widths are censored."
        )
    rows = [["all", *(_signed(v.overall) for v in columns.values())]]
    rows += [
        [name, *(_signed(v.per_class[c]) for v in columns.values())]
        for c, name in enumerate(s.class_names)
    ]
    return "\n\n".join([recorded.table(["videos of class", *columns], rows), *notes])


def _mean_and_range(x: np.ndarray) -> str:
    return f"{x.mean():.3f} ({x.min():.3f} to {x.max():.3f})"


def _signed(e: statistics.Estimate, scale: float = 1.0) -> str:
    digits = 2 if scale == 1 else 1
    if np.isnan(e.value):
        return "undefined"
    value, low, high = (f"{scale * x:+.{digits}f}" for x in (e.value, e.low, e.high))
    return value if np.isnan(e.low) else f"{value} ({low} to {high})"


def _plain(e: statistics.Estimate, scale: float) -> str:
    return f"{scale * e.value:.1f} ({scale * e.low:.1f} to {scale * e.high:.1f})"
