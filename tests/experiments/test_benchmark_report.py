"""What benchmarks say beside their numbers, of functions and of the commands themselves."""

import datetime
import json
import pathlib
import re
import subprocess
import sys
import types

import pytest

from experiments.benchmarks import report

ROOT = pathlib.Path(report.__file__).parents[2]


def run(program, *flags):
    """JSON documents that a benchmark prints."""
    command = [sys.executable, "-m", f"experiments.benchmarks.{program}", *map(str, flags)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = done.stdout[done.stdout.index("{") :]  # behind what is printed for the impatient
    rows = []
    while text:
        row, end = json.JSONDecoder().raw_decode(text)
        rows.append(row)
        text = text[end:].lstrip()
    return rows


def assert_repeatable(row, command):
    assert row["command"] == command
    assert re.fullmatch(r"[0-9a-f]{7,40}\+?|unknown", row["commit"])
    assert datetime.datetime.fromisoformat(row["date"]).tzinfo is not None
    assert row["versions"]["python"].count(".") == 2 and "numpy" in row["versions"]
    assert row["hardware"]["cpu"] and row["hardware"]["cpu_cores"] >= 1
    assert row["hardware"]["memory_gib"] > 0
    assert str(ROOT) not in json.dumps(row)


def test_conv_benchmark(tmp_path):
    out = tmp_path / "rows.jsonl"
    flags = "--model tsn_r18 --clip 2x32 --batch 1 --kind pointwise --only plain,fold --runs 2"
    (row,) = run("conv", *flags.split(), f"--out={out}")
    assert json.loads(out.read_text()) == row
    assert_repeatable(row, f"python -m experiments.benchmarks.conv {flags}")
    assert row["hardware"]["backend"] == "cpu" and "jax" in row["versions"]
    # The projections of stages 2 to 4.
    assert [(c["channels"], c["count"]) for c in row["convolutions"]] == [
        ("64-128", 1), ("128-256", 1), ("256-512", 1),
    ]  # fmt: skip
    for convolution in row["convolutions"]:
        assert convolution["kernel"] == "1x1x1" and convolution["strides"] == [1, 2, 2]
        assert convolution["ms"].keys() == {"plain", "fold"}
        assert all(ms > 0 for pair in convolution["ms"].values() for ms in pair)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "/some/where/records", "--size", "32"], "--data records --size 32"),
        (["--data=/some/where/records/", "--remat"], "--data=records --remat"),
        (["--out", "/some/rows.jsonl", "--batch", "4"], "--batch 4"),
        (["--batch", "4", "--out=a b.jsonl"], "--batch 4"),
        (["--out"], ""),
        (["--data", "relative/records", "--outer", "1"], "--data relative/records --outer 1"),
    ],
)
def test_command_names_no_output_and_no_folder_of_this_machine(arguments, expected, monkeypatch):
    main = types.SimpleNamespace(__spec__=types.SimpleNamespace(name="experiments.some"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["/some/where/some.py", *arguments])
    command = report.environment()["command"]
    assert command == f"python -m experiments.some {expected}".rstrip()
    main.__spec__ = None  # started by the file's name
    assert report.environment()["command"] == f"python some.py {expected}".rstrip()


def test_commit_is_unknown_outside_git(tmp_path, monkeypatch):
    assert report.environment()["commit"] != "unknown" or not (ROOT / ".git").exists()
    monkeypatch.setattr(report, "__file__", str(tmp_path / "a" / "b" / "report.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert report.environment()["commit"] == "unknown"
