"""Clips per second of an evaluation beside those of the bare forward pass, in one run.

    python -m experiments.benchmarks.evaluate
    python -m experiments.benchmarks.evaluate --clips 2 --crop three
    python -m experiments.benchmarks.evaluate --model slowonly_r50 --width 64 --batch 64

Prints JSON. Videos of TempoBench are made first (kept in `--data`). The network has random weights.
In turns: an evaluator scores the whole split, from records to accuracies; and the same compiled
function runs on one batch of the same shape that is on the device already, as many times as the
evaluator has batches. The reader alone shows what the records can give.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time

import jax
import numpy as np

from experiments.benchmarks import report, running
from tempo import models, sharding
from tempo import task as tasks
from tempo.data import device_ops, pipeline
from tempo.data.tempobench import embedded
from tempo.evaluators import streaming
from tempo.evaluators.evaluator import Evaluator
from tempo.evaluators.multi_view import MultiView
from tempo.types import ClipSpec, ViewSpec


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    with contextlib.ExitStack() as stack:
        data_dir = args.data or os.path.join(
            stack.enter_context(tempfile.TemporaryDirectory()), "records"
        )
        row = {
            "benchmark": "evaluate",
            "model": args.model,
            "width": args.width,
            "clip": f"{args.frames}x{args.stride} of {args.size} px",
            "views": f"{args.clips} clips x {args.crop}",
            "batch": args.batch,
            "dtype": args.dtype,
            "num_workers": args.workers,
            **measure(args, _records(data_dir, args)),
        }
    report.emit({**row, **report.environment()}, args.out)


def measure(args: argparse.Namespace, records: pipeline.Records) -> dict:
    """Figures of the evaluator, the bare forward pass and the reader; rounds take turns."""
    mesh = sharding.make_mesh()
    model = models.create(
        records.num_classes, name=args.model, backbone={"width": args.width}, dtype=args.dtype
    )
    shape = (args.batch, args.frames, args.size, args.size, 3)
    preprocess = device_ops.create(("normalize",), records.num_classes)
    task = tasks.create("single", records.num_classes)
    predict = streaming.make_predict(model, preprocess, task, mesh)
    variables = jax.device_put(
        running.cheap_init(model, np.zeros((1, *shape[1:]), np.float32)),
        sharding.replicated(mesh),
    )
    scorer = streaming.Scorer(
        "benchmark",
        predict,
        records=records,
        split="test",
        task=task,
        mesh=mesh,
        clip=ClipSpec(num_frames=args.frames, stride=args.stride),
        view=ViewSpec(
            num_clips=args.clips, crop=args.crop, short_side_px=args.size, size_px=args.size
        ),
        extra_frames=0,
        batch_size=args.batch,
        num_workers=args.workers,
        worker_kind="thread",
    )
    evaluator = Evaluator("benchmark", MultiView(), scorer, every_epochs=0)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = sharding.to_global({"video": noise}, sharding.batch_sharding(mesh))["video"]
    num_clips = len(scorer.split) * scorer.view.num_views
    num_batches = -(-num_clips // args.batch)
    rates = {"evaluator": [], "forward": [], "reader": []}
    cpu_ms = {name: [] for name in rates}

    def timed(name, run, count):
        start = time.process_time()
        rates[name].append(run())
        cpu_ms[name].append(1e3 * (time.process_time() - start) / count)

    _forward(predict, variables, batch, 1)
    for _ in range(args.rounds):
        timed("evaluator", lambda: evaluator.run(variables, 0)["clips_per_s"], num_clips)
        timed(
            "forward",
            lambda: _forward(predict, variables, batch, num_batches),
            num_batches * args.batch,
        )
        timed("reader", lambda: _reader(scorer), num_clips)
    return {"num_videos": len(scorer.split), "num_clips": num_clips, **_told(rates, cpu_ms)}


def _told(rates: dict[str, list[float]], cpu_ms: dict[str, list[float]]) -> dict:
    """Figures of the rounds: clips per second and processor time per clip, by name."""
    return {
        **{f"{name}_clips_per_s": _figures(values) for name, values in rates.items()},
        # Host work summed over threads: comparable on a machine that others use.
        **{f"{name}_cpu_ms_per_clip": _figures(values) for name, values in cpu_ms.items()},
        "evaluator_share_of_forward": round(
            statistics.median(
                e / f for e, f in zip(rates["evaluator"], rates["forward"], strict=True)
            ),
            3,
        ),
    }


def _records(data_dir: str, args: argparse.Namespace) -> pipeline.Records:
    embedded.make(
        data_dir,
        config="variance",
        num_train=7,
        num_test=args.videos,
        height_px=args.size,
        width_px=args.size * 4 // 3 // 2 * 2,
    )
    return pipeline.open_records(data_dir)


def _forward(predict: streaming.Predict, variables, batch, times: int) -> float:
    """Clips per second of that many forward passes, given one after the other without waiting."""
    start = time.perf_counter()
    for _ in range(times):
        outputs = predict(variables, batch)
    jax.block_until_ready(outputs)
    return times * len(batch) / (time.perf_counter() - start)


def _reader(scorer: streaming.Scorer) -> float:
    """Clips per second of reading, decoding and cropping alone, after the first piece."""
    rate = streaming.Rate()
    for _, tags in scorer.clips():
        rate.add(len(tags))
    return rate.per_s


def _figures(values: list[float]) -> dict[str, float]:
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 2) for name, value in figures.items()} | {"runs": len(values)}


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.evaluate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="slowonly_r18", help="a preset of tempo.list_models()")
    parser.add_argument("--width", type=int, default=16, help="channels of the stem")
    parser.add_argument("--frames", type=int, default=8, help="T of a clip")
    parser.add_argument("--stride", type=int, default=4)
    parser.add_argument("--size", type=int, default=112, help="side of the crops in pixels")
    parser.add_argument("--clips", type=int, default=10, help="clips of a video along time")
    parser.add_argument("--crop", default="center", help="a row of tempo.types.CROPS")
    parser.add_argument("--batch", type=int, default=16, help="clips of a forward pass")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--videos", type=int, default=70, help="of TempoBench, at least 7")
    parser.add_argument("--workers", type=int, default=2, help="reading threads")
    parser.add_argument("--rounds", type=int, default=5, help="turns, at least 3")
    parser.add_argument("--data", help="records are kept here; by default in a temporary folder")
    report.add_output(parser)
    args = parser.parse_args(argv)
    if args.rounds < 3:
        parser.error("--rounds must be at least 3, fewer say nothing about the spread")
    return args


if __name__ == "__main__":
    main()
