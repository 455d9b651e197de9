"""One config on several splits: their results and the mean, gone on with, and what is refused."""

import pytest

from tempo import files, splits, watchdog
from tempo.errors import InputError
from tests import tiny

VIEW = {"short_side_px": 36, "size_px": 32}


def config_of(folder, **changed):
    """Two steps of a network of one block."""
    return {
        "seed": "{split}",
        "batch_size": 8,
        "total_steps": 2,
        "data": {"dir": f"{folder}/{{split}}/records", "num_workers": 0},
        "clip": {"num_frames": 1, "stride": 1},
        "input": {"size_px": 32, "host_ops": ("random_crop",)},
        "model": {"backbone": {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}},
        "eval": {"single_view": VIEW},
        **changed,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for split, num_test in (("1", 11), ("2", 7)):
        tiny.make_records(folder / split, num_train=8, num_test=num_test)
    return folder


def test_the_mean_over_splits_weighs_them_alike_and_they_are_run_once(
    folder, tmp_path, capsys, monkeypatch
):
    config, workdir = config_of(folder), str(tmp_path / "run")
    [alone] = splits.run(config, workdir, ["1"])
    first = files.read_json(tmp_path / "run" / "split1" / "results.json")
    assert alone["top1"] == first[0]["top1"] and alone["num_videos"] == 11
    assert files.read_json(tmp_path / "run" / "split1" / "config.json")["seed"] == 1
    # Told to stop in the second one; the same command goes on.
    with monkeypatch.context() as patch:
        patch.setattr(watchdog.StopSignal, "requested", lambda self, step: step == 1)
        assert splits.run(config, workdir, ["1", "2"]) == []
    capsys.readouterr()
    [row] = splits.run(config, workdir, ["1", "2"])
    log = capsys.readouterr().out
    assert "split     1, 1 of 2" in log and "has ended; it is not run again" in log
    assert "resumed at step 1 of 2" in log
    [second] = files.read_json(tmp_path / "run" / "split2" / "results.json")
    for key in ("top1", "mean_class"):
        assert row[key] == (first[0][key] + second[key]) / 2
    assert row["num_videos"] == 18 and row["splits"] == ["1", "2"]
    assert f"mean {row['top1']:6.3f}" in log
    record = files.read_json(tmp_path / "run" / "splits.json")
    assert record["mean"] == [row] and record["splits"]["2"]["rows"] == [second]
    # Other views and evaluators are measured on every split, without another step.
    more = config | {"eval": {"single_view": VIEW | {"num_clips": 2}, "again": VIEW}}
    means = splits.run(more, workdir, ["1", "2"])
    assert "step/s" not in capsys.readouterr().err
    record = files.read_json(tmp_path / "run" / "splits.json")["splits"]
    for mean in means:
        [one, two] = [r for n in "12" for r in record[n]["rows"] if r["name"] == mean["name"]]
        assert one["protocol"] == two["protocol"] == mean["protocol"]
        assert mean["top1"] == (one["top1"] + two["top1"]) / 2
    assert [row["name"] for row in means] == ["again", "single_view"]
    assert means[1]["protocol"].startswith("2 clip(s)")
    # Another config is refused for splits that have ended too.
    with pytest.raises(InputError, match="^Split 1: Workdir .* holds a run of another config"):
        splits.run(config | {"total_steps": 3}, workdir, ["1", "2"])


def test_a_split_that_has_ended_is_of_another_config_where_any_stage_is(folder, tmp_path):
    untrained = {"total_steps": 0, "total_epochs": 0.0, "eval": {"single_view": VIEW}}
    stages = {"a": {"total_steps": 1}, "b": untrained}
    config, workdir = config_of(folder, eval={}, stages=stages), str(tmp_path / "run")
    assert len(splits.run(config, workdir, ["1"])) == 1
    stages["a"] = {"total_steps": 1, "schedule": {"base_lr": 0.5}}
    with pytest.raises(InputError, match="^Split 1: Stage 'a': Workdir .* of another config"):
        splits.run(config, workdir, ["1", "2"])


@pytest.mark.parametrize(
    ("names", "changed", "message"),
    [
        (["1", "1"], {}, "names a split twice: '1,1'"),
        (["1", "a/b"], {}, "--splits are names such as 1,2,3; got '1,a/b'"),
        (["1"], {"data": {"dir": "data/x"}}, "has no {split} in it, so --splits 1 would read"),
        (["1"], {"stages": {"a": {"data": {"dir": "y"}}, "b": {}}}, "'y' of stage 'a' has no"),
        (["1"], {"eval": {}}, "no evaluator, so --splits has nothing to average"),
        (["1", "9"], {}, "^Split 9: '.*/9/records' holds no prepared dataset"),
    ],
)
def test_splits_that_cannot_be_are_refused_before_the_first(
    folder, tmp_path, names, changed, message
):
    with pytest.raises(InputError, match=message):
        splits.run(config_of(folder, **changed), str(tmp_path / "run"), names)
    assert not (tmp_path / "run").exists()


def test_a_config_of_several_splits_says_how_one_is_run():
    with pytest.raises(InputError, match="--splits 1,2,3 .*--config.data.dir=d/1/records for one"):
        splits.check_one(config_of("d"))
