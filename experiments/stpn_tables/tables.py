"""The tables of STPN (arXiv 1903.01038) and TSN's inputs: commands, and results beside theirs.

    python -m experiments.stpn_tables.tables list
    python -m experiments.stpn_tables.tables show runs/stpn/*/results.json \
        runs/stpn/*/split?/results.json

`list` prints every cell of the tables with the command that trains and evaluates it: rows that fuse
BN-Inception's networks start from those of `t4.A`, final results are of three splits. `show` prints
the tables as Markdown from any number of `results.json` files, each beside the `config.json` of its
run; a cell without a run says so. Run it from the root of the repository.

Which cell a run belongs to is decided by its config, see `experiments.paper_tables`: rows `t4.A`
and `t1.bninception.twostream` are one run, so are `t4.D` and `final.bninception` on split 1. Every
split of a dataset is a run of its own here; below them stands their mean, of `splits.json`.
"""

import sys
from collections.abc import Sequence

from experiments import paper_tables
from tempo.papers import stpn
from tempo.papers.stpn_results import ROWS, TABLES

FIRST = "t4.A"
"""Trains the two networks that other rows of its tables start from."""

_STREAMS = f"runs/stpn/{FIRST}"


def _fuses_two(name: str) -> bool:
    """Whether a row fuses what `FIRST` has trained."""
    model = stpn.read(name, ROWS["stpn"]).values["model"]
    return name.split(".")[0] in ("t2", "t3", "t4") and model in (*stpn.FUSED, "B")


_FINAL = [name for name in ROWS["stpn"] if name.split(".")[0] in ("final", "hmdb")]
PAPER = paper_tables.Paper(
    tables=TABLES,
    rows=ROWS,
    options={
        **{name: f"streams={_STREAMS}" for name in ROWS["stpn"] if _fuses_two(name)},
        **dict.fromkeys(_FINAL, "split=all"),
    },
    flags=dict.fromkeys(_FINAL, "--splits 1,2,3"),
    about=f"Rows with streams={_STREAMS} start from the two networks of {FIRST}: run that first.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    return paper_tables.main(PAPER, __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    sys.exit(main())
