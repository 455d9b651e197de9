"""Seconds that multigrid training saves a small network on TempoBench, at equal epochs.

    python -m experiments.benchmarks.multigrid
    python -m experiments.benchmarks.multigrid --cycle short --epochs 8 --epoch-factor 1.5

Prints JSON. The quickstart's network is trained from scratch twice by the training command's own
code, once on clips of one shape and once with the cycle, in one process and on the same videos
(made first, kept in `--data`). `training_s` is the time of all steps but the first, with their
waits for input and without what comes before, between and after them; `wall_s` is all of the run,
with the compilation of every shape and the evaluation at its end. Savings are plain over multigrid.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from typing import Any

from configs import quickstart
from experiments.benchmarks import report
from tempo import experiment, recipe, train
from tempo.data.tempobench import embedded


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        data_dir = args.data or os.path.join(folder, "records")
        # Standard output is for the row alone.
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        runs = {
            name: measure(_config(args, data_dir, cycle), os.path.join(folder, name))
            for name, cycle in (("plain", "none"), ("multigrid", args.cycle))
        }
    seconds = ("training_s", "wall_s")
    saving = {
        key: round(runs["plain"][key] / runs["multigrid"][key], 2) for key in ("steps", *seconds)
    }
    row = {
        "benchmark": "multigrid",
        "cycle": args.cycle,
        "epoch_factor": args.epoch_factor,
        "base_shape": f"{args.batch}x{args.frames}x{args.size}",
        **{name: run | {key: round(run[key], 2) for key in seconds} for name, run in runs.items()},
        "saving": saving,
    }
    report.emit({**row, **report.environment()}, args.out)


def measure(config: dict[str, Any], workdir: str) -> dict[str, Any]:
    """Figures of one run from scratch."""
    made = recipe.from_config(config)
    records = embedded.open_or_make(made.data.dir, made.data.generate, made.data.name)
    plan = experiment.plan_of(made, len(records.split(made.data.train_split)))
    start = time.perf_counter()
    [row] = train.run(config, workdir).rows
    wall_s = time.perf_counter() - start
    with open(os.path.join(workdir, "metrics.jsonl")) as f:
        logged = [json.loads(line) for line in f]
    # Rates leave the first step out, which compiles.
    before, training_s = 1, 0.0
    for line in logged:
        clips = sum(plan.at(step).batch_size for step in range(before, line["step"]))
        training_s += clips / line["clips_per_s"] if clips else 0.0
        before = max(line["step"], 1)
    return {
        "steps": plan.num_steps,
        "shapes": len(plan.programs()),
        "epochs": round(plan.epochs(plan.num_steps), 2),
        "training_s": training_s,
        "wall_s": wall_s,
        "top1": round(row["top1"], 4),
    }


def _config(args: argparse.Namespace, data_dir: str, cycle: str) -> dict[str, Any]:
    config = quickstart.get_config("slowonly").to_dict()
    config["data"] |= {"dir": data_dir, "num_workers": args.workers}
    # Classes that differ by their motion and not by its speed, which strides change.
    config["data"]["name"] = "tempobench_variance"
    config["data"]["generate"] |= {"config": "variance", "num_train": args.videos}
    config["clip"]["num_frames"] = args.frames
    config["input"]["size_px"] = args.size
    config["schedule"] |= {"base_lr": args.lr, "warmup_epochs": args.epochs / 8}
    config["loop"] = {"log_every_steps": 5, "checkpoint_every_steps": 10**6, "compile_cache": ""}
    view = {"short_side_px": 64, "size_px": args.size}
    return config | {
        "batch_size": args.batch,
        "total_epochs": args.epochs,
        "multigrid": {"cycle": cycle, "epoch_factor": args.epoch_factor},
        "eval": {"single_view": view},
    }


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.multigrid", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--cycle", default="both", choices=["short", "long", "both", "per_epoch"])
    parser.add_argument("--epochs", type=float, default=16.0, help="of the plain run")
    parser.add_argument(
        "--epoch-factor", type=float, default=1.0, help="epochs of the other, as a multiple"
    )
    parser.add_argument("--batch", type=int, default=8, help="clips of the base shape")
    parser.add_argument("--frames", type=int, default=16, help="of the base shape")
    parser.add_argument("--size", type=int, default=56, help="of the base shape, in pixels")
    parser.add_argument("--lr", type=float, default=0.05, help="of the base shape")
    parser.add_argument("--videos", type=int, default=560, help="to train on")
    parser.add_argument("--workers", type=int, default=2, help="threads that read")
    parser.add_argument("--data", help="folder of the records; made if it is not there")
    report.add_output(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
