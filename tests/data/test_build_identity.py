"""What identifies a dataset: its pixels and labels and the layout of its records, not its place."""

import contextlib
import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from tempo.data import flow, pipeline, records
from tempo.data.builders import examples, features, selection, shards
from tempo.data.builders import records as builder
from tempo.data.store import example_proto, index
from tempo.data.video import decode, jpeg

# What `layout` gave when the format was last changed. If a test sends you here, raise
# `records.MANIFEST_FORMAT` and put the new hash beside the new number: datasets made before do not
# fit the code any more.
LAYOUTS = {3: "1389309052523bba2984b5cfd4f7d08758c73b1b33488524af5df271ee7b1cea"}


def build(videos, out, **kwargs):
    return builder.build(videos, out, **dict(short_side_px=0, progress=False) | kwargs)


@pytest.fixture
def flow_dir(ucf_tree, tmp_path):
    build(ucf_tree, tmp_path / "flow", flow="dis", limit=2)
    return tmp_path / "flow"


def kinds_of(path):
    """Names and kinds of the features of a dataset's first record, as any reader finds them."""
    record = pipeline.open_records(path).split("train")._opened()[0]
    data = bytes(record.read(0, record.size))
    stored = tf_example_pb2.Example.FromString(data).features.feature
    return sorted((name, value.WhichOneof("kind")) for name, value in stored.items())


def layout(*dirs):
    """Hash of all that a reader must know: features, their bytes, the files of the index."""
    frames = {"frames": [b"first", b"2nd"], "timestamps": np.arange(2, dtype=np.float32)}
    record = examples.serialize(frames | example_proto.describe(frames))
    columns = [(n, p.dtype.str, p.ndim) for n, p in zip("ab", index_columns(dirs[0]), strict=True)]
    known = [
        [kinds_of(path) for path in dirs],
        record.hex(),
        sorted(decode.FEATURES.items()),
        index.file_names("train"),
        columns,
        features.shard_file("train", 3, 7),
        shards._WRITER_OPTIONS,
        sorted(json.loads((dirs[0] / "manifest.json").read_text())),
    ]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def index_columns(path):
    found = index.open_index(str(path), "train")
    return found.labels, found.rows._offsets


def test_another_layout_has_another_number(frames_dir, encoded_dir, flow_dir):
    assert LAYOUTS.get(records.MANIFEST_FORMAT) == layout(frames_dir, encoded_dir, flow_dir), (
        "the layout of records has changed: see LAYOUTS"
    )


def test_shards_of_another_format_are_made_again(ucf_tree, tmp_path, monkeypatch):
    def stopped(out):
        with monkeypatch.context() as patch:
            patch.setattr(features, "write", None)
            with contextlib.suppress(TypeError):
                build(ucf_tree, out)

    stopped(tmp_path / "same")
    assert build(ucf_tree, tmp_path / "same").num_reused == 15
    stopped(tmp_path / "other")
    monkeypatch.setattr(records, "MANIFEST_FORMAT", records.MANIFEST_FORMAT + 1)
    report = build(ucf_tree, tmp_path / "other")
    assert report.num_reused == 0
    same = json.loads((tmp_path / "same" / "manifest.json").read_text())
    assert report.manifest_sha256 != same["sha256"]


def test_a_copy_under_another_path_or_level_is_the_same_data(tmp_path, tiny, monkeypatch):
    """As lists give it that name videos by an id, and a tree whose folders were moved."""
    for i in range(3):
        tiny.write_video(tmp_path / "a" / "videos" / "jump" / f"{i}.mp4", 12, tint=i)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    scan = selection.find(tmp_path / "a" / "videos", selection.Request())
    made = []
    for root, prefix in (("a/videos", ""), ("b/videos", ""), ("b", "videos/"), ("b", "./videos/")):
        splits = {
            split: tuple(dataclasses.replace(v, path=prefix + v.path) for v in videos)
            for split, videos in scan.splits.items()
        }
        found = dataclasses.replace(scan, splits=splits)
        monkeypatch.setattr(selection, "find", lambda *args, found=found, **kwargs: found)
        made.append(build(tmp_path / root, tmp_path / f"out{len(made)}"))
        row = pipeline.open_records(made[-1].out_dir).split("train").manifest[0]
        assert row["path"].startswith(f"{prefix}jump/")
    assert len({m.manifest_sha256 for m in made}) == 1


def test_the_minor_version_of_the_flow_library_does_not_count(ucf_tree, tmp_path, monkeypatch):
    made = []
    major = flow.create("dis").library_version.split(".")[0]
    for version in (f"{major}.90.0", f"{major}.91.0", f"{int(major) + 1}.0.0"):
        row = flow.METHODS["dis"]
        monkeypatch.setitem(
            flow.METHODS,
            "dis",
            dataclasses.replace(row, library=lambda v=version: ("opencv", v)),
        )
        made.append(build(ucf_tree, tmp_path / version, flow="dis", limit=2).manifest_sha256)
        assert pipeline.open_records(tmp_path / version).flow["library_version"] == version
    assert made[0] == made[1] != made[2]


def test_other_pixels_are_other_data(ucf_tree, tmp_path, monkeypatch):
    def made(name, **kwargs):
        return build(ucf_tree, tmp_path / name, limit=2, **kwargs).manifest_sha256

    hashes = [made("plain"), made("quality", jpeg_quality=80), made("size", short_side_px=24)]
    encode = jpeg.simplejpeg.encode_jpeg
    with monkeypatch.context() as patch:
        full = lambda *args, **kw: encode(*args, **kw | {"colorsubsampling": "444"})  # noqa: E731
        patch.setattr(jpeg.simplejpeg, "encode_jpeg", full)
        hashes.append(made("full_colour"))
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "simplejpeg", None)
        hashes.append(made("fallback"))
    assert len(set(hashes)) == 5
    assert made("again") == hashes[0]
    header = json.loads((tmp_path / "plain" / "manifest.json").read_text())
    assert header["pictures"] == {"encoder": "simplejpeg", "sampling": "2x2,1x1,1x1"}
