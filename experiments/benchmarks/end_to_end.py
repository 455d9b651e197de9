"""Records to trained step: the loop of training beside its bare step and its bare input.

    python -m experiments.benchmarks.end_to_end --model slowonly_r50 --clip 8x112 --batch 4
    python -m experiments.benchmarks.end_to_end --clip 8x224 --batch 64 --dtype bfloat16

Prints JSON. All three are what `tempo.train` runs, of one config, in one process, in turns:
`bare` is its jitted step (device ops, network, optimizer, weight average) on a batch that is
already on the devices; `end_to_end` its loop, from records of kind `frames` made on the spot,
through host ops, threads, and the transfer of uint8, to the step; `input` its batches alone, which
nobody trains on. Before each turn as many steps are run as batches may lie ready, so none of them
is counted. `ratio` is the rate of `end_to_end` by that of `bare`, to be 0.95 where
`is_input_able`: where the input alone is faster than the bare step by a tenth at least. On a CPU
both work on the same cores, and what the input takes the step does not get; `cpu_ms` has the
processor time of each, by step.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from experiments.benchmarks import media, report, sides, turns, work
from tempo import experiment, loop, sharding, trainable
from tempo.errors import InputError
from tempo.progress import Progress
from tempo.watchdog import LossWatch

TARGET = 0.95
_SPARE = 1.1
# Batches that may lie ready: in the making, made, and on the devices. Then the first step's wait.
_WARM_STEPS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _arguments(argv)
    try:
        row = measure(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report.emit({**row, **report.environment()}, args.out)
    return 0


class Turn(NamedTuple):
    """One turn of one of the three.

    Attributes:
      wall_s: of its steps.
      cpu_s: of all threads of the process.
      input_bound: as `tempo.progress` has it; 0 of what has no input.
    """

    wall_s: float
    cpu_s: float
    input_bound: float = 0.0


class Runs:
    """The three, which share a state, a compiled step and a stream of batches."""

    def __init__(self, exp: experiment.Experiment, num_steps: int):
        self.exp = exp
        self._num_steps = num_steps
        plan = experiment.plan(exp)
        made = trainable.create(exp, trainable.make_schedule(exp, plan))
        self.batches = trainable.batches(exp, plan, num_steps=None)
        self._feed = loop.Feed(self.batches, sharding.batch_sharding(exp.mesh))
        self._state = made.begin({})
        _, self._batch = self._feed.take()
        start = time.perf_counter()
        self.compiled = made.step.lower(self._state, self._batch).compile()
        self.compile_s = time.perf_counter() - start

    @property
    def transferred_bytes(self) -> int:
        """What a step sends from the host to the devices, over all of them."""
        return sum(array.nbytes for array in self._batch.values())

    def bare(self) -> Turn:
        """Steps on a batch that is there."""

        def step() -> Any:
            self._state, metrics = self.compiled(self._state, self._batch)
            return metrics

        return self._timed(step, 1)

    def end_to_end(self) -> Turn:
        """Steps of the loop of training."""
        num_clips = self.exp.recipe.batch_size
        with Progress(0, _WARM_STEPS + self._num_steps, visible=False) as progress:
            running = loop.steps(
                self.compiled,
                self._state,
                self._feed,
                start=0,
                stop=_WARM_STEPS + self._num_steps + 1,  # the last fetches for the next, too
                num_clips=lambda _: num_clips,
                progress=progress,
                watch=LossWatch(),
            )

            def step() -> Any:
                _, self._state, metrics = next(running)
                return metrics

            turn = self._timed(step, _WARM_STEPS, before=progress.rates)
            return turn._replace(input_bound=progress.rates()["input_bound"])

    def input(self) -> Turn:
        """Batches that nobody trains on."""
        return self._timed(lambda: next(self.batches)["label"], _WARM_STEPS)

    def _timed(
        self, step: Callable[[], Any], num_warm: int, before: Callable[[], Any] = dict
    ) -> Turn:
        for _ in range(num_warm):
            last = step()
        jax.block_until_ready(last)
        before()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(self._num_steps):
            last = step()
        jax.block_until_ready(last)
        return Turn(time.perf_counter() - wall, time.process_time() - cpu)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The row that `args` ask for.

    Raises:
      InputError: a config that cannot be used.
    """
    width, height = args.video
    videos_dir = os.path.join(args.data, f"{width}x{height}", "videos")
    media.render(videos_dir, width, height)
    data_dir = os.path.join(args.data, f"{width}x{height}", "frames")
    media.make_records(videos_dir, data_dir, "frames")
    exp = experiment.create(config(args, data_dir))
    runs = Runs(exp, args.steps)
    with runs.batches:
        seen: dict[str, list[Turn]] = {"bare": [], "end_to_end": [], "input": []}
        for _ in range(args.rounds):
            for name, own in seen.items():
                own.append(getattr(runs, name)())
    clip = report.parse_clip(args.clip)
    shape = (args.batch, *clip, clip[1], 3)
    row = assemble(seen, args.batch, args.steps) | {
        "model": args.model,
        "clip": args.clip,
        "batch": args.batch,
        "dtype": args.dtype,
        "video": "x".join(map(str, args.video)),
        "workers": args.workers,
        "rounds": args.rounds,
        "steps_per_turn": args.steps,
        "transferred_bytes_per_step": runs.transferred_bytes,
        "compile_s": round(runs.compile_s, 2),
        "memory_mib": work.memory(runs.compiled),
    }
    kind = sides.KINDS["train_step"]
    gflop = kind.flop * work.gmacs(args.model, shape, exp.records.num_classes, train=True)
    about = kind.counted_as, runs.compiled, args.dtype, row["ms"]["end_to_end"]
    return row | work.achieved(gflop, *about)


def assemble(seen: dict[str, list[Turn]], batch: int, num_steps: int) -> dict[str, Any]:
    """What is told of the turns of `bare`, `end_to_end` and `input`, as many of each.

    Args:
      seen: turns by name.
      batch: clips of a step.
      num_steps: of a turn.
    """
    times = {
        name: turns.Times(
            [1e3 * turn.wall_s / num_steps for turn in own],
            [1e3 * turn.cpu_s / num_steps for turn in own],
        )
        for name, own in seen.items()
    }
    ms = {name: own.summary() for name, own in times.items()}
    rates = {
        name: {
            "median": round(1e3 * batch / own["median"], 2),
            "min": round(1e3 * batch / own["max"], 2),
            "max": round(1e3 * batch / own["min"], 2),
        }
        for name, own in ms.items()
    }
    able = rates["input"]["median"] >= _SPARE * rates["bare"]["median"]
    ratio = turns.ratio(times["bare"], times["end_to_end"])
    return {
        "benchmark": "end_to_end",
        "clips_per_s": rates,
        "ms": ms,
        "cpu_ms": {name: own["median_cpu"] for name, own in ms.items()},
        "ratio": ratio,
        "target": TARGET,
        "is_input_able": able,
        "is_reached": ratio["median"] >= TARGET if able else None,
        "input_bound": round(statistics.median(t.input_bound for t in seen["end_to_end"]), 4),
    }


def config(args: argparse.Namespace, data_dir: str) -> dict[str, Any]:
    """Of the run that is measured; see `tempo.recipe`."""
    num_frames, side_px = report.parse_clip(args.clip)
    return {
        "batch_size": args.batch,
        "total_epochs": 1e6,
        "data": {"name": "folder", "dir": data_dir, "num_workers": args.workers},
        "clip": {"num_frames": num_frames, "stride": args.stride},
        "input": {
            "size_px": side_px,
            "clips_per_video": args.clips_per_video,
            "host_ops": ("random_resized_crop", "flip"),
            "device_ops": ({"name": "normalize", "dtype": args.dtype},),
        },
        "model": {"name": args.model, "dtype": args.dtype},
        "loss": {},
        "optim": {},
        "schedule": {"base_lr": 1e-4},
        "loop": {},
        "mesh": {},
        "eval": {},
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.end_to_end", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", default="slowonly_r50", help="a preset of tempo.list_models()")
    parser.add_argument("--clip", default="8x112", help="frames x side in pixels")
    parser.add_argument("--stride", type=int, default=8, help="frames from one to the next")
    parser.add_argument("--batch", type=int, default=4, help="clips of a step")
    parser.add_argument(
        "--clips-per-video", type=int, default=1, help="more than 1 where a batch has over 16 clips"
    )
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--workers", type=int, default=2, help="threads that make batches")
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--data", default="runs/bench_input", help="made here once")
    parser.add_argument("--video", default="320x240", help="width x height of the videos")
    report.add_output(parser)
    args = parser.parse_args(argv)
    args.video = report.parse_clip(args.video)
    return args


if __name__ == "__main__":
    sys.exit(main())
