"""The command: what it prints, what it refuses, and how it ends."""

import io
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tempo import predict
from tests.data.conftest import write_video
from tests.prediction import checkpoints

NAMES = ("run", "walk", "sit", "stand", "jump", "lie", "fall")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A checkpoint that knows its classes, one that does not, and two videos."""
    root = tmp_path_factory.mktemp("predict")
    checkpoints.write(root / "named", class_names=list(NAMES))
    checkpoints.write(root / "unnamed")
    write_video(root / "videos" / "b.mp4", 40)
    write_video(root / "videos" / "a" / "b.mkv", 20, codec="libx264")
    return root


def run(capsys, *flags):
    status = predict.main([str(flag) for flag in flags])
    out, err = capsys.readouterr()
    return status, out, err


def rows(out):
    return [json.loads(line) for line in out.splitlines()]


def test_a_table_for_people(root, capsys):
    status, out, err = run(
        capsys, "--checkpoint", root / "named", root / "videos" / "b.mp4", "--topk", 3
    )
    assert (status, err) == (0, "")
    first, video, *ranked = out.splitlines()
    assert "2 clip(s) of 4x2 frames (linspace) x 3 crop(s)" in first and "named" in first
    assert video == f"{root}/videos/b.mp4 (40 frames, 1.60 s)"
    assert len(ranked) == 3
    names = [line.split()[1] for line in ranked]
    percents = [float(line.split()[0].rstrip("%")) for line in ranked]
    assert set(names) <= set(NAMES) and percents == sorted(percents, reverse=True)


def test_json_lines_say_the_same_as_the_python_api(root, capsys):
    status, out, err = run(
        capsys, "--checkpoint", root / "named", root / "videos", "--json", "--views", "3x1"
    )
    assert (status, err) == (0, "")
    found = rows(out)
    assert [row["path"] for row in found] == [f"{root}/videos/{n}" for n in ("a/b.mkv", "b.mp4")]
    expected = list(
        predict.predict(str(root / "named"), [row["path"] for row in found], views="3x1")
    )
    for row, prediction in zip(found, expected, strict=True):
        order = np.argsort(-prediction.probs)[:5]
        assert row["classes"] == [NAMES[i] for i in order]
        assert row["probs"] == [round(float(p), 6) for p in prediction.probs[order]]
        assert row["num_views"] == 3 and row["views"].startswith("3 clip(s)")
        assert row["num_frames"] == prediction.num_frames
        assert row["duration"] == round(prediction.duration_s, 6)
        assert row["checkpoint"] == str(root / "named")
    assert [row["num_frames"] for row in found] == [20, 40]


def test_classes_without_names_are_numbered_or_named_by_a_file(root, capsys, tmp_path):
    video = root / "videos" / "b.mp4"
    _, out, _ = run(capsys, "--checkpoint", root / "unnamed", video, "--json", "--topk", 99)
    [row] = rows(out)
    assert sorted(row["classes"]) == [f"class {i}" for i in range(7)]
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    flags = ("--checkpoint", root / "unnamed", video, "--json", "--topk", 99)
    _, out, _ = run(capsys, *flags, "--classes", tmp_path / "names.txt")
    [named] = rows(out)
    assert named["classes"] == [NAMES[int(name.split()[1])] for name in row["classes"]]


def test_a_video_that_fails_is_named_and_the_others_go_on(root, capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see\n" * 99)
    video = root / "videos" / "b.mp4"
    status, out, err = run(
        capsys, "--checkpoint", root / "named", tmp_path / "notes.txt", video, "--json"
    )
    assert status == 1
    assert err == (
        f"error: {tmp_path}/notes.txt: unreadable_container (no video file, or a damaged one)\n"
    )
    bad, good = rows(out)
    assert bad.keys() == {"path", "checkpoint", "error"} and "unreadable" in bad["error"]
    assert good["path"] == str(video) and "error" not in good
    status, out, _ = run(capsys, "--checkpoint", root / "named", tmp_path / "notes.txt", video)
    assert status == 1 and "notes.txt" not in out and "b.mp4" in out


def test_a_list_on_stdin(root, capsys, monkeypatch):
    lines = f"{root}/videos/b.mp4\n{root}/gone.mp4\n{root}/videos/a/b.mkv\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    status, out, err = run(capsys, "--checkpoint", root / "named", "-", "--json")
    assert status == 1 and "gone.mp4: missing_file (no such file" in err
    assert [row["path"] for row in rows(out)] == lines.split()


def test_names_that_are_no_text(root, monkeypatch, tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    shutil.copy(root / "videos" / "b.mp4", name)
    given, shown = io.BytesIO(name + b"\n"), io.BytesIO()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(given, "utf-8"))
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, "utf-8", write_through=True))
    assert predict.main(["--checkpoint", str(root / "named"), "-"]) == 0
    assert rb"/caf\udce9.mp4 (40 frames" in shown.getvalue()


def test_a_timeline_is_drawn_and_in_the_json(root, capsys, tmp_path):
    video = root / "videos" / "b.mp4"
    figure = tmp_path / "new" / "line.png"
    status, out, err = run(
        capsys, "--checkpoint", root / "named", video, "--json", "--timeline", figure, "--topk", 2,
        "--hop", "0.4",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert cv2.imread(str(figure)).std() > 5
    [row] = rows(out)
    line = row["timeline"]
    assert line["figure"] == str(figure)
    np.testing.assert_allclose(line["start_s"], [0, 0.4, 0.8, 1.2, 1.32], atol=1e-6)
    np.testing.assert_allclose(line["end_s"], np.array(line["start_s"]) + 7 / 25, atol=1e-6)
    assert len(line["classes"]) == 2 and np.shape(line["probs"]) == (2, 5)
    peaks = np.max(line["probs"], axis=1)
    assert peaks[0] >= peaks[1] > 0


def test_timelines_of_several_videos_have_their_names(root, capsys, tmp_path):
    flags = ("--checkpoint", root / "named", root / "videos", "--timeline", tmp_path / "t.svg")
    status, out, _ = run(capsys, *flags)
    assert status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"t_b.svg", "t_b_2.svg"}
    assert f"windows: {tmp_path}/t_b_2.svg" in out


def test_verbs_and_nouns_are_ranked_together_and_apart(root, capsys, tmp_path):
    path = checkpoints.write(
        tmp_path / "joint",
        label_kind="joint",
        label_groups={"verb": 3, "noun": 4},
        class_names=["take", "put", "cut", "knife", "cup", "pan", "lid"],
    )
    _, out, _ = run(capsys, "--checkpoint", path, root / "videos" / "b.mp4", "--json", "--topk", 4)
    [row] = rows(out)
    [found] = predict.predict(path, [str(root / "videos" / "b.mp4")])
    pairs = np.outer(found.probs[:3], found.probs[3:])
    np.testing.assert_allclose(row["probs"], np.sort(pairs.ravel())[::-1][:4], atol=1e-6)
    verb, noun = np.unravel_index(pairs.argmax(), pairs.shape)
    assert (
        row["classes"][0] == f"{['take', 'put', 'cut'][verb]} {row['groups']['noun']['classes'][0]}"
    )
    assert row["groups"]["verb"]["probs"][0] == pytest.approx(found.probs[:3].max(), abs=1e-6)
    assert len(row["groups"]["verb"]["classes"]) == 3 and noun < 4


def test_what_is_wrong_is_one_line_and_found_before_any_work(root, capsys, tmp_path, monkeypatch):
    video, named = root / "videos" / "b.mp4", root / "named"
    (tmp_path / "short.txt").write_text("a\nb\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for flags, message in (
        ((tmp_path / "none", video), "No checkpoint at"),
        ((tmp_path / "empty", video), "No checkpoint in"),
        ((named, tmp_path / "none.mp4"), "No video at"),
        ((named, tmp_path / "empty"), "holds no videos"),
        ((named, "-"), "list of videos on stdin is empty"),
        ((named, video, "--views", "10x4"), "crops can be 1, 3, 5, 10"),
        ((named, video, "--views", "nonsense"), "neither clips x crops"),
        ((named, video, "--topk", 0), "--topk must be at least 1"),
        ((named, video, "--batch-size", 0), "--batch-size must be at least 1"),
        ((named, video, "--stride-scale", 0), "must be above 0"),
        ((named, video, "--stride-scale", "nan"), "must be above 0"),
        ((named, video, "--stride-scale", 1e300), "at most 1000"),
        ((named, video, "--hop", -1), "seconds above 0"),
        ((named, video, "--timeline", "line.jpg"), "must end with .png, .svg, .pdf"),
        ((named, video, "--timeline", video / "line.png"), "no folder that can be written"),
        ((named, video, "--classes", tmp_path / "short.txt"), "lists 2 classes, but the model has"),
    ):
        status, out, err = run(capsys, "--checkpoint", *flags)
        assert status == 2 and out == "" and message in err, flags
        assert err.startswith("error: ") and err.count("\n") == 1


def test_a_damaged_checkpoint(root, capsys, tmp_path):
    shutil.copytree(root / "named", tmp_path / "cut")
    (tmp_path / "cut" / "info" / "metadata").write_text("{")
    status, _, err = run(capsys, "--checkpoint", tmp_path / "cut", root / "videos" / "b.mp4")
    assert status == 2 and "damaged" in err and err.count("\n") == 1


def test_a_reader_that_has_read_enough_ends_it_quietly(root):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tempo.predict", "--checkpoint", str(root / "named")]
    done = subprocess.run(
        [*command, str(root / "videos" / "b.mp4")], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_is_quick_and_names_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        predict.main(["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    for flag in ("--checkpoint", "--json", "--views", "--timeline", "--stride-scale", "--classes"):
        assert flag in out
