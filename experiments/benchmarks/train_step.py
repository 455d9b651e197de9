"""Speed and memory of one training step of a model.

    python -m experiments.benchmarks.train_step --model slowonly_r50 --clip 8x112 --batch 4
    python -m experiments.benchmarks.train_step --model slowonly_r50 --lowering plain
    python -m experiments.benchmarks.train_step --models 'slowfast_*,r2plus1d_*' --clip 32x112
    python -m experiments.benchmarks.train_step --model x3d_s --clip 13x160 --batch 2 --peer torch

Prints JSON. The step is jitted and donates its state: loss (with auxiliary heads at weight 0.5) and
gradient, batch statistics, SGD with momentum, on one device and with data already there. With
`--models`, a line for each preset that one of the patterns matches, every one measured in a process
of its own, so that the peak of memory is that of the model; `--out` takes their rows. With `--peer
torch` the step and the forward pass take turns with those of the same network of PyTorchVideo, in
this process and on as many threads; `ratio` is the peer's median by ours: over 1, ours is faster.
"""

import argparse
import functools
import json
import subprocess
import sys

import tempo
from experiments.benchmarks import peers, report, work
from experiments.benchmarks.running import Forward, Running
from experiments.benchmarks.turns import CLOCKS, take_turns


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    if args.models:
        sys.exit(_measure_each(args))
    num_frames, side_px = report.parse_clip(args.clip)
    if args.peer:
        _check_peer(args)
    model = tempo.create_model(
        args.model,
        num_classes=args.classes,
        dtype=args.dtype,
        lowering=args.lowering,
        remat=args.remat,
    )
    shape = (args.batch, num_frames, side_px, side_px, 3)
    row = {
        "benchmark": "train_step",
        "model": args.model,
        "clip": args.clip,
        "batch": args.batch,
        "dtype": args.dtype,
        "lowering": args.lowering,
        "remat": args.remat,
        **measure(model, shape, args.classes, args.steps, _peer(args)),
    }
    row |= _work(args, shape, row["step_ms"]["median"] / 1e3)
    report.emit({**row, **report.environment()}, args.out)


def measure(model, shape: tuple[int, ...], num_classes: int, num_steps: int, peer=None) -> dict:
    """Times of the training step and of the forward pass in evaluation, and memory.

    Args:
      model: a `Recognizer`.
      shape: of the batch, `[B,T,H,W,C]`.
      num_classes: labels are drawn from as many.
      num_steps: how often each is timed.
      peer: None, or makes what ours take turns with, such as `peers.Torch`.
    """
    run, forward = (kind(model, shape, num_classes) for kind in (Running, Forward))
    other = peer() if peer else None
    forward.compile()
    forward_ms = _timed(forward, other and other.forward, num_steps)
    compile_s = run.compile()
    step_ms = _timed(run, other and other.step, num_steps)
    against = _against(other, step_ms, forward_ms) if other else {}
    step_ms, forward_ms = step_ms["tempo"], forward_ms["tempo"]
    return {
        "params": run.num_params,
        "compile_s": round(compile_s, 2),
        "step_ms": step_ms,
        "forward_ms": forward_ms,
        "clips_per_s": round(shape[0] / step_ms["median"] * 1e3, 2),
        "memory_mib": work.memory(run.compiled),
        "losses": [round(float(loss), 4) for loss in run.losses],
        **against,
    }


def _timed(ours, theirs, num_steps: int) -> dict[str, dict[str, float]]:
    """Milliseconds of ours alone, or of ours and a peer's in turns."""
    if theirs is None:
        return take_turns({"tempo": ours}, num_steps)
    return take_turns({"tempo": ours, "peer": theirs}, num_steps)


def _against(peer, step_ms, forward_ms) -> dict:
    """What the row says of a peer: its times, and how many times as long they are."""
    return {
        "peer": {
            "params": peer.num_params,
            "threads": peer.num_threads,
            "step_ms": step_ms["peer"],
            "forward_ms": forward_ms["peer"],
            "versions": peers.versions(),
        },
        "ratio": {
            name: {clock: round(ms["peer"][clock] / ms["tempo"][clock], 3) for clock in CLOCKS}
            for name, ms in (("step", step_ms), ("forward", forward_ms))
        },
    }


def _check_peer(args) -> None:
    """Ends with one line where there is no such peer."""
    try:
        peers.check(args.model, args.dtype)
    except tempo.InputError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)


def _peer(args):
    """What makes the peer that `args` name, or None."""
    if not args.peer:
        return None
    clip = report.parse_clip(args.clip)
    return functools.partial(peers.Torch, args.model, clip, args.batch, args.classes)


def _work(args, shape, step_s: float) -> dict:
    """GFLOP of a step, and its share of the peak.

    A multiply-add is 2 FLOP; the backward pass is counted as twice the forward one, so a step is 6
    times the multiply-adds of the convolutions and matrix products (training, auxiliary heads
    included, recomputation excluded); norms, activations and the optimizer count nothing.
    """
    gflop = 6 * work.gmacs(args.model, shape, args.classes, train=True)
    measured = work.matmul_gflops(args.dtype)
    return {
        "gflop_per_step": round(gflop, 3),
        "gflop_counted_as": "6 x forward multiply-adds of convolutions and matrix products",
        "gflops": round(gflop / step_s, 1),
        "matmul_gflops": round(measured, 1),
        "share_of_matmul": round(gflop / step_s / measured, 3),
    }


def _measure_each(args) -> int:
    """Prints a line per model; 1 if one of them failed, whose line then says why."""
    names = sorted({n for p in args.models.split(",") for n in tempo.list_models(p)})
    if not names:
        raise SystemExit(f"No preset matches {args.models!r}; see tempo.list_models().")
    print(f"{'model':24} {'params':>12} {'step ms':>9} {'forward':>9} {'GFLOP/s':>9} {'MiB':>7}")
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
        step, forward = (row[key]["median"] for key in ("step_ms", "forward_ms"))
        memory = row["memory_mib"]
        print(
            f"{name:24} {row['params']:12,} {step:9.1f} {forward:9.1f} {row['gflops']:9.1f} "
            f"{memory.get('device_peak', memory['process_peak']):7.0f}",
            flush=True,
        )
    return int(failed)


def _command(args, name: str) -> list[str]:
    """The command that measures one model as `args` say."""
    given = ["clip", "batch", "classes", "lowering", "dtype", "steps"]
    options = [f"--{key}={getattr(args, key)}" for key in given]
    remat = ["--remat"] if args.remat else []
    module = "experiments.benchmarks.train_step"
    return [sys.executable, "-m", module, f"--model={name}", *options, *remat]


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.train_step", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="slowonly_r50", help="a preset of tempo.list_models()")
    parser.add_argument("--models", help="presets by name or shell pattern, by comma")
    parser.add_argument("--clip", default="8x112", help="frames x side in pixels")
    parser.add_argument("--batch", type=int, default=4, help="clips per step")
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--lowering", default="auto", help="auto, a backend, or one by name")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--remat", action="store_true", help="recompute the blocks' activations")
    parser.add_argument("--steps", type=int, default=5, help="timed steps, at least 5")
    parser.add_argument("--out", help="also append the row to this JSONL file")
    parser.add_argument("--peer", choices=["torch"], help="take turns with this library's network")
    args = parser.parse_args(argv)
    if args.peer and args.models:
        parser.error("--peer goes with one --model, not with --models")
    if args.steps < 5:
        parser.error("--steps must be at least 5, fewer say nothing about the spread")
    return args


if __name__ == "__main__":
    main()
