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
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from experiments import commands, recorded
from experiments.benchmarks import report as report_lib
from experiments.vipriors_tables import page, steps
from experiments.vipriors_tables.steps import Step
from tempo import files
from tempo.analysis import scores
from tempo.errors import InputError, RunError

FOLDER = pathlib.Path(__file__).parent
RESULTS = FOLDER / "results.jsonl"
README = FOLDER / "README.md"


def run(out: str, planned: Sequence[Step]) -> None:
    """Takes the steps that have not ended, and records each.

    Raises:
      InputError: another chain is at work in the folder, or it has steps of another command.
      subprocess.CalledProcessError: a step failed.
      SystemExit: it was told to stop.
    """
    results = pathlib.Path(out) / "results.jsonl"
    with commands.locked(out) as lock:
        hardware = commands.hardware()
        todo = _todo(out, planned)
        for number, step in enumerate(planned, 1):
            at = f"[{number}/{len(planned)}] {step}"
            if step not in todo:
                commands.say(f"{at}: has ended")
                continue
            commands.say(f"{at}: python {shlex.join(step.command)}")
            is_resumed = step.kind == "train" and steps.workdir(out, step.name, step.seed).exists()
            start = time.perf_counter()
            commands.start(step.command, out, lock)
            _check_ended(out, step)
            wall_s = time.perf_counter() - start
            row = {
                "step": step.kind,
                "name": step.name,
                "seed": step.seed,
                **RECORDERS[step.kind](out, step),
                "wall_s": round(wall_s, 1),
                "is_resumed": is_resumed,
                **report_lib.environment(with_devices=False),
                "hardware": hardware,
                "command": f"python {shlex.join(step.command)}",
            }
            before = results.read_text() if results.is_file() else ""
            files.write_text(str(results), before + commands.as_line(row, out))
            commands.say(f"{at}: ended after {wall_s / 60:.1f} min")


def _todo(out: str, planned: Sequence[Step]) -> list[Step]:
    """The steps without a row.

    Raises:
      InputError: a step was taken with another command.
    """
    rows = recorded.read(pathlib.Path(out) / "results.jsonl")
    taken = {(row["step"], row["name"], row["seed"]): row["command"] for row in rows}
    for step in planned:
        command = commands.without_folder(f"python {shlex.join(step.command)}", out)
        if taken.get(step.key, command) != command:
            raise InputError(
                f"{step} was taken with another command in {out!r}: {taken[step.key]}; give the "
                "same flags, or another --out."
            )
    return [step for step in planned if step.key not in taken]


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


def _check_ended(out: str, step: Step) -> None:
    """Raises `RunError` if a training was stopped: it saves then, and ends with status 0."""
    if step.kind != "train":
        return
    path = steps.workdir(out, step.name, step.seed) / "stages.json"
    ended = files.read_json(str(path)) if path.is_file() else []
    if not any(stage["workdir"] == "." for stage in ended):
        raise RunError(f"{step} was stopped before its end; the same command goes on from there.")


def describe(out: str, planned: Sequence[Step]) -> str:
    """The steps, and which of them have ended."""
    todo = _todo(out, planned)
    return "\n".join(
        f"[{number}/{len(planned)}] {step}{'' if step in todo else ': has ended'}\n"
        f"  python {shlex.join(step.command)}"
        for number, step in enumerate(planned, 1)
    )


def report(out: str, *, is_readme: bool = False) -> str:
    """The tables of a folder, also written to its `tables.md`.

    Args:
      out: folder of the chain; "" for the rows beside this file.
      is_readme: take the rows beside this file, and the tables into the README there.
    """
    results = pathlib.Path(out) / "results.jsonl" if out else RESULTS
    text = page.page(recorded.read(results))
    if out:
        files.write_text(str(results.with_name("tables.md")), text + "\n")
    if is_readme:
        if out:
            files.write_text(str(RESULTS), results.read_text())
        files.write_text(str(README), recorded.with_tables(README.read_text(), text))
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("command", nargs="?", default="run", choices=("run", "plan", "report"))
    add("--out", default="", help="folder of the chain")
    add("--seeds", default="0", help="of the trainings, with commas")
    add("--readme", action="store_true", help="take rows and tables into the study's own folder")
    args, flags = parser.parse_known_args(argv)
    try:
        wrong = [flag for flag in flags if not flag.startswith("--config.") or "=" not in flag]
        if wrong:
            raise InputError(f"Unexpected argument {wrong[0]!r}; flags are --config.KEY=VALUE.")
        if args.command != "report":
            if not args.out:
                raise InputError("--out is missing: the folder of the chain.")
            planned = steps.plan(args.out, recorded.seeds(args.seeds), flags)
            if args.command == "plan":
                print(describe(args.out, planned))
                return 0
            run(args.out, planned)
        print(report(args.out, is_readme=args.readme))
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except RunError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as e:
        print(f"error: ended with status {e.returncode}: {shlex.join(e.cmd)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
