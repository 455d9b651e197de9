"""What the DeepBlue team's report on the VIPriors action recognition challenge says, as data.

Source: Luo, Xu, Zhang 2020, arXiv 2007.08180, tables 1 to 4. All numbers are theirs, percent top-1
on mod-UCF101 without any pre-training, and were not measured here.

What the report leaves open is chosen here, and said: on which split and with how many clips tables
1 and 2 were measured; which entries of table 3 an ensemble of table 4 has, for that table prints
names and no numbers of entries; and what the factors in those names stand for.
"""

import dataclasses
from collections.abc import Mapping

from tempo.papers.results import Row, Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of table 3: one network, and the views of test-time augmentation it was shown.

    Its score is the mean, before softmax, over 10 random clips; `tempo.protocols.VIEW_SETS` has
    these views as `vipriors_<number>`, and the recipe an evaluator `tta<number>` of two digits.

    Attributes:
      model: `slowfast` or `tsm`.
      input: `rgb`, or `diff` for residual frames.
      interval: frames of the video from one of the clip to the next.
      crop: `center` or `random`.
      is_flipped: mirror images.
      order: what clips are taken from, as in `tempo.types.ORDERS`.
      published: percent top-1.
      note: what else to know.
    """

    model: str
    input: str
    interval: int
    crop: str
    is_flipped: bool
    order: str
    published: float
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ensemble:
    """A row of table 4.

    Attributes:
      title: its name there.
      stars: by number of the entry in table 3, the factor k of the name's "*k"; 1 without one. It
        is read as a weight of the entry's logits (`star=weight`), or as a number of independent
        repetitions of its 10 random clips (`star=repeat`).
      published: percent top-1.
    """

    title: str
    stars: Mapping[int, int]
    published: float

    @property
    def ids(self) -> tuple[int, ...]:
        """Numbers of its entries, rising."""
        return tuple(sorted(self.stars))

    def weights(self, star: str) -> dict[str, float]:
        """Weights by evaluator, in one reading of "*k".

        Args:
          star: `weight`: `tta01` counts k times; `repeat`: `tta01`, `tta01_r2`, ..., k in all,
            count once each.
        """
        if star == "weight":
            return {f"tta{number:02d}": float(self.stars[number]) for number in self.ids}
        return {
            f"tta{number:02d}" + (f"_r{nth}" if nth > 1 else ""): 1.0
            for number in self.ids
            for nth in range(1, self.stars[number] + 1)
        }


_UNSAID = "split and number of clips are not stated"

TABLES: dict[str, Table] = {
    "t1": Table(
        title="Table 1: variants of SlowFast-50 (RGB, mod-UCF101)",
        protocol=_UNSAID,
        metrics=("top1",),
        configs=("vipriors",),
    ),
    "t2": Table(
        title="Table 2: SlowFast and TSM, frames and their differences (mod-UCF101)",
        protocol=_UNSAID,
        metrics=("top1",),
        configs=("vipriors",),
    ),
}
"""Tables 1 and 2, by the prefix of their rows' names."""

_SAME = "the same network as `t1.elu_pool_acb`"
_ELU_POOL = "act=elu,downsample=pool_block"
_BEST = f"{_ELU_POOL},conv_b=acb3d"


def _row(arg: str, top1: float, note: str = "") -> Row:
    # Table 3 has 75.5 for 10 clips where tables 1 and 2 have 73.5: those had one view, or few.
    return Row(arg=arg, published={"top1": top1}, evaluator="single_view", note=note)


ROWS: dict[str, dict[str, Row]] = {
    "vipriors": {
        "t1.base": _row("", 70.0),
        "t1.nl": _row("nonlocal=dot_product", 70.6),
        "t1.2p1d": _row("conv_b=2plus1d", 71.2),
        "t1.elu_pool": _row(_ELU_POOL, 73.1),
        "t1.elu_pool_nl": _row(f"{_ELU_POOL},nonlocal=dot_product", 72.8),
        "t1.elu_pool_tam": _row(f"{_ELU_POOL},tam=on", 71.2),
        "t1.elu_pool_acb": _row(_BEST, 73.5),
        "t1.attn": _row("attention=cbam", 70.5, note="which attention is not stated"),
        "t2.sf50.rgb": _row(_BEST, 73.5, note=_SAME),
        "t2.sf50.diff": _row(f"{_BEST},input=diff", 72.8),
        "t2.sf101.rgb": _row(f"{_BEST},depth=101", 72.1),
        "t2.sf101.diff": _row(f"{_BEST},depth=101,input=diff", 71.9),
        "t2.tsm50.shift": _row("model=tsm,depth=50,shift=on", 72.1),
        "t2.tsm50.noshift": _row("model=tsm,depth=50,shift=off", 71.9),
        "t2.tsm101.shift": _row("model=tsm,depth=101,shift=on", 70.8),
        "t2.tsm101.noshift": _row("model=tsm,depth=101,shift=off", 71.2),
    }
}
"""Rows by recipe (a file of `configs/`) and name. The name's first part is the table."""

_TYPO = (
    "probably a misprint of 75.3: with mirror images, the only difference, entry 17 has 75.4, and "
    "entries 1 and 3 differ by 0.1"
)


def _entry(model, input, interval, crop, is_flipped, order, published, note="") -> Entry:
    return Entry(
        model=model,
        input=input,
        interval=interval,
        crop=crop,
        is_flipped=bool(is_flipped),
        order=order,
        published=published,
        note=note,
    )


ENTRIES: dict[int, Entry] = {
    1: _entry("slowfast", "rgb", 1, "center", 0, "normal", 75.5),
    2: _entry("slowfast", "diff", 1, "center", 0, "normal", 74.6),
    3: _entry("slowfast", "rgb", 1, "center", 1, "normal", 75.6),
    4: _entry("slowfast", "diff", 1, "center", 1, "normal", 74.3),
    5: _entry("slowfast", "rgb", 1, "random", 0, "normal", 73.3),
    6: _entry("slowfast", "rgb", 1, "center", 0, "concat", 75.1),
    7: _entry("slowfast", "rgb", 1, "center", 0, "reverse", 74.6),
    8: _entry("slowfast", "diff", 1, "center", 0, "concat", 72.1),
    9: _entry("slowfast", "diff", 1, "center", 0, "reverse", 71.6),
    10: _entry("tsm", "rgb", 1, "center", 0, "normal", 70.8),
    11: _entry("tsm", "rgb", 2, "center", 0, "normal", 71.2),
    12: _entry("tsm", "rgb", 1, "random", 0, "normal", 71.3),
    13: _entry("tsm", "rgb", 1, "center", 1, "normal", 72.2),
    14: _entry("tsm", "rgb", 1, "center", 0, "reverse", 70.8),
    15: _entry("slowfast", "rgb", 2, "center", 0, "normal", 71.3, note=_TYPO),
    16: _entry("slowfast", "diff", 2, "center", 0, "normal", 74.5),
    17: _entry("slowfast", "rgb", 2, "center", 1, "normal", 75.4),
    18: _entry("slowfast", "diff", 2, "center", 1, "normal", 74.0),
    19: _entry("slowfast", "rgb", 2, "random", 0, "normal", 73.2),
    20: _entry("slowfast", "rgb", 2, "center", 0, "concat", 75.0),
    21: _entry("slowfast", "rgb", 2, "center", 0, "reverse", 73.6),
    22: _entry("slowfast", "diff", 2, "center", 0, "concat", 72.0),
}
"""Table 3 by number."""

NETWORKS = {
    ("slowfast", "rgb"): "t2.sf50.rgb",
    ("slowfast", "diff"): "t2.sf50.diff",
    ("tsm", "rgb"): "t2.tsm50.shift",
}
"""Rows of the networks of table 3, by the model and input of an entry."""

_CENTER, _FLIP, _RANDOM = (1, 2, 10, 11, 15, 16), (3, 4, 13, 17, 18), (5, 12, 19)


def _stars(ids, **factors: int) -> dict[int, int]:
    groups = {"center": _CENTER, "flip": _FLIP, "random": _RANDOM}
    starred = {i: k for name, k in factors.items() for i in groups[name]}
    return {i: starred.get(i, 1) for i in ids}


ENSEMBLES: dict[str, Ensemble] = {
    "ens1": Ensemble(
        title="SlowFast, interval 1", stars=_stars((1, 2, 3, 4, 5, 6, 8)), published=84.5
    ),
    "ens2": Ensemble(
        title="SlowFast + TSM, interval 1",
        stars=_stars((*range(1, 11), 12, 13, 14)),
        published=86.3,
    ),
    "ens3": Ensemble(
        title="SlowFast + TSM, intervals 1 and 2, center*2, flip*2",
        stars=_stars(ENTRIES, center=2, flip=2),
        published=87.6,
    ),
    "ens4": Ensemble(
        title="SlowFast + TSM, intervals 1 and 2, center*4, flip*4, random*2",
        stars=_stars(ENTRIES, center=4, flip=4, random=2),
        published=85.8,
    ),
}
"""Table 4."""
