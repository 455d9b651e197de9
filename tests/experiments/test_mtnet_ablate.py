"""The ablation's plan, its resuming and records on made-up files; planted numbers in its page."""

import json

import pytest

from experiments import recorded
from experiments.mtnet_tables import ablate, page, studies, tables
from tempo.errors import InputError
from tempo.papers.mtnet_results import COSTS, POOLINGS, ROWS
from tests.experiments import ablated


@pytest.fixture
def taken(monkeypatch):
    """In place of training: 6 of 12 videos are hits, of the default 9; the names that were run."""
    sizes = {"params": 12_345, "macs": 6_700_000}
    monkeypatch.setattr(ablate, "_counted", lambda todo: [sizes] * len(todo))
    return ablated.instead_of_training(monkeypatch, "pool=avg", studies.DEFAULT)


def test_plan_has_every_variant_once_and_the_default_for_all_studies():
    planned = studies.plan("runs/x", ["ratio", "pool"], [0, 3], ["--config.total_epochs=2"])
    assert len(planned) == len({(one.name, one.seed) for one in planned}) == 2 * (8 + 7 - 1)
    assert [one.name for one in planned[:14]].count(studies.DEFAULT) == 1
    assert {one.seed for one in planned[:14]} == {0}  # all of a seed before the next
    found = {one.name: one.config for one in planned}
    assert found["ratio=1_layers=0"] == f"{studies.CONFIG},ratio=1,layers=0"
    assert found[studies.DEFAULT] == studies.CONFIG
    assert all(one.command[-1] == "--config.total_epochs=2" for one in planned)  # the last wins
    assert set(studies.STUDIES["pool"]) == set(POOLINGS)
    for rows in studies.PUBLISHED.values():
        assert set(rows.values()) <= set(ROWS["mtnet"])


def test_it_goes_on_where_it_was_and_says_what_came_out(tmp_path, taken, capsys):
    out = str(tmp_path / "ablation")
    arguments = ["--study", "pool", "--seeds", "0", "1", "--out", out]
    assert ablate.main(arguments) == 1
    assert "was stopped before its end; the same command goes on" in capsys.readouterr().err
    assert ablate.main(arguments) == 0
    assert len(taken) == 2 * 7 + 1 and taken[0] == taken[1] == "pool=avg"
    rows = recorded.read(tmp_path / "ablation" / "results.jsonl")
    assert [row["seed"] for row in rows] == [0] * 7 + [1] * 7
    assert [row["is_resumed"] for row in rows] == [True] + [False] * 13
    for row in rows:
        assert {"commit", "date", "versions", "hardware", "wall_s", "params"} < row.keys()
        assert str(tmp_path) not in json.dumps(row)  # the folder of this machine
    text = (tmp_path / "ablation" / "tables.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| avg |")]
    assert "| 12.3 | 6.7 | 50.0 (" in line and "| 50.0, 50.0 | -25.0 (" in line
    assert "2.7 points below" not in line and "2.8 points below m_avg_triplet" in line
    (line,) = [line for line in text.splitlines() if line.startswith("| soft_triplet |")]
    assert "| 75.0, 75.0 |  | 83.4 |" in line
    assert "Ratio of" not in text  # the default alone is no study
    assert ablate.main([*arguments, "--config.batch_size=8"]) == 2
    assert "was taken with another command" in capsys.readouterr().err
    assert ablate.main([*arguments[:2], "--seeds", "0", "--out", out, "--epochs=2"]) == 2
    videos = [{**row, "videos": {}} if i else row for i, row in enumerate(rows)]
    with pytest.raises(InputError, match="not all of the same videos"):
        page.page(videos)


def test_readme_shows_the_recorded_rows():
    text = ablate.STUDY.readme.read_text()
    assert recorded.with_tables(text, page.page(recorded.read(ablate.STUDY.results))) == text


def test_every_row_has_a_command_and_the_resnets_cost_what_is_counted(monkeypatch):
    listed = tables.PAPER.commands()
    for name in ROWS["mtnet"]:
        assert f"configs/mtnet.py:{name} --workdir runs/mtnet/{name}" in listed
    assert "t6c.m_avg: " in listed and "lost; 2.8 points below" in listed
    line = tables.costs(["t2.r50_3d"]).splitlines()[-1]
    assert line == "| t2.r50_3d | 36.7 | 36.72 | +0.1 % | 53.2 | 26.47 | -50.2 % |"
    assert all(COSTS[name][1] is None for name in COSTS if name.startswith("t6b."))
    monkeypatch.setattr(tables, "cost", lambda name: (24.3, 8.1))
    line = tables.costs(["t6b.m_rnn"]).splitlines()[-1]
    assert line == "| t6b.m_rnn | 24.3 | 24.30 | +0.0 % | not stated | 8.10 |  |"
