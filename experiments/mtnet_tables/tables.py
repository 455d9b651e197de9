"""Tables I to VI of MTNet (arXiv 2011.03949): commands, costs, and results beside theirs.

    python -m experiments.mtnet_tables.tables list
    python -m experiments.mtnet_tables.tables show runs/mtnet/*/results.json
    python -m experiments.mtnet_tables.tables costs

`list` prints every cell of the tables with the command that trains and evaluates it. `show` prints
the tables as Markdown from any number of `results.json` files, each beside the `config.json` of its
run; a cell without a run says so. `costs` counts the networks of tables II, V and VI, beside what
the paper says of them; nothing runs. Run it from the root of the repository.

Which cell a run belongs to is decided by its config, see `experiments.paper_tables`: rows `t5.m`,
`t6a.m_r0.875`, `t6b.m_gru` and `t6c.m_soft_triplet` are one run.
"""

import functools
import json
import sys
from collections.abc import Sequence

from experiments import paper_tables, recorded
from tempo.models import size
from tempo.papers.mtnet_results import COSTS, ROWS, TABLES

RECIPE = "mtnet"
PAPER = paper_tables.Paper(tables=TABLES, rows=ROWS)
NUM_CLASSES = {"kinetics400": 400, "hacs": 200}


@functools.cache
def _count(num_classes: int, model: str, num_frames: int, size_px: int) -> tuple[int, int]:
    return size.count(num_classes, json.loads(model), (num_frames, size_px, size_px, 3))


def cost(argument: str) -> tuple[float, float]:
    """(M parameters, GMACs of one training clip) of the network of a row, counted."""
    config = paper_tables.config_of(RECIPE, argument)
    params, macs = _count(
        NUM_CLASSES[config["data"]["name"]],
        json.dumps(config["model"]),
        config["clip"]["num_frames"],
        config["input"]["size_px"],
    )
    return params / 1e6, macs / 1e9


def costs(names: Sequence[str] = tuple(COSTS)) -> str:
    """What networks cost, as a Markdown table: theirs and ours.

    Args:
      names: of rows of `COSTS`.
    """
    rows = []
    for name in names:
        (mparams, gflops), (own_mparams, own_gmacs) = COSTS[name], cost(name)
        rows.append(
            [
                name,
                f"{mparams:.1f}",
                f"{own_mparams:.2f}",
                f"{100 * (own_mparams / mparams - 1):+.1f} %",
                f"{gflops:g}" if gflops else "not stated",
                f"{own_gmacs:.2f}",
                f"{100 * (own_gmacs / gflops - 1):+.1f} %" if gflops else "",
            ]
        )
    head = ["row", "M parameters theirs", "ours", "apart", "GFLOPs theirs", "GMACs ours", "apart"]
    return recorded.table(head, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given == ["costs"]:
        print(costs())
        return 0
    return paper_tables.main(PAPER, __doc__.splitlines()[0], given)


if __name__ == "__main__":
    sys.exit(main())
