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
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from experiments import commands, recorded
from experiments.benchmarks import report as report_lib
from experiments.mtnet_tables import page, studies
from experiments.mtnet_tables.studies import Run
from tempo import files
from tempo.analysis import scores
from tempo.errors import InputError, RunError

FOLDER = pathlib.Path(__file__).parent
RESULTS = FOLDER / "results.jsonl"
README = FOLDER / "README.md"

# Networks this small compile longer than they train. jax 0.11 has no such flag for the emitters.
_EMITTERS = "--xla_cpu_use_fusion_emitters=false "
COMPILED_FAST = {
    "XLA_FLAGS": _EMITTERS * (importlib.metadata.version("jaxlib") < "0.11")
    + "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"
}
"""Environment of the trainings, where XLA_FLAGS is not set: CPU programs less optimised."""

_COUNT = """
import json, sys
from experiments.mtnet_tables import ablate
configs = json.load(sys.stdin)
print(json.dumps({options: ablate.count(config) for options, config in configs.items()}))
"""


def run(out: str, planned: Sequence[Run]) -> None:
    """Takes the trainings that have not ended, and records each.

    Raises:
      InputError: another study is at work in the folder, or it has trainings of another command.
      RunError: a training was stopped from outside.
      subprocess.CalledProcessError: a training failed.
      SystemExit: it was told to stop.
    """
    results = pathlib.Path(out) / "results.jsonl"
    with commands.locked(out) as lock:
        hardware, todo = commands.hardware(), _todo(out, planned)
        sizes = _counted(todo) if todo else {}
        for number, one in enumerate(planned, 1):
            at = f"[{number}/{len(planned)}] {one}"
            if one not in todo:
                commands.say(f"{at}: has ended")
                continue
            commands.say(f"{at}: python {shlex.join(one.command)}")
            is_resumed, start = one.workdir.exists(), time.perf_counter()
            commands.start(one.command, out, lock, COMPILED_FAST)
            wall_s = time.perf_counter() - start
            row = {
                "name": one.name,
                "options": one.options,
                "seed": one.seed,
                **_ended(one),
                **sizes[one.options],
                "wall_s": round(wall_s, 1),
                "is_resumed": is_resumed,
                **report_lib.environment(with_devices=False),
                "hardware": hardware,
                "command": f"python {shlex.join(one.command)}",
            }
            before = results.read_text() if results.is_file() else ""
            files.write_text(str(results), before + commands.as_line(row, out))
            commands.say(f"{at}: {_top1(row):.3f} after {wall_s:.0f} s")


def _top1(row: dict) -> float:
    return next(r["top1"] for r in row["results"] if r["name"] == studies.EVALUATOR)


def _ended(one: Run) -> dict:
    """What a training left.

    Raises:
      RunError: it was stopped: it saves then, and ends with status 0.
    """
    path = one.workdir / "results.json"
    if not path.is_file():
        raise RunError(f"{one} was stopped before its end; the same command goes on from there.")
    found = scores.load(one.workdir / "scores" / f"{studies.EVALUATOR}.npz")
    return {**commands.hits({studies.EVALUATOR: found}), "results": files.read_json(str(path))}


def _todo(out: str, planned: Sequence[Run]) -> list[Run]:
    """The trainings without a row.

    Raises:
      InputError: one was taken with another command.
    """
    rows = recorded.read(pathlib.Path(out) / "results.jsonl")
    taken = {(row["name"], row["seed"]): row["command"] for row in rows}
    for one in planned:
        command = commands.without_folder(f"python {shlex.join(one.command)}", out)
        if taken.get((one.name, one.seed), command) != command:
            raise InputError(
                f"{one} was taken with another command in {out!r}: {taken[one.name, one.seed]}; "
                "give the same flags, or another --out."
            )
    return [one for one in planned if (one.name, one.seed) not in taken]


def _counted(planned: Sequence[Run]) -> dict[str, dict[str, int]]:
    """`count` by options: in a process of its own, which has no device to take from the trainings.

    It also finds a config that cannot be before the first training.
    """
    wanted = json.dumps({one.options: one.config for one in planned})
    done = subprocess.run(
        [sys.executable, "-c", _COUNT],
        input=wanted,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    return json.loads(done.stdout)


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


def describe(out: str, planned: Sequence[Run]) -> str:
    """The trainings, and which of them have ended."""
    todo = _todo(out, planned)
    return "\n".join(
        f"[{number}/{len(planned)}] {one}{'' if one in todo else ': has ended'}\n"
        f"  python {shlex.join(one.command)}"
        for number, one in enumerate(planned, 1)
    )


def report(out: str, *, is_readme: bool = False) -> str:
    """The tables of a folder, also written to its `tables.md`.

    Args:
      out: folder of the ablation; "" for the rows beside this file.
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
    add("--study", nargs="+", default=["ratio", "pool"], choices=tuple(studies.STUDIES))
    add("--seeds", nargs="+", type=int, default=[0], help="of the trainings")
    add("--out", default="", help="folder of the ablation")
    add("--readme", action="store_true", help="take rows and tables into the study's own folder")
    args, flags = parser.parse_known_args(argv)
    try:
        wrong = [flag for flag in flags if not flag.startswith("--config.") or "=" not in flag]
        if wrong:
            raise InputError(f"Unexpected argument {wrong[0]!r}; flags are --config.KEY=VALUE.")
        if args.command != "report":
            if not args.out:
                raise InputError("--out is missing: the folder of the ablation.")
            planned = studies.plan(args.out, args.study, args.seeds, flags)
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
