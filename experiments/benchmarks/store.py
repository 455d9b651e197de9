"""What decides how frames are stored: layout of a record, JPEG quality, subsampling, frame size.

    python -m experiments.benchmarks.store

Two tables. `layout`: the same JPEG frames as a list of byte strings or as one string with offsets,
read whole by array_record or in parts by `tempo.data.store.shard_files`, into new memory or into
memory that is used again; CPU ms per clip until its frames are decoded, by stage. `jpeg`: quality,
subsampling and short side; bytes per frame, PSNR to the frame that was stored, and CPU ms of
decoding per clip. All rows of a table take turns; medians over the rounds, on one thread.

What it decided. Reading in parts takes a fifth of the time of reading whole (8 of 138 frames), and
then a list, which any TFDS reader shows as pictures, is as fast as one string with offsets. Quality
90 at 4:2:0: 95 has 1.6 times the bytes and 1.3 times the decoding for 1 dB; 4:4:4 has 1.4 and 1.5
times for 2 dB, and videos are 4:2:0 themselves. A short side of 128 px for nets of 112 px decodes
in a third of the time of 240 px.
"""

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import simplejpeg
from array_record.python import array_record_module

from experiments.benchmarks import media, report
from tempo.data import sampling
from tempo.data.builders import examples
from tempo.data.store import example_proto, scratch, shard_files
from tempo.data.video import decode, jpeg
from tempo.types import ClipSpec

_QUALITY = 90
_JPEGS = [
    {"quality": quality, "subsampling": "420", "short_side_px": 240} for quality in (75, 85, 90, 95)
] + [
    {"quality": _QUALITY, "subsampling": "422", "short_side_px": 240},
    {"quality": _QUALITY, "subsampling": "444", "short_side_px": 240},
    {"quality": _QUALITY, "subsampling": "420", "short_side_px": 128},
]
_NUM_VIDEOS = 8
_WRITER_OPTIONS = "group_size:1,uncompressed"
Read = Callable[[int, np.ndarray], Sequence[memoryview]]
"""(video, frame numbers) -> their JPEGs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _parser().parse_args(argv)
    if args.quick:
        args.rounds, args.clips_per_round = 2, 8
    root = os.path.join(args.data, "320x240")
    paths = media.render(os.path.join(root, "videos"), 320, 240)[:_NUM_VIDEOS]
    videos = [_frames(path) for path in paths]
    rows = [*layout_rows(videos, args), *jpeg_rows(videos, args)]
    about = report.environment(with_devices=False)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items() if key != "benchmark"))
        report.append(row | about, args.out)
    return 0


def layout_rows(videos: Sequence[np.ndarray], args) -> list[dict[str, Any]]:
    """CPU ms per clip of reading, and of reading and decoding, for each layout of a record."""
    jpegs = [[jpeg.encode(frame, _QUALITY) for frame in frames] for frames in videos]
    folder = os.path.join(args.data, "store")
    os.makedirs(folder, exist_ok=True)
    lists = _write(os.path.join(folder, "list"), [list_fields(frames) for frames in jpegs])
    bare = _write(os.path.join(folder, "bare"), [{"list": frames} for frames in jpegs])
    blobs = _write(os.path.join(folder, "blob"), [blob_fields(frames) for frames in jpegs])
    cells = {
        ("list", "whole", "new"): (whole_list(bare), None),
        ("list", "whole", "again"): (whole_list(bare), scratch.Memory()),
        ("blob", "whole", "again"): (whole_blob(blobs), scratch.Memory()),
        ("list", "parts", "new"): (parts_list(lists), None),
        ("list", "parts", "again"): (parts_list(lists), scratch.Memory()),
        ("blob", "parts", "again"): (parts_blob(blobs), scratch.Memory()),
    }
    rows = []
    for text in args.clips:
        clips = _clips(videos, text, args.clips_per_round)
        check_same(cells, jpegs, clips)
        read = {key: _reader(*cell, clips, is_decoded=False) for key, cell in cells.items()}
        both = {key: _reader(*cell, clips, is_decoded=True) for key, cell in cells.items()}
        read_ms, both_ms = (alternate(runs, args.rounds, len(clips)) for runs in (read, both))
        for key in cells:
            layout, reading, memory = key
            rows.append(
                {
                    "benchmark": "store",
                    "table": "layout",
                    "clip": text,
                    "layout": layout,
                    "read": reading,
                    "memory": memory,
                    "read_cpu_ms": read_ms[key],
                    "read_and_decode_cpu_ms": both_ms[key],
                }
            )
    return rows


def jpeg_rows(videos: Sequence[np.ndarray], args) -> list[dict[str, Any]]:
    """Bytes, loss and decoding of each way to make a JPEG."""
    rows, stored = [], []
    for settings in _JPEGS:
        small = [
            np.stack([jpeg.resize_short_side(f, settings["short_side_px"]) for f in frames])
            for frames in videos
        ]
        encoded = [[_encode(frame, settings) for frame in frames] for frames in small]
        sizes = [len(data) for frames in encoded for data in frames]
        # Every tenth frame says enough of the loss.
        loss = [
            psnr(jpeg.decode(data[::10]), frames[::10])
            for data, frames in zip(encoded, small, strict=True)
        ]
        stored.append(encoded)
        rows.append(
            {
                "benchmark": "store",
                "table": "jpeg",
                **settings,
                "kb_per_frame": round(statistics.mean(sizes) / 1e3, 2),
                "psnr_db": round(statistics.mean(loss), 1),
            }
        )
    for text in args.clips:
        clips = _clips(videos, text, args.clips_per_round)
        runs = {
            i: _reader(_in_memory(jpegs), scratch.Memory(), clips, is_decoded=True)
            for i, jpegs in enumerate(stored)
        }
        for i, ms in alternate(runs, args.rounds, len(clips)).items():
            rows[i][f"decode_cpu_ms_{text}"] = ms
    return rows


def list_fields(frames: Sequence[bytes]) -> dict[str, Any]:
    """A record as tempo writes it: a list of JPEGs, with their sizes and checksums."""
    return {"frames": frames} | example_proto.describe({"frames": frames})


def blob_fields(frames: Sequence[bytes]) -> dict[str, Any]:
    """A record of one byte string that holds all JPEGs, with the places where they end."""
    ends = np.cumsum([len(frame) for frame in frames])
    return {"all_ends": ends.astype(np.int64), "joined": [b"".join(frames)]}


def whole_list(path: str) -> Read:
    """Reads a record of a bare list as a whole, and walks the list."""
    reader = _array_record(path)

    def read(video: int, wanted: np.ndarray) -> Sequence[memoryview]:
        frames = example_proto.parse(reader.read([video])[0])["list"]
        return [frames[i] for i in wanted]

    return read


def whole_blob(path: str) -> Read:
    """Reads a record of `blob_fields` as a whole."""
    reader = _array_record(path)

    def read(video: int, wanted: np.ndarray) -> Sequence[memoryview]:
        features = example_proto.parse(reader.read([video])[0])
        return _cut(features["joined"][0], features["all_ends"], wanted)

    return read


def parts_list(path: str) -> Read:
    """Reads only the wanted frames of a record of `list_fields`."""
    files = shard_files.ShardFiles([path], [len(shard_files.ShardFile(path))])
    return lambda video, wanted: example_proto.Example(files[video])["frames"].take(wanted)


def parts_blob(path: str) -> Read:
    """Reads only the wanted frames of a record of `blob_fields`; checks nothing."""
    files = shard_files.ShardFiles([path], [len(shard_files.ShardFile(path))])

    def read(video: int, wanted: np.ndarray) -> Sequence[memoryview]:
        source = files[video]
        ends = example_proto.Example(source)["all_ends"]
        start = source.size - int(ends[-1])  # the last feature, and nothing behind it
        begins = np.concatenate([[0], ends])
        return [source.read(start + int(begins[i]), start + int(ends[i])) for i in wanted]

    return read


def check_same(cells, jpegs: Sequence[Sequence[bytes]], clips) -> None:
    """All layouts give the frames that were written."""
    for key, (read, _) in cells.items():
        for video, wanted in clips[:4]:
            if [bytes(frame) for frame in read(video, wanted)] != [jpegs[video][i] for i in wanted]:
                raise AssertionError(f"{key} does not give the frames that were written")


def alternate(runs: dict[Any, Callable[[], None]], rounds: int, count: int) -> dict[Any, float]:
    """Median CPU ms per clip of each run, which does `count` clips; runs take turns."""
    seen: dict[Any, list[float]] = {key: [] for key in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for key, run in runs.items():
            start = time.process_time()
            run()
            seen[key].append(1e3 * (time.process_time() - start) / count)
    return {key: round(statistics.median(times), 3) for key, times in seen.items()}


def psnr(got: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 pictures, dB."""
    error = np.mean(np.square(got.astype(np.float32) - expected))
    return float(10 * np.log10(255**2 / error))


def _reader(read: Read, memory, clips, *, is_decoded: bool) -> Callable[[], None]:
    def run() -> None:
        for video, wanted in clips:
            with memory.clip() if memory else contextlib.nullcontext():
                frames = read(video, wanted)
                if is_decoded:
                    jpeg.decode(frames)

    return run


def _in_memory(jpegs: Sequence[Sequence[bytes]]) -> Read:
    return lambda video, wanted: [jpegs[video][i] for i in wanted]


def _cut(blob: memoryview, ends: np.ndarray, wanted: np.ndarray) -> list[memoryview]:
    begins = np.concatenate([[0], ends])
    return [blob[begins[i] : ends[i]] for i in wanted]


def _encode(frame: np.ndarray, settings) -> bytes:
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(frame),
        quality=settings["quality"],
        colorspace="RGB",
        colorsubsampling=settings["subsampling"],
        fastdct=False,
    )


def _write(path: str, records: Sequence[dict[str, Any]]) -> str:
    writer = array_record_module.ArrayRecordWriter(path, _WRITER_OPTIONS)
    for fields in records:
        writer.write(examples.serialize(fields))
    writer.close()
    return path


def _array_record(path: str):
    # As `array_record_data_source` opens its files.
    options = "readahead_buffer_size:0"
    return array_record_module.ArrayRecordReader(
        path, options=options, file_reader_buffer_size=32768
    )


def _clips(videos, text: str, count: int) -> list[tuple[int, np.ndarray]]:
    num_frames, stride = (int(part) for part in text.split("x"))
    clip, rng = ClipSpec(num_frames=num_frames, stride=stride), np.random.default_rng(0)
    return [
        (
            i % len(videos),
            np.unique(sampling.train_indices(len(videos[i % len(videos)]), clip, rng)),
        )
        for i in range(count)
    ]


def _frames(path: str) -> np.ndarray:
    frames: list[np.ndarray] = []
    decode.scan_video(decode.read_file(path), frames.append)
    return np.stack(frames)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.store", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", default="runs/bench_input", help="videos are made here once")
    parser.add_argument("--clips", type=lambda t: t.split(","), default=["8x8", "64x1"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clips-per-round", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    report.add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
