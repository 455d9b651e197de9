"""STPN's tables from made-up results; its ablations' plan, resuming and page on made-up files."""

import json
import re

import numpy as np
import pytest

from experiments import paper_tables, recorded
from experiments.stpn_tables import ablate, page, runs, tables
from tempo import files, splits
from tempo.errors import InputError
from tempo.papers.stpn_results import ROWS, TABLES
from tempo.stages import FOLDER
from tests.experiments import ablated


def finish(folder, row, **result):
    """A run of a row in stages."""
    *before, _ = paper_tables.stages_of("stpn", row)
    for name, config in paper_tables.stages_of("stpn", row).items():
        place = folder / FOLDER / name if name else folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(json.dumps(config))
    ended = [{"name": name, "workdir": f"{FOLDER}/{name}"} for name in before]
    (folder / "stages.json").write_text(json.dumps([*ended, {"name": "z", "workdir": "."}]))
    found = {
        "name": "multi_view", "split": "test", "protocol": "25 clips", "num_videos": 3783,
        "views": 250, "top1": 0.5, "mean_class": 0.25, "ci95": [0.49, 0.51], "dataset": "ucf101",
        "checkpoint_step": 7, "manifest_sha256": "0123456789abcdef", **result,
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps([found]))
    return str(folder / "results.json")


def lines_of(text, row):
    """Cells of the table lines of a row."""
    found = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [cells for cells in found if cells[0] == row]


def test_every_row_has_a_command_and_belongs_to_a_table():
    listed, shown = tables.PAPER.commands(), tables.PAPER.show([])
    for name in ROWS["stpn"]:
        assert name.split(".")[0] in TABLES
        (command,) = re.findall(rf"configs/stpn.py:{re.escape(name)}[, ].*", listed)
        assert command.endswith(f" --workdir runs/stpn/{name}")
        assert lines_of(shown, name)[0][2] == "not run"
    for name in ("t2.cb.p3", "t3.att1", "t4.B", "t4.D"):
        assert f"stpn.py:{name},streams=runs/stpn/t4.A --workdir" in listed
    for name in ("t1.vgg16.twostream", "t2.concat.p1", "t3.avgpool", "t4.A", "tsn.flow"):
        assert f"stpn.py:{name} --workdir" in listed  # nothing of A in them, or A itself
    assert "stpn.py:hmdb.vgg16,split=all --splits 1,2,3 --workdir" in listed
    assert "t4.D: mean of classes 94.6" in listed
    assert "TSN, BN-Inception | 68.5" in shown


def test_one_run_fills_the_rows_that_are_the_same(tmp_path):
    shown = tables.PAPER.show(
        [finish(tmp_path / "run", "t4.A"), finish(tmp_path / "few", "t4.B", views=10)]
    )
    for name in ("t4.A", "t1.bninception.twostream"):
        (line,) = lines_of(shown, name)
        assert line[1:3] == ["91.7", "25.00"]
    (line,) = lines_of(shown, "t4.B")
    assert line[2] == "25.00 DEVIATES" and "the recipe has 250 views" in line[3]


def fused(folder, row, streams, **result):
    """A run of a row that starts from the networks of another run."""
    path = finish(folder, f"{row},streams={streams}", **result)
    (folder / "stages.json").unlink()  # no stage but itself
    return path


def test_a_run_from_the_networks_of_another_is_compared_with_their_configs(tmp_path):
    first = tmp_path / "first"
    finish(first, "t4.A")
    paths = [fused(tmp_path / row, row, first) for row in ("t4.B", "t2.cb.p3")]
    shown = tables.PAPER.show(paths)
    for row in ("t4.B", "t2.cb.p3"):
        (line,) = lines_of(shown, row)
        assert line[2] == "25.00" and line[-1].endswith("results.json, step 7")
    place = first / FOLDER / "b_temporal" / "config.json"
    config = json.loads(place.read_text())
    place.write_text(json.dumps({**config, "batch_size": 3}))
    (line,) = lines_of(tables.PAPER.show(paths), "t4.B")
    assert (
        line[2] == "25.00 DEVIATES" and "DEVIATES: b_temporal: batch_size: 3, the row" in line[-1]
    )
    place.unlink()
    (line,) = lines_of(tables.PAPER.show(paths), "t4.B")
    assert line[2] == "25.00" and line[-1].endswith(
        f"; b_temporal not compared: no config in {place.parent}"
    )
    config = tmp_path / "t4.B" / "config.json"
    other = {**json.loads(config.read_text()), "init_from": "weights/both"}
    config.write_text(json.dumps(other))
    (line,) = lines_of(tables.PAPER.show(paths), "t4.B")
    assert line[-1].endswith(
        "DEVIATES: a_spatial: a stage of the row alone; b_temporal: a stage of the row alone"
    )


def test_the_mean_over_splits_stands_beside_the_published_number(tmp_path):
    row = "final.bninception,split=all"
    paths = [finish(tmp_path / f"split{n}", row) for n in "123"]
    whole = tmp_path / splits.RECORD
    found = {n: {"workdir": f"split{n}", "rows": files.read_json(paths[0])} for n in "123"}
    rows = {n: own["rows"] for n, own in found.items()}
    files.write_json(str(whole), {"splits": found, "mean": splits.mean(rows)})
    *_, line = lines_of(tables.PAPER.show(paths), "final.bninception")
    assert line[1:] == [
        "94.6", "25.00", "25 clips", str(3 * 3783), "mean of splits 1, 2, 3", str(whole)
    ]  # fmt: skip
    config = tmp_path / "split2" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "batch_size": 3}))
    *_, line = lines_of(tables.PAPER.show(paths), "final.bninception")
    assert line[2] == "25.00 DEVIATES" and line[-1] == str(whole)
    # A split that was not given may be of anything.
    assert str(whole) not in tables.PAPER.show(paths[:2])
    whole.write_text('{"splits": []}')
    with pytest.raises(InputError, match="is no JSON that tempo wrote"):
        tables.PAPER.show(paths)


@pytest.fixture
def taken(monkeypatch):
    """In place of training: 6 of 12 videos are hits, of D 9; the names that were run."""
    stages = {runs.FIRST: runs.STAGES.values()}
    protocol = "25 clips x 10 crops"
    return ablated.instead_of_training(monkeypatch, "t4.B", "t4.D", stages, protocol=protocol)


def test_all_models_of_a_seed_start_from_its_two_networks():
    planned = runs.plan("runs/x", ["t4", "t2"], [0, 3], ["--config.batch_size=8"])
    assert [one.name for one in planned[:2]] == [runs.FIRST, "t4.B"]
    assert len({(one.name, one.seed) for one in planned}) == len(planned) == 2 * 10
    for one in planned:
        streams = f",streams=runs/x/seed{one.seed}/t4.A"
        assert one.config.endswith(streams) == (one.name != runs.FIRST)
        assert one.command[-1] == "--config.batch_size=8"  # the last wins
    assert set(runs.PUBLISHED.values()) <= set(ROWS["stpn"])
    assert [one.name for one in runs.plan("x", ["t2"], [0])][:2] == [runs.FIRST, "t2.concat.p3"]
    with pytest.raises(InputError, match="nothing to run"):
        runs.plan("x", [], [0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--out", "a,b"), "--out must be a folder of a run with stages, without any of , = { }"),
        (("--out", "a=b"), "got 'a=b'"),
        (("--out", "a", "--seeds", "1,0,1"), "--seeds names a seed twice: '1,0,1'"),
    ],
)
def test_what_would_fail_after_the_first_training_is_refused_before(given, message, capsys):
    assert ablate.main(["plan", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_it_goes_on_where_it_was_and_says_what_came_out(tmp_path, taken, monkeypatch, capsys):
    plane = type("Plane", (), {"rows": np.arange(12), "xy": np.eye(12, 2), "same_class": 0.75})
    monkeypatch.setattr(ablate.embedding, "project", lambda features, labels: plane)
    out = tmp_path / "ablation"
    arguments = ["--tables", "t4", "--seeds", "0,1", "--out", str(out)]
    assert ablate.main(arguments) == 1
    assert "was stopped before its end; the same command goes on" in capsys.readouterr().err
    assert ablate.main(arguments) == 0
    assert taken[:3] == ["t4.A", "t4.B", "t4.B"] and len(taken) == 2 * 4 + 1
    rows = recorded.read(out / "results.jsonl")
    assert [row["is_resumed"] for row in rows] == [False, True] + [False] * 6
    assert set(rows[0]["hits"]) == {"t4.A", "spatial", "temporal"}
    assert str(tmp_path) not in json.dumps(rows)  # the folder of this machine
    text = (out / "tables.md").read_text()
    (line,) = lines_of(text, "D: + attention")
    assert line[1].startswith("75.0 (") and line[2:3] == ["75.0, 75.0"]
    assert line[3].startswith("+25.0 (") and line[4:] == ["75.0", "94.6"]
    assert lines_of(text, "flow alone")[0][-1] == "87.0"
    assert "Fusion of several snippets" not in text  # its one row is of the two networks
    assert (out / "tsne.png").stat().st_size > 10_000
    assert ablate.main([*arguments, "--config.batch_size=8"]) == 2
    videos = [{**row, "videos": {}} if i else row for i, row in enumerate(rows)]
    with pytest.raises(InputError, match="not all of the same videos"):
        page.page(videos)


def test_readme_shows_the_recorded_rows():
    text = ablate.STUDY.readme.read_text()
    assert recorded.with_tables(text, page.page(recorded.read(ablate.STUDY.results))) == text
