"""A check: a verdict on every video, no records, the same verdicts as a build."""

import json
import os

import pytest

from tempo import prepare
from tempo.data import pipeline
from tempo.data.builders import checks, examples
from tempo.data.builders import records as builder
from tempo.errors import InputError


@pytest.fixture
def mixed_tree(own_tree, tiny):
    """Ten videos to train on, three of them broken."""
    folder = own_tree / "videos" / "Class0"
    (folder / "v_train_00.mp4").write_bytes(b"")
    tiny.write_video(folder / "v_train_03.mp4", 1)
    whole = (folder / "v_train_06.mp4").read_bytes()
    (folder / "v_train_06.mp4").write_bytes(whole[: len(whole) // 2])
    return own_tree


def check(tree, out, **kwargs):
    return builder.build(tree, out, check_only=True, progress=False, **kwargs)


def verdicts(out):
    return [json.loads(line) for line in (out / "check.jsonl").read_text().splitlines()]


def test_every_video_has_a_verdict_and_a_refusal_a_reason(mixed_tree, tmp_path):
    out = tmp_path / "out"
    report = check(mixed_tree, out)
    assert (report.num_accepted, report.num_rejected, report.manifest_sha256) == (12, 3, "")
    assert sorted(p.name for p in out.iterdir()) == ["check.json", "check.jsonl"]
    rows = verdicts(out)
    assert len({row["id"] for row in rows}) == 15
    assert {row["verdict"] for row in rows} == {"accepted", "refused"}
    for row in rows:
        assert bool(row["reason"]) == (row["verdict"] == "refused")
        assert row["split"] in ("train", "test") and row["path"].startswith("videos/")
    accepted = next(row for row in rows if row["verdict"] == "accepted")
    assert accepted["num_frames"] and accepted["sha256"] and accepted["duration_s"]
    summary = json.loads((out / "check.json").read_text())
    assert summary["reasons"] == {
        "empty_file": 1,
        "too_few_frames": 1,
        "unreadable_container": 1,
    }
    assert summary["splits"]["train"] == {"accepted": 7, "refused": 3}
    assert (summary["num_accepted"], summary["num_refused"]) == (12, 3)


@pytest.mark.parametrize("kind", ["frames", "encoded"])
def test_a_build_comes_to_the_same_verdicts(mixed_tree, tmp_path, kind):
    checked = check(mixed_tree, tmp_path / "out", kind=kind)
    built = builder.build(mixed_tree, tmp_path / "out", kind=kind, progress=False)
    assert checked.rejected == built.rejected and checked.splits == built.splits
    rows = {row["id"]: row for row in verdicts(tmp_path / "out") if row["verdict"] == "accepted"}
    for split in ("train", "test"):
        for row in pipeline.open_records(tmp_path / "out").split(split).manifest:
            assert {"verdict": "accepted", "reason": ""} | row == rows[row["id"]]


def test_a_check_of_a_finished_dataset_leaves_it_alone(own_tree, tmp_path):
    built = builder.build(own_tree, tmp_path / "out", progress=False)
    (own_tree / "videos" / "Class0" / "v_train_00.mp4").write_bytes(b"")
    assert check(own_tree, tmp_path / "out").num_rejected == 1
    assert pipeline.open_records(tmp_path / "out").manifest_sha256 == built.manifest_sha256


def test_a_check_stores_nothing_and_encodes_nothing(own_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(examples.jpeg, "encode", None)
    monkeypatch.setattr(examples, "serialize", None)
    assert check(own_tree, tmp_path / "out").num_accepted == 15


def test_a_check_that_was_stopped_goes_on(own_tree, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checks, "write", None)
        with pytest.raises(TypeError):
            check(own_tree, tmp_path / "out", num_shards=3)
    assert check(own_tree, tmp_path / "out", num_shards=3).num_reused == 15
    assert not (tmp_path / "out" / ".check").exists()


def test_a_strict_check_stops_at_the_first(mixed_tree, tmp_path):
    with pytest.raises(InputError, match=r"v_train_00.mp4' was refused \(empty_file\)"):
        check(mixed_tree, tmp_path / "out", strict=True)
    assert os.listdir(tmp_path / "out") == [".check"]


def test_the_command_says_what_was_checked(mixed_tree, tmp_path, capsys):
    out = str(tmp_path / "out")
    status = prepare.main(["--videos", str(mixed_tree), "--out", out, "--check-only"])
    said = capsys.readouterr().out
    assert status == 1 and not pipeline.is_complete(out)
    assert f"{out} checked, no records made: 12 videos accepted (train 7, test 5)" in said
    assert "3 refused: 1 empty_file, 1 too_few_frames, 1 unreadable_container; see" in said
    assert f"{out}/check.jsonl" in said
