"""The published ensembles: their members and weights, both readings of "*k", and their scores."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

from tempo import ensemble
from tempo.analysis import ensembles, members, scores
from tempo.errors import InputError
from tempo.papers.vipriors_results import ENTRIES
from tests import score_files

PATH = pathlib.Path(__file__).parents[2] / "configs" / "vipriors_ensemble.py"
TSM = {f"tta{number:02d}" for number, entry in ENTRIES.items() if entry.model == "tsm"}


def config(name, arg):
    spec = importlib.util.spec_from_file_location(name, PATH.with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg).to_dict()


def plan(arg):
    return members.from_config(config("vipriors_ensemble", arg))


@pytest.mark.parametrize(
    ("name", "size", "total", "published"),
    [("ens1", 7, 7, 84.5), ("ens2", 13, 13, 86.3), ("ens3", 22, 33, 87.6), ("ens4", 22, 58, 85.8)],
)
def test_members_and_weights(name, size, total, published):
    found = plan(name)
    assert (len(found.members), sum(found.weights.values())) == (size, total)
    assert (found.name, found.published) == (name, {"top1": published})
    assert (found.average, found.calibrate) == ("logits", "none")
    # Repetitions count once each: as many in all.
    repeated = plan(f"{name},star=repeat")
    assert set(repeated.weights.values()) == {1} and len(repeated.members) == total
    entries = {member.split("_")[0] for member in repeated.members}
    assert entries == set(found.members)
    for member, weight in found.weights.items():
        assert sum(other.split("_")[0] == member for other in repeated.members) == weight


def test_weights_are_those_of_the_kind_of_view():
    def ids(found, weight):
        return {int(name[3:]) for name, own in found.weights.items() if own == weight}

    assert ids(plan("ens3"), 2) == {1, 2, 10, 11, 15, 16} | {3, 4, 13, 17, 18}
    assert ids(plan("ens4"), 4) == ids(plan(""), 2)  # ens3 is the default
    assert ids(plan("ens4"), 2) == {5, 12, 19}
    assert set(plan("ens1").members) == {f"tta{i:02d}" for i in (1, 2, 3, 4, 5, 6, 8)}
    assert TSM & set(plan("ens2").members) == {"tta10", "tta12", "tta13", "tta14"}


def test_the_networks_have_an_evaluator_for_every_member():
    made = {
        row: config("vipriors", f"{row},stages=none,tta=repeat")["eval"]
        for row in ("t2.sf50.rgb", "t2.sf50.diff", "t2.tsm50.shift")
    }
    for name, member in plan("ens4,star=repeat").members.items():
        row = member.command.split("configs/vipriors.py:")[1].split(",tta=repeat ")[0]
        assert made[row][name]["views"] == f"vipriors_{int(name[3:5])}"
    assert "tta=on" in plan("ens4").members["tta01"].command


def test_wrong_arguments_name_what_is_near():
    with pytest.raises(InputError, match="no row 'ens5'. Did you mean"):
        plan("ens5")
    with pytest.raises(InputError, match="'star' must be one of weight, repeat; got 'both'"):
        plan("ens3,star=both")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Score files of all entries; paths and logits by name."""
    folder, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    logits = {f"tta{i:02d}": rng.normal(size=(12, 3)) for i in ENTRIES}
    for name, own in logits.items():
        score_files.write(folder / name, ["multi_view"], logits=own)
        (folder / name / "scores" / "multi_view.npz").rename(folder / f"{name}.npz")
    return [str(folder / f"{name}.npz") for name in logits], logits


@pytest.mark.parametrize("name", ["ens1", "ens2", "ens3", "ens4"])
def test_an_ensemble_is_the_weighted_sum_of_its_entries(files, tmp_path, capsys, name):
    paths, logits = files
    out, npz = tmp_path / "e.json", tmp_path / "e.npz"
    flags = ["--config", f"{PATH}:{name}", "--out", str(out), "--out-scores", str(npz)]
    assert ensemble.main(["--scores", *paths, *flags]) == 0
    assert f"{name} minus tta" in capsys.readouterr().out
    weights = plan(name).weights
    total = sum(weight * logits[member] for member, weight in weights.items())
    np.testing.assert_allclose(
        scores.load(npz).arrays["logits"], total / sum(weights.values()), atol=1e-12
    )
    right = total.argmax(axis=1) == score_files.LABELS
    assert json.loads(out.read_text())["ensemble"]["top1"] == right.mean()


def test_without_tsm_the_second_ensemble_is_its_slowfast_part(files):
    paths, _ = files
    weights = plan("ens2").weights
    loaded = {name: scores.load(path) for name, path in members.match(plan("ens2"), paths).items()}
    off = ensembles.combine(loaded, weights | dict.fromkeys(TSM, 0.0))
    rest = {name: own for name, own in loaded.items() if name not in TSM}
    only = ensembles.combine(rest, {name: weights[name] for name in rest})
    np.testing.assert_array_equal(off.arrays["logits"], only.arrays["logits"])
    whole = ensembles.combine(loaded, weights)
    assert (whole.arrays["logits"] != only.arrays["logits"]).all()


def test_scores_of_another_row_are_combined_and_told(tmp_path, capsys):
    """As the chain does with its base network."""
    for name, row in {"tta01": "t1.base", "tta02": "t2.sf50.diff", "tta03": ""}.items():
        score_files.write(tmp_path / name, ["multi_view"], logits=np.eye(12, 3), row=row)
        (tmp_path / name / "scores" / "multi_view.npz").rename(tmp_path / f"{name}.npz")
    paths, out = [str(tmp_path / f"tta0{i}.npz") for i in (1, 2, 3)], tmp_path / "e.json"
    flags = ["--config", f"{PATH}:ens1", "--allow-missing", "--out", str(out)]
    assert ensemble.main(["--scores", *paths, *flags]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "DEVIATION" in line]
    assert told == ["DEVIATION: tta01: made by row t1.base, not t2.sf50.rgb."]
    rows = json.loads(out.read_text())["members"]
    assert [row["row"] for row in rows] == ["t1.base", "t2.sf50.diff", ""]


def test_missing_entries_are_named_by_network(files):
    paths, _ = files
    with pytest.raises(InputError) as error:
        members.match(plan("ens1"), [path for path in paths if path[-6:] in ("01.npz", "03.npz")])
    command = (
        "python -m tempo.main --mode eval --config configs/vipriors.py:{},tta=on "
        "--checkpoint DIR --workdir DIR --evaluators {}"
    )
    diff = f"tta02, tta04, tta08 by {command.format('t2.sf50.diff', 'tta02,tta04,tta08')}"
    rgb = f"tta05, tta06 by {command.format('t2.sf50.rgb', 'tta05,tta06')}"
    assert str(error.value) == (
        "'ens1' has 5 of 7 members without a score file (--allow-missing goes on without): "
        f"{diff}; {rgb}"
    )
