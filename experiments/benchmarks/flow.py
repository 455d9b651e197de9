"""How many pairs of frames a second each method of optical flow takes.

    python -m experiments.benchmarks.flow --size 320x240 --size 64x64

A row of JSON per method and size: OpenCV's TV-L1 and DIS on one thread, as a build of a dataset has
them per worker, and the TV-L1 of `tempo.flow` on jax's first device. `ms_per_pair` is the wall
clock, `cpu_ms_per_pair` all threads together, which other programs on the machine disturb less.
`pairs_per_program` is how many pairs a call of the latter computes, filled up or not; a build of a
dataset asks for 64, as `--pairs 64` does here. `compile_s` is what the first pair of a size costs
before it. Beside OpenCV's TV-L1, the mean difference to it in pixels and the share of 8-bit levels
that are at most one apart.

The frames are a texture that moves by (3, -2) pixels a frame, in front of it a disc that moves
otherwise: iterations end early, so time depends on content. Pairs that differ much from OpenCV are
those where content leaves the frame; there OpenCV's own result depends on the last digits: of the
pairs of 64x64 it is 0.01 pixels from itself if half the pixels change by the last bit of a float.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from experiments.benchmarks import report
from tempo.data import flow
from tempo.errors import InputError
from tempo.flow import tvl1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    about = report.environment()
    for size in args.size or [(320, 240), (64, 64)]:
        width, height = size
        most = max(4, tvl1.pairs_per_call(height, width))
        frames, reference = moving(most + 1, height, width), None
        for method in args.method or list(flow.METHODS):
            row = {"benchmark": "flow", "method": method, "size": f"{width}x{height}"}
            try:
                settings = flow.create(method)
            except InputError as error:
                report.emit({**row, "absent": str(error)}, args.out)
                continue
            # As many as one call takes, and a few where pairs are taken one by one.
            count = min(args.pairs or most, most) if method == "tvl1_jax" else 4
            times, fields = measure(frames[: count + 1], settings, args.runs)
            row |= {"pairs": len(fields), **times}
            if method == "tvl1_jax":
                row["pairs_per_program"] = tvl1.pairs_per_program(count, height, width)
            if method == "tvl1":
                reference = fields
            elif reference is not None:
                row |= against(reference, fields)
            busy = {"load_average": round(os.getloadavg()[0], 1), "opencv": cv2.__version__}
            report.emit({**row, **about, **busy}, args.out)
    return 0


def moving(num_frames: int, height: int, width: int) -> np.ndarray:
    """Grey frames of a texture and a disc that move differently, uint8 [N,H,W]."""
    rng = np.random.default_rng(0)
    span = num_frames * 4
    layers = [
        cv2.normalize(
            cv2.GaussianBlur(rng.random((height + 2 * span, width + 2 * span)), (0, 0), 2),
            None, 0, 255, cv2.NORM_MINMAX,
        ).astype(np.uint8)
        for _ in range(2)
    ]  # fmt: skip
    y, x = np.mgrid[:height, :width]
    out = np.empty((num_frames, height, width), np.uint8)
    for i, frame in enumerate(out):
        back, disc = (
            layer[span - i * down :, span - i * right :][:height, :width]
            for layer, (right, down) in zip(layers, ((3, -2), (-2, 1)), strict=True)
        )
        is_disc = (x - width / 2 + 2 * i) ** 2 + (y - height / 2 - i) ** 2 < (height / 4) ** 2
        frame[...] = np.where(is_disc, disc, back)
    return out


def measure(
    frames: np.ndarray, settings: flow.FlowSettings, runs: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Times of one method, and the fields it gave."""
    wall, cpu = [], []
    for _ in range(runs + 1):
        start = time.perf_counter(), time.process_time()
        fields = flow.of_frames(frames, settings)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    per_pair = [1e3 * t / len(fields) for t in wall[1:]]
    return {
        "pairs_per_s": round(1e3 / statistics.median(per_pair), 2),
        "ms_per_pair": spread(per_pair),
        "cpu_ms_per_pair": spread([1e3 * t / len(fields) for t in cpu[1:]]),
        # Of a method that compiles nothing, the noise of the first run.
        "compile_s": round(max(0.0, wall[0] - statistics.median(wall[1:])), 2),
    }, fields


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most of some times."""
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def against(reference: np.ndarray, fields: np.ndarray) -> dict[str, float]:
    """How far fields are from those of OpenCV's TV-L1, on the pairs that both have."""
    count = min(len(reference), len(fields))
    ours, theirs = fields[:count], reference[:count]
    gap = np.abs(flow.quantize(ours).astype(int) - flow.quantize(theirs))
    return {
        "mean_px_from_tvl1": float(f"{np.abs(ours - theirs).mean():.3g}"),
        "levels_within_one_of_tvl1": round(float((gap <= 1).mean()), 5),
    }


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(n.isdecimal() and int(n) >= tvl1.MIN_SIDE_PX for n in sides):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not WIDTHxHEIGHT of at least {tvl1.MIN_SIDE_PX} each, such as 320x240"
        )
    return int(sides[0]), int(sides[1])


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.flow", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--size", action="append", type=_size, help="WIDTHxHEIGHT; may be given often"
    )
    parser.add_argument(
        "--method", action="append", choices=list(flow.METHODS), help="may be given often"
    )
    parser.add_argument(
        "--pairs", type=int, default=0, help="of tvl1_jax; 0, and at most, what one call takes"
    )
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each, at least 3")
    report.add_output(parser)
    args = parser.parse_args(argv)
    if args.pairs < 0:
        parser.error(f"--pairs must be at least 0; got {args.pairs}")
    if args.runs < 3:
        parser.error("--runs must be at least 3, fewer say nothing about the spread")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
