"""The command: exit status, one line per error, a count of what was refused."""

import json
import subprocess
import sys

import pytest

from tempo import prepare
from tempo.data import pipeline


def run(capsys, *args):
    status = prepare.main([str(a) for a in args])
    return status, capsys.readouterr()


def test_all_accepted_is_status_0(ucf_tree, tmp_path, capsys):
    status, said = run(
        capsys, "--videos", ucf_tree, "--out", tmp_path / "out", "--short-side", 24,
        "--num-workers", 2,
    )  # fmt: skip
    assert status == 0
    assert "15 videos accepted (train 10, test 5)" in said.out
    assert "15/15" in said.err  # the progress bar
    assert pipeline.open_records(tmp_path / "out").short_side_px == 24


def test_a_refused_video_is_status_1_and_counted(own_tree, tmp_path, capsys):
    (own_tree / "videos" / "Class0" / "v_train_00.mp4").write_bytes(b"")
    args = ("--videos", own_tree, "--out", tmp_path / "out", "--kind", "encoded")
    for _ in range(2):  # also when nothing is left to do
        status, said = run(capsys, *args)
        assert status == 1
        assert "14 videos accepted" in said.out and "1 refused: 1 empty_file" in said.out
    assert pipeline.open_records(tmp_path / "out").kind == "encoded"


def test_the_command_refuses_a_video_of_one_frame(own_tree, tmp_path, tiny):
    tiny.write_video(own_tree / "videos" / "Class0" / "v_train_00.mp4", 1)
    command = [sys.executable, "-m", "tempo.prepare", "--videos", own_tree, "--out"]
    done = subprocess.run([*command, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "14 videos accepted" in done.stdout and "1 refused: 1 too_few_frames" in done.stdout
    (row,) = json.loads((tmp_path / "out" / "rejected.json").read_text())
    assert row["reason"] == "too_few_frames:1<2"
    assert row["id"] == "Class0/v_train_00.mp4"


def test_strict_with_a_refused_video_is_status_2(own_tree, tmp_path, capsys):
    (own_tree / "videos" / "Class0" / "v_train_00.mp4").write_bytes(b"")
    status, said = run(capsys, "--videos", own_tree, "--out", tmp_path / "out", "--strict")
    assert status == 2 and "--strict stops there" in said.err
    assert not pipeline.is_complete(tmp_path / "out")


def test_bad_input_is_status_2_and_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status, said = run(capsys, "--videos", tmp_path / "empty", "--out", tmp_path / "out")
    assert status == 2 and said.out == ""
    assert said.err.startswith("tempo.prepare: No videos below") and said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_split_that_is_not_there(ucf_tree, tmp_path, capsys):
    status, said = run(capsys, "--videos", ucf_tree, "--out", tmp_path / "out", "--split-number", 3)
    assert status == 2 and "--split-number can be 1" in said.err


def test_a_mistyped_flag(capsys):
    with pytest.raises(SystemExit) as error:
        prepare.main(["--video", "x", "--out", "y", "--kind", "frame"])
    assert error.value.code == 2
    assert "invalid choice: 'frame'" in capsys.readouterr().err


def test_help_loads_no_codec_and_no_jax():
    code = """
import sys
from tempo import prepare
try:
    prepare.main(["--help"])
except SystemExit:
    pass
assert not {"av", "cv2", "jax", "tensorflow_datasets"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "--short-side" in done.stdout, done.stderr
