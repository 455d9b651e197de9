"""The tables of STPN (arXiv 1903.01038) and TSN's inputs: commands, and results beside theirs.

    python -m experiments.stpn_tables.tables list
    python -m experiments.stpn_tables.tables show runs/stpn/*/results.json \
        runs/stpn/*/split?/results.json

`list` prints every cell of the tables with the command that trains and evaluates it. `show` prints
the tables as Markdown from any number of `results.json` files, each beside the `config.json` of its
run; a cell without a run says so. Run it from the root of the repository.

Which cell a run belongs to is decided by its config, see `experiments.paper_tables`: rows `t4.A`
and `t1.bninception.twostream` are one run, so are `t4.D` and `final.bninception`. Every split of a
dataset is a run of its own here; what `--splits 1,2,3` says at its end is their mean.
"""

import sys
from collections.abc import Sequence

from experiments import paper_tables
from tempo.papers.stpn_results import ROWS, TABLES

PAPER = paper_tables.Paper(tables=TABLES, rows=ROWS)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    return paper_tables.main(PAPER, __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    sys.exit(main())
