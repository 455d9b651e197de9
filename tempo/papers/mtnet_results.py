"""What the MTNet paper says, as data: its tables I to VI, and the one of UCF-101.

Source: Stergiou, Poppe 2021, arXiv 2011.03949. All numbers are theirs, and were not measured here:
percent on validation sets, 10 clips x 3 crops of each video; `COSTS`, in millions of parameters and
GFLOPs of one view; `LATENCIES` in milliseconds.

The public text of the paper has lost symbols and cells. What is lost is left out here and said in
the row's note:

* "GFLOPs x views" of tables I and V; what is left is in table VI.
* Table III (Moments in Time) but for one number, table IV (Kinetics-700) but for differences to
  other methods, and table VI(c) (pooling) but for the differences of `POOLING_GAINS`.
* The labels r of table VI(a). Those of MTNet-M are seven rows for the seven ratios; MTNet-L has
  six, which the ratios of their FLOPs to MTNet-M's say are all but .625.

What they call GFLOPs are multiply-adds for MTNets; in table II the row of 3-D convolutions counts
both, so that table mixes units. The authors' repository
(alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates) has the accuracies of table V with three
decimals, beside networks of another design and size: see `README`.
"""

from collections.abc import Mapping

from tempo.papers.results import Row, Table

_VIEWS = "10 clips x 3 crops, softmax averaged"

TABLES: dict[str, Table] = {
    "t1": Table(
        title="Table I: Kinetics-400",
        protocol=_VIEWS,
        metrics=("top1", "top5"),
        configs=("mtnet",),
        rivals={
            "R(2+1)D-101, 63.6 M": (62.8, 83.9),
            "I3D, 12.0 M": (71.6, 90.0),
            "MF-Net, 8.0 M": (72.8, 90.4),
            "TAM, 25.0 M": (73.5, 91.2),
            "SRTG-101 (3D), 107.1 M": (73.2, 91.3),
            "SRTG-101 (2+1D), 105.3 M": (73.8, 92.0),
            "TSM, 24.3 M": (74.7, 91.4),
            "ip-CSN-101, 24.5 M": (76.7, 92.3),
            "ip-CSN-152, 32.8 M": (77.8, 92.8),
            "SlowFast-50, 34.4 M": (77.0, 92.6),
            "SlowFast-101, 53.7 M": (77.9, 93.5),
            "SlowFast-101+NL, 59.9 M": (78.7, 93.5),
            "X3D-XL, 11.0 M": (79.1, 93.9),
        },
    ),
    "t2": Table(
        title="Table II: convolutions of one ResNet-50 (Kinetics-400)",
        protocol=f"{_VIEWS}; clips and initial weights are not stated",
        metrics=("top1", "top5"),
        configs=("mtnet",),
    ),
    "t3": Table(
        title="Table III: Moments in Time",
        protocol=_VIEWS,
        metrics=("top1", "top5"),
        configs=("mtnet",),
    ),
    "t4": Table(
        title="Table IV: Kinetics-700",
        protocol=_VIEWS,
        metrics=("top1", "top5"),
        configs=("mtnet",),
    ),
    "t5": Table(
        title="Table V: HACS, from scratch",
        protocol=_VIEWS,
        metrics=("top1", "top5"),
        configs=("mtnet",),
        rivals={
            "MF-Net, K-400": (78.3, 94.6),
            "TAM, K-400": (82.2, 95.2),
            "SlowFast-101, K-400": (83.7, 96.8),
            "X3D-L, K-400": (85.8, 96.1),
            "R3D-101, K-700": (80.5, 95.8),
            "R(2+1)D-101, K-700": (82.9, 95.6),
            "ir-CSN-101, IG-65M": (83.8, 93.8),
            "ip-CSN-101, IG-65M": (84.1, 93.9),
            "SRTG-101 (3D), scratch": (81.6, 96.3),
            "SRTG-101 (2+1D), scratch": (84.3, 96.8),
        },
    ),
    "t6a": Table(
        title="Table VI(a): ratio of local channels (HACS)",
        protocol=_VIEWS,
        metrics=("top1", "top5"),
        configs=("mtnet",),
    ),
    "t6b": Table(
        title="Table VI(b): recurrent cells (HACS)",
        protocol=_VIEWS,
        metrics=("top1", "top5"),
        configs=("mtnet",),
    ),
    "t6c": Table(
        title="Table VI(c): pooling of the prolonged branch (HACS)",
        protocol=_VIEWS,
        metrics=("top1",),
        configs=("mtnet",),
    ),
    "ucf": Table(
        title="UCF-101, weights of table V",
        protocol=f"{_VIEWS}; which of the three splits is not stated",
        metrics=("top1", "top5"),
        configs=("mtnet",),
        rivals={
            "I3D, K-400": (92.4, 97.6),
            "TSM, K-400": (92.3, 97.9),
            "ir-CSN-152, IG-65M": (95.4, 99.2),
            "MF-Net, K-400": (93.8, 98.4),
            "SlowFast-50, ImageNet": (94.6, 98.7),
            "SlowFast-101, ImageNet": (95.8, 99.1),
            "SRTG-101 (2+1D), HACS + K-700": (97.2, 99.1),
            "SRTG-101 (3D), HACS + K-700": (97.3, 99.6),
        },
    ),
}
"""By the prefix of their rows' names."""

POOLING_GAINS: dict[str, Mapping[str, float]] = {
    "avg": {"s": 2.7, "m": 2.8, "l": 2.1},
    "soft": {"s": 2.9, "m": 2.7, "l": 2.4},
}
"""What is left of table VI(c): points of top-1 that 1x2x2 pooling with frame selection gains over
the same pooling of 2x2x2, by pooling and size. Besides, SoftPool with frame selection gains 0.57
over average pooling with it, in the mean of the three sizes."""

README = {"s": (80.712, 95.182), "m": (83.447, 95.872), "l": (86.574, 96.658)}
"""HACS top-1 and top-5 of the authors' repository, of their two-stream networks at 16x256x256."""

_HACS = {"s": (80.7, 95.2), "m": (83.4, 95.9), "l": (86.6, 96.7)}
_RATIOS = {
    # r: top-1, top-5, GFLOPs, M parameters
    "m": {
        "1": (82.2, 93.6, 10.8, 29.7),
        "0.875": (83.4, 95.9, 8.8, 25.8),
        "0.75": (83.1, 95.6, 6.7, 21.8),
        "0.625": (81.6, 93.2, 4.8, 19.3),
        "0.5": (79.7, 91.8, 3.6, 18.6),
        "0.375": (78.6, 89.4, 2.6, 19.2),
        "0.25": (77.1, 88.6, 2.1, 21.0),
    },
    "l": {
        "1": (84.9, 95.7, 20.6, 53.5),
        "0.875": (86.6, 96.7, 17.6, 50.1),
        "0.75": (86.1, 96.2, 12.5, 45.3),
        "0.5": (83.2, 95.3, 7.09, 42.7),
        "0.375": (82.1, 93.9, 5.2, 45.3),
        "0.25": (80.3, 92.4, 4.1, 47.8),
    },
}
_CELLS = {
    # cell: top-1, top-5, forward and backward ms
    "s": {
        "rnn": (78.8, 93.7, 58, 78),
        "lstm": (79.9, 94.3, 61, 79),
        "lstm_peephole": (80.1, 94.5, 68, 85),
        "gru": (80.7, 95.2, 65, 80),
    },
    "m": {
        "rnn": (82.5, 94.8, 84, 113),
        "lstm": (83.1, 95.4, 86, 109),
        "lstm_peephole": (83.2, 95.6, 94, 120),
        "gru": (83.4, 95.9, 90, 111),
    },
}
# Of MTNet-M alone, without GFLOPs.
_CELL_MPARAMS = {"rnn": 24.3, "lstm": 26.5, "lstm_peephole": 26.5, "gru": 25.8}
_SIZE_COSTS = {"s": (25.8, 5.8), "m": (25.8, 8.8), "l": (50.1, 17.6)}
_NETS = {
    # net: top-1, top-5, GFLOPs, M parameters
    "r50_3d": (61.3, 83.1, 53.2, 36.7),
    "r50_2plus1d": (61.8, 83.5, 56.0, 38.8),
    "multifiber": (72.8, 90.4, 22.5, 8.0),
    "slowonly": (72.6, 90.3, 27.3, 26.6),
    "slowfast": (74.3, 91.0, 39.8, 34.4),
    "r50_mtconv": (74.8, 91.3, 23.1, 35.7),
}
POOLINGS = ("avg", "soft", "max", "stochastic", "avg_triplet", "max_triplet", "soft_triplet")
"""Values of the recipe's option `pool`, in the order of table VI(c): 2x2x2, then 1x2x2 with frame
selection. Which of them the lost table had besides avg and soft of both kinds is not known."""

_LOST = "the paper's number is lost in its public text"
_NO_BRANCH = 'the paper has "no P"; without the gate too, as only then the parameters agree'


def _row(arg: str, *published: float, note: str = "") -> Row:
    return Row(arg=arg, published=dict(zip(("top1", "top5"), published, strict=False)), note=note)


def _ratio_rows() -> dict[str, Row]:
    rows = {}
    for size, by_ratio in _RATIOS.items():
        for ratio, (top1, top5, *_) in by_ratio.items():
            rest, note = (",layers=0", _NO_BRANCH) if ratio == "1" else ("", "")
            arg = f"size={size},data=hacs,ratio={ratio}{rest}"
            rows[f"t6a.{size}_r{ratio}"] = _row(arg, top1, top5, note=note)
    return rows


def _pooling_rows() -> dict[str, Row]:
    rows = {}
    for size, (top1, _) in _HACS.items():
        for pool in POOLINGS:
            arg, name = f"size={size},data=hacs,pool={pool}", f"t6c.{size}_{pool}"
            if pool == "soft_triplet":
                rows[name] = _row(arg, top1, note="of table V")
            elif pool in POOLING_GAINS:
                gain = POOLING_GAINS[pool][size]
                rows[name] = _row(arg, note=f"lost; {gain} points below {size}_{pool}_triplet")
            else:
                rows[name] = _row(arg, note=_LOST)
    return rows


ROWS: dict[str, dict[str, Row]] = {
    "mtnet": {
        "t1.s": _row("size=s,data=k400", 74.8, 92.1),
        "t1.m": _row("size=m,data=k400", 76.6, 92.5),
        "t1.l": _row("size=l,data=k400", 78.1, 93.2),
        **{
            f"t2.{net}": _row(f"net={net},data=k400,init=scratch", top1, top5)
            for net, (top1, top5, *_) in _NETS.items()
        },
        "t3.s": _row("size=s,data=mit", note=_LOST),
        "t3.m": _row("size=m,data=mit", note=_LOST),
        "t3.l": _row("size=l,data=mit", 35.2, note="top-5 is lost"),
        "t4.s": _row("size=s,data=k700", note=_LOST),
        "t4.m": _row("size=m,data=k700", note=_LOST),
        "t4.l": _row(
            "size=l,data=k700",
            note="lost; 4.7 to 6.8 points of top-1 and 2.4 to 7.3 of top-5 over other methods",
        ),
        **{f"t5.{size}": _row(f"size={size},data=hacs", *both) for size, both in _HACS.items()},
        **_ratio_rows(),
        **{
            f"t6b.{size}_{cell}": _row(f"size={size},data=hacs,cell={cell}", *numbers[:2])
            for size, by_cell in _CELLS.items()
            for cell, numbers in by_cell.items()
        },
        **_pooling_rows(),
        "ucf.s": _row("size=s,data=ucf101", 94.2, 98.0),
        "ucf.m": _row("size=m,data=ucf101", 95.4, 98.1),
        "ucf.l": _row("size=l,data=ucf101", 97.4, 99.2),
    }
}
"""Rows by recipe (a file of `configs/`) and name. The name's first part is the table."""

COSTS: dict[str, tuple[float, float | None]] = {
    **{f"t5.{size}": cost for size, cost in _SIZE_COSTS.items()},
    **{f"t2.{net}": (mparams, gflops) for net, (*_, gflops, mparams) in _NETS.items()},
    **{
        f"t6a.{size}_r{ratio}": (mparams, gflops)
        for size, by_ratio in _RATIOS.items()
        for ratio, (*_, gflops, mparams) in by_ratio.items()
    },
    **{f"t6b.m_{cell}": (mparams, None) for cell, mparams in _CELL_MPARAMS.items()},
}
"""Millions of parameters and GFLOPs of a view, by row; None where the paper does not say."""

LATENCIES: dict[str, tuple[int, int]] = {
    f"t6b.{size}_{cell}": (forward, backward)
    for size, by_cell in _CELLS.items()
    for cell, (*_, forward, backward) in by_cell.items()
}
"""Milliseconds forward and backward of one clip, by row; on which device is not stated here."""
