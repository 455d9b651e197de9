"""Sections on time: other strides than the trained one, and frames in other orders."""

import numpy as np

from tempo.analysis import average_precision, compared, gain, page, statistics
from tempo.analysis.compared import Compared
from tempo.analysis.figures import time as figures
from tempo.analysis.page import Column, Section, Table, Text, Warn
from tempo.analysis.scores import Scores
from tempo.analysis.sections import wording
from tempo.analysis.sections.wording import SEED

_NO_STRIDES = "scores at other strides"
_NO_ORDERS = "scores of frames in other orders"
_MOST_FALLEN = 15


def robustness(c: Compared) -> Section:
    """Accuracy when clips are played faster and slower (figure 5)."""
    key, title = "robustness", "Robustness to tempo"
    own, _ = c.pair("tempo_robustness")
    if own is None:
        return wording.missing(key, title, _NO_STRIDES, c.run, "tempo_robustness")
    found = c.of_runs("tempo_robustness")
    if own.label_kind == "multi":
        return _precisions(key, title, found, "strides", "stride", Column("at", "stride", "count"))
    known = compared.is_known(own)
    curves = {
        run.name: gain.robustness(
            s.correct()[:, known], s.arrays["strides"], int(s.arrays["trained_stride"]), seed=SEED
        )
        for run, s in found
    }
    drawn = figures.robustness(curves)
    blocks = [wording.other_protocol(c, "tempo_robustness")]
    trained = {name: curve.trained_stride for name, curve in curves.items()}
    if len(set(trained.values())) > 1:
        blocks.append(
            Warn(
                "The runs were trained at different strides, each curve falls from its own: "
                + ", ".join(f"{name} at {stride}" for name, stride in trained.items())
            )
        )
    means = "; ".join(
        f"{name} {100 * e.value:.1f} ({page.between(100 * e.low, 100 * e.high, 'number')})"
        for name, e in ((name, curve.mean_abs_drop) for name, curve in curves.items())
    )
    blocks += [
        wording.without_baseline(c, "tempo_robustness", _NO_STRIDES),
        Text(
            "The weights stay, the clip's frames are taken closer (the action looks slower) or "
            "wider (faster). Each network is compared with itself at the stride it was trained at. "
            f"Mean distance from there, in points with its 95 % interval: {means}."
        ),
        page.Figure(
            "robustness", drawn.svg, drawn.png,
            f"Two panels with a line for {' and '.join(curves)}: top-1 over strides, and top-1 "
            "minus that at the trained stride with 95 % bands. The table below has the numbers.",
            wording.caption(
                "Accuracy over strides; the dashed line marks the trained stride, bands are 95 % "
                "intervals (figure 5 of arXiv 2004.03548).", own, int(known.sum()),
            ),
        ),
        _stride_table(curves),
    ]  # fmt: skip
    numbers = {
        "mean_abs_drop": {name: wording.estimate(k.mean_abs_drop) for name, k in curves.items()},
        "trained_stride": trained,
    }
    return Section(key, title, [b for b in blocks if b], numbers)


def _stride_table(curves) -> Table:
    rows = [
        {
            "run": name,
            "stride": int(curve.strides[i]),
            "top1": float(curve.top1[i]),
            "drop": float(curve.drop[i]),
            "ci95": [float(curve.drop_low[i]), float(curve.drop_high[i])],
        }
        for name, curve in curves.items()
        for i in range(len(curve.strides))
    ]
    columns = [
        Column("run", "run"), Column("stride", "stride", "count"), Column("top1", "top-1", "share"),
        Column("drop", "minus trained (points)", "points"),
        Column("ci95", "95 % interval", "interval_points"),
    ]  # fmt: skip
    return Table("strides", columns, rows)


def orders(c: Compared) -> Section:
    """Whether the order of frames matters."""
    key, title = "use_of_time", "Does it use time?"
    own, _ = c.pair("use_of_time")
    if own is None:
        return wording.missing(key, title, _NO_ORDERS, c.run, "use_of_time")
    found = c.of_runs("use_of_time")
    if own.label_kind == "multi":
        return _precisions(key, title, found, "variants", "frames", Column("at", "frames"))
    known = compared.is_known(own)
    variants = [str(v) for v in own.arrays["variants"]]
    hits = {run.name: _by_variant(s, variants)[:, known].astype(float) for run, s in found}
    normal = variants.index("normal")
    rows, means, ends = [], {}, {}
    for name, found_hits in hits.items():
        each = [statistics.mean(h, seed=SEED) for h in found_hits]
        drops = [statistics.mean(h - found_hits[normal], seed=SEED) for h in found_hits]
        means[name] = np.array([e.value for e in each])
        ends[name] = np.array([[e.low for e in each], [e.high for e in each]])
        rows += [
            {
                "run": name,
                "frames": variant.replace("_", " "),
                "top1": e.value,
                "ci95": [e.low, e.high],
                "drop": d.value,
                "drop_ci95": [d.low, d.high],
            }
            for variant, e, d in zip(variants, each, drops, strict=True)
        ]
    columns = [
        Column("run", "run"), Column("frames", "frames"), Column("top1", "top-1", "share"),
        Column("ci95", "95 % interval", "interval_share"),
        Column("drop", "minus normal (points)", "points"),
        Column("drop_ci95", "95 % interval", "interval_points"),
    ]  # fmt: skip
    drawn = figures.orders(variants, means, ends)
    blocks = [
        wording.other_protocol(c, "use_of_time"),
        wording.without_baseline(c, "use_of_time", _NO_ORDERS),
        Text(
            "The same clips with their frames shuffled, reversed, or one frame in all places. A "
            "network that ignores the order of frames is as good on shuffled ones; one that needs "
            "no motion is as good on a single frame."
        ),
        page.Figure(
            "use_of_time", drawn.svg, drawn.png,
            f"Bars for the top-1 of {' and '.join(hits)} with frames {', '.join(variants)}; "
            "whiskers are 95 % intervals. The table below has the numbers.",
            wording.caption("Top-1 by order of the frames.", own, int(known.sum())),
        ),
        Table("variants", columns, rows),
        _fallen(c, own, variants),
    ]  # fmt: skip
    return Section(key, title, [b for b in blocks if b])


def _by_variant(s: Scores, variants: list[str]) -> np.ndarray:
    """Hits in the order of `variants`."""
    there = [str(v) for v in s.arrays["variants"]]
    return s.correct()[[there.index(v) for v in variants]]


def _fallen(c: Compared, own: Scores, variants: list[str]) -> Table:
    """The classes that fall most when frames are shuffled."""
    parts = compared.groups(own)
    group = parts[0]
    each = gain.class_accuracy(
        group.hits(own.arrays["probs"]), group.labels, len(group.class_names)
    )
    by = dict(zip(variants, each, strict=True))
    others = [v for v in variants if v != "normal"]
    fall = by[others[0]] - by["normal"]
    order = [k for k in np.argsort(fall, kind="stable") if not np.isnan(fall[k])][:_MOST_FALLEN]
    rows = [
        {
            "class": group.class_names[k],
            "videos": int((group.labels == k).sum()),
            "normal": float(by["normal"][k]),
            **{v: float(by[v][k] - by["normal"][k]) for v in others},
        }
        for k in order
    ]
    columns = [
        Column("class", group.name or "class"), Column("videos", "videos", "count"),
        Column("normal", "normal", "share"),
        *(Column(v, f"{v.replace('_', ' ')} (points)", "points") for v in others),
    ]  # fmt: skip
    text = (
        f"The classes of {c.run.name} that fall most when frames are {others[0]}; points are "
        f"differences to normal.{wording.first_group(parts)}"
    )
    return Table("classes", columns, rows, text)


def _precisions(key, title, found, axis, label, column) -> Section:
    """Mean average precision along an axis, where videos have any number of labels."""
    rows = []
    for run, s in found:
        for at, probs in zip(s.arrays[axis], s.arrays["probs"], strict=True):
            e = average_precision.mean(probs, s.labels, seed=SEED)
            rows.append({"run": run.name, "at": at.item(), **wording.cells(e)})
    columns = [
        Column("run", "run"), column, Column("value", "mAP", "share"),
        Column("ci95", "95 % interval", "interval_share"),
    ]  # fmt: skip
    own = found[0][1]
    text = wording.caption(
        f"Mean average precision by {label}; videos with any number of labels have no hits and "
        "misses to draw.",
        own,
    )
    return Section(key, title, [Table(axis, columns, rows, text)])
