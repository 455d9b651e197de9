"""Sections on visual tempo: of videos and classes, whether it is true, and gain against it.

Section 4.3 of the Temporal Pyramid Network (arXiv 2004.03548), figures 1 and 4.
"""

import dataclasses

import numpy as np

from tempo.analysis import compared, gain, page, tempo
from tempo.analysis.compared import Compared, Group
from tempo.analysis.figures import accuracy as bars
from tempo.analysis.figures import widths as figures
from tempo.analysis.page import Column, Section, Table, Text
from tempo.analysis.scores import Scores
from tempo.analysis.sections import wording
from tempo.analysis.sections.wording import SEED

_NO_FRAMES = "per-frame scores"
_PERIOD = "period_s"


def _from(c: Compared) -> str:
    """Whose widths these are, and how they were measured if not as in the paper."""
    said = str(c.measurement)
    return f"{c.tempo_run.name} ({said})" if said else c.tempo_run.name


def _without(key: str, title: str, c: Compared) -> Section | None:
    """What stands in place of a section that needs per-frame scores; None if they are there."""
    if c.frames is None:
        return wording.missing(key, title, _NO_FRAMES, c.run, "per_frame")
    if not compared.groups(c.frames):
        why = "The width of a curve needs the one true class of each video."
        return wording.unfit(key, title, why)
    return None


def _group(c: Compared) -> tuple[Group, str]:
    """The classes that tempo is told of, and what is said of the choice."""
    found = compared.groups(c.frames)
    return found[0], wording.first_group(found)


def widths(c: Compared) -> Section:
    """The width of every video, and of each class."""
    key, title = "tempo", "Visual tempo of every video"
    if section := _without(key, title, c):
        return section
    s, (group, said) = c.frames, _group(c)
    fps = float(s.arrays["fps"])
    found = c.widths
    main = found["main"]
    drawn = figures.instances(group.class_names, main.frames, main.is_censored, group.labels, fps)
    valid = main.is_valid
    censored = float(main.is_censored[valid].mean()) if valid.any() else float("nan")
    lobes = float((main.num_lobes[valid] > 1).mean()) if valid.any() else float("nan")
    text = (
        f"The tempo of a video is the full width at half maximum of the probability that "
        f"{c.tempo_run.name} gives its true class in each frame: wide is slow. "
        f"{page.share(censored)} of the {valid.sum()} videos with a width are cut off by an end of "
        f"the video, so their true width is larger; {page.share(lobes)} have more than one peak "
        f"above half the maximum.{said}"
    )
    columns = [
        Column("mode", "width", "long"), Column("median_frames", "median (frames)", "number"),
        Column("mean_frames", "mean (frames)", "number"),
        Column("median_s", "median (s)", "number"), Column("mean_s", "mean (s)", "number"),
        Column("videos", "videos", "count"),
    ]  # fmt: skip
    rows = [
        {
            "mode": f"{mode}: {tempo.MODES[mode]}",
            **_middles(w.frames, "frames"),
            **_middles(w.seconds, "s"),
            "videos": int(w.is_valid.sum()),
        }
        for mode, w in found.items()
    ]
    each = tempo.class_tempo(main, group.labels, len(group.class_names))
    numbers = {
        "tempo_from": c.tempo_run.workdir, "measurement": dataclasses.asdict(c.measurement),
        "fps": fps, "censored_share": censored,
        "several_peaks_share": lobes, "ids": s.ids, "labels": group.labels,
        "width_frames": np.round(main.frames, 4), "width_s": np.round(main.seconds, 5),
        "is_censored": main.is_censored,
    }  # fmt: skip
    blocks = [
        Text(text),
        page.Figure(
            "widths", drawn.svg, drawn.png,
            "Measured width of every video, in sampled frames and in seconds, by class, with the "
            "videos marked that their own end cuts off. The tables below have the numbers.",
            wording.caption(f"Widths of single videos from {_from(c)}.", s, valid.sum()),
        ),
        Table("modes", columns, rows, "Other ways to count several peaks, as a check."),
        _class_table(group, each),
    ]  # fmt: skip
    return Section(key, title, blocks, numbers)


def _middles(values: np.ndarray, unit: str) -> dict[str, float]:
    values = values[~np.isnan(values)]
    nan = float("nan")
    return {
        f"median_{unit}": float(np.median(values)) if len(values) else nan,
        f"mean_{unit}": float(values.mean()) if len(values) else nan,
    }


def _class_table(group: Group, each: tempo.ClassTempo) -> Table:
    columns = [
        Column("class", group.name or "class"), Column("videos", "videos", "count"),
        Column("mean_frames", "mean (frames)", "number"), Column("mean_s", "mean (s)", "number"),
        Column("var_frames2", "variance (frames²)", "number"),
        Column("var_s2", "variance (s²)", "number"), Column("censored_share", "cut off", "share"),
    ]  # fmt: skip
    names = ("mean_frames", "mean_s", "var_frames2", "var_s2", "censored_share")
    rows = [
        {
            "class": name,
            "videos": int(each.num_videos[k]),
            **{column: float(getattr(each, column)[k]) for column in names},
        }
        for k, name in enumerate(group.class_names)
    ]
    rows.sort(key=lambda row: -np.nan_to_num(row["var_frames2"], nan=-1))
    return Table("classes", columns, rows, "Each class, by falling variance of its widths.")


def variance(c: Compared) -> Section:
    """How much tempo varies within each class (figure 1)."""
    key, title = "variance", "Variance of tempo in each class"
    if section := _without(key, title, c):
        return section
    s, (group, said) = c.frames, _group(c)
    each = tempo.class_tempo(c.widths["main"], group.labels, len(group.class_names))
    if not len(each.order):
        return wording.unfit(key, title, "No class has two videos with a width.")
    drawn = bars.bars(group.class_names, each.var_frames2, "variance of widths (frames²)")
    first, last = (group.class_names[each.order[i]] for i in (0, -1))
    text = (
        f"Tempo varies most in {first} and least in {last}.{said} Variances divide by the number "
        "of videos; videos that are cut off make those of continuous actions too small."
    )
    numbers = {
        "order": [group.class_names[k] for k in each.order],
        "var_frames2": each.var_frames2[each.order],
    }
    picture = page.Figure(
        "variance", drawn.svg, drawn.png,
        "Bars for the variance of widths in each class, falling. The table of the section on "
        "visual tempo has the numbers.",
        wording.caption(
            f"Variance of widths in each class, from {_from(c)} (figure 1 of arXiv "
            "2004.03548).", s, each.num_videos.sum(),
        ),
    )  # fmt: skip
    return Section(key, title, [Text(text), picture], numbers)


def gains(c: Compared) -> Section:
    """Gain over the baseline against the variance of tempo (figure 4)."""
    key, title = "gain", "Gain against variance of tempo"
    if c.baseline is None:
        return wording.unfit(key, title, "A gain needs a baseline: give one with --baseline.")
    for run, s in zip(c.runs, c.pair("multi_view"), strict=True):
        if s is None:
            what = "scores of views (multi_view)"
            return wording.missing(key, title, what, run, "multi_view")
    if section := _without(key, title, c):
        return section
    own, base = c.pair("multi_view")
    group, said = _group(c)
    num = len(group.class_names)
    accuracies = [
        gain.class_accuracy(group.hits(s.arrays["probs"]), group.labels, num) for s in (own, base)
    ]
    gained = accuracies[0] - accuracies[1]
    each = tempo.class_tempo(c.widths["main"], group.labels, num)
    fit = gain.fit(each.var_frames2, gained, seed=SEED)
    if not len(fit.bins.left):
        why = "No class has both a gain and a variance of tempo (two videos with a width)."
        return wording.unfit(key, title, why)
    drawn = figures.gain(fit, each.var_frames2, gained)
    blocks = [
        wording.other_protocol(c, "multi_view"),
        Text(
            "Classes are put into bins of variance, 10 frames² wide; the point of a bin stands at "
            f"its left edge.{said} Means over bins hide how classes scatter, so the correlations "
            "over classes count more than the line. What gain the axis of the published figure "
            "shows is not clear; compare the sign and the correlation, not the slope."
        ),
        page.Figure(
            "gain", drawn.svg, drawn.png,
            f"Gain of each class in points against the variance of its widths, with the means of "
            f"{len(fit.bins.left)} bins and their least squares line. The tables below have the "
            "numbers.",
            wording.caption(
                f"{c.run.name} minus {c.baseline.name}, top-1 of each class; widths from "
                f"{_from(c)} (figure 4 of arXiv 2004.03548).", own,
            ),
        ),
        _fit_table(c.frames, group, fit, gained),
        _bin_table(fit),
    ]  # fmt: skip
    line = {"slope": fit.line.slope, "intercept": fit.line.intercept, "r": fit.line.r}
    numbers = {
        "class": group.class_names, "variance_frames2": each.var_frames2, "gain": gained,
        "line_of_bins": {**line, "num": fit.line.num},
    }  # fmt: skip
    return Section(key, title, [b for b in blocks if b], numbers)


def _fit_table(frames: Scores, group: Group, fit: gain.GainFit, gained: np.ndarray) -> Table:
    rows = [
        {"what": "least squares of the bins: points per frame²", "value": 100 * fit.line.slope,
         "num": fit.line.num},
        {"what": "Pearson's r of the bins", "value": fit.line.r, "num": fit.line.num},
    ]  # fmt: skip
    found = {
        "Pearson's r over classes": fit.pearson, "Spearman's rank correlation over classes":
        fit.spearman,
    }  # fmt: skip
    periods = frames.fact(_PERIOD)
    if np.isfinite(periods).any():
        of_class = [periods[group.labels == k] for k in range(len(group.class_names))]
        true = np.array([np.var(p[~np.isnan(p)]) if len(p) > 1 else np.nan for p in of_class])
        again = gain.fit(true, gained, seed=SEED)
        found |= {
            "Pearson's r over classes, against the variance of the true period": again.pearson,
            "Spearman's, against the variance of the true period": again.spearman,
        }
    rows += [{"what": what, **wording.cells(e), "num": e.num} for what, e in found.items()]
    columns = [
        Column("what", "gain against variance"), Column("value", "value", "number"),
        Column("ci95", "95 % interval over classes", "interval_number"),
        Column("num", "points or classes", "count"),
    ]  # fmt: skip
    return Table("fit", columns, rows)


def _bin_table(fit: gain.GainFit) -> Table:
    bins = fit.bins
    rows = [
        {"left": int(left), "gain": mean, "classes": int(num)}
        for left, mean, num in zip(
            bins.left.tolist(), bins.gain.tolist(), bins.num_classes, strict=True
        )
    ]
    columns = [
        Column("left", "variance from (frames²)", "count"),
        Column("gain", "mean gain (points)", "points"), Column("classes", "classes", "count"),
    ]  # fmt: skip
    return Table("bins", columns, rows)


def validation(c: Compared) -> Section:
    """Whether measured widths are the true tempo, where the dataset knows it."""
    key, title = "validation", "Is the measured tempo the true one?"
    if section := _without(key, title, c):
        return section
    s, (group, said) = c.frames, _group(c)
    periods = s.fact(_PERIOD)
    if not np.isfinite(periods).any():
        why = (
            "The records of this dataset do not know the true tempo of their videos, so the "
            "measurement cannot be checked on them; TempoBench's do."
        )
        return wording.unfit(key, title, why)
    num, main = len(group.class_names), c.widths["main"]
    found = {
        mode: tempo.validate(w.seconds, periods, group.labels, num, seed=SEED)
        for mode, w in c.widths.items()
    }
    overall = found["main"].overall
    columns = [Column("class", group.name or "class"), Column("videos", "videos", "count")]
    rows = [{"class": name, "videos": 0} for name in ("all", *group.class_names)]
    for mode, checked in found.items():
        columns += [Column(mode, mode, "number"), Column(f"{mode}_ci95", "", "interval_number")]
        for row, e in zip(rows, (checked.overall, *checked.per_class), strict=True):
            row |= {mode: e.value, f"{mode}_ci95": [e.low, e.high], "videos": e.num}
    drawn = figures.validation(group.class_names, main.seconds, periods, group.labels)
    text = (
        f"Spearman's rank correlation of the measured width with the true period, over all videos: "
        f"{page.number(overall.value)} (95 % interval "
        f"{page.between(overall.low, overall.high, 'number')}).{said} A width is a part of the "
        "period that depends on the class, so only ranks are compared. Over all videos a "
        "correlation can also come from classes that differ in both; within a class it cannot."
    )
    blocks = [
        Text(text),
        page.Figure(
            "validation", drawn.svg, drawn.png,
            "Measured width against true period in seconds, a dot for each video, coloured by "
            "class. The table below has the rank correlations.",
            wording.caption(
                f"Widths from {_from(c)} against the period that the videos were made "
                "with.", s, overall.num,
            ),
        ),
        Table(
            "correlations", columns, rows,
            "Rank correlations by way of measuring the width, with 95 % intervals; none where a "
            "class has one tempo only.",
        ),
    ]  # fmt: skip
    return Section(key, title, blocks, {"overall": wording.estimate(overall), "period_s": periods})
