"""The command: what it prints and writes, and one line for everything it cannot combine."""

import json
import re

import numpy as np
import pytest

from tempo import ensemble
from tempo.analysis import compared, scores
from tests import score_files

CONFIG = """
def get_config(arg):
    members = {"tta01": 2.0, "tta02": {"note": "flipped", "command": "evaluate {names}"}}
    return {"name": arg, "members": members, "published": {"top1": 84.5}}
"""


def write(folder, name, right, **changed):
    """A score file of one evaluator; its path."""
    logits = np.log(score_files.probs(right))
    score_files.write(folder, ["multi_view"], right=right, logits=logits, **changed)
    made = folder / "scores" / "multi_view.npz"
    return str(made.rename(folder / "scores" / f"{name}.npz"))


@pytest.fixture
def three(tmp_path):
    """Three score files of members that are right in different videos."""
    right = range(6), range(3, 9), [0, 1, 2, 6, 7, 8, 9, 11]
    return [write(tmp_path / f"run{i}", f"tta0{i}", own) for i, own in enumerate(right, 1)]


@pytest.fixture
def config(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG)
    return f"{tmp_path / 'config.py'}:mine"


def refused(capsys, *flags):
    """What the command complains of, in one line."""
    assert ensemble.main(flags) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_table_numbers_and_scores(three, tmp_path, capsys):
    out, combined = tmp_path / "out" / "e.json", tmp_path / "e" / "scores" / "e.npz"
    flags = ["--scores", *three, "--weights", "1", "1", "1.5"]
    assert ensemble.main([*flags, "--out", str(out), "--out-scores", str(combined)]) == 0
    said = capsys.readouterr().out.splitlines()
    arrays = [np.load(path)["logits"] for path in three]
    total = arrays[0] + arrays[1] + 1.5 * arrays[2]
    right = total.argmax(axis=1) == score_files.LABELS
    numbers = json.loads(out.read_text())
    assert numbers["ensemble"]["top1"] == right.mean() == 0.75
    assert [row["weight"] for row in numbers["members"]] == [1, 1, 1.5]
    assert said[0].split() == ["member", "weight", "top-1", "95", "%", "interval", "top-5"]
    assert said[2].split()[:3] == ["tta02", "1", "0.500"]
    assert said[4].split()[:2] == ["ensemble", f"{right.mean():.3f}"]
    assert any(line.startswith("ensemble minus tta03 (the best member") for line in said)
    assert "  tta01, tta02, tta03: 2 clips of 8x4 frames" in said
    # It is one more score file: of a run, for the report, and for another ensemble.
    again = scores.load(combined)
    np.testing.assert_array_equal(again.correct(), right)
    np.testing.assert_allclose(again.arrays["logits"], total / 3.5)
    assert compared.load(str(tmp_path / "e")).run.of_kind("multi_view").name == "e"
    assert ensemble.main(["--scores", str(combined), three[0]]) == 0


def test_a_config_picks_its_members_and_flags_win(three, config, tmp_path, capsys):
    out = tmp_path / "e.json"
    flags = ["--scores", *three[::-1], "--config", config, "--out", str(out)]
    assert ensemble.main([*flags, "--average", "probs", "--against", three[2]]) == 0
    said = capsys.readouterr().out
    assert "1 score files are no members" in said and "Published, on their videos: top1" in said
    numbers = json.loads(out.read_text())
    assert (numbers["name"], numbers["average"], numbers["left_out"]) == (
        "mine",
        "probs",
        three[2:],
    )
    assert [row["name"] for row in numbers["members"]] == ["tta01", "tta02"]
    assert [row["weight"] for row in numbers["members"]] == [2, 1]
    assert numbers["members"][1]["note"] == "flipped" and numbers["missing"] == []
    assert numbers["difference"]["against"] == "tta03"


def test_missing_members_are_named_with_what_makes_them(three, config, tmp_path, capsys):
    flags = ["--scores", three[0], "--config", config]
    err = refused(capsys, *flags)
    assert "'mine' has 1 of 2 members without a score file" in err
    assert err.endswith("tta02 by evaluate tta02\n")
    out = tmp_path / "e.json"
    assert ensemble.main([*flags, "--allow-missing", "--out", str(out)]) == 0
    assert "Incomplete: without tta02." in capsys.readouterr().out
    assert [row["name"] for row in json.loads(out.read_text())["missing"]] == ["tta02"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"manifest_sha256": "e" * 64}, "manifest_sha256 is 'eeeeeeeeeeee', not 'ffffffffffff'"),
        ({"split": "val"}, "split is 'val', not 'test'"),
        ({"class_names": ["Bounce", "Slide", "Roll"]}, "class_names is 3 "),
        ({"id": [f"{i}.avi" for i in range(12)]}, "24 videos are in one only, such as '0.avi'"),
        ({"id": [f"{i}.mp4" for i in range(12)][::-1]}, "their videos stand in another order"),
        ({"label": score_files.LABELS[::-1]}, "8 of 12 labels differ, such as that of '0.mp4'"),
        ({"label_kind": "joint"}, "label_kind is 'joint', not 'single'"),
    ],
)
def test_scores_of_other_videos_are_refused(three, tmp_path, capsys, changed, message):
    other = write(tmp_path / "other", "tta04", range(5), **changed)
    out = tmp_path / "e.json"
    err = refused(capsys, "--scores", three[0], other, "--out", str(out))
    assert message in err and other in err and not out.exists()
    assert message in refused(capsys, "--scores", three[0], "--against", other)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--weights", "1", "1", "1", "--config", "x.py"], "both say weights; give one"),
        (["--weights", "1"], "--weights has 1 numbers for 3 score files"),
        (["--weights", "0", "0", "0"], "All weights are 0"),
        (["--allow-missing"], "--allow-missing needs --config"),
        (["--config", "nowhere.py:ens1"], "There is no config 'nowhere.py'"),
        (["--config", "{tmp}/broken.py"], "broken.py': ZeroDivisionError: division by zero"),
        (["--average", "prob"], "Unknown average of an ensemble 'prob'. Did you mean 'probs'?"),
        (["--out", "{tmp}/e.txt"], "--out must be a file FILE.json; got"),
        (["--out-scores", "{tmp}/run1/scores/tta01.npz"], "is one of --scores; it would be over"),
        (["--out", "{tmp}/broken.py/e.json"], "cannot be written: "),
        (["--against", "{tmp}/run1/scores/tta1.npz"], "no score file .* Did you mean 'tta01.npz'"),
    ],
)
def test_flags_that_do_not_fit(three, tmp_path, capsys, flags, message):
    (tmp_path / "broken.py").write_text("1 / 0")
    flags = [flag.format(tmp=tmp_path) for flag in flags]
    assert ensemble.main(["--scores", *three, *flags]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(message, err)
