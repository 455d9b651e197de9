"""Tables from made-up results: each run in its cells, and what deviates or is missing said."""

import json

import pytest

from experiments import paper_tables
from experiments.tpn_tables import tables
from tempo.papers.tpn_results import ROWS, TABLES


@pytest.fixture
def finished(tmp_path):
    """Leaves a run of a row with the given changes of its config; the path of its results."""

    def make(recipe, row, changes=(), name="run", **result):
        config = json.loads(json.dumps(paper_tables.config_of(recipe, row)))
        for path, value in dict(changes).items():
            *sections, key = path.split("/")
            at = config
            for section in sections:
                at = at[section]
            at[key] = value
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        row = {
            "name": "multi_view", "split": "val", "protocol": "some clips, some crops",
            "num_videos": 19000, "views": 30, "top1": 0.5, "top5": 0.75, "ci95": [0.49, 0.51],
            "checkpoint_step": 7, "dataset": "kinetics400", "manifest_sha256": "0123456789abcdef",
        }  # fmt: skip
        results = [row | result, row | {"name": "single_view", "top1": 0.25, "views": 1}]
        (folder / "results.json").write_text(json.dumps(results))
        return str(folder / "results.json")

    return make


def lines_of(text, row):
    """Cells of the table lines of a row, as lists."""
    found = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [cells for cells in found if cells[0] == row]


def test_every_row_belongs_to_a_table_and_has_a_command():
    listed = tables.PAPER.commands()
    for recipe, rows in ROWS.items():
        for name in rows:
            assert f"configs/{recipe}.py:{name} --workdir" in listed
            assert recipe in TABLES[name.split(".")[0]].configs
    assert "t6c.parallel: top-1 76.1, top-5 92.5" in listed


def test_without_runs_every_cell_says_so():
    text = tables.PAPER.show([])
    for prefix in TABLES:
        for cell in tables.PAPER.cells(prefix):
            (shown,) = lines_of(text, cell.label)
            assert shown.count("not run") == len(TABLES[prefix].metrics)
            assert cell.command in shown[-1]
    assert "* Not run: t6a.none, t6a.res2345, t6a.res345, t6a.res45, t6a.res5." in text
    assert lines_of(text, "SlowFast-R50")[0][1:5] == ["77.0", "-", "92.6", "-"]


def test_a_run_fills_every_cell_with_the_same_numbers(finished):
    text = tables.PAPER.show([finished("tpn_k400", "t6c.parallel")])
    for row in ("t6a.res45", "t6b.all", "t6c.parallel", "t6d.r50_8x8"):
        (shown,) = lines_of(text, row)
        assert shown[1:3] == ["76.1", "50.00 (49.00 to 51.00)"]
        assert "30: some clips, some crops" in shown
        assert "19000" in shown and "kinetics400 0123456789ab, val" in shown
        assert "DEVIATES" not in " ".join(shown)
    assert lines_of(text, "t6c.parallel")[0][3:5] == ["92.5", "75.00"]
    assert lines_of(text, "t6c.cascade")[0][2] == "not run"
    assert "* Not run: t6c.isolation, t6c.bottom_up, t6c.top_down, t6c.cascade." in text


def test_what_changes_no_number_is_not_compared(finished):
    changes = {
        "row": "", "seed": 3, "data/dir": "elsewhere", "init_from": "other/weights",
        "loop/accumulate_steps": 8, "model/norm_groups": 1,
    }  # fmt: skip
    text = tables.PAPER.show([finished("tpn_k400", "t6c.cascade", changes)])
    (shown,) = lines_of(text, "t6c.cascade")
    assert shown[2].startswith("50.00") and "DEVIATES" not in " ".join(shown)


def test_a_named_run_with_other_numbers_says_what_deviates(finished):
    changes = {"batch_size": 16, "init_from": "", "model/norm_groups": 1}
    text = tables.PAPER.show([finished("tpn_k400", "t6c.parallel", changes, views=3)])
    (shown,) = lines_of(text, "t6c.parallel")
    assert "DEVIATES: batch_size: 16, the row has 64; clips per BatchNorm group: 16.0" in shown[-1]
    assert "init_from: 'from scratch', the row has 'given weights'" in shown[-1]
    assert "DEVIATES: the recipe has 30 views" in shown[5]
    assert shown[2] == "50.00 (49.00 to 51.00) DEVIATES"
    assert lines_of(text, "t6a.res45")[0][2] == "not run"


def test_versions_of_something_something_are_kept_apart(finished):
    changed = {"total_epochs": 1.0}
    paths = [finished("tpn_sthv1", "t4.tsm_tpn", name="v1"),
             finished("tpn_sthv2", "t4.tsm_tpn", changed, name="v2")]  # fmt: skip
    text = tables.PAPER.show(paths)
    (first,), (second,) = (lines_of(text, f"tpn_sthv{v} t4.tsm_tpn") for v in (1, 2))
    # Table 4 is that of one centre crop.
    assert first[1:3] == ["49.0", "25.00 (49.00 to 51.00)"] and first[-1].startswith(paths[0])
    assert second[1] == "62.0" and "DEVIATES: total_epochs: 1.0" in second[-1]
    assert paths[1] in second[-1]


def test_several_runs_of_a_cell_are_lines_and_a_run_of_none_is_named(finished):
    same = [finished("tpn_k400", "t3.tsn_tpn", {"seed": i}, name=str(i), top1=i / 4, views=10)
            for i in (1, 2)]  # fmt: skip
    other = finished("tpn_k400", "t3.tsn_tpn", {"row": "", "total_epochs": 3.0}, name="other")
    text = tables.PAPER.show([*same, other])
    assert [shown[2].split()[0] for shown in lines_of(text, "t3.tsn_tpn")] == ["25.00", "50.00"]
    assert f"Runs of no cell of these tables: {other}." in text


@pytest.mark.parametrize(
    "recipe, row, dataset, is_shown",
    [
        ("tpn_k400", "t6a.none", "folder", True),
        ("tpn_k400", "t6a.none", "kinetics600", False),
        ("tpn_sthv1", "t4.tsm", "folder", False),  # V1 or V2?
    ],
)
def test_a_named_run_on_another_dataset_is_of_no_cell(finished, recipe, row, dataset, is_shown):
    path = finished(recipe, row, {"data/name": dataset})
    text = tables.PAPER.show([path])
    assert (f"Runs of no cell of these tables: {path}." in text) != is_shown
    assert (f"DEVIATES: data/name: '{dataset}'" in text) == is_shown


def test_files_that_are_no_results_are_one_line(tmp_path, capsys, finished):
    good = finished("tpn_k400", "t6a.none")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    path = broken / "results.json"
    for content, message in (
        (None, "is no file"),
        ("{", "is no JSON"),
        ("{}", "is not the results.json of a run"),
        ('[{"name": "multi_view"}]', "has no 'protocol'"),
    ):
        if content is not None:
            path.write_text(content)
        assert tables.main(["show", good, str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and message in line
    assert tables.main(["show", good]) == 0
