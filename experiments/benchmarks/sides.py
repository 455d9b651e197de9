"""A row of what a model does, beside a peer's: `train_step` and `inference` make theirs here."""

import argparse
import os
import sys
import time
from typing import NamedTuple

import jax

import tempo
from experiments.benchmarks import peers, report, turns, work
from experiments.benchmarks.running import Forward, Running
from tempo.errors import InputError
from tempo.layers import remat

CALLS_BEFORE = 1
"""Of each mode of a peer, before the turns: what it compiles or tries is not timed with them."""


class Kind(NamedTuple):
    """What is measured.

    Attributes:
      run: class that makes and runs ours.
      peer: what a peer calls it.
      train: whether auxiliary heads take part.
      flop: operations per multiply-add of the forward pass.
      counted_as: that in words.
    """

    run: type
    peer: str
    train: bool
    flop: int
    counted_as: str


KINDS = {
    "train_step": Kind(
        Running, "step", True, 6, "6 x forward multiply-adds of convolutions and matrix products"
    ),
    "inference": Kind(
        Forward, "forward", False, 2, "2 x multiply-adds of convolutions and matrix products"
    ),
}
"""By name of the benchmark. The backward pass is counted as twice the forward one."""


def arguments(name: str, description: str) -> argparse.ArgumentParser:
    """The parser of benchmark `name` with the options that both have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.benchmarks.{name}", description=description
    )
    parser.add_argument("--model", default="slowonly_r50", help="a preset of tempo.list_models()")
    parser.add_argument("--clip", default="8x112", help="frames x side in pixels")
    parser.add_argument("--batch", type=int, default=4, help="clips at a time")
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--lowering", default="auto", help="auto, a backend, or one by name")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=5, help="timed runs, at least 5")
    parser.add_argument("--peer", choices=["torch"], help="take turns with this library's network")
    parser.add_argument("--peer-modes", help=f"of {', '.join(peers.MODES)}, by comma")
    report.add_output(parser)
    return parser


def parse(parser: argparse.ArgumentParser, argv) -> argparse.Namespace:
    """The arguments, checked as far as they can be without a device."""
    args = parser.parse_args(argv)
    if args.peer:
        # jax would take most of a GPU's memory at once; it has to leave the peer some.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    elif args.peer_modes:
        parser.error("--peer-modes goes with --peer")
    if args.steps < 5:
        parser.error("--steps must be at least 5, fewer say nothing about the spread")
    return args


def measure(name: str, args: argparse.Namespace, **settings) -> dict:
    """The row of benchmark `name`; bad arguments end with one line and status 2.

    Args:
      name: of `KINDS`.
      args: of `arguments`.
      **settings: more ones of the model, which the row names too.
    """
    try:
        return _measure(name, args, settings)
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)


def _measure(name, args, settings) -> dict:
    kind = KINDS[name]
    clip = report.parse_clip(args.clip)
    if args.peer:
        peers.check(args.model)
        modes = peers.modes(args.peer_modes)
    model_settings = {"dtype": args.dtype, "lowering": args.lowering, **settings}
    model = tempo.create_model(args.model, num_classes=args.classes, **model_settings)
    shape = (args.batch, *clip, clip[1], 3)
    run = kind.run(model, shape, args.classes)
    compile_s = run.compile(remat.compiler_options(settings.get("remat", "none")))
    jax.block_until_ready(run())
    memory = work.memory(run.compiled)  # before a peer has any
    sides, peer = {"tempo": run}, None
    if args.peer:
        peer = peers.create(args.model, clip, args.batch, args.classes, args.dtype)
        _check_size(args.model, run.num_params, peer.num_params)
        theirs, first_s = _working({mode: peer.runs(kind.peer, mode) for mode in modes})
        sides |= theirs
    times = turns.record(sides, args.steps)
    ours = times.pop("tempo")
    row = {
        "benchmark": name,
        "model": args.model,
        "clip": args.clip,
        "batch": args.batch,
        "classes": args.classes,
        "lowering": args.lowering,
        "dtype": args.dtype,
        **settings,
        "params": run.num_params,
        "compile_s": round(compile_s, 2),
        "ms": ours.summary(),
        "clips_per_s": _rate(args.batch, ours.summary()),
        "memory_mib": memory,
    }
    if kind.train:
        row["losses"] = [round(float(loss), 4) for loss in run.losses]
    gmacs = work.gmacs(args.model, shape, args.classes, train=kind.train)
    row |= work.achieved(
        kind.flop * gmacs, kind.counted_as, run.compiled, args.dtype, ours.summary()
    )
    return row | (_against(peer, times, first_s, ours, args.batch) if peer else {})


def _working(runs):
    """The runs that can be called, and what the first call took of each: seconds, or why not."""
    found, first = {}, {}
    for mode, run in runs.items():
        start = time.perf_counter()
        try:
            for _ in range(CALLS_BEFORE):
                run()
        except Exception as e:  # A compiler that is not there is no reason to measure nothing.
            if mode == "eager":
                raise
            first[mode] = f"failed: {str(e).splitlines()[0] if str(e) else type(e).__name__}"
        else:
            found[mode] = run
            first[mode] = round(time.perf_counter() - start, 2)
    if not found:
        raise InputError(f"The peer runs in none of {', '.join(runs)}: {first}; try eager.")
    return found, first


def _against(peer, times: dict[str, turns.Times], first_s, ours, batch: int) -> dict:
    """What the row says of a peer: every mode, the best one's figures, and the ratio to it."""
    summaries = {mode: recorded.summary() for mode, recorded in times.items()}
    best = min(summaries, key=lambda mode: summaries[mode]["median"])
    return {
        "peer": {
            "params": peer.num_params,
            "threads": peer.num_threads,
            "mode": best,
            "ms": summaries[best],
            "clips_per_s": _rate(batch, summaries[best]),
            "first_call_s": first_s,
            "modes_ms": summaries,
            "versions": peers.versions(),
        },
        "ratio": turns.ratio(times[best], ours),
    }


def _rate(batch: int, ms: dict[str, float]) -> dict[str, float]:
    """Clips per second of the median, least and most."""
    slowest = {"median": ms["median"], "min": ms["max"], "max": ms["min"]}
    return {name: round(1e3 * batch / value, 2) for name, value in slowest.items()}


def _check_size(model: str, ours: int, theirs: int) -> None:
    if ours != theirs:
        raise InputError(
            f"The peer of {model} has {theirs:,} parameters and ours {ours:,}: not the same "
            "network; correct its row of experiments.benchmarks.peers."
        )
