"""Tables 2 to 6 of TPN (arXiv 2004.03548): the commands of their runs, and results beside theirs.

    python -m experiments.tpn_tables.tables list
    python -m experiments.tpn_tables.tables show runs/*/results.json

`list` prints every cell of the tables with the command that trains and evaluates it. `show` prints
the tables as Markdown from any number of `results.json` files, each beside the `config.json` of its
run; a cell without a run says so. Run it from the root of the repository.

Which cell a run belongs to is decided by its config, see `experiments.paper_tables`: rows
`t6a.res45`, `t6b.all`, `t6c.parallel` and `t6d.r50_8x8` are one run.
"""

import sys
from collections.abc import Sequence

from experiments import paper_tables
from tempo.papers.tpn_results import ROWS, TABLES

PAPER = paper_tables.Paper(tables=TABLES, rows=ROWS)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    return paper_tables.main(PAPER, __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    sys.exit(main())
