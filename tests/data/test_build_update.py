"""A dataset brought up to date: only shards whose files have changed are made again."""

import os
import shutil

import pytest

from tempo import prepare
from tempo.data import pipeline
from tempo.data.builders import features
from tempo.data.builders import records as builder
from tempo.errors import InputError

PLACE = "videos/Class0/v_train_03.mp4"


def build(videos, out, **kwargs):
    return builder.build(
        videos, out, **dict(short_side_px=0, num_shards=5, progress=False) | kwargs
    )


def content(out):
    return {p.name: p.read_bytes() for p in sorted(out.iterdir())}


@pytest.fixture
def mended(own_tree, ucf_tree, tmp_path):
    """A dataset with two refused videos, one of which is whole now."""
    for place in (PLACE, "videos/Class0/v_train_09.mp4"):
        (own_tree / place).write_bytes(b"")
    assert build(own_tree, tmp_path / "out").num_rejected == 2
    shutil.copy(ucf_tree / PLACE, own_tree / PLACE)
    return own_tree


def test_a_mended_file_costs_its_own_shard(mended, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="made from other videos; give --update"):
        build(mended, out)
    before = content(out)
    report = build(mended, out, update=True)
    assert (report.num_accepted, report.num_rejected, report.num_reused) == (14, 1, 13)
    build(mended, tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh") != before
    assert build(mended, out, update=True).num_reused == 15
    assert content(out) == content(tmp_path / "fresh")


def test_new_videos_and_a_stop_on_the_way(mended, ucf_tree, tmp_path, monkeypatch):
    out = tmp_path / "out"
    new = mended / "videos/Class1/v_test_99.mp4"
    shutil.copy(ucf_tree / PLACE, new)
    with open(mended / "ucfTrainTestlist" / "testlist01.txt", "a") as f:
        f.write("Class1/v_test_99.mp4\n")
    with monkeypatch.context() as patch:
        patch.setattr(features, "write", None)
        with pytest.raises(TypeError):
            build(mended, out, update=True)
    with pytest.raises(InputError, match="an unfinished dataset"):
        pipeline.open_records(out)
    report = build(mended, out)
    assert (report.num_accepted, report.num_reused) == (15, 16)
    build(mended, tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh")


def test_other_settings_are_no_update(mended, tmp_path):
    before = content(tmp_path / "out")
    with pytest.raises(InputError, match="made with short_side_px=0"):
        build(mended, tmp_path / "out", update=True, short_side_px=24)
    assert content(tmp_path / "out") == before


def test_the_flag(own_tree, tmp_path, capsys):
    args = ["--videos", str(own_tree), "--out", str(tmp_path / "out"), "--update"]
    assert prepare.main(args) == 0  # also where nothing is there yet
    os.remove(own_tree / "videos" / "Class0" / "v_train_00.mp4")
    assert prepare.main([*args, "--allow-missing"]) == 1
    assert "14 videos accepted" in capsys.readouterr().out
