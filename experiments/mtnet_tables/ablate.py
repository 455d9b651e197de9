"""The ratio and pooling ablations of MTNet on TempoBench, small enough for two CPU cores.

    python -m experiments.mtnet_tables.ablate --study ratio pool --seeds 0 1 2 --out runs/ablation
    python -m experiments.mtnet_tables.ablate plan --study ratio --seeds 0 --out runs/ablation
    python -m experiments.mtnet_tables.ablate report --out runs/ablation --readme

The first trains every variant of the studies with every seed, one after the other, all variants of
a seed before the next, and appends a row to `results.jsonl` in the folder for each: hits on every
test video, command, commit, versions, hardware, date. The default network is in every study and
trained once for all. Cut it at any time: the same command goes on where it was, within a training
too; another study or seed may join a folder. At the end it writes `tables.md` there. `plan` prints
the trainings and which of them have ended. `report` prints the tables; with `--readme` it also
takes the rows into this folder and the tables into its README. Further flags `--config.KEY=VALUE`
go to every training.

Exit status: 0 done, 1 a training failed, 2 bad input, 130 or 143 stopped.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from experiments import commands
from experiments.mtnet_tables import page, studies
from experiments.mtnet_tables.studies import Run
from experiments.study import Study
from tempo import files
from tempo.analysis import scores
from tempo.errors import RunError

_COUNT = """
import json, sys
from experiments.mtnet_tables import ablate
configs = json.load(sys.stdin)
print(json.dumps({options: ablate.count(config) for options, config in configs.items()}))
"""


def _ended(out: str, one: Run) -> dict:
    """What a training left.

    Raises:
      RunError: it was stopped: it saves then, and ends with status 0.
    """
    del out  # the training knows its folder
    path = one.workdir / "results.json"
    if not path.is_file():
        raise RunError(f"{one} was stopped before its end; the same command goes on from there.")
    found = scores.load(one.workdir / "scores" / f"{studies.EVALUATOR}.npz")
    return {**commands.hits({studies.EVALUATOR: found}), "results": files.read_json(str(path))}


def _counted(planned: Sequence[Run]) -> list[dict[str, int]]:
    """`count` of each: in a process of its own, which has no device to take from the trainings.

    It also finds a config that cannot be before the first training.
    """
    if not planned:
        return []
    wanted = json.dumps({one.options: one.config for one in planned})
    done = subprocess.run(
        [sys.executable, "-c", _COUNT],
        input=wanted,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    counts = json.loads(done.stdout)
    return [counts[one.options] for one in planned]


def count(config: str) -> dict[str, int]:
    """Parameters and multiply-adds of one clip for a recipe with its argument."""
    from tempo import recipe
    from tempo.models import size

    path, _, argument = config.partition(":")
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = recipe.from_config(module.get_config(argument))
    side = made.input.size_px
    num_classes = 14  # of TempoBench `pairs`
    params, macs = size.count(num_classes, made.model, (made.clip.num_frames, side, side, 3))
    return {"params": params, "macs": macs}


STUDY = Study(
    folder=pathlib.Path(__file__).parent,
    page=page.page,
    keys=("name", "seed"),
    plan=lambda args, flags: studies.plan(args.out, args.study, args.seeds, flags),
    is_begun=lambda out, one: one.workdir.exists(),
    ended=_ended,
    about=lambda todo: _counted(todo),
    environment=commands.COMPILED_FAST,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--study", nargs="+", default=["ratio", "pool"], choices=tuple(studies.STUDIES)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the trainings")
    return STUDY.main(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
