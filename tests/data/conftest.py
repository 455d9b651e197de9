"""Tiny videos whose frames say their own number, and datasets made of them."""

import fractions
import shutil
import types

import av
import numpy as np
import pytest

from tempo.data import pipeline
from tempo.data.builders import records as builder

WIDTH, HEIGHT, FPS = 64, 48, 25
STEP = 5  # grey levels between neighbouring frames


def frame_array(number, height=HEIGHT, width=WIDTH, tint=0):
    """A frame with its number in its grey level; `tint` goes into a corner and differs by video."""
    frame = np.full((height, width, 3), 20 + STEP * (number % 45), np.uint8)
    frame[: height // 4, : width // 4] = (tint * 40) % 256, 128, 60
    return frame


def numbers(frames):
    """The numbers of frames made by `frame_array`, read from the lower right quarter."""
    height, width = frames.shape[-3:-1]
    level = frames[..., height // 2 :, width // 2 :, :].mean(axis=(-3, -2, -1))
    return np.round((level - 20) / STEP).astype(int)


def write_video(
    path,
    num_frames=12,
    *,
    codec="mpeg4",
    width=WIDTH,
    height=HEIGHT,
    tint=0,
    times_ms=None,
    gop=5,
    options=None,
    container_options=None,
    rotation=0,
):
    """Writes a video at constant quality; `times_ms` makes the frame rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = {
        "mpeg4": {"qmin": "2", "qmax": "2", "sc_threshold": "1000000000"},
        "libx264": {"crf": "8"},
    }.get(codec, {})
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=FPS, options=quality | (options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = gop
        if times_ms is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for i in range(num_frames):
            array = frame_array(i, height, width, tint)
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame = frame.reformat(format="yuv420p", threads=1)
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[i], fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if rotation:
        set_rotation(path)
    return path


def set_rotation(path):
    """Makes players turn an mp4 by a quarter: rewrites the display matrix of its track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version, flags and the fields before the matrix
    one = (1 << 16).to_bytes(4, "big")
    minus_one = (0xFFFFFFFF & -(1 << 16)).to_bytes(4, "big")
    zero = bytes(4)
    identity = one + zero * 3 + one + zero * 3 + (1 << 30).to_bytes(4, "big")
    assert bytes(data[at : at + 36]) == identity
    turned = zero + one + zero + minus_one + zero * 4 + (1 << 30).to_bytes(4, "big")
    data[at : at + 36] = turned
    path.write_bytes(data)


def write_ucf_tree(root, num_train=10, num_test=5, num_classes=3, **kwargs):
    """A UCF-style tree: 10 + 5 videos of 3 classes, of 12 to 16 frames."""
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    names = [f"Class{k}" for k in range(num_classes)]
    (lists / "classInd.txt").write_text("".join(f"{k + 1} {n}\n" for k, n in enumerate(names)))
    for split, count in (("train", num_train), ("test", num_test)):
        lines = []
        for i in range(count):
            label = i % num_classes
            name = f"{names[label]}/v_{split}_{i:02d}.mp4"
            write_video(root / "videos" / name, 12 + i % 5, tint=i, **kwargs)
            lines.append(f"{name} {label + 1}\n" if split == "train" else f"{name}\n")
        (lists / f"{split}list01.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="session")
def ucf_tree(tmp_path_factory):
    """A tree of 15 small videos; not to be changed (copy it)."""
    return write_ucf_tree(tmp_path_factory.mktemp("ucf") / "tree")


@pytest.fixture
def own_tree(ucf_tree, tmp_path):
    """A copy of `ucf_tree` that a test may change."""
    return shutil.copytree(ucf_tree, tmp_path / "tree")


@pytest.fixture(scope="session")
def frames_dir(ucf_tree, tmp_path_factory):
    """`ucf_tree` as frames records."""
    out = tmp_path_factory.mktemp("frames") / "records"
    builder.build(ucf_tree, out, short_side_px=0, num_shards=3, progress=False)
    return out


@pytest.fixture(scope="session")
def encoded_dir(ucf_tree, tmp_path_factory):
    """`ucf_tree` as encoded records."""
    out = tmp_path_factory.mktemp("encoded") / "records"
    builder.build(ucf_tree, out, kind="encoded", progress=False)
    return out


@pytest.fixture
def train(frames_dir):
    """The training split of the frames records: 10 videos."""
    return pipeline.open_records(frames_dir).split("train")


@pytest.fixture(scope="session")
def tiny():
    """The helpers of this file."""
    return types.SimpleNamespace(
        write_video=write_video, frame_array=frame_array, numbers=numbers, write_ucf=write_ucf_tree
    )
