"""The command as a user runs it: train, resume after any end, evaluate, and no wrong checkpoint."""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import time

import jax
import numpy as np
import pytest

from tempo import checkpoint, files
from tests import forked, tiny

STEPS = 12


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.make_records(tmp_path_factory.mktemp("data"))


def write_config(path, records):
    """The tiny run's config, of a network with two of its four blocks; its path as a string."""
    path = pathlib.Path(tiny.write_config(path, records))
    before = path.read_text()
    path.write_text(before.replace("(1, 1, 1, 1)", "(1, 0, 0, 1)"))
    assert path.read_text() != before
    return str(path)


@pytest.fixture
def config(tmp_path, records):
    return write_config(tmp_path / "config.py", records)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, records):
    """A run that was never cut: (config file, workdir, completed process)."""
    folder = tmp_path_factory.mktemp("finished")
    config = write_config(folder / "config.py", records)
    process = tiny.run("--config", config, "--workdir", folder / "run")
    assert process.returncode == 0, process.stderr
    return config, folder / "run", process


def final_arrays(workdir):
    return checkpoint.load_arrays(checkpoint.find(workdir))


def assert_same_end(workdir, reference):
    ours, theirs = final_arrays(workdir), final_arrays(reference)
    assert int(ours["step"]) == STEPS
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    rows = [files.read_json(os.path.join(w, "results.json")) for w in (workdir, reference)]
    for ours, theirs in zip(*rows, strict=True):
        assert ours["top1"] == theirs["top1"]


def metric_steps(workdir):
    with open(os.path.join(workdir, "metrics.jsonl")) as f:
        return [json.loads(line)["step"] for line in f]


def test_a_run_leaves_results_scores_metrics_and_checkpoints(finished):
    _, workdir, process = finished
    rows = {row["name"]: row for row in files.read_json(workdir / "results.json")}
    assert set(rows) == {"single_view", "multi_view"}
    for name, views in (("single_view", 1), ("multi_view", 6)):
        row = rows[name]
        assert row["num_videos"] == 11 and row["views"] == views
        assert row["checkpoint_step"] == STEPS
        assert 0 <= row["ci95"][0] <= row["top1"] <= row["ci95"][1] <= 1
        assert row["top1"] <= row["top5"]
        scores = np.load(workdir / "scores" / f"{name}.npz")
        assert scores["probs"].shape == scores["logits"].shape == (11, 7)
        assert ("view_logits" in scores) == (name == "multi_view")
        assert len(set(scores["id"])) == 11 and scores["row"] == "t1.base"
        assert np.mean(scores["probs"].argmax(1) == scores["label"]) == pytest.approx(row["top1"])
    assert metric_steps(workdir)[-1] == STEPS
    assert list((workdir / "tensorboard").iterdir())
    info = checkpoint.load_info(checkpoint.find(workdir))
    assert len(info["class_names"]) == 7
    assert info["manifest_sha256"] == rows["single_view"]["manifest_sha256"]
    assert info["config"]["batch_size"] == 8
    for word in ("devices   4 x cpu", "parameters", "GFLOPs", "evaluator", "top-1"):
        assert word in process.stdout
    assert "input-bound" in process.stderr


def wait_for_step(step, workdir, process, seconds=240):
    """Returns once `metrics.jsonl` has the step's line."""
    path = workdir / "metrics.jsonl"
    end = time.monotonic() + seconds
    while not (path.exists() and f'"step": {step},' in path.read_text()):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)


def interrupted(signal_number, step, workdir, *flags):
    """The completed process of a run that was sent a signal after `step`."""
    log_all = "--config.loop.log_every_steps=1"
    program = (int(signal_number), step, "--workdir", workdir, *flags, log_all)
    return forked.run(*program, module="tests.signalled_run", timeout=240)


def test_killed_at_a_random_step_it_ends_in_the_same_bits(finished, config, tmp_path):
    _, reference, _ = finished
    workdir = tmp_path / "run"
    flags = ("--config", config)
    # What is free to change, worker counts above all, must not matter either.
    workers = "--config.data.num_workers=0"
    killed = interrupted(signal.SIGKILL, random.randint(4, 10), workdir, *flags, workers)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = forked.run(*flags, "--workdir", workdir)
    assert again.returncode == 0, again.stderr
    assert "resumed at step" in again.stdout
    assert_same_end(workdir, reference)
    steps = metric_steps(workdir)
    assert steps == sorted(steps)


def test_sigterm_saves_and_the_same_command_goes_on(finished, config, tmp_path):
    _, reference, _ = finished
    workdir = tmp_path / "run"
    flags = ("--config", config)
    stopped = interrupted(signal.SIGTERM, 2, workdir, *flags)
    assert stopped.returncode == 0, stopped.stderr
    assert "the same command goes on" in stopped.stdout
    again = forked.run(*flags, "--workdir", workdir)
    assert again.returncode == 0, again.stderr
    assert_same_end(workdir, reference)


def test_a_finished_run_is_only_evaluated_again(finished):
    config, workdir, _ = finished
    before = final_arrays(workdir)
    process = forked.run("--config", config, "--workdir", workdir)
    assert process.returncode == 0 and "evaluator" in process.stdout
    jax.tree.map(np.testing.assert_array_equal, final_arrays(workdir), before)


def start_two(config, workdir, num_devices, *flags):
    """Two processes of the command on this machine, each with its own CPU devices."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    return [
        forked.Command(
            "--config", config, "--workdir", workdir, "--coordinator", f"localhost:{port}",
            "--num_processes=2", f"--process_id={i}", *flags, num_devices=num_devices,
        )
        for i in range(2)
    ]  # fmt: skip


# Two devices each; and one each, with parameters split over both, which then read the same clips.
@pytest.mark.parametrize("num_devices, model", [(2, 1), (1, 2)])
def test_two_processes_train_as_one(finished, config, tmp_path, num_devices, model):
    _, reference, _ = finished
    workdir = tmp_path / "run"
    flags = [] if model == 1 else ["--config.sharding_rules=(('kernel$',('model',)),)"]
    processes = start_two(config, workdir, num_devices, f"--config.mesh.model={model}", *flags)
    outputs = [p.communicate(timeout=400) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    ours, theirs = final_arrays(workdir), final_arrays(reference)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), ours, theirs)
    rows = files.read_json(workdir / "results.json")
    assert [row["num_videos"] for row in rows] == [11, 11]
    assert "evaluator" in outputs[0][0] and "evaluator" not in outputs[1][0]


def test_sigterm_to_one_of_two_processes_stops_both_at_one_step(config, tmp_path):
    workdir = tmp_path / "run"
    flags = ("--config.loop.log_every_steps=1", "--config.total_epochs=400.0")
    processes = start_two(config, workdir, 1, *flags)
    wait_for_step(2, workdir, processes[0])
    processes[1].terminate()
    outputs = [p.communicate(timeout=200) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert "the same command goes on" in outputs[0][0]
    assert int(final_arrays(workdir)["step"]) < 1200


def test_evaluation_of_a_checkpoint_repeats_its_numbers(finished, tmp_path):
    _, workdir, _ = finished
    process = forked.run("--mode=eval", "--checkpoint", workdir, "--workdir", tmp_path / "eval")
    assert process.returncode == 0, process.stderr
    ours = files.read_json(tmp_path / "eval" / "results.json")
    theirs = files.read_json(workdir / "results.json")
    for a, b in zip(ours, theirs, strict=True):
        assert (a["name"], a["top1"], a["protocol"]) == (b["name"], b["top1"], b["protocol"])


def test_evaluation_with_other_views_adds_its_own_rows(finished, config, tmp_path):
    _, workdir, _ = finished
    flags = ("--mode=eval", "--checkpoint", workdir, "--workdir", tmp_path / "eval")
    first = forked.run(*flags)
    assert first.returncode == 0, first.stderr
    other = forked.run(*flags, "--config", config, "--config.eval.multi_view.num_clips=3")
    assert other.returncode == 0, other.stderr
    rows = files.read_json(tmp_path / "eval" / "results.json")
    assert sorted(row["views"] for row in rows) == [1, 6, 9]


KINDS = ("multi_view", "per_frame", "tempo_robustness", "use_of_time")


def changed_config(config, folder, line):
    """The path of that config with one more line before it returns."""
    text = pathlib.Path(config).read_text().replace("    return c", f"    {line}\n    return c")
    (folder / "changed.py").write_text(text)
    return folder / "changed.py"


def scores_of(workdir, name):
    with np.load(workdir / "scores" / f"{name}.npz") as f:
        return dict(f)


def test_evaluators_by_name_give_the_same_scores_on_any_number_of_processes(finished, tmp_path):
    config, run, _ = finished
    strides = {"kind": "tempo_robustness", "strides": (1, 4), "short_side_px": 36, "size_px": 32}
    line = f"c.eval.tempo_robustness = {strides}; c.row = 'another'"
    config = changed_config(config, tmp_path, line)
    flags = ("--mode=eval", "--checkpoint", run, "--evaluators=" + ",".join(KINDS))
    one = forked.run("--config", config, "--workdir", tmp_path / "one", *flags)
    assert one.returncode == 0, one.stderr
    rows = files.read_json(tmp_path / "one" / "results.json")
    assert [(row["name"], row["kind"]) for row in rows] == [(kind, kind) for kind in KINDS]
    assert scores_of(tmp_path / "one", "multi_view")["row"] == "t1.base"  # as it was trained
    views, frames, tempo, order = rows
    # Of the config, and one centre crop where it has none.
    assert (views["views"], order["views"]) == (6, 1)
    assert [point["stride"] for point in tempo["curve"]] == [1, 2, 4]
    assert tempo["curve"][1]["drop"] == 0 and tempo["mean_abs_drop"] >= 0
    assert set(order["variants"]) == {"normal", "shuffled", "reversed", "single_frame"}
    assert frames["frames_per_s"] == 5.0 and frames["num_frames"] == 11 * 4  # of 16 at 25 per s
    assert "as clips of 4 copies" in frames["protocol"]
    for text in ("  stride 4", "  mean |drop|", "  single_frame"):
        assert text in one.stdout
    processes = start_two(config, tmp_path / "two", 2, *flags)
    outputs = [p.communicate(timeout=400) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    for kind in KINDS:
        ours, theirs = scores_of(tmp_path / "two", kind), scores_of(tmp_path / "one", kind)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value, theirs[key], atol=1e-5, err_msg=key)
            else:
                np.testing.assert_array_equal(value, theirs[key], err_msg=key)


def test_training_watches_all_kinds_and_keeps_the_best_by_views(records, tmp_path):
    view = {"short_side_px": 36, "size_px": 32, "every_epochs": 2.0}
    sections = {kind: {"kind": kind, **view} for kind in KINDS}
    sections["tempo_robustness"]["strides"] = (1, 3)
    config = write_config(tmp_path / "config.py", records)
    config = changed_config(config, tmp_path, f"c.eval = {sections}")
    process = forked.run("--config", config, "--workdir", tmp_path / "run")
    assert process.returncode == 0, process.stderr
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    for kind in KINDS:
        assert [row["step"] for row in metrics if f"{kind}/top1" in row] == [6, 12]
    assert "best checkpoint so far" in process.stdout
    assert len(files.read_json(tmp_path / "run" / "results.json")) == 4


def test_a_run_that_diverges_keeps_a_checkpoint_that_works(config, tmp_path):
    workdir = tmp_path / "run"
    process = forked.run(
        "--config", config, "--workdir", workdir, "--config.schedule.base_lr=1e10",
        "--config.schedule.name=constant", "--config.schedule.warmup_epochs=1.0",
        "--config.schedule.warmup_factor=1e-12", "--config.optim.clip_norm=0.0",
        "--config.loop.checkpoint_every_steps=1", "--config.optim.weight_decay=1.0",
    )  # fmt: skip
    assert process.returncode == 1, process.stderr
    [line] = [x for x in process.stderr.splitlines() if x.startswith("error:")]
    assert re.search(r"Step \d+ had loss .*gradient norm .* of the batch: .*v_\w+_g", line), line
    kept = final_arrays(workdir)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(kept))
    evaluated = forked.run("--mode=eval", "--checkpoint", workdir, "--workdir", tmp_path / "eval")
    assert evaluated.returncode == 0, evaluated.stderr


def test_a_record_damaged_on_disk_stops_the_run_and_is_named(records, tmp_path):
    copy = pathlib.Path(shutil.copytree(records, tmp_path / "records"))
    shard = max(copy.glob("*-train.array_record-*"), key=lambda p: p.stat().st_size)
    content = shard.read_bytes()
    assert b"\xff\xd8\xff" in content
    # The beginning of every JPEG: a clip reads only some.
    shard.write_bytes(content.replace(b"\xff\xd8\xff", bytes(3)))
    config = write_config(tmp_path / "damaged.py", copy)
    process = forked.run("--config", config, "--workdir", tmp_path / "run")
    assert process.returncode == 1, process.stderr
    [line] = [x for x in process.stderr.splitlines() if x.startswith("error:")]
    assert re.search(r"v_\w+_g\d+_c\d+.mp4: cannot decode frames: .*damaged", line), line


def test_residual_frames_and_several_clips_of_a_video_train_and_evaluate(config, tmp_path):
    workdir = tmp_path / "run"
    process = forked.run(
        "--config", config, "--workdir", workdir, "--config.input.device_ops=('residual',)",
        "--config.input.clips_per_video=2", "--config.clip.train_strides=(1,2)",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    # 24 videos, 4 of them with 2 clips each in a batch of 8: 6 steps an epoch, 4 epochs.
    assert metric_steps(workdir)[-1] == 24
    rows = files.read_json(workdir / "results.json")
    assert [row["num_videos"] for row in rows] == [11, 11]
    info = checkpoint.load_info(checkpoint.find(workdir))
    assert info["device_ops"] == ["residual"]


def test_checkpoint_of_another_architecture_names_the_keys(finished, tmp_path):
    config, workdir, _ = finished
    line = forked.refused(
        "--mode=eval", "--checkpoint", workdir, "--workdir", tmp_path / "e",
        "--config", config, "--config.model.backbone.width=8",
    )  # fmt: skip
    assert "(model.backbone.width: 4 there, 8 here)" in line


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--evaluators=per_fram"], "Unknown evaluator 'per_fram'.*Did you mean 'per_frame'"),
        (
            ["--evaluators=tempo_robustness", "--config.clip.sampling=segments"],
            "eval.tempo_robustness .*sampling='segments' has none",
        ),
        (
            ["--config.eval.single_view.strides=(2,)"],
            "config.eval.single_view.strides is not used by kind 'multi_view'",
        ),
        (["--config.eval.single_view.kind=speed"], "Unknown kind of evaluator .*'speed'"),
    ],
)
def test_evaluators_that_cannot_run_are_refused(finished, tmp_path, flags, message):
    config, workdir, _ = finished
    line = forked.refused(
        "--mode=eval", "--checkpoint", workdir, "--workdir", tmp_path / "e", "--config", config,
        *flags,
    )  # fmt: skip
    assert re.search(message, line), line
    assert not (tmp_path / "e").exists()


def test_workdir_of_another_config(finished):
    config, workdir, _ = finished
    line = forked.refused("--config", config, "--workdir", workdir, "--config.schedule.base_lr=0.5")
    assert "schedule/base_lr: 0.02 there, 0.5 now" in line


def test_checkpoint_of_other_classes(finished, config, tmp_path):
    _, workdir, _ = finished
    other = tiny.make_records(tmp_path, config="pairs", num_train=28, num_test=14)
    line = forked.refused(
        "--mode=eval", "--checkpoint", workdir, "--workdir", tmp_path / "e",
        "--config", config, f"--config.data.dir={other}",
    )  # fmt: skip
    assert "knows the classes 7 (Bounce, " in line and "has 14 (BounceFast, " in line


def test_resume_on_other_data(finished, config, tmp_path):
    _, workdir, _ = finished
    other = tiny.make_records(tmp_path, seed=1)
    line = forked.refused("--config", config, "--workdir", workdir, f"--config.data.dir={other}")
    assert "was trained on the dataset" in line
