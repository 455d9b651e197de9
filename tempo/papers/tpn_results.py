"""What the TPN paper and its public code report, and the options that each number was made with.

Source: Yang et al., CVPR 2020, arXiv 2004.03548, tables 2 to 6 and the text beside them; the model
zoo of the TPN release (decisionforce/TPN); the metafile of mmaction2 1.2. All numbers are theirs,
percent, on their copies of the datasets, and were not measured here.

A row's options are those of `tempo.papers.tpn`. Rows of the paper start from ImageNet weights
(section 4, "Training"). Two things the paper leaves open are chosen here, and say so in the notes:
which components the rows of table 6b have (their tick marks are not in the text; its caption
defines Head as the auxiliary head added to the baseline), and how many level fusions a flow with
one pyramid has.
"""

from tempo.papers.results import Row, Table

_IMAGENET = "init=imagenet"
_KINETICS = "10 clips x 3 crops of 256 px, mean of probabilities"
_ZOO = "Kinetics: 10 clips, Something-Something: 2 clips, each x 3 crops of 256 px"
_TWO = ("top1", "top5")

TABLES: dict[str, Table] = {
    "t2": Table(
        title="Table 2: Kinetics-400",
        protocol=_KINETICS,
        metrics=_TWO,
        configs=("tpn_k400",),
        rivals={
            "R(2+1)D, two streams": (73.9, 90.9),
            "I3D": (71.6, 90.0),
            "Two-stream I3D": (75.7, 92.0),
            "S3D-G": (77.2, 93.0),
            "STC-X101": (68.7, 88.5),
            "Nonlocal-R50": (76.5, 92.6),
            "Nonlocal-R101": (77.7, 93.3),
            "SlowFast-R50": (77.0, 92.6),
            "SlowFast-R101": (77.9, 93.2),
            "CSN-101": (76.7, 92.3),
            "CSN-152": (77.8, 92.8),
        },
    ),
    "t3": Table(
        title="Table 3: 2-D backbones on Kinetics-400",
        protocol="8 segments, ten crops",
        metrics=("top1",),
        configs=("tpn_k400",),
    ),
    "t4": Table(
        title="Table 4: Something-Something V1 and V2",
        protocol="8 segments, one clip, centre crop of 224 px",
        metrics=("top1",),
        configs=("tpn_sthv1", "tpn_sthv2"),
        rivals={
            "V1: TRN-Multiscale": (38.9,),
            "V1: ECO": (39.6,),
            "V2: TRN-Multiscale": (48.8,),
        },
    ),
    "t5": Table(
        title="Table 5: Epic-Kitchens",
        protocol="8 segments, ten crops",
        metrics=("noun_top1", "verb_top1"),
        configs=("tpn_epic",),
        rivals={
            "TSN (RGB, 25 frames)": (36.8, 45.7),
            "TSN (flow, 25 frames)": (17.4, 42.8),
            "TSN (fusion, 25 frames)": (36.7, 48.2),
        },
    ),
    "t6a": Table(
        title="Table 6a: sources (I3D-50, 8x8, Kinetics-400)",
        protocol=_KINETICS,
        metrics=_TWO,
        configs=("tpn_k400",),
    ),
    "t6b": Table(
        title="Table 6b: components (I3D-50, 8x8, Kinetics-400); which are in a row is inferred",
        protocol=_KINETICS,
        metrics=("top1",),
        configs=("tpn_k400",),
    ),
    "t6c": Table(
        title="Table 6c: information flow (I3D-50, 8x8, alphas 4 and 8, Kinetics-400)",
        protocol=_KINETICS,
        metrics=_TWO,
        configs=("tpn_k400",),
    ),
    "t6d": Table(
        title="Table 6d: input frames (Kinetics-400)",
        protocol=_KINETICS,
        metrics=("top1",),
        configs=("tpn_k400",),
    ),
    "leaderboard": Table(
        title="Beside the tables: the leaderboard of Something-Something V2",
        protocol="full resolution, 2 clips",
        metrics=("top1",),
        configs=("tpn_sthv2",),
    ),
    "zoo": Table(
        title="Beside the tables: the model zoo of the TPN release",
        protocol=_ZOO,
        metrics=("top1",),
        configs=("tpn_k400", "tpn_sthv1", "tpn_sthv2"),
    ),
    "mm": Table(
        title="Beside the tables: the models of mmaction2",
        protocol=_ZOO,
        metrics=_TWO,
        configs=("tpn_k400", "tpn_sthv1"),
    ),
}
"""Tables 2 to 6, and numbers beside them, by the prefix of their rows' names."""

_QUOTED = "quoted by the paper from TSM, arXiv 1811.08383"
_TICKS = "the tick marks of table 6b are not in the text: these components are inferred"
_HEAD = f"{_TICKS}; Head is the auxiliary head on res4, and no pyramid is there yet"
_UNSURE = f"{_TICKS}, with little confidence"
_TWO_PYRAMIDS = "the one pyramid is fused twice, so that all flows have equal capacity (inferred)"
_ONE_FLOW = "flow=isolation,pyramids=two"


def _row(arg: str, *numbers: float, metrics: tuple[str, ...] = _TWO, **facts: str) -> Row:
    """A row from ImageNet weights with the published values of `metrics`, as many as there are."""
    arg = f"{arg},{_IMAGENET}" if arg else _IMAGENET
    return Row(arg=arg, published=dict(zip(metrics, numbers, strict=False)), **facts)


def _frames(depth: str) -> dict[str, Row]:
    """Table 6d of one depth."""
    numbers = {
        "50": {"8x8": (74.9, 76.1), "16x4": (76.1, 77.3), "32x2": (75.7, 77.7)},
        "101": {"8x8": (76.0, 77.2), "16x4": (77.0, 78.1), "32x2": (77.4, 78.9)},
    }
    rows = {}
    for frames, (base, with_tpn) in numbers[depth].items():
        arg = f"depth={depth},frames={frames}"
        rows[f"t6d.r{depth}_{frames}_base"] = _row(f"{arg},neck=none", base)
        rows[f"t6d.r{depth}_{frames}"] = _row(arg, with_tpn)
    return rows


_RELEASE = "model zoo of the TPN release: retrained with its cascade flow, on its own copy"
_MMACTION2 = "mmaction2's metafile, on its copy"


def _something(tsn: float, tsm: float, tsn_tpn: float, tsm_tpn: float, zoo, zoo_tpn):
    """Table 4 and the model zoo for one version of Something-Something."""
    view = {"evaluator": "single_view"}
    return {
        "t4.tsn": _row("backbone=tsn,neck=none", tsn, note=_QUOTED, **view),
        "t4.tsm": _row("backbone=tsm,neck=none", tsm, note=_QUOTED, **view),
        "t4.tsn_tpn": _row("backbone=tsn", tsn_tpn, **view),
        "t4.tsm_tpn": _row("backbone=tsm", tsm_tpn, **view),
        "zoo.tsm": _row("like=release,neck=none", zoo, note=_RELEASE),
        "zoo.tsm_tpn": _row("like=release", zoo_tpn, note=_RELEASE),
    }


ROWS: dict[str, dict[str, Row]] = {
    "tpn_k400": {
        "t2.tpn_r50_32x2": _row("depth=50,frames=32x2", 77.7, 93.3),
        "t2.tpn_r101_32x2": _row("depth=101,frames=32x2", 78.9, 93.9),
        "t3.tsn": _row("backbone=tsn,frames=8,neck=none", 69.9, note=_QUOTED),
        "t3.tsm": _row("backbone=tsm,frames=8,neck=none", 72.8, note=_QUOTED),
        "t3.tsn_tpn": _row("backbone=tsn,frames=8", 73.5),
        "t6a.none": _row("neck=none", 74.9, 91.9),
        "t6a.res2345": _row("source=res2345", 74.6, 91.8),
        "t6a.res345": _row("source=res345", 74.9, 92.1),
        "t6a.res45": _row("", 76.1, 92.5),
        "t6a.res5": _row("source=res5", 75.7, 92.3),
        "t6b.baseline": _row("neck=none", 74.9, note=_TICKS),
        "t6b.head": _row("neck=heads", 74.6, note=_HEAD),
        "t6b.head_spatial": _row(f"temporal=off,{_ONE_FLOW}", 75.2, note=_TICKS),
        "t6b.head_spatial_temporal": _row(_ONE_FLOW, 75.4, note=_TICKS),
        "t6b.all": _row("", 76.1, note=_TICKS),
        "t6b.no_head": _row("aux=none", 75.9, note=_UNSURE),
        "t6b.no_spatial": _row("spatial=pool", 75.6, note=_UNSURE),
        "t6c.isolation": _row(_ONE_FLOW, 75.4, 92.4, note=_TWO_PYRAMIDS),
        "t6c.bottom_up": _row("flow=bottom_up,pyramids=two", 75.8, 92.3, note=_TWO_PYRAMIDS),
        "t6c.top_down": _row("flow=top_down,pyramids=two", 75.7, 92.3, note=_TWO_PYRAMIDS),
        "t6c.cascade": _row("flow=cascade", 75.9, 92.3),
        "t6c.parallel": _row("flow=parallel", 76.1, 92.5),
        **_frames("50"),
        **_frames("101"),
        "zoo.r50_8x8": _row("like=release", 76.7, note=_RELEASE),
        "zoo.r101_8x8": _row("like=release,depth=101", 78.2, note=_RELEASE),
        "mm.r50_8x8": _row(
            "like=release,starts=linspace,short=loop", 76.74, 92.57, note=_MMACTION2
        ),
        "mm.r50_8x8_scratch": Row(
            arg="like=release,starts=linspace,short=loop,init=scratch",
            published={"top1": 74.20, "top5": 91.48},
            note=f"{_MMACTION2}; from scratch",
        ),
    },
    "tpn_sthv1": {
        **_something(19.7, 45.6, 40.6, 49.0, 48.2, 50.7),
        "mm.tsm_tpn": _row("like=release,shift=mit,starts=linspace", 51.87, 79.67, note=_MMACTION2),
    },
    "tpn_sthv2": {
        **_something(30.0, 59.1, 55.2, 62.0, 62.3, 64.7),
        "leaderboard.tsm_r101_16f": _row(
            "depth=101,frames=16",
            67.5,
            note="on the hidden test set; the text says 67.5, the caption of table 4 66.9",
        ),
    },
    "tpn_epic": {
        "t5.tsn": _row("neck=none", 39.7, 48.2, metrics=("noun_top1", "verb_top1")),
        "t5.tsn_tpn": _row("", 41.3, 61.1, metrics=("noun_top1", "verb_top1")),
    },
}
"""Rows by recipe (a file of `configs/`) and name. The name's first part is the table."""
