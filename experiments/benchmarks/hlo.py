"""A training step as XLA compiles it, for this machine or for one that is not at hand.

    python -m experiments.benchmarks.hlo --model slowonly_r50 --clip 8x112 --batch 4
    python -m experiments.benchmarks.hlo --target tpu-v5e --clip 8x224 --batch 8 --dtype bfloat16
    python -m experiments.benchmarks.hlo --target gpu-h100 --lowerings auto,plain --text /tmp/hlo

Prints a JSON object per way to compute the convolutions: which became calls of a library, in which
layout, what was copied and transposed, what is read and written, the memory that is planned, and
the compiler's own estimates. Estimates they are: nothing runs, and no figure here was measured.
With `--kernels`, an object per convolution of the model instead, each compiled by itself with its
gradients under every lowering that suits it, or those of `--lowerings`. What a target needs is told
in `targets`.
"""

import argparse
import fnmatch
import pathlib
import sys
import time

import jax
import jax.numpy as jnp

import tempo
from experiments.benchmarks import collectives, hlo_text, report, targets, zoo
from experiments.benchmarks.running import make_step
from tempo.errors import InputError
from tempo.layers.lowerings import LOWERINGS

MIB = 2.0**20


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    num_frames, side_px = report.parse_clip(args.clip)
    shape = (args.batch, num_frames, side_px, side_px, 3)
    told = {"benchmark": "hlo", "target": args.target, "model": args.model, "clip": args.clip}
    told |= {"batch": args.batch, "dtype": args.dtype, "estimate": "by the compiler, not measured"}
    rows = _kernels(args, shape) if args.kernels else _steps(args, shape)
    out = args.out
    if out == report.RESULTS:
        out = out / f"compiled-for-{args.target}" / "hlo.jsonl"
    try:
        for row in rows:
            report.emit({**told, **row, **report.environment()}, out)
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)


def step_program(name: str, shape: tuple[int, ...], dtype: str, lowering: str, target: str):
    """The compiled step of a preset on a batch of `shape`, and the seconds that it took."""
    model = tempo.create_model(name, num_classes=400, dtype=dtype, lowering=lowering)
    video = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), video)
    params = variables["params"]
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = (params, variables.get("batch_stats", {}), params, key)
    label = jax.ShapeDtypeStruct(shape[:1], jnp.int32)
    start = time.perf_counter()
    step = make_step(model)
    program = targets.compile_for(target, step, state, video, label, donate=(0,))
    return program, time.perf_counter() - start


def kernel_program(spec, x_shape: tuple[int, ...], dtype: str, lowering: str, target: str):
    """The compiled convolution with its gradients; none to the input where that is the video."""
    x = jax.ShapeDtypeStruct(x_shape, dtype)
    shape = (*spec.kernel_size, spec.in_features // spec.groups, spec.features)
    kernel = jax.ShapeDtypeStruct(shape, dtype)
    compute = LOWERINGS[lowering].compute
    dy = jax.eval_shape(lambda x, k: compute(x, k, spec), x, kernel)

    def both(x, kernel, dy):
        y, pullback = jax.vjp(lambda x, k: compute(x, k, spec), x, kernel)
        d_x, d_kernel = pullback(dy)
        return (y, d_kernel) if spec.in_features == 3 else (y, d_x, d_kernel)

    return targets.compile_for(target, both, x, kernel, dy)


def account(program, target: str) -> dict:
    """What the compiler says of a program, in numbers; see `hlo_text.describe`."""
    hlo = program.as_text()
    found = hlo_text.describe(hlo)
    if exchanged := collectives.summary(collectives.parse(hlo)):
        found["collectives"] = exchanged
    clock = targets.TARGETS[target].clock_ghz
    if clock and "cycles" in found:
        found["cycles_ms"] = round(found["cycles"] / clock / 1e6, 3)
    cost = program.cost_analysis() or {}  # the GPU's compiler tells none
    if cost:
        found["gflop"] = round(cost["flops"] / 1e9, 3)
        found["accessed_mib"] = round(cost["bytes accessed"] / MIB, 1)
        if cost.get("optimal_seconds", 0) > 0:
            found["optimal_ms"] = round(1e3 * cost["optimal_seconds"], 3)
    plan = program.memory_analysis()
    found["arguments_mib"] = round(plan.argument_size_in_bytes / MIB, 1)
    found["temporaries_mib"] = round(plan.temp_size_in_bytes / MIB, 1)
    found["donated_mib"] = round(plan.alias_size_in_bytes / MIB, 1)
    return found


def _steps(args, shape):
    for lowering in args.lowerings.split(","):
        program, seconds = step_program(args.model, shape, args.dtype, lowering, args.target)
        if args.text:
            folder = pathlib.Path(args.text)
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{args.model}-{args.target}-{lowering}.txt"
            (folder / name).write_text(program.as_text())
        row = account(program, args.target)
        if args.scopes:
            row["scopes"] = hlo_text.by_scope(program.as_text(), tuple(args.scopes.split(",")))
        yield {"lowering": lowering, "compile_s": round(seconds, 1), **row}


def _kernels(args, shape):
    for (spec, x_shape), count in zoo.convolutions(args.model, shape).items():
        kernel = "x".join(map(str, spec.kernel_size))
        name = f"{kernel}:{spec.in_features}-{spec.features}:{spec.strides[0]}{spec.strides[1]}"
        if not any(fnmatch.fnmatch(name, f"{p}*") for p in args.kernels.split(",")):
            continue
        for lowering in LOWERINGS:
            if not LOWERINGS[lowering].suits(spec):
                continue
            if args.lowerings != "auto" and lowering not in args.lowerings.split(","):
                continue
            program = kernel_program(spec, x_shape, args.dtype, lowering, args.target)
            yield {
                "kernel": kernel,
                "kind": f"{spec.kernel_kind} {spec.group_kind}",
                "strides": spec.strides,
                "channels": f"{spec.in_features}-{spec.features}",
                "input": x_shape[:4],
                "count": count,
                "lowering": lowering,
                **account(program, args.target),
            }


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.hlo", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="slowonly_r50", help="a preset of tempo.list_models()")
    parser.add_argument("--clip", default="8x112", help="frames x side in pixels")
    parser.add_argument("--batch", type=int, default=4, help="clips per step")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--target", default="host", help=", ".join(targets.TARGETS))
    parser.add_argument("--lowerings", default="auto", help="by comma: auto, a backend, names")
    parser.add_argument(
        "--kernels",
        help="patterns by comma, as 3x1x1 or 1x3x3:64-64 or 3x3x3:*:12 (strides in time and space)",
    )
    parser.add_argument("--scopes", help="traffic of these modules, by comma: stage1_block2")
    parser.add_argument("--text", help="also write the programs' text to this folder")
    report.add_output(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
