"""Times of the ways to compute each convolution of a model; `tempo.layers.conv.AUTO` rests on them.

    python -m experiments.benchmarks.conv --models slowonly_r50,tsm_r50 --clip 8x112 --batch 4

Prints one line per distinct convolution: how often the model has it and, per lowering, milliseconds
forward / value and gradients (to the kernel only where the input is the video); then a row per
model as JSON, with milliseconds of all of its convolutions by the table in force, by the best table
of one lowering per kind of kernel, and by the best lowering of each shape.
`--clock cpu` counts the process's CPU time, which other work on the machine disturbs less.

    python -m experiments.benchmarks.conv --models '*' --check

compares instead: every convolution of the models at its true channel counts, on inputs of a few
windows, by all lowerings, forward and both gradients; one row with the largest difference by
lowering, in parts of the largest value.
"""

import argparse
import collections
import time

import jax
import jax.numpy as jnp
import numpy as np

import tempo
from experiments.benchmarks import report, zoo
from tempo.layers import conv
from tempo.layers.lowerings import LOWERINGS

convolutions = zoo.convolutions


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    models = sorted({m for part in args.models.split(",") for m in tempo.list_models(part)})
    if not models:
        raise tempo.InputError(f"--models {args.models} fits no preset; see tempo.list_models().")
    rows = [_checked(models)] if args.check else _timed(models, args)
    for row in rows:
        report.emit({"benchmark": "conv", **row, **report.environment()}, args.out)


def _timed(models, args):
    """A row per model."""
    num_frames, side_px = report.parse_clip(args.clip)
    shape = (args.batch, num_frames, side_px, side_px, 3)
    known = {}
    for model in models:
        rows = []
        for (spec, x_shape), count in zoo.convolutions(model, shape).items():
            if args.kind and spec.kernel_kind != args.kind:
                continue
            if (spec, x_shape) not in known:
                known[spec, x_shape] = _row(spec, x_shape, args)
            rows.append({**known[spec, x_shape], "count": count})
            _tell(rows[-1])
        yield {
            "model": model,
            "clip": args.clip,
            "batch": args.batch,
            "dtype": str(args.dtype),
            "runs": args.runs,
            "clock": args.clock,
            "statistic": "minimum" if args.clock == "wall" else "mean",
            "choices": choices(rows),
            "convolutions": rows,
        }


def _row(spec, x_shape, args):
    """What is measured of one convolution."""
    wanted = args.only.split(",") if args.only else LOWERINGS
    return {
        "kind": f"{spec.kernel_kind} {spec.group_kind}",
        "kernel": "x".join(map(str, spec.kernel_size)),
        "strides": spec.strides,
        "groups": spec.groups,
        "channels": f"{spec.in_features}-{spec.features}",
        "input": x_shape[:4],
        "auto": conv.choose(spec),
        "ms": {
            name: measure(lowering.compute, spec, x_shape, args.dtype, args.runs, args.clock)
            for name, lowering in LOWERINGS.items()
            if lowering.suits(spec) and name in wanted
        },
    }


def _tell(row) -> None:
    cells = ", ".join(f"{n} {a:.1f}/{b:.1f}" for n, (a, b) in row["ms"].items())
    head = (
        f"{row['count']} x {row['kernel']} {row['channels']} s{row['strides']} {row['input'][1:]}"
    )
    print(f"{head}: {cells}", flush=True)


def choices(rows) -> dict:
    """Milliseconds of all convolutions, forward and gradients, by three ways to choose lowerings.

    Args:
      rows: of one model, each with `kind`, `count`, `auto` and `ms`.

    Returns:
      `table_ms`: by the table in force, None if one of its lowerings was not measured;
      `best_table_ms`: by the best lowering per kind, of those that suit all of its convolutions,
      named in `best_table`; `per_shape_ms`: by the best one of each convolution.
    """
    kinds = collections.defaultdict(list)
    for row in rows:
        kinds[row["kind"]].append(row)
    best_table, best_ms = {}, 0.0
    for kind, members in kinds.items():
        names = set.intersection(*(set(row["ms"]) for row in members))
        sums = {n: sum(row["count"] * row["ms"][n][1] for row in members) for n in sorted(names)}
        best_table[kind] = min(sums, key=sums.get)
        best_ms += sums[best_table[kind]]
    has_all = all(row["auto"] in row["ms"] for row in rows)
    return {
        "table_ms": round(sum(r["count"] * r["ms"][r["auto"]][1] for r in rows), 1)
        if has_all
        else None,
        "best_table_ms": round(best_ms, 1),
        "per_shape_ms": round(
            sum(r["count"] * min(both for _, both in r["ms"].values()) for r in rows), 1
        ),
        "best_table": best_table,
    }


def _checked(models):
    """The largest differences from the plain convolution, over all convolutions of the models."""
    cases = {(spec, zoo.few_windows(spec, shape)) for spec, shape in zoo.of_models(models)}
    largest = dict.fromkeys(LOWERINGS, 0.0)
    for i, (spec, shape) in enumerate(sorted(cases, key=repr)):
        for name, difference in differences(spec, shape).items():
            largest[name] = max(largest[name], difference)
        if i % 20 == 0:
            print(f"{i} of {len(cases)}: {largest}", flush=True)
    largest.pop("plain")
    return {
        "what": "lowerings against plain",
        "models": len(models),
        "convolutions": len(cases),
        "largest_difference": largest,
    }


def differences(spec, shape) -> dict[str, float]:
    """Largest difference from the plain convolution of output and gradients, by lowering."""
    x, kernel = zoo.operands(spec, shape)
    results = jax.device_get(jax.jit(lambda x, k: zoo.all_lowerings(spec, x, k))(x, kernel))
    found = {}
    for name, got in results.items():
        pairs = zip(got, results["plain"], strict=True)
        found[name] = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
    return found


def measure(compute, spec, x_shape, dtype, runs: int, clock: str) -> tuple[float, float]:
    """Milliseconds of the forward pass, and of it with both gradients."""
    functions, args = runnable(compute, spec, x_shape, dtype)
    return tuple(round(1e3 * _seconds(f, args, runs, clock), 2) for f in functions)


def runnable(compute, spec, x_shape, dtype):
    """((forward, forward with both gradients), their arguments), compiled when first called."""
    x = jax.random.normal(jax.random.key(0), x_shape, dtype)
    kernel = jax.random.normal(
        jax.random.key(1),
        (*spec.kernel_size, spec.in_features // spec.groups, spec.features),
        dtype,
    )

    def both(x, kernel):
        y, pullback = jax.vjp(lambda x, k: compute(x, k, spec), x, kernel)
        d_x, d_kernel = pullback(y)
        return (y, d_kernel) if spec.in_features == 3 else (y, d_x, d_kernel)

    return (jax.jit(lambda x, k: compute(x, k, spec)), jax.jit(both)), (x, kernel)


def _seconds(function, args, runs: int, clock: str) -> float:
    """Seconds: the least of the runs by the wall; their mean by CPU time, which ticks coarsely."""
    jax.block_until_ready(function(*args))
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    seconds = []
    for _ in range(runs):
        start = now()
        jax.block_until_ready(function(*args))
        seconds.append(now() - start)
    return min(seconds) if clock == "wall" else sum(seconds) / runs


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.conv", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--models", default="slowonly_r50", help="presets, by comma; * stands for any characters"
    )
    parser.add_argument("--check", action="store_true", help="compare numbers in place of times")
    parser.add_argument("--clip", default="8x112", help="frames x side in pixels")
    parser.add_argument("--batch", type=int, default=4, help="clips")
    parser.add_argument("--dtype", default="float32", type=jnp.dtype)
    parser.add_argument("--only", help="lowerings to measure, by comma; default all that suit")
    parser.add_argument("--runs", type=int, default=10, help="timed runs")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    parser.add_argument("--kind", help="only kernels of this kind, such as temporal")
    report.add_output(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
