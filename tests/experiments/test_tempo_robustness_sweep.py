"""The tempo study: its commands, what it records, and numbers that were planted come back."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from experiments import recorded
from experiments.tempo_robustness import config, evaluation, study, sweep, tables
from tempo import recipe
from tempo.analysis import scores
from tempo.errors import InputError

CLASSES = ("Bounce", "Slide", "Spin")
SPREADS = np.array([0.0, 0.2, 0.5])
NUM = 90
LABELS = np.arange(NUM) % 3
RNG = np.random.default_rng(0)
PERIODS = 19.6 * np.exp(SPREADS[LABELS] * RNG.normal(size=NUM) + 0.001 * RNG.normal(size=NUM))
STRIDES = (2, 4, 8)


def probs_with(hits):
    """Scores [N,3] that are right where `hits` says so."""
    best = np.where(hits, LABELS, (LABELS + 1) % 3)
    return np.eye(3, dtype=np.float32)[best] * 0.8 + 0.1


def write_run(folder, hit_rate, *, seed=0, with_frames=False, step=60, manifest="f" * 64):
    """A finished run: hits of each class at a rate, fewer at other strides; widths = period / 2."""
    rng = np.random.default_rng(seed)
    rate = np.asarray(hit_rate)[LABELS]
    facts = [
        json.dumps({"period_frames": p, "phase": 0.25, "class_log_tempo_std": SPREADS[label]})
        for p, label in zip(PERIODS, LABELS, strict=True)
    ]
    common = {
        "id": np.array([f"{i}.mp4" for i in range(NUM)]), "label": LABELS, "label_kind": "single",
        "class_names": np.array(CLASSES), "checkpoint_step": step, "protocol": "one clip",
        "manifest_sha256": manifest, "dataset": "tempobench_variance", "split": "test",
        "facts": np.array(facts),
    }  # fmt: skip
    draw = rng.uniform(size=NUM)
    at_stride = [probs_with(draw < rate * share) for share in (0.5, 1.0, 0.25)]
    orders = [probs_with(draw < rate * share) for share in (1.0, 0.5)]
    kinds = {
        "multi_view": {"probs": at_stride[1]},
        "tempo_robustness": {
            "probs": np.stack(at_stride), "strides": np.array(STRIDES), "trained_stride": 4,
        },
        "use_of_time": {
            "probs": np.stack(orders), "variants": np.array(["normal", "shuffled"]),
        },
    }  # fmt: skip
    if with_frames:
        # A triangle whose half base is half the period, in 64 frames.
        curves = np.maximum(0.01, 1 - np.abs(np.arange(64) - 32) / (PERIODS[:, None] / 2))
        kinds["per_frame"] = {
            "probs": curves.ravel().astype(np.float32), "fps": 25.0,
            "offsets": np.arange(0, 64 * NUM + 1, 64), "predicted": np.repeat(LABELS, 64),
        }  # fmt: skip
    (folder / "scores").mkdir(parents=True)
    for kind, arrays in kinds.items():
        np.savez(folder / "scores" / f"{kind}.npz", kind=kind, **common, **arrays)
    rows = [{"name": "multi_view", "checkpoint_step": s} for s in (step, step - 20)]
    (folder / "results.json").write_text(json.dumps(rows))
    recipe = {"batch_size": 10, "total_epochs": 3.0, "data": {"generate": {"num_train": 205}}}
    (folder / "config.json").write_text(json.dumps(recipe))  # 3 epochs of 20 steps
    return folder


@pytest.fixture
def results(tmp_path):
    """A file of results of four networks with three seeds each, one of them scored by frames."""
    rates = {
        "slowonly": (0.8, 0.6, 0.4),
        "tpn_cascade": (0.8, 0.8, 0.95),  # gains where tempo varies
        "tpn_parallel": (0.95, 0.6, 0.2),  # the other way round
        "tsn": (0.3, 0.3, 0.3),
    }
    path = tmp_path / "results.jsonl"
    for row, rate in rates.items():
        for seed in range(3):
            folder = tmp_path / f"{row}_seed{seed}"
            write_run(folder, rate, seed=seed, with_frames=row == "tsn")
            found = scores.load_all(folder)
            rows = json.loads((folder / "results.json").read_text())
            made = {"row": row, "seed": seed, **sweep.measured(found, rows)}
            sweep.record([sweep.truth(found["multi_view"]), made], path)
    return path


@pytest.mark.parametrize("row", config.ROWS)
def test_every_row_is_a_recipe_and_measures_more_than_it_trains_with(row):
    trained = recipe.from_config(config.get_config(row))
    measured = recipe.from_config(evaluation.get_config(row))
    assert set(trained.eval) == {"multi_view"}
    expected = {"multi_view", "tempo_robustness", "use_of_time"}
    assert set(measured.eval) == expected | ({"per_frame"} if row == "tsn" else set())
    for name in ("data", "clip", "input", "model", "seed", "optim"):
        assert getattr(trained, name) == getattr(measured, name)


def test_commands_are_those_of_the_readme():
    assert sweep.training_command("runs/tempo_robustness", "tpn_parallel", 2) == [
        "-m", "tempo.main", "--config", "experiments/tempo_robustness/config.py:tpn_parallel",
        "--workdir", "runs/tempo_robustness/tpn_parallel_seed2", "--config.seed=2",
    ]  # fmt: skip
    evaluation_command = sweep.evaluation_command("runs/tempo_robustness", "tsn", 0)
    assert "--mode" in evaluation_command
    root = pathlib.Path(sweep.__file__).parents[2]
    for argument in (*sweep.training_command("x", "tsn", 0), *evaluation_command):
        if argument.startswith("experiments/"):
            assert (root / argument.partition(":")[0]).is_file()


def test_training_skips_finished_runs(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(sweep.subprocess, "run", lambda command, check: started.append(command))
    write_run(tmp_path / "tsn_seed0", (1, 1, 1))
    sweep.train(str(tmp_path), ["slowonly", "tsn"], [0, 1])
    folders = [pathlib.Path(c[c.index("--workdir") + 1]).name for c in started]
    assert folders == ["slowonly_seed0", "slowonly_seed1", "tsn_seed1"]


def test_a_run_has_finished_when_its_last_step_was_evaluated(tmp_path):
    assert sweep.is_finished(write_run(tmp_path / "whole", (1, 1, 1), step=60))
    half = write_run(tmp_path / "half", (1, 1, 1), step=40)  # evaluated by hand
    assert not sweep.is_finished(half)
    (tmp_path / "whole" / "results.json").unlink()
    assert not sweep.is_finished(tmp_path / "whole")


def test_the_last_step_is_that_of_training():
    given = config.get_config("slowonly").to_dict()
    assert sweep._last_step(given) == 240  # 30 epochs of 140 videos in batches of 16


def test_evaluation_records_finished_runs_in_place_of_older_rows(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(sweep.subprocess, "run", lambda command, check: started.append(command))
    monkeypatch.setattr(sweep.report, "environment", lambda: {"command": "", "commit": "abc"})
    path = tmp_path / "results.jsonl"
    with pytest.raises(InputError, match="holds no finished run; first: python -m experiments"):
        sweep.evaluate(str(tmp_path), ["tsn"], [0], path)
    write_run(tmp_path / "tsn_seed0", (1, 1, 1), with_frames=True)
    write_run(tmp_path / "slowonly_seed0", (1, 1, 1))
    for is_again in (False, False, True):
        sweep.evaluate(str(tmp_path), ["tsn", "slowonly"], [0, 1], path, is_again=is_again)
    assert len(started) == 4  # the second call found both recorded
    truth, slowonly, tsn = recorded.read(path)
    assert (truth["row"], slowonly["row"], tsn["row"]) == ("videos", "slowonly", "tsn")
    assert slowonly["command"].startswith("python -m tempo.main --mode eval --config")
    assert slowonly["training_command"].endswith("--config.seed=0")
    assert [r["checkpoint_step"] for r in slowonly["results"]] == [60]
    assert "widths" in tsn and "widths" not in slowonly


def test_scores_of_two_checkpoints_are_not_mixed(tmp_path):
    one, other = (write_run(tmp_path / str(s), (1, 1, 1), step=s) for s in (60, 80))
    found = scores.load_all(one) | {"use_of_time": scores.load_all(other)["use_of_time"]}
    with pytest.raises(InputError, match="is of step 80, .* of 60; evaluate again"):
        sweep.measured(found, [])


def test_rows_of_other_videos_are_not_gathered(tmp_path, results):
    folder = write_run(tmp_path / "other", (1, 1, 1), manifest="0" * 64)
    row = sweep.measured(scores.load_all(folder), [])
    sweep.record([{"row": "tpn_isolation", "seed": 0, **row}], results)
    with pytest.raises(InputError, match="not all of the same videos"):
        sweep.gathered(results)
    with pytest.raises(InputError, match="got 1 runs and 0 such rows"):
        study.gather([{"row": "tsn", "seed": 0}])


def test_packed_hits_come_back():
    hits = RNG.uniform(size=37) < 0.5
    np.testing.assert_array_equal(recorded.unpack(recorded.pack(hits), 37), hits)


def test_study_holds_what_the_runs_said(tmp_path, results):
    s = sweep.gathered(results)
    assert list(s.hits) == ["slowonly", "tpn_cascade", "tpn_parallel", "tsn"]
    assert s.tpn_rows == ["tpn_cascade", "tpn_parallel"]
    assert s.strides.tolist() == list(STRIDES) and s.trained_stride == 4
    np.testing.assert_allclose(s.periods, PERIODS, atol=1e-4)
    np.testing.assert_array_equal(s.log_tempo_std, SPREADS)
    written = scores.load(tmp_path / "tpn_cascade_seed1" / "scores" / "tempo_robustness.npz")
    np.testing.assert_array_equal(s.curve["tpn_cascade"][1], written.correct())
    np.testing.assert_array_equal(s.hits["tpn_cascade"], s.curve["tpn_cascade"][:, 1])
    assert s.frame_accuracy == {"tsn": [1.0, 1.0, 1.0]}


def test_planted_gains_and_drops_come_back(results):
    s = sweep.gathered(results)
    options = {"num_resamples": 100}
    gained = study.accuracy_gain(s, "tpn_cascade", **options)
    assert gained.low < gained.value == pytest.approx(0.25, abs=0.08)
    assert 0 < gained.low < gained.high
    assert study.spread_correlation(s, "tpn_cascade", **options).value == 1.0
    assert study.spread_correlation(s, "tpn_parallel", **options).value == -1.0
    drops = study.drops(s, "tpn_cascade")
    assert drops.shape == (3, 3)
    assert (drops[:, 1] == 0).all() and (drops[:, 0] < 0).all()
    assert (drops[:, 2] < drops[:, 0]).all()
    mean = study.mean_abs_drop(s, "tpn_cascade", **options)
    assert mean.value == pytest.approx(-drops[:, [0, 2]].mean())
    assert mean.low < mean.value < mean.high


def test_gain_within_classes_follows_the_tempo_of_single_videos(results):
    s = sweep.gathered(results)
    options = {"num_resamples": 50}
    # Which videos of a class are hit was drawn without regard to their tempo.
    found = study.distance_correlation(s, "tpn_cascade", **options)
    assert found.low < 0 < found.high
    distance = np.abs(np.log(s.periods / s.median_period))
    is_far = np.zeros(NUM, bool)
    for label in range(3):
        rows = np.flatnonzero(label == LABELS)
        is_far[rows[np.argsort(distance[rows])[15:]]] = True
    hits = {"slowonly": np.stack([~is_far] * 3), "tpn_cascade": np.stack([is_far] * 3)}
    planted = dataclasses.replace(s, hits=hits)
    assert study.distance_correlation(planted, "tpn_cascade", **options).low > 0.8
    # Between classes alone: all videos of a class gain alike.
    hits["tpn_cascade"] = np.stack([LABELS == 2] * 3)
    hits["slowonly"] = np.zeros((3, NUM), bool)
    between = study.distance_correlation(planted, "tpn_cascade", **options)
    assert np.isnan(between.value)


def test_measured_tempo_is_validated_beside_its_control(results):
    s = sweep.gathered(results)
    found = study.validation(s, "tsn", num_resamples=50)
    assert found.overall.value > 0.95
    assert found.overall.num == NUM
    # Half the videos censored in two of three seeds, a tenth in all.
    censored = np.stack([np.arange(NUM) % 10 < share for share in (5, 5, 1)])
    planted = dataclasses.replace(s, censored={"tsn": censored})
    uncensored = study.validation(planted, "tsn", is_uncensored=True, num_resamples=50)
    assert uncensored.overall.num == NUM * 9 // 10
    assert uncensored.overall.value > 0.95
    # A video without a width in one seed has the mean of the others, in tables and figures.
    widths = {mode: found.copy() for mode, found in s.widths["tsn"].items()}
    widths["main"][0, :5] = np.nan
    widths["main"][:, 5] = np.nan
    found = study.measured_widths(dataclasses.replace(s, widths={"tsn": widths}), "tsn")
    np.testing.assert_allclose(found[:5], widths["main"][1:, :5].mean(axis=0))
    assert np.flatnonzero(np.isnan(found)).tolist() == [5]
    control = study.control(s, num_resamples=50)
    assert control.per_class[2].value > 0.9


def test_tables_show_the_numbers(results):
    s = sweep.gathered(results)
    page = tables.page(s)
    top1 = s.hits["tsn"].mean(axis=1)
    assert f"| tsn | 3 | {top1.mean():.3f} ({top1.min():.3f} to {top1.max():.3f}) |  |" in page
    drop = 100 * study.drops(s, "slowonly").mean(axis=0)
    assert f"| slowonly | {drop[0]:+.1f} | {drop[2]:+.1f} |" in page
    assert "| Spin | 0.50 |" in page
    for row in page.splitlines():
        assert "nan" not in row


def test_tables_go_between_their_marks_of_the_readme(results):
    text = sweep.README.read_text()
    again = recorded.with_tables(recorded.with_tables(text, "| old |"), "| new |")
    assert "| new |" in again and "| old |" not in again
    assert again.startswith(text[: text.index("<!-- tables: begin")])
    assert again.endswith(text[text.index("<!-- tables: end") :])


def test_readme_shows_the_recorded_rows():
    rows = recorded.read(sweep.RESULTS)
    assert recorded.with_tables(sweep.README.read_text(), tables.page(study.gather(rows))) == (
        sweep.README.read_text()
    )
    for row in rows[1:]:
        assert {"command", "training_command", "commit", "date", "versions", "hardware"} <= set(row)
        assert {r["num_videos"] for r in row["results"]} == {560}


def test_figures_are_drawn(tmp_path, results):
    pytest.importorskip("matplotlib")
    from experiments.tempo_robustness import figures

    figures.draw(sweep.gathered(results), tmp_path)
    for name in figures.FILES:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch):
    assert sweep.main(["train", "--rows", "slowony"]) == 2
    assert "Did you mean 'slowonly'?" in capsys.readouterr().err
    assert sweep.main(["train", "--seeds", "0,a"]) == 2
    assert capsys.readouterr().err == (
        "error: --seeds must be whole numbers with commas; got '0,a'.\n"
    )
    monkeypatch.setattr(sweep, "training_command", lambda *_: ["-c", "raise SystemExit(3)"])
    assert sweep.main(["train", "--runs", str(tmp_path), "--rows", "tsn", "--seeds", "0"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ended with status 3: ") and said.count("\n") == 1
    monkeypatch.setattr(sweep, "RESULTS", tmp_path / "none.jsonl")
    assert sweep.main(["table"]) == 2
    assert "holds no rows; first: python -m experiments.tempo_robustness" in capsys.readouterr().err
