"""Building records: parallel, resumable after a kill, whole or not there, refusals reasoned."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from array_record.python import array_record_data_source

from tempo.data import pipeline
from tempo.data.builders import records as builder
from tempo.errors import InputError


def build(videos, out, **kwargs):
    return builder.build(
        videos, out, **dict(short_side_px=0, num_shards=3, progress=False) | kwargs
    )


def raw_records(out):
    files = sorted(map(str, out.glob("videos-*.array_record-*")))
    splits = {name: [f for f in files if f"videos-{name}." in f] for name in ("train", "test")}
    return {
        name: [source[i] for i in range(len(source))]
        for name, paths in splits.items()
        for source in [array_record_data_source.ArrayRecordDataSource(paths)]
    }


def read_manifest(out):
    return json.loads((out / "manifest.json").read_text())


def test_report_and_manifest(ucf_tree, tmp_path):
    out = tmp_path / "deep" / "out"
    report = build(ucf_tree, out)
    assert (report.num_accepted, report.num_rejected, report.num_reused) == (15, 0, 0)
    assert report.splits == {"train": 10, "test": 5}
    made = read_manifest(out)
    assert made["sha256"] == report.manifest_sha256
    assert made["splits"]["train"]["num_videos"] == 10
    first = pipeline.open_records(out).split("train").manifest[0]
    assert (first["id"], first["split"]) == ("Class0/v_train_00.mp4", "train")
    assert first["path"] == "videos/Class0/v_train_00.mp4"
    assert (first["start_s"], first["end_s"], first["rotation"]) == (0, None, 0)
    assert (first["num_frames"], first["width"], first["height"]) == (12, 64, 48)
    assert first["fps"] == 25 and first["duration_s"] == pytest.approx(0.48)
    assert len(first["sha256"]) == 64
    assert json.loads((out / "rejected.json").read_text()) == []
    assert not (out / ".build").exists()


@pytest.mark.parametrize("kind", ["frames", "encoded"])
def test_records_do_not_depend_on_threads_or_shards(ucf_tree, tmp_path, kind):
    a = build(ucf_tree, tmp_path / "a", kind=kind, num_workers=1, num_shards=1)
    b = build(ucf_tree, tmp_path / "b", kind=kind, num_workers=4, num_shards=5)
    assert a.manifest_sha256 == b.manifest_sha256
    assert raw_records(tmp_path / "a") == raw_records(tmp_path / "b")


def test_short_side_is_reduced_and_never_enlarged(ucf_tree, tmp_path):
    build(ucf_tree, tmp_path / "small", short_side_px=24)
    build(ucf_tree, tmp_path / "large", short_side_px=256)
    sizes = [
        pipeline.open_records(tmp_path / name).split("test")[0].decode([0]).shape[1:3]
        for name in ("small", "large")
    ]
    assert sizes == [(24, 32), (48, 64)]


def test_facts_about_videos_reach_the_manifest(own_tree, tmp_path):
    facts = {"Class0/v_train_00.mp4": {"cycles_per_s": 1.5}}
    (own_tree / "tempo.json").write_text(json.dumps(facts))
    build(own_tree, tmp_path / "out")
    split = pipeline.open_records(tmp_path / "out").split("train")
    assert split.manifest[0]["metadata"] == {"cycles_per_s": 1.5}
    assert split.manifest[1]["metadata"] == {}


def spoil(tree):
    """Breaks four videos; the reasons by id."""
    folder = tree / "videos" / "Class0"
    (folder / "v_train_00.mp4").write_bytes(b"")
    (folder / "v_train_03.mp4").write_text("no video")
    (folder / "v_train_06.mp4").unlink()
    whole = (folder / "v_test_00.mp4").read_bytes()
    (folder / "v_test_00.mp4").write_bytes(whole[: len(whole) // 2])
    return {
        "Class0/v_train_00.mp4": "empty_file",
        "Class0/v_train_03.mp4": "unreadable_container",
        "Class0/v_train_06.mp4": "missing_file",
        "Class0/v_test_00.mp4": "unreadable_container",
    }


def test_refused_files_are_listed_with_their_reason(own_tree, tmp_path):
    reasons = spoil(own_tree)
    with pytest.raises(InputError, match="v_train_06.mp4; add them, or .* --allow-missing"):
        build(own_tree, tmp_path / "out")
    report = build(own_tree, tmp_path / "out", allow_missing=True)
    assert (report.num_accepted, report.num_rejected) == (11, 4)
    rejected = json.loads((tmp_path / "out" / "rejected.json").read_text())
    assert {row["id"]: row["reason"] for row in rejected} == reasons
    assert {row["split"] for row in rejected} == {"train", "test"}
    opened = pipeline.open_records(tmp_path / "out")
    for name, count in (("train", 7), ("test", 4)):
        split = opened.split(name)
        assert len(split) == count and not set(split.ids) & set(reasons)
        assert [split[i].id for i in range(count)] == split.ids


def test_a_shard_without_a_good_video_is_left_out(own_tree, tmp_path):
    spoil(own_tree)
    build(own_tree, tmp_path / "out", num_shards=10, allow_missing=True)
    names = sorted(p.name for p in (tmp_path / "out").glob("videos-train.array_record*"))
    assert names == [f"videos-train.array_record-{i:05d}-of-00007" for i in range(7)]
    assert len(pipeline.open_records(tmp_path / "out").split("train")) == 7


def test_strict_stops_at_the_first_and_goes_on_when_it_is_mended(own_tree, ucf_tree, tmp_path):
    for name in ("v_train_09", "v_test_03"):
        (own_tree / "videos" / "Class0" / f"{name}.mp4").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"v_train_09.mp4' was refused \(empty_file\) and --st"
        ):
            build(own_tree, tmp_path / "out", strict=True)
    assert not pipeline.is_complete(tmp_path / "out")
    for name in ("v_train_09", "v_test_03"):
        place = f"videos/Class0/{name}.mp4"
        (own_tree / place).write_bytes((ucf_tree / place).read_bytes())
    report = build(own_tree, tmp_path / "out", strict=True)
    assert report.num_accepted == 15 and report.num_reused == 6
    build(ucf_tree, tmp_path / "whole")
    assert raw_records(tmp_path / "out") == raw_records(tmp_path / "whole")


def test_strict_stops_at_what_an_earlier_build_refused(own_tree, tmp_path, monkeypatch):
    from tempo.data.builders import features

    (own_tree / "videos" / "Class0" / "v_train_09.mp4").write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(features, "write", None)
        with pytest.raises(TypeError):
            build(own_tree, tmp_path / "out")
    with pytest.raises(InputError, match="v_train_09.mp4' was refused"):
        build(own_tree, tmp_path / "out", strict=True)


def test_a_class_whose_test_videos_are_all_refused(own_tree, tmp_path):
    for name in ("v_test_01", "v_test_04"):
        (own_tree / "videos" / "Class1" / f"{name}.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"Class 'Class1' has no test video.* 2 were refused"):
        build(own_tree, tmp_path / "out")
    assert not pipeline.is_complete(tmp_path / "out")


def test_when_every_video_is_refused(tmp_path):
    for i in range(4):
        path = tmp_path / "videos" / "run" / f"{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(InputError, match="All 4 videos were refused"):
        build(tmp_path / "videos", tmp_path / "out")


def test_the_same_build_again_does_nothing(own_tree, tmp_path):
    report = build(own_tree, tmp_path / "out")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    for path in (own_tree / "videos").rglob("*.mp4"):
        os.utime(path)  # copied files have new times
    again = build(own_tree, tmp_path / "out", num_shards=1)
    assert again.num_reused == 15 and again.manifest_sha256 == report.manifest_sha256
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"kind": "encoded"}, "made with kind=frames"),
        ({"short_side_px": 24}, "made with short_side_px=0"),
        ({"jpeg_quality": 75}, "made with jpeg_quality=90"),
        ({"min_frames": 5}, "made with min_frames=2"),
    ],
)
def test_another_dataset_is_not_overwritten(ucf_tree, frames_dir, kwargs, message):
    with pytest.raises(InputError, match=message):
        build(ucf_tree, frames_dir, **kwargs)


def test_other_videos_are_not_mixed_in(own_tree, tmp_path):
    build(own_tree, tmp_path / "out")
    with open(own_tree / "videos" / "Class0" / "v_train_00.mp4", "ab") as f:
        f.write(b"more")
    with pytest.raises(InputError, match="made from other videos"):
        build(own_tree, tmp_path / "out")


def test_a_folder_of_other_things_is_left_alone(ucf_tree, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("words")
    with pytest.raises(InputError, match=r"holds 'thesis\.tex' and no dataset"):
        build(ucf_tree, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "kwargs", [{"short_side_px": -1}, {"jpeg_quality": 0}, {"min_frames": 0}, {"kind": "frame"}]
)
def test_settings_out_of_range(ucf_tree, tmp_path, kwargs):
    with pytest.raises(InputError):
        build(ucf_tree, tmp_path / "out", **kwargs)
    assert not (tmp_path / "out").exists()


# Each stops the process for good at another place: between videos, while shards move to their final
# names, and just before the manifest.
KILLS = {
    "between_videos": """
from tempo.data.builders import examples
original, seen = examples.encode_video, []
def stop(*args):
    seen.append(1)
    if len(seen) == 9:
        die()
    return original(*args)
examples.encode_video = stop
""",
    "while_moving": """
original, seen = os.replace, []
def stop(source, target):
    original(source, target)
    if "-of-" in os.path.basename(target):
        seen.append(1)
        if len(seen) == 2:
            die()
os.replace = stop
""",
    "before_the_manifest": """
from tempo import files
original = files.write_json
def stop(path, value):
    if path.endswith("/manifest.json"):
        die()
    original(path, value)
files.write_json = stop
""",
}


@pytest.mark.parametrize("place", KILLS)
def test_a_killed_build_goes_on(place, ucf_tree, frames_dir, tmp_path):
    code = f"""
import os, signal, time
from tempo.data.builders import records
def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
{KILLS[place]}
records.build({str(ucf_tree)!r}, {str(tmp_path / "out")!r}, short_side_px=0, num_shards=3,
              num_workers=1, progress=False)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(InputError, match="an unfinished dataset"):
        pipeline.open_records(tmp_path / "out")
    report = build(ucf_tree, tmp_path / "out")
    assert report.num_accepted == 15
    assert report.num_reused == 15 if place != "between_videos" else 0 < report.num_reused < 9
    assert raw_records(tmp_path / "out") == raw_records(frames_dir)
    assert read_manifest(tmp_path / "out") == read_manifest(frames_dir)


def test_an_unfinished_build_with_other_settings_starts_over(ucf_tree, tmp_path, monkeypatch):
    from tempo.data.builders import features

    def broken(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(features, "write", broken)
        with pytest.raises(KeyboardInterrupt):
            build(ucf_tree, tmp_path / "out", num_shards=5)
    report = build(ucf_tree, tmp_path / "out", short_side_px=24)
    assert report.num_reused == 0
    assert len(list((tmp_path / "out").glob("videos-train.array_record*"))) == 3
    split = pipeline.open_records(tmp_path / "out").split("train")
    assert split[0].decode([0]).shape == (1, 24, 32, 3)


def test_shards_that_were_moved_are_renamed_when_their_number_changes(
    own_tree, ucf_tree, tmp_path, monkeypatch
):
    """Stopped after the move; then a broken video is mended, and its shard is one more."""
    from tempo.data.builders import features

    place = "videos/Class0/v_train_03.mp4"
    (own_tree / place).write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(features, "write", None)
        with pytest.raises(TypeError):
            build(own_tree, tmp_path / "out", num_shards=10)
    (own_tree / place).write_bytes((ucf_tree / place).read_bytes())
    report = build(own_tree, tmp_path / "out", num_shards=10)
    assert (report.num_accepted, report.num_reused) == (15, 14)
    build(ucf_tree, tmp_path / "whole", num_shards=10)
    assert raw_records(tmp_path / "out") == raw_records(tmp_path / "whole")
    assert len(pipeline.open_records(tmp_path / "out").split("train")) == 10


def test_two_builders_of_one_dataset_wait_for_each_other(ucf_tree, tmp_path):
    code = f"""
from tempo.data.builders import records
print(records.build({str(ucf_tree)!r}, {str(tmp_path / "out")!r}, progress=False).num_reused)
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    reused = sorted(int(process.communicate(timeout=60)[0]) for process in both)
    assert reused == [0, 15]
    assert len(pipeline.open_records(tmp_path / "out").split("train")) == 10


def test_every_source_frame_is_in_its_place(ucf_tree, frames_dir, tiny):
    split = pipeline.open_records(frames_dir).split("test")
    for row in range(len(split)):
        record = split[row]
        got = tiny.numbers(record.decode(np.arange(record.num_frames)))
        np.testing.assert_array_equal(got, np.arange(record.num_frames))
