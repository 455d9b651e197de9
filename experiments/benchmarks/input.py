"""How many training clips per second the input pipeline gives, by number of threads.

    python -m experiments.benchmarks.input --data DIR --clip 8x8 --threads 0,1,2
    python -m experiments.benchmarks.input --make 320x240 --data DIR --kind encoded

Reads records, decodes the sampled frames, crops and resizes (random-resized crop and flip), and
stacks batches; nothing is trained. Rounds of the thread counts take turns, so that a disturbance
hits all of them. 0 threads makes each batch in the caller.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence

import av
import cv2
import numpy as np

from experiments.benchmarks import report
from tempo.data import pipeline
from tempo.data.builders import records as builder
from tempo.errors import InputError
from tempo.types import ClipSpec

_NUM_VIDEOS = 16
_MEAN_FRAMES = 138
_FPS = 25


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _parser().parse_args(argv)
    try:
        if args.make:
            make_records(args.data, args.make, args.kind)
        records = pipeline.open_records(args.data)
        split = records.split("train")
        num_frames, stride = _numbers(args.clip, "--clip", "8x8")
        clip = ClipSpec(num_frames=num_frames, stride=stride)
        threads = [int(n) for n in args.threads.split(",")]
        for row in measure(split, clip, threads, args):
            row |= _about(records, split, args)
            report.emit(row | report.environment(with_devices=False), args.out)
    except InputError as error:
        print(f"experiments.benchmarks.input: {error}", file=sys.stderr)
        return 2
    return 0


def measure(split, clip: ClipSpec, threads: Sequence[int], args) -> list[dict]:
    """One row per number of threads: clips per second, median, least and most of the rounds.

    `cpu_ms_per_clip` is what this process's threads spent, so it says little of other programs on
    the machine, and nothing of worker processes.
    """
    rounds = {n: [] for n in threads}
    for _ in range(args.rounds):
        for num_threads in threads:
            rounds[num_threads].append(_one_round(split, clip, num_threads, args))
    columns = {n: list(zip(*seen, strict=True)) for n, seen in rounds.items()}
    return [
        {
            "benchmark": "input",
            "threads": n,
            "clips_per_s": round(statistics.median(columns[n][0]), 1),
            "clips_per_s_min": round(min(columns[n][0]), 1),
            "clips_per_s_max": round(max(columns[n][0]), 1),
            "cpu_ms_per_clip": round(statistics.median(columns[n][1]), 2),
            "first_batch_s": round(statistics.median(columns[n][2]), 3),
            "rounds": args.rounds,
            "seconds_per_round": args.seconds,
        }
        for n in threads
    ]


def _one_round(split, clip: ClipSpec, num_threads: int, args) -> tuple[float, float, float]:
    """Clips per second after the first batches, CPU ms per clip, and seconds to the first batch."""
    start = time.perf_counter()
    with pipeline.train_batches(
        split,
        clip=clip,
        batch_size=args.batch,
        size_px=args.size,
        host_ops=("random_resized_crop", "flip"),
        num_workers=num_threads,
        worker_kind=args.workers,
    ) as batches:
        next(batches)
        waited = time.perf_counter() - start
        for _ in range(3):  # what had been made ahead must not count
            next(batches)
        cpu, start, num_clips = time.process_time(), time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < args.seconds:
            next(batches)
            num_clips += args.batch
        cpu_ms = 1e3 * (time.process_time() - cpu)
        return num_clips / passed, cpu_ms / num_clips, waited


def make_records(data_dir: str, size: str, kind: str) -> None:
    """Renders 16 videos of about 138 frames and prepares them at their own size.

    Smoothed noise under a moving camera with two moving discs and sensor noise: about as many
    bytes per frame as a natural video.
    """
    width, height = _numbers(size, "--make", "320x240")
    videos_dir = f"{os.path.normpath(data_dir)}_videos"
    for number in range(_NUM_VIDEOS):
        folder = os.path.join(videos_dir, "train", f"class{number % 2}")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f"v{number:02d}.mp4")
        if not os.path.exists(path):
            _render(path, width, height, number)
    test = os.path.join(videos_dir, "test")
    if not os.path.exists(test):
        os.symlink("train", test)
    builder.build(videos_dir, data_dir, kind=kind, short_side_px=0, progress=False)


def _render(path: str, width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    texture, disc = (_texture(rng, 2 * height, 2 * width) for _ in range(2))
    speeds = rng.uniform(0.02, 0.08, 6)
    options = {"qmin": "2", "qmax": "2", "g": "12"}
    with av.open(path + ".tmp", "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=_FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for i in range(int(rng.integers(_MEAN_FRAMES - 60, _MEAN_FRAMES + 61))):
            angle, zoom = 10 * np.sin(speeds[0] * i), 1 + 0.2 * np.sin(speeds[1] * i)
            camera = cv2.getRotationMatrix2D((width, height), angle, zoom)
            camera[:, 2] -= (width / 2 + 20 * np.sin(speeds[2] * i), height / 2)
            frame = cv2.warpAffine(texture, camera, (width, height))
            for phase in (0.0, 2.0):
                mask = np.zeros((height, width), np.uint8)
                x = width / 2 + width / 3 * np.cos(speeds[3] * i + phase)
                y = height / 2 + height / 3 * np.sin(speeds[4] * i + phase)
                cv2.circle(mask, (int(x), int(y)), height // 8, 255, -1)
                frame[mask > 0] = disc[: 2 * height : 2, : 2 * width : 2][mask > 0]
            noise = rng.normal(0, 3, frame.shape).astype(np.float32)
            frame = np.clip(frame + noise, 0, 255).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", threads=1)))
        container.mux(stream.encode())
    os.replace(path + ".tmp", path)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of all scales, each half as strong as the next coarser (like photographs), uint8."""
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 8):
        small = rng.normal(0, 2.0**octave, (height >> octave, width >> octave, 3))
        small = small.astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    total = (total - total.mean()) / total.std()
    return np.clip(128 + 55 * total, 0, 255).astype(np.uint8)


def _about(records, split, args) -> dict:
    first = split[0]
    height, width = first.decode(np.zeros(1, np.int64)).shape[1:3]
    num_frames = sum(e["num_frames"] for e in split.manifest)
    num_bytes = sum(os.path.getsize(os.path.join(split.data_dir, f)) for f in _files(split))
    return {
        "kind": records.kind,
        "stored": f"{width}x{height}",
        "videos": len(split),
        "mean_frames": round(num_frames / len(split), 1),
        "kb_per_frame": round(num_bytes / num_frames / 1e3, 2),
        "clip": args.clip,
        "size_px": args.size,
        "batch": args.batch,
        "workers": args.workers,
    }


def _files(split) -> list[str]:
    return [name for name in os.listdir(split.data_dir) if name.startswith(f"videos-{split.name}.")]


def _numbers(text: str, flag: str, example: str) -> tuple[int, int]:
    try:
        first, second = (int(part) for part in text.split("x"))
    except ValueError:
        raise InputError(f"{flag} must look like {example}; got {text!r}.") from None
    return first, second


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.input", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", required=True, help="prepared records; with --make, made here")
    parser.add_argument("--make", metavar="WxH", help="first render and prepare test videos")
    parser.add_argument(
        "--kind", default="frames", choices=("frames", "encoded"), help="with --make"
    )
    parser.add_argument("--clip", default="8x8", help="frames x stride (default 8x8)")
    parser.add_argument("--size", type=int, default=224, help="crop, px (default 224)")
    parser.add_argument("--batch", type=int, default=8, help="clips in a batch (default 8)")
    parser.add_argument("--threads", default="0,1,2", help="numbers of threads (default 0,1,2)")
    parser.add_argument("--workers", default="thread", choices=pipeline.WORKER_KINDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--out", help="also append the rows to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
