"""What the temporal pyramid neck costs in a training step, and its grouped convolutions alone.

    python -m experiments.benchmarks.neck --model tpn_slowonly_r50 --clip 8x224 --batch 2

Prints JSON, milliseconds: the step of the model and of its backbone and head alone, the neck's
value and gradients on random stage features (with its auxiliary heads and without), and each of its
grouped convolutions on its own input by every lowering, forward and with both gradients. The sum
of the grouped convolutions counts each as often as the neck has it, by the lowering that `auto`
takes; at `--only auto` no other is measured.
"""

import argparse
import functools

import jax
import jax.numpy as jnp

import tempo
from experiments.benchmarks import conv as conv_benchmark
from experiments.benchmarks import report, running
from experiments.benchmarks.turns import take_turns
from tempo.layers import conv
from tempo.layers.lowerings import LOWERINGS


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    num_frames, side_px = report.parse_clip(args.clip)
    shape = (args.batch, num_frames, side_px, side_px, 3)
    settings = {"num_classes": args.classes, "dtype": args.dtype}
    model = tempo.create_model(args.model, **settings)
    if model.neck is None:
        raise SystemExit(f"{args.model} has no neck to measure; take one of tpn_*.")
    without = model.clone(neck=None)
    bare = tempo.create_model(args.model, neck={"aux_levels": "none"}, **settings)
    stages = stage_features(model, shape)
    grouped = grouped_convolutions(args)
    sums = {
        key: sum(row["count"] * row["ms"][row["auto"]][key]["median"] for row in grouped)
        for key in ("forward", "gradients")
    }
    row = {
        "benchmark": "neck",
        "model": args.model,
        "clip": args.clip,
        "batch": args.batch,
        "dtype": args.dtype,
        "step_ms": measure_step(model, shape, args.classes, args.runs),
        "step_without_neck_ms": measure_step(without, shape, args.classes, args.runs),
        "neck_ms": measure_neck(model.neck, stages, args.runs),
        "neck_without_auxiliary_ms": measure_neck(bare.neck, stages, args.runs),
        "grouped_convolutions": grouped,
        "grouped_ms": {key: round(ms, 2) for key, ms in sums.items()},
    }
    step, rest, neck = (
        row[key]["median"] for key in ("step_ms", "step_without_neck_ms", "neck_ms")
    )
    row["neck_share_of_step"] = round((step - rest) / step, 3)
    row["grouped_share_of_neck"] = round(sums["gradients"] / neck, 3)
    row["grouped_share_of_step"] = round(sums["gradients"] / step, 4)
    report.emit({**row, **report.environment()}, args.out)


def stage_features(model, shape: tuple[int, ...]) -> dict[str, jax.Array]:
    """Random features of the shapes that the backbone gives of a clip of `shape`."""
    video = jax.ShapeDtypeStruct(shape, jnp.float32)
    shapes = jax.eval_shape(
        lambda v: model.backbone.init_with_output(jax.random.key(0), v, train=False)[0], video
    )
    return {
        name: jax.random.normal(jax.random.key(i), s.shape, s.dtype)
        for i, (name, s) in enumerate(shapes.items())
    }


def alone(run, runs: int) -> dict[str, float]:
    """Milliseconds of a function that takes turns with nothing."""
    return take_turns({"alone": run}, runs)["alone"]


def measure_step(model, shape: tuple[int, ...], num_classes: int, runs: int) -> dict[str, float]:
    """Times of a step of training of `model`."""
    step = running.Running(model, shape, num_classes)
    step.compile()
    return alone(step, runs)


def measure_neck(neck, stages, runs: int) -> dict[str, float]:
    """Times of a neck's value and gradients, to its parameters and to the features it reads."""
    variables = running.cheap_init(neck, stages)

    @jax.jit
    def run(params, stages):
        def loss(params, stages):
            (x, aux_logits), _ = neck.apply(
                {**variables, "params": params},
                stages,
                train=True,
                rngs={"dropout": jax.random.key(0)},
                mutable=["batch_stats"],
            )
            # Squares, so that every element has a gradient of its own.
            return sum(jnp.mean(jnp.square(y.astype(jnp.float32))) for y in (x, *aux_logits))

        return jax.value_and_grad(loss, (0, 1))(params, stages)

    return alone(lambda: run(variables["params"], stages), runs)


def grouped_convolutions(args) -> list[dict]:
    """A row per distinct grouped convolution: its geometry, and its times by lowering."""
    num_frames, side_px = report.parse_clip(args.clip)
    shape = (args.batch, num_frames, side_px, side_px, 3)
    rows = []
    for (spec, x_shape), count in conv_benchmark.convolutions(args.model, shape).items():
        if spec.groups == 1:
            continue
        auto = conv.choose(spec)
        times = {}
        for name, lowering in LOWERINGS.items():
            if not lowering.suits(spec) or (args.only == "auto" and name != auto):
                continue
            functions, operands = conv_benchmark.runnable(
                lowering.compute, spec, x_shape, args.dtype
            )
            times[name] = {
                key: alone(functools.partial(f, *operands), args.runs)
                for key, f in zip(("forward", "gradients"), functions, strict=True)
            }
        rows.append(
            {
                "kernel": "x".join(map(str, spec.kernel_size)),
                "groups": spec.groups,
                "channels": f"{spec.in_features}-{spec.features}",
                "input": x_shape[:4],
                "count": count,
                "auto": auto,
                "ms": times,
            }
        )
    return rows


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.neck", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="tpn_slowonly_r50", help="a preset with a neck")
    parser.add_argument("--clip", default="8x224", help="frames x side in pixels")
    parser.add_argument("--batch", type=int, default=2, help="clips per step")
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--only", default="all", choices=["all", "auto"], help="lowerings")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each, at least 5")
    report.add_output(parser)
    args = parser.parse_args(argv)
    if args.runs < 5:
        parser.error("--runs must be at least 5, fewer say nothing about the spread")
    return args


if __name__ == "__main__":
    main()
