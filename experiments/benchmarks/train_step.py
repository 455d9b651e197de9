"""Speed and memory of one training step of a model.

    python -m experiments.benchmarks.train_step --model slowonly_r50 --clip 8x112 --batch 4
    python -m experiments.benchmarks.train_step --model slowonly_r50 --lowering plain
    python -m experiments.benchmarks.train_step --models 'slowfast_*,r2plus1d_*' --clip 32x112
    python -m experiments.benchmarks.train_step --model x3d_s --clip 13x160 --batch 2 --peer torch

Prints JSON. The step is jitted and donates its state: loss (with auxiliary heads at weight 0.5) and
gradient, batch statistics, SGD with momentum, on one device and with data already there. With
`--models`, a line for each preset that one of the patterns matches, every one measured in a process
of its own, so that the peak of memory is that of the model; `--out` takes their rows. With `--peer
torch` it takes turns with the step of the same network in PyTorch, in this process and on as many
threads, in each of `--peer-modes`, of which the fastest counts; `ratio` is the peer's median by
ours: over 1, ours is faster. The forward pass is `experiments.benchmarks.inference`.
"""

import argparse
import json
import subprocess
import sys

import tempo
from experiments.benchmarks import report, sides


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    if args.models:
        sys.exit(_measure_each(args))
    row = sides.measure("train_step", args, remat=args.remat)
    report.emit({**row, **report.environment()}, args.out)


def _measure_each(args) -> int:
    """Prints a line per model; 1 if one of them failed, whose line then says why."""
    names = sorted({n for p in args.models.split(",") for n in tempo.list_models(p)})
    if not names:
        raise SystemExit(f"No preset matches {args.models!r}; see tempo.list_models().")
    print(f"{'model':24} {'params':>12} {'step ms':>9} {'GFLOP/s':>9} {'MiB':>7}")
    failed = False
    for name in names:
        done = subprocess.run(_command(args, name), capture_output=True, text=True)
        if done.returncode:
            failed = True
            reason = (done.stderr.strip() or "no message").splitlines()[-1]
            print(f"{name:24} failed: {reason}", flush=True)
            continue
        row = json.loads(done.stdout)
        report.append(row, args.out)
        memory = row["memory_mib"]
        print(
            f"{name:24} {row['params']:12,} {row['ms']['median']:9.1f} {row['gflop_per_s']:9.1f} "
            f"{memory.get('device_peak', memory['process_peak']):7.0f}",
            flush=True,
        )
    return int(failed)


def _command(args, name: str) -> list[str]:
    """The command that measures one model as `args` say."""
    given = ["clip", "batch", "classes", "lowering", "dtype", "steps", "remat"]
    options = [f"--{key}={getattr(args, key)}" for key in given]
    module = "experiments.benchmarks.train_step"
    return [sys.executable, "-m", module, f"--model={name}", *options]


def _arguments(argv) -> argparse.Namespace:
    parser = sides.arguments("train_step", __doc__.split("\n")[0])
    parser.add_argument("--models", help="presets by name or shell pattern, by comma")
    parser.add_argument(
        "--remat", nargs="?", const="blocks", default="none", help="of tempo.layers.remat.POLICIES"
    )
    args = sides.parse(parser, argv)
    if args.peer and args.models:
        parser.error("--peer goes with one --model, not with --models")
    return args


if __name__ == "__main__":
    main()
