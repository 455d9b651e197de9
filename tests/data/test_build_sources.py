"""What a build can be made of: folders of frames, parts of files, several labels, some videos."""

import hashlib
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tempo.data import manifest, pipeline, readers
from tempo.data.builders import frame_folders, originals, selection
from tempo.data.builders import records as builder
from tempo.data.video import jpeg
from tempo.errors import InputError

CLASSES = ("jump", "run", "sit", "walk")


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds from sources given as `{split: [Source]}`, as if a reader had found them."""

    def make(splits, out="out", *, scan=(), **kwargs):
        splits = {split: tuple(videos) for split, videos in splits.items()}
        found = manifest.Scan(CLASSES, splits, **dict(scan))
        monkeypatch.setattr(readers, "read", lambda *args, **kw: found)
        settings = dict(short_side_px=0, progress=False) | kwargs
        return builder.build(tmp_path / "videos", tmp_path / out, **settings)

    return make


@pytest.fixture
def opened(tmp_path):
    return lambda split="train", out="out": pipeline.open_records(tmp_path / out).split(split)


def write_frames(folder, tiny, count=8, *, first=1, name="img_{:05d}.jpg", size=(48, 64)):
    folder.mkdir(parents=True)
    for i in range(count):
        frame = tiny.frame_array(i, *size)
        path = folder / name.format(first + i)
        if path.suffix == ".png":
            assert cv2.imwrite(str(path), frame[..., ::-1])
        else:
            path.write_bytes(jpeg.encode(frame, 95))
    return folder


SOURCE = manifest.Source("v", "v", 1)


# ---- folders of frames


@pytest.mark.parametrize("name", ["img_{:05d}.jpg", "{}.jpeg", "frame {:d}.PNG", "a1-{:010d}.png"])
def test_frames_are_taken_in_the_order_of_their_numbers(build, opened, tmp_path, tiny, name):
    folder = write_frames(tmp_path / "videos" / "v", tiny, 12, first=0, name=name)
    (folder / "notes.txt").write_text("not a frame")
    build({"train": [SOURCE]}, scan={"fps": 12.0})
    record = opened()[0]
    np.testing.assert_array_equal(tiny.numbers(record.decode(np.arange(12))), np.arange(12))
    np.testing.assert_allclose(record.timestamps, np.arange(12) / 12, atol=1e-6)
    row = opened().manifest[0]
    assert (row["num_frames"], row["fps"], row["duration_s"]) == (12, 12, 1)
    assert (row["width"], row["height"], row["rotation"]) == (64, 48, 0)


def test_a_small_enough_jpeg_is_stored_as_it_is(build, opened, tmp_path, tiny):
    folder = write_frames(tmp_path / "videos" / "v", tiny)
    before = [path.read_bytes() for path in sorted(folder.iterdir())]
    build({"train": [SOURCE]}, short_side_px=48)
    stored = opened()[0]._features["frames"]
    assert [bytes(stored[i]) for i in range(8)] == before
    build({"train": [SOURCE]}, "small", short_side_px=24)
    assert opened(out="small")[0].decode([7]).shape == (1, 24, 32, 3)
    assert tiny.numbers(opened(out="small")[0].decode([7])).tolist() == [7]


def test_a_grey_jpeg_is_stored_in_colour(build, opened, tmp_path):
    folder = tmp_path / "videos" / "v"
    folder.mkdir(parents=True)
    for i in range(3):
        assert cv2.imwrite(str(folder / f"{i}.jpg"), np.full((48, 64), 100 + i, np.uint8))
    build({"train": [SOURCE]})
    frames = opened()[0].decode([0, 2])
    assert frames.shape == (2, 48, 64, 3) and abs(int(frames[1].mean()) - 102) <= 1


def test_flow_pictures_beside_frames_are_left_out(build, opened, tmp_path, tiny):
    folder = write_frames(tmp_path / "videos" / "v", tiny)
    for axis in "xy":
        write_frames(tmp_path / axis, tiny, name=f"flow_{axis}_{{:05d}}.jpg")
        for path in (tmp_path / axis).iterdir():
            path.rename(folder / path.name)
    build({"train": [SOURCE]})
    assert opened()[0].num_frames == 8


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: (f / "img_00003.jpg").unlink(), "missing_frame@3"),
        (lambda f: (f / "img_3.jpg").write_bytes(b"x"), "duplicate_frame@3"),
        (lambda f: (f / "img_00003.jpg").rename(f / "new_00003.jpg"), "mixed_names:img_|new_"),
        (lambda f: (f / "img_00003.jpg").write_bytes(b""), "corrupt_frame@3"),
        (lambda f: (f / "img_00003.jpg").write_bytes(b"<html>no such picture"), "corrupt_frame@3"),
        (lambda f: (f / "img_00003.jpg").write_bytes((f / "img_00003.jpg").read_bytes()[:-200]),
         "corrupt_frame@3"),
        (lambda f: (f / "img_00003.jpg").write_bytes(jpeg.encode(np.zeros((32, 64, 3), np.uint8))),
         "size_change@3"),
        (lambda f: [p.unlink() for p in sorted(f.iterdir())[1:]], "too_few_frames:1<2"),
        (lambda f: [p.unlink() for p in f.iterdir()], "no_frames"),
    ],
)  # fmt: skip
def test_why_a_folder_of_frames_is_refused(build, tmp_path, tiny, spoil, reason):
    write_frames(tmp_path / "videos" / "good", tiny)
    spoil(write_frames(tmp_path / "videos" / "v", tiny))
    report = build({"train": [manifest.Source("good", "good", 0), SOURCE]})
    assert [row["reason"] for row in report.rejected] == [reason]


def test_too_many_frames_are_refused_before_they_are_read(tmp_path, tiny):
    frames = {i: "not there" for i in range(1, 11)}
    with pytest.raises(ValueError, match="too_long:10>9"):
        frame_folders.read_frames("", frames, print, min_frames=2, max_frames=9)


def test_a_part_of_a_folder_of_frames(build, opened, tmp_path, tiny):
    write_frames(tmp_path / "videos" / "v", tiny, 20, first=7)
    parts = [(0.0, 0.5), (0.5, 1.5), (1.2, None), (1.75, 2.4), (2.0, 3.0), (1.75, 9.0)]
    sources = [manifest.Source(f"v{i}", "v", 1, *part) for i, part in enumerate(parts)]
    report = build({"train": sources}, scan={"fps": 10.0})
    numbers = [
        tiny.numbers(r.decode(np.arange(r.num_frames))).tolist()
        for r in map(opened().__getitem__, range(4))
    ]
    assert numbers == [[*range(5)], [*range(5, 15)], [*range(12, 20)], [18, 19]]
    reasons = [row["reason"] for row in report.rejected]
    assert reasons == ["segment_past_end:2>2", "segment_past_end:9>2"]


def test_a_hole_matters_only_to_the_parts_that_have_it(build, opened, tmp_path, tiny):
    folder = write_frames(tmp_path / "videos" / "v", tiny, 20)
    (folder / "img_00015.jpg").unlink()
    parts = [(0.0, 1.0), (1.0, 2.0)]
    sources = [manifest.Source(f"v{i}", "v", 1, *part) for i, part in enumerate(parts)]
    report = build({"train": sources}, scan={"fps": 10.0})
    assert list(opened().ids) == ["v0"]
    assert [(r["id"], r["reason"]) for r in report.rejected] == [("v1", "missing_frame@15")]


def test_untouched_files_cannot_be_folders(build, tmp_path, tiny):
    write_frames(tmp_path / "videos" / "v", tiny)
    with pytest.raises(InputError, match="'v' is a folder of frames; use --kind frames"):
        build({"train": [SOURCE]}, kind="encoded")
    assert not (tmp_path / "out").exists()


# ---- parts of files


@pytest.fixture
def long_video(tmp_path, tiny):
    return tiny.write_video(tmp_path / "videos" / "long.mp4", 40)


@pytest.mark.parametrize("kind", ["frames", "encoded"])
def test_parts_of_one_file(build, opened, long_video, tiny, kind):
    parts = [(0.0, 0.4), (0.2, 1.0), (1.04, None)]
    sources = [manifest.Source(f"v{i}", "long.mp4", i, *part) for i, part in enumerate(parts)]
    build({"train": sources}, kind=kind)
    split = opened()
    wanted = [range(10), range(5, 25), range(26, 40)]
    sha256 = hashlib.sha256(long_video.read_bytes()).hexdigest()
    for row, numbers in enumerate(wanted):
        record = split[row]
        got = tiny.numbers(record.decode(np.arange(record.num_frames)))
        np.testing.assert_array_equal(got, numbers)
        assert record.timestamps[0] == 0
        facts = split.manifest[row]
        assert (facts["path"], facts["sha256"]) == ("long.mp4", sha256)
        assert (facts["start_s"], facts["end_s"]) == parts[row]


def test_a_file_of_many_parts_is_hashed_once(build, long_video, monkeypatch):
    seen = []
    hash_file = originals._file_sha256
    monkeypatch.setattr(originals, "_file_sha256", lambda p: (seen.append(p), hash_file(p))[1])
    stats = []
    look = originals._file_facts
    monkeypatch.setattr(originals, "_file_facts", lambda p: (stats.append(p), look(p))[1])
    sources = [manifest.Source(f"v{i}", "long.mp4", 0, i / 25, i / 25 + 0.2) for i in range(30)]
    assert build({"train": sources}, num_workers=4).num_accepted == 30
    assert len(seen) == len(stats) == 1


# ---- labels


def labelled(labels):
    return [manifest.Source(f"v{i}", "long.mp4", label) for i, label in enumerate(labels)]


def test_any_number_of_labels(build, opened, long_video):
    build({"train": labelled([(0, 3), (), (2,)])}, scan={"label_kind": "multi"})
    split = opened()
    assert split.labels.tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert [split[i].label for i in range(3)] == [(0, 3), (), (2,)]
    assert split.manifest[0]["labels"] == [0, 3] and "label" not in split.manifest[0]


def test_a_label_of_each_group(build, opened, tmp_path, long_video):
    scan = {"label_kind": "joint", "label_groups": {"verb": 2, "noun": 2}}
    build({"train": labelled([(0, 3), (1, 2), (1, -1)])}, scan=scan)
    records, split = pipeline.open_records(tmp_path / "out"), opened()
    assert records.label_kind == "joint" and records.label_groups == {"verb": 2, "noun": 2}
    assert list(records.label_groups) == ["verb", "noun"]
    assert split.labels.tolist() == [[0, 3], [1, 2], [1, -1]]  # a noun that is not known
    assert (split[1].label, split[2].label) == ((1, 2), (1, -1))


def test_labels_of_mirrored_videos(build, opened, tmp_path, long_video):
    build({"train": labelled([0, 1])}, scan={"mirror_labels": (1, 0, 2, 3)})
    for found in (pipeline.open_records(tmp_path / "out"), opened()):
        assert found.mirror_labels.tolist() == [1, 0, 2, 3]
        assert found.mirror_labels.dtype == np.int32
    build({"train": labelled([0, 1])}, "plain")
    assert pipeline.open_records(tmp_path / "plain").mirror_labels is None
    hashes = {pipeline.open_records(tmp_path / out).manifest_sha256 for out in ("out", "plain")}
    assert len(hashes) == 2


@pytest.mark.parametrize("kind", ["frames", "encoded"])
@pytest.mark.parametrize(
    ("label_kind", "labels", "read"),
    [("multi", [(0, 3), ()], "[0, 3]"), ("joint", [(1, 2), (0, 3)], "[1, 2]")],
)
def test_tfds_reads_several_labels_without_tensorflow(
    build, tmp_path, long_video, kind, label_kind, labels, read
):
    groups = {"label_groups": {"verb": 2, "noun": 2}} if label_kind == "joint" else {}
    build({"train": labelled(labels)}, kind=kind, scan={"label_kind": label_kind, **groups})
    code = f"""
import sys
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory({str(tmp_path / "out")!r})
assert builder.info.features["labels"].feature.names == list({CLASSES!r})
source = builder.as_data_source("train")
first, second = source[0], source[1]
assert list(first["labels"]) == {read}, first["labels"]
assert list(second["labels"]) == {list(labels[1])!r}, second["labels"]
assert first["num_frames"] == 40 and ("frames" in first) == ({kind!r} == "frames")
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_with_fewer_frames_than_its_list_says_is_refused(build, tmp_path, tiny):
    write_frames(tmp_path / "videos" / "v", tiny, 10)
    sources = [
        manifest.Source(str(stated), "v", 1, metadata={manifest.STATED_FRAMES: stated})
        for stated in (9, 10, 11, 300)
    ]
    report = build({"train": sources})
    reasons = {row["id"]: row["reason"] for row in report.rejected}
    assert reasons == {"11": "truncated:10/11", "300": "truncated:10/300"}
    assert report.num_accepted == 2


# ---- which videos


def test_some_videos_of_every_class():
    labels = [0] * 6 + [1] * 2 + [2] * 6 + [3] * 6
    sources = tuple(manifest.Source(str(i), str(i), label) for i, label in enumerate(labels))
    scan = manifest.Scan(CLASSES, {"train": sources, "val": sources[:3]}, is_strict=True)

    def taken(limit):
        found = selection.limited(scan, limit)
        assert not found.is_strict and len(found.splits["val"]) == min(3, limit)
        rows = [int(v.id) for v in found.splits["train"]]
        assert rows == sorted(rows)
        return [labels.count(k) and [labels[r] for r in rows].count(k) for k in range(4)]

    assert taken(2) == [1, 0, 1, 0]
    assert taken(4) == [1, 1, 1, 1]
    assert taken(10) == [3, 2, 3, 2]
    assert taken(100) == [6, 2, 6, 6]


def test_videos_with_several_labels_or_none_count_for_the_first():
    sources = [manifest.Source(str(i), str(i), v) for i, v in enumerate([(), (1, 0), (1,), ()])]
    scan = manifest.Scan(CLASSES, {"train": tuple(sources)}, label_kind="multi")
    assert [v.id for v in selection.limited(scan, 2).splits["train"]] == ["0", "1"]


def test_a_limited_build_takes_any_number_of_classes(ucf_tree, tmp_path):
    report = builder.build(ucf_tree, tmp_path / "out", limit=2, progress=False)
    assert report.splits == {"train": 2, "test": 2}
    split = pipeline.open_records(tmp_path / "out").split("train")
    assert split.labels.tolist() == [0, 1]
    with pytest.raises(InputError, match="made with limit=2; choose another --out"):
        builder.build(ucf_tree, tmp_path / "out", limit=3, progress=False)
    with pytest.raises(InputError, match="limit must be at least 1"):
        builder.build(ucf_tree, tmp_path / "x", limit=0, progress=False)


def test_what_a_reader_refuses_is_listed_too(build, tmp_path, long_video):
    row = {"id": "gone", "source": "gone.mp4", "split": "train", "reason": "missing_file"}
    report = build({"train": labelled([0])}, scan={"refused": (row,)})
    assert (report.num_accepted, report.num_rejected) == (1, 1)
    assert json.loads((tmp_path / "out" / "rejected.json").read_text()) == [row]
    with pytest.raises(InputError, match=r"'gone.mp4' was refused \(missing_file\) and --strict"):
        build({"train": labelled([0])}, "strict", scan={"refused": (row,)}, strict=True)


def test_a_file_that_may_not_be_read_is_refused(build, tmp_path, long_video, monkeypatch):
    from tempo.data.video import decode

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decode, "read_file", forbidden)
    with pytest.raises(InputError, match="All 1 videos were refused"):
        build({"train": labelled([0])})
    (row,) = json.loads((tmp_path / "out" / "rejected.json").read_text())
    assert row["reason"] == "unreadable_file:Permission denied"


def test_a_name_that_is_no_text(own_tree, tmp_path):
    folder = own_tree / "videos"
    (folder / "Class0" / "v_train_00.mp4").rename(folder / "Class0" / "v\udcff.mp4")
    with pytest.raises(InputError, match="is not UTF-8; rename the file"):
        builder.build(folder, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_large_file_is_decoded_from_disk_with_the_same_result(
    build, tmp_path, long_video, monkeypatch
):
    from tempo.data.builders import examples
    from tempo.data.video import decode

    reports = [build({"train": labelled([0])}, "in_memory")]
    monkeypatch.setattr(examples, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(decode, "read_file", None)
    reports.append(build({"train": labelled([0])}, "from_disk"))
    assert reports[0].manifest_sha256 == reports[1].manifest_sha256
    name = "videos-train.array_record-00000-of-00001"
    a, b = ((tmp_path / out / name).read_bytes() for out in ("in_memory", "from_disk"))
    assert a == b


def test_tfds_reads_flow_without_tensorflow(build, tmp_path, long_video):
    build({"train": labelled([2])}, flow={"name": "dis"})
    code = f"""
import sys
import tensorflow_datasets as tfds
example = tfds.builder_from_directory({str(tmp_path / "out")!r}).as_data_source("train")[0]
assert example["label"] == 2 and len(example["frames"]) == 40
assert len(example["flow_x"]) == len(example["flow_y"]) == 39
assert example["flow_x"][0].shape == (48, 64, 1)
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
