"""What the spatiotemporal pyramid network's slides say, as data: their tables, and TSN's inputs.

Source: Wang, Long, Wang, Yu, "Spatiotemporal Pyramid Network for Video Action Recognition", CVPR
2017, arXiv 1903.01038, by the slides of its talk. All numbers are theirs, percent, and were not
measured here. Which split the ablations are of, and whether accuracy is of videos or the mean over
classes, is not stated; "training protocols consistent with" TSN is, whose scripts report the mean
over classes, and of final results the mean over three splits.

Rows `tsn` are of Wang et al. 2016, arXiv 1608.00859: its tables of input modalities (one snippet)
and of components (three), both of split 1 of UCF-101.
"""

from tempo.papers.results import Row, Table

BASES = ("vgg16", "resnet50", "resnet152", "bninception")
"""Networks of the first table, in its order."""

_PROTOCOL = "as TSN: 25 frames x 10 crops, mean of the scores before softmax"
_UNSAID = f"{_PROTOCOL}; split not stated"


def _table(title: str, protocol: str = _UNSAID, rivals: dict[str, float] | None = None) -> Table:
    return Table(
        title=title,
        protocol=protocol,
        metrics=("mean_class",),
        configs=("stpn",),
        rivals={name: (number,) for name, number in (rivals or {}).items()},
    )


TABLES: dict[str, Table] = {
    "t1": _table("Base networks: one stream, and the two averaged (UCF-101)"),
    "t2": _table("Fusion of several snippets, flow alone (UCF-101)"),
    "t3": _table("Attention, scored from the spatial features alone (UCF-101)"),
    "t4": _table("The parts one after the other (UCF-101)"),
    "final": _table(
        "Final results (UCF-101)",
        f"{_PROTOCOL}; presumably the mean of three splits",
        {
            "Slow Fusion": 65.4,
            "LRCN": 82.9,
            "C3D": 85.2,
            "Attention (Sharma et al.)": 85.0,
            "ConvRNN": 80.7,
            "Two-stream, AlexNet": 88.0,
            "Two-stream + LSTM": 88.6,
            "Two-stream + pooling": 88.2,
            "Two-stream, VGG-16": 90.6,
            "Transformation": 92.4,
            "Two-stream + fusion": 92.5,
            "TSN, BN-Inception": 94.0,
        },
    ),
    "hmdb": _table(
        "Final results (HMDB-51)",
        f"{_PROTOCOL}; presumably the mean of three splits",
        {
            "Two-stream, VGG-16": 58.2,
            "Two-stream, AlexNet": 59.4,
            "Transformation": 62.0,
            "Two-stream + fusion": 65.4,
            "TSN, BN-Inception": 68.5,
        },
    ),
    "tsn": _table("TSN, BN-Inception: inputs (UCF-101, arXiv 1608.00859)", f"{_PROTOCOL}; split 1"),
}
"""By the prefix of their rows' names."""

_BASES = {
    # base: spatial, temporal, two-stream
    "vgg16": (80.5, 85.4, 88.9),
    "resnet50": (83.7, 84.9, 90.3),
    "resnet152": (84.3, 82.1, 89.8),
    "bninception": (84.5, 87.0, 91.7),
}
_FINAL = {
    # base: UCF-101, HMDB-51
    "vgg16": (93.2, 66.1),
    "resnet50": (93.8, 66.5),
    "bninception": (94.6, 68.9),
}
_ONE_PATH = "one snippet: nothing is fused; the temporal network of the first table"
_AVERAGE = "how the two are averaged is not stated; here as TSN: 1 to 1.5, before softmax"


def _row(arg: str, published: float, note: str = "") -> Row:
    return Row(arg=arg, published={"mean_class": published}, note=note)


def _base_rows() -> dict[str, Row]:
    rows = {}
    for base in BASES:
        numbers = dict(zip(("spatial", "temporal", "twostream"), _BASES[base], strict=True))
        for kind, number in numbers.items():
            note = _AVERAGE if kind == "twostream" else ""
            model = "A" if kind == "twostream" else kind
            rows[f"t1.{base}.{kind}"] = _row(f"base={base},model={model}", number, note)
    return rows


ROWS: dict[str, dict[str, Row]] = {
    "stpn": {
        **_base_rows(),
        "t2.concat.p1": _row("model=temporal", 87.0, _ONE_PATH),
        "t2.concat.p3": _row("model=snippets,fusion=concat,paths=3", 88.4),
        "t2.concat.p5": _row("model=snippets,fusion=concat,paths=5", 88.5),
        "t2.sum.p3": _row("model=snippets,fusion=sum,paths=3", 87.9),
        "t2.sum.p5": _row("model=snippets,fusion=sum,paths=5", 87.7),
        "t2.cb.p3": _row("model=snippets,fusion=stcb,paths=3", 89.3),
        "t2.cb.p5": _row("model=snippets,fusion=stcb,paths=5", 89.2),
        "t3.avgpool": _row("model=spatial", 84.5),
        "t3.att1": _row("model=attention,fusion=identity,paths=1", 84.3),
        "t3.att3concat": _row("model=attention,fusion=concat,paths=3", 83.9),
        "t3.att3stcb": _row("model=attention,fusion=stcb,paths=3", 86.6),
        "t4.A": _row("model=A", 91.7, _AVERAGE),
        "t4.B": _row("model=B", 93.2),
        "t4.C": _row("model=C", 93.6),
        "t4.D": _row("model=D", 94.6),
        **{f"final.{base}": _row(f"base={base},model=D", n[0]) for base, n in _FINAL.items()},
        **{
            f"hmdb.{base}": _row(f"base={base},model=D,data=hmdb51", n[1])
            for base, n in _FINAL.items()
        },
        "tsn.rgb": _row("model=tsn,input=rgb", 85.7),
        "tsn.flow": _row("model=tsn,input=flow", 87.9),
        "tsn.rgb_diff": _row("model=tsn,input=rgb_diff", 83.8, "theirs is of one snippet"),
        "tsn.warped": _row("model=tsn,input=warped", 86.9, "theirs is of one snippet"),
    }
}
"""Rows by recipe (a file of `configs/`) and name. The name's first part is the table."""
