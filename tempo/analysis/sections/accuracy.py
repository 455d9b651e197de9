"""Sections on accuracy: of all videos, of each class, and what is taken for what."""

import numpy as np

from tempo.analysis import average_precision, compared, gain, page, statistics
from tempo.analysis.compared import Compared
from tempo.analysis.figures import accuracy as figures
from tempo.analysis.page import Column, Section, Table, Text
from tempo.analysis.scores import Scores
from tempo.analysis.sections import wording
from tempo.analysis.sections.wording import SEED

_NO_VIEWS = "scores of views (multi_view)"
_MOST_CONFUSED = 20


def headline(c: Compared) -> Section:
    """Accuracy of every multi-view evaluator; of the main one its difference to the baseline."""
    key, title = "accuracy", "Accuracy"
    own, base = c.pair("multi_view")
    if own is None:
        return wording.missing(key, title, _NO_VIEWS, c.run, "multi_view")
    rows = [
        {"run": run.name, "evaluator": s.name, **row, "protocol": s.protocol}
        for run in c.runs
        for s in run.scores.values()
        if s.kind == "multi_view"
        for row in _accuracies(s)
    ]
    columns = [
        Column("run", "run"), Column("evaluator", "evaluator"), Column("metric", "metric"),
        Column("value", "value", "share"), Column("ci95", "95 % interval", "interval_share"),
        Column("videos", "videos", "count"), Column("protocol", "protocol", "long"),
    ]  # fmt: skip
    blocks = [
        Text(
            "Intervals come from resampling test videos: they say how far a number may move on "
            "another sample of videos, not on another training run."
        )
    ]
    numbers = {"split": own.split, "dataset": own.dataset}
    if base is not None:
        difference, text = _difference(own, base)
        numbers["difference"] = difference
        names = f"{c.run.name} minus {c.baseline.name}"
        blocks.insert(0, Text(f"{names}, {text}"))
    blocks += [wording.other_protocol(c, "multi_view")]
    blocks += [wording.without_baseline(c, "multi_view", _NO_VIEWS), Table("runs", columns, rows)]
    return Section(key, title, [b for b in blocks if b], numbers)


def _accuracies(s: Scores) -> list[dict[str, object]]:
    """Rows of a score file: metric, value, interval, videos."""
    probs = s.arrays["probs"]
    if s.label_kind == "multi":
        found = average_precision.mean(probs, s.labels, seed=SEED)
        return [{"metric": "mAP", **wording.cells(found), "videos": found.num}]
    known = compared.is_known(s)
    measures = [(f"top-{k}", np.where(known, s.correct(k), np.nan)) for k in (1, 5)]
    parts = compared.groups(s)
    if len(parts) > 1:
        measures += [
            (f"{g.name} top-1", np.where(g.labels < 0, np.nan, g.hits(probs))) for g in parts
        ]
    found = [(name, statistics.mean(hits, seed=SEED)) for name, hits in measures]
    return [{"metric": n, **wording.cells(e), "videos": e.num} for n, e in found]


def _difference(own: Scores, base: Scores) -> tuple[dict[str, object], str]:
    """Of the run to its baseline: numbers, and a sentence."""
    a, b = own.arrays["probs"], base.arrays["probs"]
    if own.label_kind == "multi":
        found = average_precision.difference(a, b, own.labels, seed=SEED)
        numbers = {"metric": "mAP", **wording.estimate(found)}
        return numbers, f"mAP: {_points(found)}, resampled in pairs of the same videos."
    known = compared.is_known(own)
    found = statistics.paired(own.correct()[known], base.correct()[known], seed=SEED)
    numbers = {
        "metric": "top-1",
        **wording.estimate(found.difference),
        "only_run_right": found.only_first,
        "only_baseline_right": found.only_second,
        "mcnemar_p": found.p,
    }
    return numbers, (
        f"top-1: {_points(found.difference)}, resampled in pairs of the same videos. "
        f"{found.only_first} videos are right in the first only and {found.only_second} in the "
        f"second only (exact McNemar test: p = {found.p:.2g})."
    )


def _points(found: statistics.Estimate) -> str:
    return (
        f"{page.points(found.value)} points (95 % interval "
        f"{page.between(found.low, found.high, 'points')})"
    )


def classes(c: Compared) -> Section:
    """Accuracy of each class in both runs."""
    key, title = "classes", "Accuracy of each class"
    own = c.run.of_kind("multi_view")
    if own is None:
        return wording.missing(key, title, _NO_VIEWS, c.run, "multi_view")
    if own.label_kind == "multi":
        return _precisions(key, title, c)
    blocks = [wording.other_protocol(c, "multi_view")]
    for group in compared.groups(own):
        counts = np.bincount(group.labels[group.labels >= 0], minlength=len(group.class_names))
        each = [
            gain.class_accuracy(group.hits(s.arrays["probs"]), group.labels, len(counts))
            for _, s in c.of_runs("multi_view")
        ]
        blocks += [_class_figure(c, own, group, each), _class_table(c, group, counts, each)]
    return Section(key, title, [b for b in blocks if b])


def _class_figure(c, own, group, each):
    names = [run.name for run in c.runs]
    has_baseline = len(each) > 1
    drawn = figures.classes(group.class_names, each[0], each[1] if has_baseline else None, names)
    some = ""
    if len(group.class_names) > 2 * figures.MOST_CLASSES:
        some = (
            f" The {figures.MOST_CLASSES} highest and the {figures.MOST_CLASSES} lowest of "
            f"{len(group.class_names)}; the table has all."
        )
    what = "gain over the baseline" if has_baseline else "accuracy"
    text = f"Top-1 of each class{wording.of_group(group)} by {what}.{some}"
    return page.Figure(
        f"classes{group.name and '_' + group.name}",
        drawn.svg,
        drawn.png,
        f"Dots for the top-1 accuracy of each class in {' and '.join(names[: len(each)])}, "
        f"sorted by {what}. The table below has the numbers.",
        wording.caption(text, own, int((group.labels >= 0).sum())),
    )


def _class_table(c, group, counts, each):
    columns = [
        Column("class", group.name or "class"), Column("videos", "videos", "count"),
        Column("run", c.run.name, "share"),
    ]  # fmt: skip
    if len(each) > 1:
        columns += [
            Column("baseline", c.baseline.name, "share"),
            Column("gain", "gain (points)", "points"),
        ]
    rows = []
    for k, name in enumerate(group.class_names):
        row = {"class": name, "videos": int(counts[k]), "run": float(each[0][k])}
        if len(each) > 1:
            row |= {"baseline": float(each[1][k]), "gain": float(each[0][k] - each[1][k])}
        rows.append(row)
    by = "gain" if len(each) > 1 else "run"
    rows.sort(key=lambda row: -np.nan_to_num(row[by], nan=-9))
    return Table(f"classes{group.name and '_' + group.name}", columns, rows)


def _precisions(key: str, title: str, c: Compared) -> Section:
    """Average precision of each class, where videos have any number of labels."""
    pairs = c.of_runs("multi_view")
    own = pairs[0][1]
    each = [
        average_precision.resampled(s.arrays["probs"], s.labels, seed=SEED, num_resamples=1)[0]
        for _, s in pairs
    ]
    counts = own.labels.sum(axis=0)
    columns = [Column("class", "class"), Column("videos", "positive videos", "count")]
    keys = ("run", "baseline")[: len(pairs)]
    columns += [
        Column(k, f"{run.name} (AP)", "share") for k, (run, _) in zip(keys, pairs, strict=True)
    ]
    rows = [
        {
            "class": name,
            "videos": int(counts[k]),
            **{which: float(found[k]) for which, found in zip(keys, each, strict=True)},
        }
        for k, name in enumerate(own.class_names)
    ]
    if len(pairs) > 1:
        columns.append(Column("gain", "gain (points)", "points"))
        rows = [{**row, "gain": row["run"] - row["baseline"]} for row in rows]
    text = wording.caption("Average precision of each class.", own)
    return Section(key, title, [Table("classes", columns, rows, text)])


def confusion(c: Compared) -> Section:
    """Which classes are taken for which by the run."""
    key, title = "confusion", "What is taken for what"
    own = c.run.of_kind("multi_view")
    if own is None:
        return wording.missing(key, title, _NO_VIEWS, c.run, "multi_view")
    if own.label_kind == "multi":
        why = "A video with any number of labels is not taken for one other class."
        return wording.unfit(key, title, why)
    blocks, numbers = [], {}
    for group in compared.groups(own):
        num, suffix = len(group.class_names), group.name and f"_{group.name}"
        known = group.labels >= 0
        counts = np.zeros((num, num), np.int64)
        np.add.at(counts, (group.labels[known], group.predicted(own.arrays["probs"])[known]), 1)
        numbers[f"counts{suffix}"] = counts
        with np.errstate(invalid="ignore"):
            shares = counts / counts.sum(axis=1, keepdims=True)
        drawn = figures.confusion(shares, group.class_names)
        text = (
            f"Confusion matrix of {c.run.name}{wording.of_group(group)}; each row sums to 100 % of "
            "a true class."
        )
        blocks += [
            page.Figure(
                f"confusion{suffix}", drawn.svg, drawn.png,
                f"Heat map of {num} true classes by {num} predicted classes; the diagonal is "
                "right.",
                wording.caption(text, own, int(known.sum())),
            ),
            _confused(group, counts, shares, suffix),
        ]  # fmt: skip
    return Section(key, title, blocks, numbers)


def _confused(group, counts, shares, suffix):
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSED]
    places = zip(*np.unravel_index(order, wrong.shape), strict=True)
    rows = [
        {
            "true": group.class_names[i],
            "predicted": group.class_names[j],
            "videos": int(counts[i, j]),
            "share": float(shares[i, j]),
        }
        for i, j in places
        if wrong[i, j] > 0
    ]
    if not rows:
        return page.Text("No video is taken for one of another class.")
    columns = [
        Column("true", "true class"), Column("predicted", "taken for"),
        Column("videos", "videos", "count"), Column("share", "of the true class", "share"),
    ]  # fmt: skip
    return Table(f"confused{suffix}", columns, rows, "The pairs that are confused most.")
