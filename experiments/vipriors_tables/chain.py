"""The whole VIPriors solution on TempoBench, one command: staged training, views, ensembles.

    python -m experiments.vipriors_tables.chain --out runs/vipriors_chain --seeds 0
    python -m experiments.vipriors_tables.chain plan --out runs/vipriors_chain --seeds 0
    python -m experiments.vipriors_tables.chain report --out runs/vipriors_chain --readme

The first trains two variants of SlowFast on frames and on residual frames, and TSM, each through
all stages; scores each with its entries of table 3; and combines these as in table 4. Every step
that has ended is a row of `results.jsonl` in the folder, with its command, commit, versions,
hardware and date. Cut it at any time: the same command goes on where it was. At the end it writes
`tables.md` there. `plan` prints the steps and which of them have ended. `report` prints the tables;
with `--readme` it also takes the rows into this folder and the tables into its README. Further
flags `--config.KEY=VALUE` go to every training and evaluation.

Exit status: 0 done, 1 a step failed, 2 bad input, 130 or 143 stopped.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from experiments import commands, recorded
from experiments.study import Study
from experiments.vipriors_tables import page, steps
from experiments.vipriors_tables.steps import Step
from tempo import files
from tempo.analysis import scores
from tempo.errors import RunError


def _trained(out: str, step: Step) -> dict[str, Any]:
    """Hits after every stage, by its name, and how each ended."""
    folder = steps.workdir(out, step.name, step.seed)
    ended = files.read_json(str(folder / "stages.json"))
    found = {
        stage["name"]: scores.load(folder / stage["workdir"] / "scores" / f"{steps.MAIN}.npz")
        for stage in ended
    }
    return {**commands.hits(found), "stages": ended}


def _evaluated(out: str, step: Step) -> dict[str, Any]:
    """Hits and results of every entry."""
    folder = steps.workdir(out, step.name, step.seed)
    names = [steps.evaluator(number) for number in steps.NETWORKS[step.name].entries]
    found = {name: scores.load(folder / "scores" / f"{name}.npz") for name in names}
    results = files.read_json(str(folder / "results.json"))
    kept = [row for row in results if row["name"] in found]
    return {**commands.hits(found), "results": kept}


def _ensembled(out: str, step: Step) -> dict[str, Any]:
    """What `tempo.ensemble` said; hits of the ensemble and of its best member."""
    path = steps.ensemble_file(out, *step.name.split("_"), step.seed)
    result = files.read_json(str(path))
    whole = scores.load(path.with_suffix(".npz"))
    best = scores.load(result["difference"]["path"])
    return {**commands.hits({"ensemble": whole, "best": best}), "result": result}


RECORDERS = {"train": _trained, "evaluate": _evaluated, "ensemble": _ensembled}


def _ended(out: str, step: Step) -> dict[str, Any]:
    """What a step left.

    Raises:
      RunError: a training was stopped: it saves then, and ends with status 0.
    """
    if step.kind == "train":
        path = steps.workdir(out, step.name, step.seed) / "stages.json"
        ended = files.read_json(str(path)) if path.is_file() else []
        if not any(stage["workdir"] == "." for stage in ended):
            raise RunError(
                f"{step} was stopped before its end; the same command goes on from there."
            )
    return RECORDERS[step.kind](out, step)


def _is_begun(out: str, step: Step) -> bool:
    return step.kind == "train" and steps.workdir(out, step.name, step.seed).exists()


STUDY = Study(
    folder=pathlib.Path(__file__).parent,
    page=page.page,
    keys=("step", "name", "seed"),
    plan=lambda args, flags: steps.plan(args.out, recorded.seeds(args.seeds), flags),
    is_begun=_is_begun,
    ended=_ended,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0", help="of the trainings, with commas")
    return STUDY.main(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
