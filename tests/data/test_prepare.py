"""The command: exit status, one line per error, a count of what was refused."""

import json
import subprocess
import sys

import pytest

from tempo import prepare
from tempo.data import pipeline, specs


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


@pytest.fixture
def listed(tmp_path, tiny):
    """Videos without folders of classes, and lists that name them: the arguments."""
    for i in range(12):
        tiny.write_video(tmp_path / "videos" / f"v{i:02d}.mp4", 12, tint=i)
    rows = [f"v{i:02d}.mp4 {i % 3}\n" for i in range(12)]
    (tmp_path / "train.txt").write_text("".join(rows[:9]))
    (tmp_path / "held_out.txt").write_text("".join(rows[9:]))
    (tmp_path / "classes.txt").write_text("jump\nrun\nwalk\nnever\n")
    lists = [tmp_path / "train.txt", f"val={tmp_path / 'held_out.txt'}"]
    named = ("--dataset", "mmaction_videos", "--videos", tmp_path / "videos")
    return (*named, "--annotations", *lists, "--classes", tmp_path / "classes.txt")


def test_a_dataset_by_its_lists(listed, tmp_path, capsys):
    status, said = run(capsys, *listed, "--out", tmp_path / "out")
    assert status == 0 and "12 videos accepted (train 9, val 3)" in said.out
    records = pipeline.open_records(tmp_path / "out")
    assert records.class_names == ("jump", "run", "walk", "never")
    assert records.split("val").labels.tolist() == [0, 1, 2]
    assert records.split("train").labels.tolist() == [0, 1, 2] * 3


def test_a_few_videos_of_each_class(listed, tmp_path, capsys):
    status, said = run(capsys, *listed, "--out", tmp_path / "out", "--limit", 3)
    assert status == 0 and "6 videos accepted (train 3, val 3)" in said.out
    assert pipeline.open_records(tmp_path / "out").split("train").labels.tolist() == [0, 1, 2]


def test_videos_that_are_not_there(listed, tmp_path, capsys):
    (tmp_path / "videos" / "v01.mp4").unlink()
    status, said = run(capsys, *listed, "--out", tmp_path / "out")
    assert status == 2 and "v01.mp4" in said.err and "--allow-missing" in said.err
    assert not (tmp_path / "out").exists()
    status, said = run(capsys, *listed, "--out", tmp_path / "out", "--allow-missing")
    assert status == 1 and "1 refused: 1 missing_file; see" in said.out
    assert len(pipeline.open_records(tmp_path / "out").split("train")) == 8


def test_what_was_left_out_is_told(listed, tmp_path, capsys):
    path = tmp_path / "train.txt"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    for flags in (["--check-only"], [], []):
        status, said = run(capsys, *listed, "--out", tmp_path / "out", *flags)
        assert status == 0 and said.out.endswith("\nlines of lists repeated, taken once: 1\n")


def test_the_table_of_datasets(capsys):
    with pytest.raises(SystemExit) as error:
        prepare.main(["--list-datasets"])
    said = capsys.readouterr().out
    assert error.value.code == 0
    starts = [line.split()[0] for line in said.splitlines() if line[:1].strip()]
    assert starts[1:] == list(specs.DATASETS)
    assert max(map(len, said.splitlines())) <= 100


def test_a_dataset_that_nobody_knows(tmp_path, capsys):
    status, said = run(capsys, "--videos", tmp_path, "--out", "o", "--dataset", "kinetics40")
    assert status == 2 and "Did you mean 'kinetics400'?" in said.err


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


@pytest.mark.parametrize("said", ["method=3", "name=3", "bound=3", "camera=3", "jpeg_quality=3"])
def test_what_has_a_flag_of_its_own_is_no_parameter_of_flow(said, tmp_path, capsys):
    args = ("--videos", tmp_path, "--out", tmp_path / "out", "--flow", "dis", "--flow-set", said)
    status, told = run(capsys, *args)
    assert status == 2 and told.err.count("\n") == 1
    assert "is no parameter of a method; say --flow" in told.err
