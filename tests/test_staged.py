"""Runs in stages: each from the weights of the last, cut anywhere and gone on with bit for bit."""

import shutil

import jax
import numpy as np
import pytest

from tempo import checkpoint, files, staged, trees, watchdog
from tempo.errors import InputError
from tempo.evaluators import evaluator
from tests import compiled, tiny

A, B = "stages/a_base", "."


def config_of(data_dir, **changed):
    """24 clips in batches of 8: evaluated after steps 2, 4 and 6."""
    scope = {}
    exec(tiny.CONFIG.replace("DATA", str(data_dir)), scope)
    config = scope["get_config"]().to_dict()
    model = {"backbone": {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}}
    view = {"short_side_px": 36, "size_px": 32}
    config |= {
        "model": {**model, "head": {"dropout_prob": 0.5}},
        "clip": {"num_frames": 2, "stride": 2},
        "total_epochs": 2.0,
        "loop": {"log_every_steps": 1, "checkpoint_every_steps": 2},
        "eval": {"single_view": {"every_epochs": 2 / 3, **view}},
        "stages": {
            "a_base": {"loop": {"stop_at": 0.4}, "clip": {"num_frames": 1}},
            "b_modules": {
                "model": {"backbone": {"attention": "se"}},
                "init_fresh": "/attention/",
                "loop": {"stop_at": 0.9},
            },
        },
    }
    return config | changed


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.make_records(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """A stage that is cut and gone on with is the program that it was."""
    with compiled.kept_in(tmp_path_factory.mktemp("compiled")):
        yield


@pytest.fixture(scope="module", autouse=True)
def known_accuracy():
    """After step n the accuracy is n tenths, so that stages end where a test wants them to."""
    run = evaluator.Evaluator.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            evaluator.Evaluator,
            "run",
            lambda self, variables, step: {**run(self, variables, step), "top1": step / 10},
        )
        yield


@pytest.fixture
def told_to_stop(monkeypatch):
    """A list of steps: SIGTERM comes in the first one, and that is taken off."""
    steps = []

    def requested(self, step):
        if steps and step == steps[0]:
            steps.pop(0)
            return True
        return False

    monkeypatch.setattr(watchdog.StopSignal, "requested", requested)
    return steps


@pytest.fixture(scope="module")
def uncut(records, tmp_path_factory):
    """A run that was never cut: (its workdir, rows of the last stage)."""
    workdir = tmp_path_factory.mktemp("uncut") / "run"
    return workdir, staged.run(config_of(records), str(workdir))


def arrays(workdir):
    return trees.named(checkpoint.load_arrays(checkpoint.find(str(workdir))))


def test_a_stage_ends_at_its_threshold_and_the_next_starts_from_its_weights(uncut, capsys):
    workdir, rows = uncut
    common = {"metric": "single_view/top1", "total_steps": 6}
    assert files.read_json(workdir / "stages.json") == [
        {"name": "a_base", "workdir": A, "step": 4, "value": 0.4, "stop_at": 0.4, **common},
        {"name": "b_modules", "workdir": B, "step": 6, "value": 0.6, "stop_at": 0.9, **common},
    ]
    [early] = files.read_json(workdir / A / "results.json")
    assert early["stopped"]["step"] == early["checkpoint_step"] == 4
    assert rows == files.read_json(workdir / "results.json") and "stopped" not in rows[0]
    assert files.read_json(workdir / "config.json")["init_from"] == A
    # Finished stages are not run again, and a finished run only gives its results.
    before = arrays(workdir)
    config = config_of(files.read_json(workdir / "config.json")["data"]["dir"])
    assert [row["checkpoint_step"] for row in staged.run(config, str(workdir))] == [6]
    log = capsys.readouterr().out
    assert "with single_view/top1 0.400, which reaches loop.stop_at=0.4; it is not run" in log
    assert "0.600, below loop.stop_at=0.9: what follows goes on" in log
    jax.tree.map(np.testing.assert_array_equal, before, arrays(workdir))


def test_cut_in_every_stage_it_ends_in_the_same_bits(
    uncut, records, tmp_path, told_to_stop, capsys
):
    workdir, config = str(tmp_path / "run"), config_of(records)
    # In the first stage, in its very last step, and in the middle of the second.
    for step, ended in ((1, 0), (4, 1), (3, 1)):
        told_to_stop.append(step)
        assert staged.run(config, workdir) == [] and not told_to_stop
        found = tmp_path / "run" / "stages.json"
        assert len(files.read_json(found) if found.exists() else []) == ended
        assert checkpoint.exists(workdir) == (step == 3)
    assert "init      from" in capsys.readouterr().out
    staged.run(config, workdir)
    log = capsys.readouterr().out
    assert "it is not run again" in log and "resumed at step 3 of 6" in log
    for part in (A, B):
        ours, theirs = arrays(tmp_path / "run" / part), arrays(uncut[0] / part)
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"c": {"init_fresh": "", "model": {"backbone": {"width": 8}}}},
            "Stage 'c' cannot start from 'b_modules': .* are of another backbone: .* "
            "config.stages.c.init_fresh names",
        ),
        ({"c": {"modle": {}}}, "Stage 'c': The config has no key 'modle'. Did you mean 'model'"),
        ({"c": {"init_fresh": "/tam/"}}, "Stage 'c': config.init_fresh='/tam/' matches no leaf"),
        ({"c": {"init_fresh": "("}}, "Stage 'c': config.init_fresh: .* not a regular expression"),
        ({"c": {"loop": {"stop_at": 53}}}, "Stage 'c': loop.stop_at is a share .* got 53"),
        (
            {"c": {"loop": {"stop_at": 0.5}, "eval": {"single_view": {"every_epochs": 0.0}}}},
            "Stage 'c': config.loop.stop_at=0.5 needs an evaluator of kind 'multi_view' that runs",
        ),
    ],
)
def test_a_stage_that_cannot_be_is_refused_before_the_first_one(changed, message, tmp_path):
    config = config_of(tmp_path / "nowhere")
    config["stages"] |= changed
    with pytest.raises(InputError, match=message):
        staged.run(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"schedule": {"warmup_epochs": 9.0}}, "schedule.warmup_epochs=9.0 is 27 steps, but"),
        ({"data": {"dir": "/nowhere"}}, "'/nowhere' holds no prepared dataset"),
        ({"data": {"train_split": "tran"}}, "tran"),
        ({"data": {"worker_kind": "fiber"}}, "worker_kind must be thread or process"),
        ({"batch_size": 32}, "batch_size=32 is more than the 24 videos"),
        ({"eval": {"single_view": {"split": "nope"}}}, "nope"),
    ],
)
def test_what_data_and_schedule_do_not_allow_is_refused_before_the_first_stage(
    records, changed, message, tmp_path
):
    config = config_of(records)
    config["stages"]["b_modules"] |= changed
    with pytest.raises(InputError, match=f"^Stage 'b_modules': .*{message}"):
        staged.run(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_dataset_of_a_finished_stage_is_that_of_the_next(uncut, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(uncut[0] / "stages", workdir / "stages")
    files.write_json(str(workdir / "stages.json"), files.read_json(uncut[0] / "stages.json")[:1])
    before = (workdir / A / "config.json").read_bytes()
    other = tiny.make_records(tmp_path, num_train=8, num_test=7)
    with pytest.raises(InputError, match="^Stage 'a_base': The run .* was trained on the dataset"):
        staged.run(config_of(other), str(workdir))
    assert (workdir / A / "config.json").read_bytes() == before
    assert not checkpoint.exists(str(workdir))


def test_a_workdir_of_another_run_is_refused(uncut, records):
    workdir = str(uncut[0])
    config = config_of(records, seed=1)
    with pytest.raises(InputError, match=r"Stage 'a_base': Workdir .* \(seed: 0 there, 1 now\)"):
        staged.run(config, workdir)
    # Where a stage ends at a threshold, when it is looked at changes its numbers.
    config = config_of(records)
    config["eval"]["single_view"]["every_epochs"] = 1.0
    with pytest.raises(InputError, match="eval/single_view/every_epochs"):
        staged.run(config, workdir)


def test_a_damaged_record_of_stages_is_told(records, tmp_path):
    (tmp_path / "stages.json").write_text("[{]")
    with pytest.raises(InputError, match=r"stages.json' is damaged .* delete it"):
        staged.run(config_of(records), str(tmp_path))
