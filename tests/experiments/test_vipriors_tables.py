"""Tables of the VIPriors solution from made-up results: every run and ensemble in its cell."""

import json

import pytest

from experiments import paper_tables
from experiments.vipriors_tables import tables
from tempo.papers.vipriors_results import ENSEMBLES, ENTRIES, ROWS
from tempo.stages import FOLDER

RESULT = {
    "split": "val", "protocol": "10 clips", "num_videos": 4742, "views": 10, "top1": 0.5,
    "ci95": [0.49, 0.51], "checkpoint_step": 7, "dataset": "mod_ucf101",
    "manifest_sha256": "0123456789abcdef",
}  # fmt: skip


def finish(folder, row, **changed):
    """A run of a row in stages, with some keys of its first stage changed."""
    for name, config in paper_tables.stages_of("vipriors", row).items():
        place = folder / FOLDER / name if name else folder
        place.mkdir(parents=True, exist_ok=True)
        first = name == next(iter(paper_tables.stages_of("vipriors", row)))
        (place / "config.json").write_text(json.dumps({**config, **(changed if first else {})}))
    *before, _ = paper_tables.stages_of("vipriors", row)
    ended = [{"name": name, "workdir": f"{FOLDER}/{name}"} for name in before]
    (folder / "stages.json").write_text(json.dumps([*ended, {"name": "last", "workdir": "."}]))
    results = [{"name": "tta01", **RESULT}, {"name": "single_view", **RESULT, "views": 1}]
    (folder / "results.json").write_text(json.dumps(results))
    return str(folder / "results.json")


def lines_of(text, row):
    """Cells of the table lines whose first cell begins with a row's name."""
    found = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [cells for cells in found if cells[0].split(" ")[0] == row]


def test_every_cell_has_a_command_and_says_that_it_was_not_run():
    listed, shown = tables.commands(), tables.show([])
    names = [*ROWS["vipriors"], *(f"t3.{number:02d}" for number in ENTRIES)]
    for name in names:
        (line,) = lines_of(shown, name)
        assert line[2] == "not run" and line[-1].strip("`") in listed
    for number, entry in ENTRIES.items():
        assert f"{entry.published:.1f}" == lines_of(shown, f"t3.{number:02d}")[0][1]
    assert "* t3.15 (" in shown and "misprint of 75.3" in shown
    for name, row in ENSEMBLES.items():
        readings = lines_of(shown, name)
        assert len(readings) == (1 if max(row.stars.values()) == 1 else 2)
        assert {line[1] for line in readings} == {f"{row.published:.1f}"}
        assert f"vipriors_ensemble.py:{name} " in listed
    assert "vipriors_ensemble.py:ens4,star=repeat " in listed


def test_a_run_is_in_tables_1_to_3_and_says_if_a_stage_was_another(tmp_path):
    shown = tables.show([finish(tmp_path / "run", "t2.sf50.rgb")])
    for name in ("t1.elu_pool_acb", "t2.sf50.rgb", "t3.01"):  # one network
        (line,) = lines_of(shown, name)
        assert line[2] == "50.00 (49.00 to 51.00)" and "DEVIATES" not in " ".join(line)
    assert lines_of(shown, "t3.02")[0][2] == "not run"
    shown = tables.show([finish(tmp_path / "short", "t2.sf50.rgb", batch_size=3)])
    (line,) = lines_of(shown, "t3.01")
    assert "DEVIATES: a_base: batch_size: 3" in line[-1]
    assert lines_of(shown, "t1.elu_pool_acb")[0][2] == "not run"
    # Where the first stage ends is decided by an evaluator.
    stages = paper_tables.stages_of("vipriors", "t2.sf50.rgb")
    evaluators = next(iter(stages.values()))["eval"]
    other = {**evaluators, "single_view": {**evaluators["single_view"], "split": "test"}}
    shown = tables.show([finish(tmp_path / "other", "t2.sf50.rgb", eval=other)])
    (line,) = lines_of(shown, "t3.01")
    assert line[-1].endswith("a_base: eval/single_view/split: 'test', the row has 'val'")


def test_stages_are_those_that_the_run_names(tmp_path, capsys):
    path = finish(tmp_path / "run", "t2.sf50.rgb")
    old = tmp_path / "run" / FOLDER / "an_old_one"
    old.mkdir()
    (old / "config.json").write_text("{")
    assert "DEVIATES" not in tables.show([path])
    (tmp_path / "run" / FOLDER / "a_base" / "config.json").write_text("{")
    assert tables.main(["show", path]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "or what stages.json there names is no JSON" in line


def made(folder, name, **changed):
    """JSON of `tempo.ensemble`."""
    weights = ENSEMBLES[name.split("_")[0]].weights("repeat" if "_" in name else "weight")
    rows = [{"name": member, "weight": weight} for member, weight in weights.items()]
    found = {
        "name": name, "average": "logits", "calibrate": "none", "dataset": "mod_ucf101",
        "split": "val", "manifest_sha256": "0123456789abcdef", "num_videos": 4742,
        "members": rows, "ensemble": {"top1": 0.8, "ci95": [0.79, 0.81]},
        "difference": {"top1": 0.05, "ci95": [0.04, 0.06], "mcnemar_p": 0.25, "against": "tta03"},
        **changed,
    }  # fmt: skip
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(found))
    return str(path)


def test_ensembles_are_shown_in_their_reading_and_only_on_the_dataset(tmp_path):
    weights = ENSEMBLES["ens3"].weights("repeat")
    rows = [{"name": member, "weight": 1.0} for member in weights if member != "tta13"]
    incomplete = {"members": rows, "calibrate": "zscore"}
    paths = [made(tmp_path, "ens1"), made(tmp_path, "ens3_repeat", **incomplete),
             made(tmp_path, "ens2", dataset="tempobench_variance")]  # fmt: skip
    shown = tables.show(paths)
    (line,) = lines_of(shown, "ens1")
    assert line[1:4] == [
        "84.5",
        "80.00 (79.00 to 81.00)",
        "+5.00 (+4.00 to +6.00), p = 0.25, tta03",
    ]
    weight, repeat = lines_of(shown, "ens3")
    assert weight[2] == "not run" and repeat[2] == "80.00 (79.00 to 81.00) DEVIATES"
    assert "DEVIATES: without tta13; calibrate: 'zscore', the row has 'none'" in repeat[-1]
    assert lines_of(shown, "ens2")[0][2] == "not run"
    assert f"Ensembles of no cell of this table: {paths[2]}." in shown


def test_other_members_or_weights_than_the_cell_has_are_told(tmp_path):
    wanted = {"wanted_row": "t2.sf50.rgb"}
    rows = [
        {"name": "tta01", "weight": 1.0, "row": "t1.elu_pool_acb", **wanted},  # the same network
        {"name": "tta02", "weight": 5.0, "row": "", **wanted},
        {"name": "tta03", "weight": 1.0, "row": "t1.base", **wanted},
        *({"name": f"tta{number:02d}", "weight": 1.0} for number in (4, 5, 6, 9)),
    ]
    (line,) = lines_of(tables.show([made(tmp_path, "ens1", members=rows)]), "ens1")
    assert line[2].endswith(" DEVIATES") and line[-1].split("; ", 1)[1] == (
        "DEVIATES: without tta08; with tta09; weight of tta02: 5, the row has 1; "
        "tta03: made by row t1.base, not t2.sf50.rgb"
    )


@pytest.mark.parametrize(
    "content, message", [(None, "is no file"), ("{", "is no JSON"), ("[1]", "is neither")]
)
def test_files_that_are_no_results_are_one_line(tmp_path, capsys, content, message):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    assert tables.main(["show", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
