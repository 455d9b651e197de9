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
import resource
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp

import tempo
from experiments.benchmarks import peers, report
from experiments.benchmarks.turns import CLOCKS, take_turns
from tempo import trees

# Dense peak of one device, TFLOP/s by (substring of the device kind, dtype); manufacturers' data
# sheets. float32 on GPUs counts TF32 tensor cores, which jax uses by default there.
DATA_SHEET_TFLOPS = {
    ("H200", "bfloat16"): 989.0,
    ("H200", "float32"): 494.0,
    ("H100", "bfloat16"): 989.0,
    ("H100", "float32"): 494.0,
    ("A100", "bfloat16"): 312.0,
    ("A100", "float32"): 156.0,
    ("TPU v4", "bfloat16"): 275.0,
    ("TPU v5 lite", "bfloat16"): 197.0,
    ("TPU v5", "bfloat16"): 459.0,
    ("TPU v6 lite", "bfloat16"): 918.0,
}


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


def make_step(model, learning_rate: float = 0.01, momentum: float = 0.9):
    """`(state, video, label) -> (state, loss)`; state is `(params, batch_stats, velocity, key)`."""

    def step(state, video, label):
        params, batch_stats, velocity, key = state
        key, dropout = jax.random.split(key)

        def loss_fn(params):
            outputs, new = model.apply(
                {"params": params, "batch_stats": batch_stats},
                video,
                train=True,
                rngs={"dropout": dropout},
                mutable=["batch_stats"],
            )
            loss = _cross_entropy(outputs["logits"], label)
            for logits in outputs.get("aux_logits", ()):
                loss += 0.5 * _cross_entropy(logits, label)
            return loss, new["batch_stats"]

        (loss, batch_stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradients)
        params = jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity)
        return (params, batch_stats, velocity, key), loss

    return step


def measure(model, shape: tuple[int, ...], num_classes: int, num_steps: int, peer=None) -> dict:
    """Times of the training step and of the forward pass in evaluation, and memory.

    Args:
      model: a `Recognizer`.
      shape: of the batch, `[B,T,H,W,C]`.
      num_classes: labels are drawn from as many.
      num_steps: how often each is timed.
      peer: None, or makes what ours take turns with, such as `peers.Torch`.
    """
    run = Running(model, shape, num_classes)
    other = peer() if peer else None
    forward = jax.jit(lambda v, x: model.apply(v, x, train=False)["logits"])
    params, batch_stats, *_ = run.state
    variables = {"params": params, "batch_stats": batch_stats}
    forward_ms = _timed(lambda: forward(variables, run.video), other and other.forward, num_steps)
    compile_s = run.compile()
    step_ms = _timed(run, other and other.step, num_steps)
    against = _against(other, step_ms, forward_ms) if other else {}
    step_ms, forward_ms = step_ms["tempo"], forward_ms["tempo"]
    return {
        "params": trees.count_params(run.state[0]),
        "compile_s": round(compile_s, 2),
        "step_ms": step_ms,
        "forward_ms": forward_ms,
        "clips_per_s": round(shape[0] / step_ms["median"] * 1e3, 2),
        "memory_mib": _memory(run.step),
        "losses": [round(float(loss), 4) for loss in run.losses],
        **against,
    }


def _timed(ours, theirs, num_steps: int) -> dict[str, dict[str, float]]:
    """Milliseconds of ours alone, or of ours and a peer's in turns."""
    if theirs is None:
        return {"tempo": milliseconds(ours, num_steps)}
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


class Running:
    """A model in training on one random batch: every call is a step, and returns its loss.

    Attributes:
      state: what the next step starts from; the step takes its memory over.
      video, label: the batch.
      step: the compiled step, once `compile` has been called.
      losses: of the steps so far.
    """

    def __init__(self, model, shape: tuple[int, ...], num_classes: int):
        self.model = model
        self.video = jax.random.normal(jax.random.key(1), shape, jnp.float32)
        self.label = jnp.arange(shape[0]) % num_classes
        variables = cheap_init(model, self.video)
        params = variables["params"]
        velocity = jax.tree.map(jnp.zeros_like, params)
        self.state = (params, variables["batch_stats"], velocity, jax.random.key(2))
        self.losses = []

    def compile(self) -> float:
        """Seconds that it took."""
        start = time.perf_counter()
        step = jax.jit(make_step(self.model), donate_argnums=0)
        self.step = step.lower(self.state, self.video, self.label).compile()
        return time.perf_counter() - start

    def __call__(self):
        """One step; call `compile` first."""
        self.state, loss = self.step(self.state, self.video, self.label)
        self.losses.append(loss)
        return loss


def matmul_gflops(dtype, size: int | None = None) -> float:
    """Speed of a large square matrix product on this device, GFLOP/s: best of twenty."""
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    a = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / (milliseconds(lambda: product(a, a), 20)["min"] * 1e6)


def _work(args, shape, step_s: float) -> dict:
    """GFLOP of a step, and its share of the peak.

    A multiply-add is 2 FLOP; the backward pass is counted as twice the forward one, so a step is 6
    times the multiply-adds of the convolutions and matrix products (training, auxiliary heads
    included, recomputation excluded); norms, activations and the optimizer count nothing.
    """
    model = tempo.create_model(args.model, num_classes=args.classes, lowering="plain")
    video = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), video)
    macs = trees.count_macs(
        lambda v, x: model.apply(
            v, x, train=True, rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"]
        ),
        variables,
        video,
    )
    gflop = 6 * macs / 1e9
    measured = matmul_gflops(args.dtype)
    work = {
        "gflop_per_step": round(gflop, 3),
        "gflop_counted_as": "6 x forward multiply-adds of convolutions and matrix products",
        "gflops": round(gflop / step_s, 1),
        "matmul_gflops": round(measured, 1),
        "share_of_matmul": round(gflop / step_s / measured, 3),
    }
    kind = jax.devices()[0].device_kind
    for (name, dtype), tflops in DATA_SHEET_TFLOPS.items():
        if name in kind and dtype == args.dtype:
            work["share_of_data_sheet_peak"] = round(gflop / step_s / (tflops * 1e3), 3)
            break
    return work


def milliseconds(run, times: int) -> dict[str, float]:
    """Median, minimum and maximum over `times` runs, after one that is not counted."""
    jax.block_until_ready(run())
    seconds = []
    cpu = time.process_time()
    for _ in range(times):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / times
    figures = {
        "median": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
        # Host work of a run, summed over threads: comparable on a machine that others use.
        "mean_cpu": cpu,
    }
    return {name: round(1e3 * s, 2) for name, s in figures.items()} | {"runs": times}


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


def _memory(compiled) -> dict[str, float]:
    """MiB: what XLA plans for the step, and what process and device have seen at most."""
    mib = 2.0**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory = {"process_peak": peak / mib}
    plan = compiled.memory_analysis()
    if plan is not None:
        memory["step_arguments"] = plan.argument_size_in_bytes / mib
        memory["step_temporaries"] = plan.temp_size_in_bytes / mib
    stats = jax.devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        memory["device_peak"] = stats["peak_bytes_in_use"] / mib
    return {name: round(value, 1) for name, value in memory.items()}


def cheap_init(model, video):
    """Variables of plausible size without compiling the initialisation of a whole network."""
    init = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), video)
    keys = iter(jax.random.split(jax.random.key(0), len(jax.tree.leaves(shapes))))

    def leaf(name, s):
        key = next(keys)
        if name.endswith("kernel"):
            fan_in = s.size // s.shape[-1]
            return jax.random.normal(key, s.shape, s.dtype) * (2 / fan_in) ** 0.5
        return jnp.full(s.shape, float(name.endswith(("scale", "var"))), s.dtype)

    return trees.map_with_names(leaf, shapes)


def _cross_entropy(logits, label):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1).mean()


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
