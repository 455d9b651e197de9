"""Times of the ways to compute each convolution of a model; `tempo.layers.conv.AUTO` rests on them.

    python -m experiments.benchmarks.conv --model slowonly_r50 --clip 8x112 --batch 4

Prints one line per distinct convolution: how often the model has it and, per lowering, milliseconds
forward / value and gradients (to the kernel only where the input is the video); then all as JSON.
`--clock cpu` counts the process's CPU time, which other work on the machine disturbs less.
"""

import argparse
import collections
import time
from unittest import mock

import jax
import jax.numpy as jnp

import tempo
from experiments.benchmarks import report
from tempo import models
from tempo.layers import conv
from tempo.layers.lowerings import LOWERINGS


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    num_frames, side_px = report.parse_clip(args.clip)
    shape = (args.batch, num_frames, side_px, side_px, 3)
    rows = []
    for (spec, x_shape), count in convolutions(args.model, shape).items():
        if args.kind and spec.kernel_kind != args.kind:
            continue
        times = {}
        for name, lowering in LOWERINGS.items():
            if lowering.suits(spec) and (not args.only or name in args.only.split(",")):
                times[name] = measure(
                    lowering.compute, spec, x_shape, args.dtype, args.runs, args.clock
                )
        row = {
            "kernel": "x".join(map(str, spec.kernel_size)),
            "strides": spec.strides,
            "groups": spec.groups,
            "channels": f"{spec.in_features}-{spec.features}",
            "input": x_shape[:4],
            "count": count,
            "auto": conv.choose(spec),
            "ms": times,
        }
        rows.append(row)
        cells = ", ".join(f"{n} {a:.1f}/{b:.1f}" for n, (a, b) in times.items())
        print(
            f"{count} x {row['kernel']} {row['channels']} s{spec.strides} {x_shape[1:4]}: {cells}"
        )
    report.emit(
        {
            "benchmark": "conv",
            "model": args.model,
            "clip": args.clip,
            "batch": args.batch,
            "dtype": str(args.dtype),
            "runs": args.runs,
            "clock": args.clock,
            "statistic": "minimum" if args.clock == "wall" else "mean",
            "convolutions": rows,
            **report.environment(),
        },
        args.out,
    )


def convolutions(model: str, shape: tuple[int, ...]) -> collections.Counter:
    """How often each (spec, input shape) occurs in a model."""
    found: collections.Counter = collections.Counter()
    convolve = conv.convolve

    def record(x, kernel, *, strides, padding, groups, lowering):
        spec = conv.ConvSpec(
            tuple(kernel.shape[:3]),
            tuple(strides),
            tuple(padding),
            groups,
            x.shape[-1],
            kernel.shape[-1],
        )
        found[spec, x.shape] += 1
        return convolve(
            x, kernel, strides=strides, padding=padding, groups=groups, lowering=lowering
        )

    with mock.patch.object(conv, "convolve", record):
        models.describe(tempo.create_model(model, num_classes=10), shape)
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
    parser.add_argument("--model", default="slowonly_r50", help="a preset of tempo.list_models()")
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
