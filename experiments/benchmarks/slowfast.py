"""What the fast path and the lateral connections of a SlowFast network cost, and residual frames.

    python -m experiments.benchmarks.slowfast --model slowfast_r50_4x16 --clip 32x112 --batch 2

Prints JSON. Steps of the network and of its slow path alone, on the frames that it sees, take turns
in one process, so that what else the machine does disturbs both alike: the ratio is that of the
medians, and beside it stands that of the processor's time. The multiply-adds of both say what the
ratio would be if every one took as long. Residual frames are made on the device in place of the
normalised ones: the time of either operation alone, compiled, and their difference in steps.
"""

import argparse

import jax
import jax.numpy as jnp

import tempo
from experiments.benchmarks import report, running
from experiments.benchmarks.turns import CLOCKS, take_turns
from tempo.data import device_ops
from tempo.models import size, slowfast
from tempo.models.recognizer import Recognizer


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    num_frames, side_px = report.parse_clip(args.clip)
    settings = {"num_classes": args.classes, "dtype": args.dtype, "lowering": args.lowering}
    model = tempo.create_model(args.model, **settings)
    if not isinstance(model.backbone, slowfast.SlowFast):
        raise SystemExit(f"{args.model} is no SlowFast network; take one of slowfast_*.")
    slow_frames, _ = model.backbone.frames(num_frames)
    shape = (args.batch, num_frames, side_px, side_px, 3)
    slow_shape = (args.batch, len(slow_frames), side_px, side_px, 3)
    alone = slow_alone(model)
    runs = {
        "both": running.Running(model, shape, args.classes),
        "slow": running.Running(alone, slow_shape, args.classes),
    }
    compile_s = {name: round(run.compile(), 2) for name, run in runs.items()}
    steps = take_turns(runs, args.runs)
    ops = take_turns(input_ops(shape, args.classes), args.runs)
    macs = _macs(args)
    row = {
        "benchmark": "slowfast",
        "model": args.model,
        "clip": args.clip,
        "batch": args.batch,
        "dtype": args.dtype,
        "lowering": args.lowering,
        "compile_s": compile_s,
        "step_ms": steps,
        "added_by_fast_and_lateral": _added(steps["both"], steps["slow"]),
        "gmacs": macs,
        "added_multiply_adds": round(macs["both"] / macs["slow"] - 1, 4),
        "input_ms": ops,
        "residual_share_of_step": {
            key: round(ops["residual"][key] / steps["both"][key], 5) for key in CLOCKS
        },
        "residual_added_to_step": {
            key: round((ops["residual"][key] - ops["normalize"][key]) / steps["both"][key], 5)
            for key in CLOCKS
        },
    }
    report.emit({**row, **report.environment()}, args.out)


def slow_alone(model: Recognizer) -> Recognizer:
    """A SlowFast network's slow path with the same kind of head: no lateral connection joins it."""
    return model.clone(backbone=model.backbone.pathways()["slow"].clone(name=None))


def input_ops(shape: tuple[int, ...], num_classes: int) -> dict:
    """What `residual` and `normalize` do to a batch of uint8 frames, compiled."""
    frames = (shape[0], shape[1] + 1, *shape[2:])
    video = jax.random.randint(jax.random.key(0), frames, 0, 256, jnp.uint8)
    batches = {"residual": {"video": video}, "normalize": {"video": video[:, :-1]}}

    def compiled(name):
        op = jax.jit(device_ops.create([name], num_classes))
        return lambda: op(jax.random.key(0), batches[name])

    return {name: compiled(name) for name in batches}


def _added(both: dict[str, float], slow: dict[str, float]) -> dict[str, float]:
    return {key: round(both[key] / slow[key] - 1, 4) for key in CLOCKS}


def _macs(args) -> dict[str, float]:
    """Multiply-adds of the forward pass of a clip, in G."""
    frames, side_px = report.parse_clip(args.clip)
    plain = tempo.create_model(args.model, num_classes=args.classes, lowering="plain")
    slow_frames, _ = plain.backbone.frames(frames)
    _, both = size.count_traced(plain, (frames, side_px, side_px, 3))
    _, slow = size.count_traced(slow_alone(plain), (len(slow_frames), side_px, side_px, 3))
    return {"both": round(both / 1e9, 3), "slow": round(slow / 1e9, 3)}


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.slowfast", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="slowfast_r50_4x16", help="a preset slowfast_*")
    parser.add_argument("--clip", default="32x112", help="frames of the fast path x side in pixels")
    parser.add_argument("--batch", type=int, default=2, help="clips per step")
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--lowering", default="auto", help="auto, a backend, or one by name")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--runs", type=int, default=7, help="turns of each, at least 5")
    report.add_output(parser)
    args = parser.parse_args(argv)
    if args.runs < 5:
        parser.error("--runs must be at least 5, fewer say nothing about the spread")
    return args


if __name__ == "__main__":
    main()
