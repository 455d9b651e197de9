"""Memory and time of a training step under every rematerialisation policy and dtype.

    python -m experiments.benchmarks.memory --model slowonly_r50 --clip 8x112 --batch 4
    python -m experiments.benchmarks.memory --model x3d_s --clip 13x160 --batch 2 --dtypes float32

Prints a JSON row for each dtype and row of `tempo.layers.remat.POLICIES`: what the compiler plans
for the step, its operations beside those without rematerialisation, and its time. The steps take
turns, dtype by dtype, each on arrays of its own.
"""

import argparse
import sys

import tempo
from experiments.benchmarks import report, running
from experiments.benchmarks.turns import take_turns
from tempo.errors import InputError
from tempo.layers import remat

_MIB = 2.0**20


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    try:
        for dtype in args.dtypes.split(","):
            for row in measure(args, dtype):
                report.emit({**row, **report.environment()}, args.out)
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)


def measure(args, dtype: str) -> list[dict]:
    """The rows of one dtype, in the order of the policies."""
    num_frames, side_px = report.parse_clip(args.clip)
    shape = (args.batch, num_frames, side_px, side_px, 3)
    steps, rows = {}, {}
    for policy in args.policies.split(","):
        model = tempo.create_model(args.model, args.classes, dtype=dtype, remat=policy)
        step = running.Running(model, shape, args.classes)
        compile_s = step.compile(remat.compiler_options(policy))
        rows[policy] = {
            "benchmark": "memory",
            "model": args.model,
            "clip": args.clip,
            "batch": args.batch,
            "dtype": dtype,
            "remat": policy,
            "compile_s": round(compile_s, 2),
            **planned(step.compiled, args.batch),
        }
        steps[policy] = step
    times = take_turns(steps, args.steps) if args.steps else {}
    base = next(iter(rows.values()))["gflop"]
    for policy, row in rows.items():
        row["gflop_of_first"] = round(row["gflop"] / base, 3)
        if times:
            row["step_ms"] = times[policy]
            row["clips_per_s"] = round(1e3 * args.batch / times[policy]["median"], 2)
            row["losses"] = [round(float(loss), 4) for loss in steps[policy].losses[:3]]
    return list(rows.values())


def planned(compiled, batch: int) -> dict[str, float]:
    """What the compiler says of a step: memory, per clip too, and operations."""
    plan = compiled.memory_analysis()
    return {
        "arguments_mib": round(plan.argument_size_in_bytes / _MIB, 1),
        "aliased_mib": round(plan.alias_size_in_bytes / _MIB, 1),
        "temporaries_mib": round(plan.temp_size_in_bytes / _MIB, 1),
        "temporaries_mib_per_clip": round(plan.temp_size_in_bytes / _MIB / batch, 2),
        "gflop": round(compiled.cost_analysis()["flops"] / 1e9, 3),
    }


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.memory", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="slowonly_r50", help="a preset of tempo.list_models()")
    parser.add_argument("--clip", default="8x112", help="frames x side in pixels")
    parser.add_argument("--batch", type=int, default=4, help="clips per step")
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--dtypes", default="float32,bfloat16", help="by comma")
    parser.add_argument("--policies", default=",".join(remat.POLICIES), help="by comma")
    parser.add_argument("--steps", type=int, default=5, help="timed steps; 0 only compiles")
    report.add_output(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
