"""The chain's plan; its resuming and records on made-up files; planted numbers in its tables."""

import functools
import json
import os
import pathlib

import numpy as np
import pytest
import score_files

from experiments import commands, recorded
from experiments.vipriors_tables import chain, page, steps
from tempo import ensemble, stages
from tempo.errors import InputError
from tempo.papers.vipriors_results import ENSEMBLES, ENTRIES

NAMES = ("BounceSlow", "SlideFast", "SpinFast")
STAGES = ("a_base", "b_modules")


def scored(folder, name, right):
    """A score file whose hits are the videos `right`; logits are those of its probabilities."""
    score_files.write(folder, ["multi_view"], right=right, class_names=NAMES,
                      logits=np.log(score_files.probs(right)))  # fmt: skip
    os.replace(folder / "scores" / "multi_view.npz", folder / "scores" / f"{name}.npz")


def leave(step, *, is_stopped=False):
    """What the command of a step leaves: 12 videos, of which the slow ones are 0 to 3."""
    flags = dict(zip(step.command, step.command[1:], strict=False))
    if step.kind == "ensemble":
        files = step.command[step.command.index("--scores") + 1 : step.command.index("--out")]
        assert ensemble.main(["--scores", *files, "--out", flags["--out"],
                              "--out-scores", flags["--out-scores"]]) == 0  # fmt: skip
        return
    folder = pathlib.Path(flags["--workdir"])
    if step.kind == "train":
        scored(folder / stages.FOLDER / STAGES[0], steps.MAIN, range(8))
        ended = [{"name": STAGES[0], "workdir": f"{stages.FOLDER}/{STAGES[0]}"}]
        if not is_stopped:
            scored(folder, steps.MAIN, range(2, 12))
            ended.append({"name": STAGES[1], "workdir": "."})
        (folder / "stages.json").write_text(json.dumps(ended))
        return
    names = flags["--evaluators"].split(",")
    for nth, name in enumerate(names):
        scored(folder, name, range(2 * nth, 12) if step.name == "acb_rgb" else range(6))
    (folder / "results.json").write_text(json.dumps([{"name": name} for name in names]))


class Taken:
    """In place of starting commands: `steps` were started, those in `cut` are stopped once."""

    def __init__(self):
        self.steps, self.cut = [], set()

    def start(self, command, out, lock, environment):
        (step,) = (step for step in steps.plan(out, [0]) if step.command == command)
        self.steps.append(str(step))
        leave(step, is_stopped=str(step) in self.cut)
        self.cut.discard(str(step))


@pytest.fixture
def taken(monkeypatch):
    """Every step leaves its files at once; intervals are rough, as 500 resamples take long."""
    taken = Taken()
    monkeypatch.setattr(commands, "start", taken.start)
    monkeypatch.setattr(commands, "hardware", lambda: {"cpu": "some", "cpu_cores": 2})
    rough = functools.partial(recorded.resampled, num_resamples=20)
    monkeypatch.setattr(recorded, "resampled", rough)
    return taken


def test_plan_has_the_entries_and_ensembles_of_the_report():
    planned = steps.plan("runs/x", [0, 3], ["--config.batch_size=8"])
    assert len(planned) == len({str(step) for step in planned}) == 2 * (5 + 5 + 6)
    kinds = {"rgb": ("slowfast", "rgb"), "diff": ("slowfast", "diff"), "tsm": ("tsm", "rgb")}
    for name, network in steps.NETWORKS.items():
        for number in network.entries:
            entry = ENTRIES[number]
            assert (entry.model, entry.input) == kinds[name.split("_")[-1]]
    for variant, names in steps.COMBINED.items():
        for name in names:
            chosen = steps.members(variant, name)
            assert tuple(number for _, number in chosen) == ENSEMBLES[name].ids
            assert {network.split("_")[0] for network, _ in chosen} <= {variant, "tsm"}
    evaluation = next(step for step in planned if str(step) == "evaluate tsm, seed 3").command
    assert evaluation[evaluation.index("--evaluators") + 1] == "tta10,tta11,tta12,tta13,tta14"
    assert "--config.batch_size=8" in evaluation and "--config.seed=3" in evaluation


def test_chain_goes_on_where_it_was_and_records_every_step(tmp_path, taken, capsys):
    out = str(tmp_path / "chain")
    taken.cut.add("train acb_rgb, seed 0")
    assert chain.main(["--out", out]) == 1
    assert "was stopped before its end; the same command goes on" in capsys.readouterr().err
    assert len(recorded.read(tmp_path / "chain" / "results.jsonl")) == 4
    cut = len(taken.steps)
    assert chain.main(["--out", out]) == 0
    assert taken.steps[cut] == taken.steps[cut - 1] == "train acb_rgb, seed 0"
    assert len(taken.steps) == 17
    rows = recorded.read(tmp_path / "chain" / "results.jsonl")
    assert [row["is_resumed"] for row in rows if row["step"] == "train"] == [0, 0, 1, 0, 0]
    for row in rows:
        assert {"commit", "date", "versions", "hardware", "wall_s"} < row.keys()
        assert str(tmp_path) not in json.dumps(row)  # the folder of this machine
    assert chain.main(["--out", out, "--config.batch_size=8"]) == 2
    assert "was taken with another command" in capsys.readouterr().err
    assert len(taken.steps) == 17
    text = (tmp_path / "chain" / "tables.md").read_text()
    # Hits 0..7 after the first stage, 2..11 after the second: the slow class loses two of four.
    (line,) = [line for line in text.splitlines() if line.startswith("| tsm | b_modules")]
    assert "| 50.0 | 100.0 | +16.7 (" in line
    (line,) = [line for line in text.splitlines() if line.startswith("| acb_rgb | 3 ")]
    assert "| 83.3 (" in line and "| 50.0 | 100.0 | -16.7 (" in line and line.endswith("| 75.6 |")
    assert "| rgb | 1 | interval 1, center crop, normal | +50.0 (" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| acb | SlowFast, interval")]
    assert "| 7 |" in line and "acb_rgb 1 (p = " in line and line.endswith("| 84.5 |")


def test_rows_of_other_videos_and_wrong_arguments_are_refused(tmp_path, capsys):
    videos = {"manifest_sha256": "a", "class_names": list(NAMES), "labels": [0, 1]}
    rows = [{"videos": videos}, {"videos": {**videos, "manifest_sha256": "b"}}]
    with pytest.raises(InputError, match="not all of the same videos"):
        page.gather(rows)
    for wrong in (["--seeds", "x"], ["--outt=3"], ["plan"]):
        assert chain.main(wrong) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_readme_shows_the_recorded_rows():
    text = chain.STUDY.readme.read_text()
    assert recorded.with_tables(text, page.page(recorded.read(chain.STUDY.results))) == text
