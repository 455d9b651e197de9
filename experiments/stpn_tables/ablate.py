"""STPN's ablations on TempoBench: models A to D, and concat, sum and compact bilinear of snippets.

    python -m experiments.stpn_tables.ablate --seeds 0,1,2 --out runs/stpn_ablation
    python -m experiments.stpn_tables.ablate plan --tables t4 --seeds 0 --out runs/stpn_ablation
    python -m experiments.stpn_tables.ablate report --out runs/stpn_ablation --readme

The first trains the two networks of a seed with model A, and from their weights every other model
of the tables `t4` and `t2`, one after the other, all of a seed before the next; it appends a row to
`results.jsonl` in the folder for each: hits on every test video, command, commit, versions,
hardware, date. Cut it at any time: the same command goes on where it was, within a training too;
another table or seed may join a folder. At the end it writes `tables.md` there and, of the first
seed, `tsne.png`: features of models B, C and D in the plane. `plan` prints the runs and which of
them have ended. `report` prints the tables; with `--readme` it also takes rows and figure into this
folder and the tables into its README. Further flags `--config.KEY=VALUE` go to every run.

Exit status: 0 done, 1 a run failed, 2 bad input, 130 or 143 stopped.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from experiments import commands, recorded
from experiments.stpn_tables import figure, page, runs
from experiments.stpn_tables.runs import Run
from experiments.study import Study
from tempo import files
from tempo.analysis import embedding, scores
from tempo.errors import RunError


def _ended(out: str, one: Run) -> dict[str, Any]:
    """What a run left: hits, and how well its features keep classes together.

    Raises:
      RunError: it was stopped: it saves then, and ends with status 0.
    """
    del out  # the run knows its folder
    path = one.workdir / "results.json"
    if not path.is_file():
        raise RunError(f"{one} was stopped before its end; the same command goes on from there.")
    found = {name: scores.load(file) for name, file in one.scores.items()}
    own = found[one.name]
    kept = {**commands.hits(found), "results": files.read_json(str(path))}
    if "embedding" in own.arrays:
        plane = embedding.project(own.arrays["embedding"], own.labels)
        kept["same_class"] = plane.same_class
    return kept


STUDY = Study(
    folder=pathlib.Path(__file__).parent,
    page=page.page,
    keys=("name", "seed"),
    plan=lambda args, flags: runs.plan(args.out, args.tables, recorded.seeds(args.seeds), flags),
    is_begun=lambda out, one: one.workdir.exists(),
    ended=_ended,
    environment=commands.COMPILED_FAST,
    draw=figure.draw,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = tuple(runs.TABLES)
    parser.add_argument("--tables", nargs="+", default=list(choices), choices=choices)
    parser.add_argument("--seeds", default="0", help="of the trainings, with commas")
    return STUDY.main(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
