"""How many training clips per second the input pipeline gives, beside plain PyTorch loaders.

    python -m experiments.benchmarks.input            # both kinds, 8x8, 32x2 and 64x1
    python -m experiments.benchmarks.input --quick

Renders 16 videos of 320x240 and prepares them, once. Then it reads records, decodes the sampled
frames, crops, resizes and flips them, and stacks batches; nothing is trained. First it looks that
all loaders give the same pixels. Everything that is compared takes turns in rounds of a few
seconds, so that a disturbance hits all of it; medians over the rounds are printed and compared.
0 threads makes each batch in the caller. The ceiling is libjpeg-turbo alone: as many frames decoded
into the same memory, by one and by two threads.
"""

import argparse
import itertools
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from experiments.benchmarks import input_peer, media, report
from tempo.data import pipeline, stages
from tempo.data.store import example_proto, shard_files
from tempo.errors import InputError
from tempo.types import ClipSpec

KINDS = ("frames", "encoded")
_OPS = ("random_resized_crop", "flip")
# Of the mean pixel of a clip, in grey levels: what JPEG and two versions of FFmpeg may differ by.
_TOLERANCE = 3.0
Cell = tuple[str, int]
"""What is measured: a name, and the number of its threads or workers."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _parser().parse_args(argv)
    if args.quick:
        args.rounds, args.seconds = 1, 0.5
    try:
        setting = Setting(args)
        for clip in args.clips:
            for row in measure(setting, clip):
                row |= report.environment(with_devices=False)
                print(table(row), flush=True)
                report.append(row, args.out)
    except InputError as error:
        print(f"experiments.benchmarks.input: {error}", file=sys.stderr)
        return 2
    return 0


class Setting:
    """Videos, records and loaders that a run compares."""

    def __init__(self, args):
        if args.peer:
            input_peer.check_installed()
        self.args = args
        width, height = args.video
        rate = f"_{args.kbps}kbps" if args.kbps else ""
        root = os.path.join(args.data, f"{width}x{height}{rate}")
        videos_dir = os.path.join(root, "videos")
        media.render(videos_dir, width, height, args.kbps)
        self.records = {
            kind: media.make_records(videos_dir, os.path.join(root, kind), kind)
            for kind in dict.fromkeys((*args.kinds, "frames"))
        }
        self.splits = {kind: r.split("train") for kind, r in self.records.items()}
        self.videos = []
        for row, about in enumerate(self.splits["frames"].manifest):
            frames_dir = os.path.join(root, "files", f"{row:02d}")
            input_peer.write_frames(frames_dir, stored_frames(self.splits["frames"], row))
            path = os.path.join(videos_dir, about["path"])
            self.videos.append(input_peer.Video(path, frames_dir, about["num_frames"]))

    def peer(self, reader: str, clip: ClipSpec) -> input_peer.Clips:
        """The data set of a peer."""
        read = input_peer.READERS[reader]
        return input_peer.Clips(self.videos, clip, self.args.size, self.args.batch, read)

    def batches(self, kind: str, clip: ClipSpec, num_threads: int) -> pipeline.Batches:
        """The pipeline under test."""
        return pipeline.train_batches(
            self.splits[kind],
            clip=clip,
            batch_size=self.args.batch,
            size_px=self.args.size,
            host_ops=_OPS,
            num_workers=num_threads,
            worker_kind=self.args.workers,
        )


def stored_frames(split: pipeline.Split, row: int) -> list[memoryview]:
    """The JPEG frames of a record of `frames`, in order."""
    names = sorted(n for n in os.listdir(split.data_dir) if n.startswith(f"videos-{split.name}.a"))
    paths = [os.path.join(split.data_dir, name) for name in names]
    counts = [len(shard_files.ShardFile(path)) for path in paths]
    example = example_proto.Example(shard_files.ShardFiles(paths, counts)[row])
    return example["frames"].take(range(len(example["frames"])))


def measure(setting: Setting, clip_text: str) -> list[dict[str, Any]]:
    """One row per kind of record: rates of it, of the peers and of the ceiling, and ratios."""
    args, clip = setting.args, _clip(clip_text)
    difference = check_same_pixels(setting, clip) if args.peer else {}
    cells: dict[Cell, Callable[[], float]] = {}
    for kind, n in itertools.product(args.kinds, args.threads):
        cells[kind, n] = lambda kind=kind, n=n: pipeline_round(setting, kind, clip, n)
    for reader, n in itertools.product(input_peer.READERS if args.peer else (), args.threads):
        cells[reader, n] = lambda reader=reader, n=n: input_peer.one_round(
            setting.peer(reader, clip), n, args.batch, args.seconds
        )
    for n in (1, 2):
        cells["ceiling", n] = lambda n=n: ceiling_round(setting, clip, n)
    seen: dict[Cell, list[float]] = {cell: [] for cell in cells}
    for _ in range(args.rounds):
        for cell, run in cells.items():
            seen[cell].append(run())
    rows = []
    for kind in args.kinds:
        row = assemble(kind, seen, readers=tuple(input_peer.READERS) if args.peer else ())
        row |= {"stages_ms": stage_times(setting, kind, clip), "pixel_difference": difference}
        rows.append(row | about(setting, kind, clip_text))
    return rows


def assemble(
    kind: str, seen: dict[Cell, list[float]], readers: Sequence[str] = ()
) -> dict[str, Any]:
    """What is told of a kind of record, from the clips per second of all rounds of all cells.

    A ratio compares the pipeline with n threads with the best reader of a peer with n workers.
    """
    median = {cell: statistics.median(rates) for cell, rates in seen.items()}
    own = {n: rate for (name, n), rate in median.items() if name == kind}
    peers: dict[str, dict[int, float]] = {}
    for reader in readers:
        best = peers.setdefault(reader.split(",")[0], {})
        for n in own:
            best[n] = max(best.get(n, 0.0), median[reader, n])
    speedups = {f"2_over_{n}": own[2] / own[n] for n in (0, 1) if {2, n} <= own.keys()}
    return {
        "benchmark": "input",
        "kind": kind,
        "clips_per_s": _rounded(own, 1),
        "clips_per_s_all": {n: _rounded(seen[kind, n], 1) for n in own},
        "speedup": _rounded(speedups, 2),
        "ceiling_clips_per_s": {n: round(median["ceiling", n], 1) for n in (1, 2)},
        "ceiling_speedup": round(median["ceiling", 2] / median["ceiling", 1], 2),
        "peers_clips_per_s": {name: _rounded(rates, 1) for name, rates in peers.items()},
        "readers_clips_per_s": {r: {n: round(median[r, n], 1) for n in own} for r in readers},
        "ratio": {
            name: _rounded({n: own[n] / rate for n, rate in rates.items()}, 2)
            for name, rates in peers.items()
        },
    }


def pipeline_round(setting: Setting, kind: str, clip: ClipSpec, num_threads: int) -> float:
    """Clips per second after the first batches."""
    with setting.batches(kind, clip, num_threads) as batches:
        for _ in range(4):  # what had been made ahead must not count
            next(batches)
        start, num_clips, passed = time.perf_counter(), 0, 0.0
        while not num_clips or passed < setting.args.seconds:
            next(batches)
            num_clips += setting.args.batch
            passed = time.perf_counter() - start
        return num_clips / passed


def ceiling_round(setting: Setting, clip: ClipSpec, num_threads: int) -> float:
    """Clips' worth of JPEG frames per second, decoded by some threads and nothing else."""
    import simplejpeg

    frames = [bytes(f) for f in stored_frames(setting.splits["frames"], 0)]
    stop = time.perf_counter() + setting.args.seconds
    counts = [0] * num_threads

    def run(thread: int) -> None:
        height, width = simplejpeg.decode_jpeg_header(frames[0])[:2]
        picture = np.empty((height, width, 3), np.uint8)
        while not counts[thread] or time.perf_counter() < stop:
            for i in range(clip.num_frames):
                frame = frames[(i * clip.stride) % len(frames)]
                simplejpeg.decode_jpeg(frame, colorspace="RGB", buffer=picture)
            counts[thread] += 1

    threads = [threading.Thread(target=run, args=(i,)) for i in range(num_threads)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def stage_times(setting: Setting, kind: str, clip: ClipSpec) -> dict[str, float]:
    """Ms of each stage per clip, in the caller's thread.

    `hand_over` is what of asking for a batch no stage accounts for: its memory, labels and names,
    and grain.
    """
    with setting.batches(kind, clip, 0) as batches:
        for _ in range(4):
            next(batches)
        with stages.measure() as clock:
            start, num_clips, passed = time.perf_counter(), 0, 0.0
            while not num_clips or passed < setting.args.seconds:
                next(batches)
                num_clips += setting.args.batch
                passed = time.perf_counter() - start
    seconds = clock.seconds | {"hand_over": passed - sum(clock.seconds.values())}
    return {name: round(1e3 * s / num_clips, 3) for name, s in seconds.items()}


def check_same_pixels(setting: Setting, clip: ClipSpec) -> dict[str, float]:
    """Mean difference of each peer from each kind of record over a batch, in grey levels.

    Raises:
      InputError: loaders do not give the same clips.
    """
    found = {}
    for kind in setting.args.kinds:
        with setting.batches(kind, clip, 0) as batches:
            batch = next(batches)
        for reader in input_peer.READERS:
            peer = setting.peer(reader, clip)
            other = np.stack(
                [peer.clip(slot, setting.videos[row]) for slot, row in enumerate(batch["index"])]
            )
            levels = float(cv2.norm(batch["video"].ravel(), other.ravel(), cv2.NORM_L1))
            found[f"{kind} - {reader}"] = round(levels / other.size, 3)
    compare_pixels(found)
    return found


def compare_pixels(differences: dict[str, float]) -> None:
    """Raises `InputError` if one of these mean differences is more than encoding explains."""
    worst = max(differences, key=differences.get)
    if differences[worst] > _TOLERANCE:
        raise InputError(
            f"{worst}: clips differ by {differences[worst]} grey levels, more than {_TOLERANCE}; "
            "the loaders do not read the same."
        )


def about(setting: Setting, kind: str, clip_text: str) -> dict[str, Any]:
    """The settings of a row."""
    args, split = setting.args, setting.records[kind].split("train")
    num_frames = sum(row["num_frames"] for row in split.manifest)
    names = [n for n in os.listdir(split.data_dir) if n.startswith("videos-train.array_record")]
    num_bytes = sum(os.path.getsize(os.path.join(split.data_dir, n)) for n in names)
    return {
        "clip": clip_text,
        "video": "x".join(map(str, args.video)),
        "kbps": args.kbps,
        "size_px": args.size,
        "batch": args.batch,
        "workers": args.workers,
        "videos": len(split),
        "kb_per_frame": round(num_bytes / num_frames / 1e3, 2),
        "rounds": args.rounds,
        "seconds_per_round": args.seconds,
    }


def table(row: dict[str, Any]) -> str:
    """A row in a few lines for people."""
    own, ceiling = row["clips_per_s"], row["ceiling_clips_per_s"]
    lines = [
        f"{row['kind']} {row['clip']}, {row['video']} to {row['size_px']}:",
        f"  clips/s by threads   {_listed(own)}; 2 threads are {_listed(row['speedup'], 'x')}",
        f"  JPEG decoding alone  {_listed(ceiling)}; 2 threads are {row['ceiling_speedup']}x of 1",
    ]
    for name, rates in row["peers_clips_per_s"].items():
        lines.append(
            f"  torch + {name:12} {_listed(rates)}; tempo is {_listed(row['ratio'][name], 'x')}"
        )
    times = row["stages_ms"]
    named = ", ".join(f"{name} {ms:.2f}" for name, ms in times.items())
    return "\n".join([*lines, f"  ms per clip          {named}; in all {sum(times.values()):.2f}"])


def _listed(numbers: dict, unit: str = "") -> str:
    return ", ".join(f"{key}: {value}{unit}" for key, value in numbers.items())


def _rounded(numbers: Any, digits: int) -> Any:
    if isinstance(numbers, dict):
        return {key: round(value, digits) for key, value in numbers.items()}
    return [round(value, digits) for value in numbers]


def _clip(text: str) -> ClipSpec:
    num_frames, stride = _pair(text)
    return ClipSpec(num_frames=num_frames, stride=stride)


def _pair(text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"must look like 8x8 or 320x240; got {text!r}")
    return int(parts[0]), int(parts[1])


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{sorted(unknown)[0]!r} is not in {known}")
        return names

    return parse


def _clips(text: str) -> list[str]:
    for name in text.split(","):
        _clip(name)
    return text.split(",")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.input", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", default="runs/bench_input", help="made here once")
    parser.add_argument("--video", type=_pair, default=(320, 240), metavar="WxH")
    parser.add_argument(
        "--kbps", type=int, default=0, help="bit rate of the videos; 0: high quality, about 1100"
    )
    parser.add_argument("--kinds", type=_names(KINDS), default=list(KINDS))
    parser.add_argument(
        "--clips", type=_clips, default=["8x8", "32x2", "64x1"], help="frames x stride, ..."
    )
    parser.add_argument("--size", type=int, default=224, help="crop, px")
    parser.add_argument("--batch", type=int, default=8, help="clips in a batch")
    parser.add_argument(
        "--threads", type=lambda t: [int(n) for n in t.split(",")], default=[0, 1, 2]
    )
    parser.add_argument("--workers", default="thread", choices=pipeline.WORKER_KINDS)
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="measure tempo alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each cell in a round")
    parser.add_argument("--quick", action="store_true", help="one short round")
    report.add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
