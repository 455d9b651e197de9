"""The command as a user runs it: train, resume after any end, evaluate, and refuse bad input."""

import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time

import jax
import numpy as np
import pytest

import tempo
from tempo import checkpoint, files
from tests import tiny

STEPS = 12


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.make_records(tmp_path_factory.mktemp("data"))


@pytest.fixture
def config(tmp_path, records):
    return tiny.write_config(tmp_path / "config.py", records)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, records):
    """A run that was never cut: (config file, workdir, completed process)."""
    folder = tmp_path_factory.mktemp("finished")
    config = tiny.write_config(folder / "config.py", records)
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


def wait_for(condition, process, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)


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
        assert scores["probs"].shape == (11, 7) and scores["view_logits"].shape == (11, views, 7)
        assert len(set(scores["id"])) == 11
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


def test_killed_at_a_random_step_it_ends_in_the_same_bits(finished, config, tmp_path):
    _, reference, _ = finished
    workdir = tmp_path / "run"
    flags = ("--config", config, "--workdir", workdir)
    # Other worker counts must not matter either.
    process = subprocess.Popen(
        tiny.command(*flags, "--config.data.num_workers=0", "--config.loop.log_every_steps=1"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    last_step = random.randint(4, 10)
    metrics = workdir / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and f'"step": {last_step},' in metrics.read_text(), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (workdir / "results.json").exists()
    again = tiny.run(*flags)
    assert again.returncode == 0, again.stderr
    assert_same_end(workdir, reference)
    steps = metric_steps(workdir)
    assert steps == sorted(steps)


def test_sigterm_saves_and_the_same_command_goes_on(finished, config, tmp_path):
    _, reference, _ = finished
    workdir = tmp_path / "run"
    flags = ("--config", config, "--workdir", workdir)
    process = subprocess.Popen(
        tiny.command(*flags, "--config.loop.log_every_steps=1"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = workdir / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and '"step": 2,' in metrics.read_text(), process)
    process.terminate()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    if checkpoint.find(workdir).endswith(f"/{STEPS}"):
        pytest.skip("the run was over before the signal came")
    assert "the same command goes on" in stderr
    again = tiny.run(*flags)
    assert again.returncode == 0, again.stderr
    assert_same_end(workdir, reference)


def test_a_finished_run_is_only_evaluated_again(finished):
    config, workdir, _ = finished
    before = final_arrays(workdir)
    process = tiny.run("--config", config, "--workdir", workdir)
    assert process.returncode == 0 and "evaluator" in process.stdout
    jax.tree.map(np.testing.assert_array_equal, final_arrays(workdir), before)


def test_two_processes_train_as_one(finished, config, tmp_path):
    _, reference, _ = finished
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "JAX_NUM_CPU_DEVICES": "2"}
    processes = [
        subprocess.Popen(
            tiny.command(
                "--config", config, "--workdir", tmp_path / "run", "--coordinator",
                f"localhost:{port}", "--num_processes=2", f"--process_id={i}",
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        )
        for i in range(2)
    ]  # fmt: skip
    outputs = [p.communicate(timeout=400) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    ours, theirs = final_arrays(tmp_path / "run"), final_arrays(reference)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), ours, theirs)
    rows = files.read_json(tmp_path / "run" / "results.json")
    assert [row["num_videos"] for row in rows] == [11, 11]
    assert "evaluator" in outputs[0][0] and "evaluator" not in outputs[1][0]


def test_evaluation_of_a_checkpoint_repeats_its_numbers(finished, tmp_path):
    _, workdir, _ = finished
    process = tiny.run("--mode=eval", "--checkpoint", workdir, "--workdir", tmp_path / "eval")
    assert process.returncode == 0, process.stderr
    ours = files.read_json(tmp_path / "eval" / "results.json")
    theirs = files.read_json(workdir / "results.json")
    for a, b in zip(ours, theirs, strict=True):
        assert (a["name"], a["top1"], a["protocol"]) == (b["name"], b["top1"], b["protocol"])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(config, tmp_path):
    workdir = tmp_path / "run"
    process = tiny.run(
        "--config", config, "--workdir", workdir, "--config.schedule.base_lr=1e30",
        "--config.schedule.name=steps", "--config.schedule.boundaries_epochs=(1.0,)",
        "--config.schedule.factor=1.0", "--config.schedule.warmup_epochs=1.3",
        "--config.schedule.warmup_factor=0.0", "--config.loop.checkpoint_every_steps=1",
    )  # fmt: skip
    assert process.returncode == 1
    [line] = [x for x in process.stderr.splitlines() if x.startswith("error:")]
    assert re.search(r"Step \d+ had loss .* gradient norm .* videos: .*v_\w+_g", line), line
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(final_arrays(workdir)["params"]))


def test_describe_prints_size_and_stages():
    process = tiny.run("--describe", "tpn_slowonly_r50")
    assert "91,498,336 parameters" in process.stdout
    assert "res5           8x7x7x2048" in process.stdout


def refused(*flags, **kwargs):
    process = tiny.run(*flags, **kwargs)
    assert process.returncode == 2, process.stderr
    lines = [x for x in process.stderr.splitlines() if x.strip()]
    assert len(lines) == 1, process.stderr
    return lines[0]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--config.batch_size=6"], "batch_size=6 is not divisible by 4 .*nearest.* 4 and 8"),
        (["--config.batch_size=64"], "batch_size=64 is more than the 24 videos"),
        (["--config.optim.momentun=0.5"], "no key 'momentun'. Did you mean 'momentum'"),
        (["--config.optm.momentum=0.5"], '^error: .*Did you mean "optim" instead of "optm"'),
        (["--config.batch_size=many"], "batch_size=many"),
        (["--config.data.dir=nowhere"], "nowhere"),
        (["--config.model.backbone.variant=slowonly_r05"], "Did you mean 'slowonly_r50'"),
        (["--config.model.neck.name=tpn", "--config.model.neck.flow=sideways"], "'sideways'"),
        (
            ["--config.model.neck.name=tpn", "--config.model.neck.source=res9"],
            "Unknown source.*'res9'",
        ),
        (["--config.model.neck.name=tpn", "--config.model.neck.alphas=(3,4)"], "alpha.*3.*4"),
        (["--config.eval.multi_view.split=tset"], "Did you mean 'test'"),
        (["--config.input.host_ops=('random_corp',)"], "Did you mean 'random_crop'"),
        (
            ["--config.data.name=tempobench_pairs", "--config.input.host_ops=('flip',)"],
            "config.input.host_ops would mirror videos",
        ),
    ],
)
def test_bad_config_is_one_line_before_any_work(config, tmp_path, flags, message):
    line = refused("--config", config, "--workdir", tmp_path / "run", *flags)
    assert re.search(message, line), line
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_missing_flags_and_files(config, tmp_path):
    assert "--workdir is missing" in refused("--config", config)
    assert "--config is missing" in refused("--workdir", tmp_path)
    assert "needs --checkpoint" in refused("--mode=eval", "--workdir", tmp_path)
    assert "nofile.py" in refused("--config", "nofile.py", "--workdir", tmp_path)
    assert "Did you mean 'tpn_tsm_r50'" in refused("--describe", "tpn_tsm_r5")
    missing = refused("--mode=eval", "--checkpoint", "nowhere", "--workdir", tmp_path / "e")
    assert "No checkpoint" in missing and "nowhere" in missing


def test_checkpoint_of_another_architecture_names_the_leaves(finished, tmp_path):
    config, workdir, _ = finished
    line = refused(
        "--mode=eval", "--checkpoint", workdir, "--workdir", tmp_path / "e",
        "--config", config, "--config.model.backbone.width=8",
    )  # fmt: skip
    assert "params/backbone/" in line and "in the checkpoint" in line


def test_workdir_of_another_config(finished):
    config, workdir, _ = finished
    line = refused("--config", config, "--workdir", workdir, "--config.schedule.base_lr=0.5")
    assert "schedule/base_lr: 0.02 there, 0.5 now" in line


def test_help_does_not_touch_a_device():
    env = {**os.environ, "JAX_PLATFORMS": "no_such_platform"}
    process = tiny.run("--help", env=env)
    assert "--workdir" in process.stdout and process.returncode == 0


def test_readme_has_exactly_two_commands_first():
    readme = (pathlib.Path(tempo.__file__).parent.parent / "README.md").read_text()
    blocks = readme.split("```bash\n")[1:]
    assert [block.split("```")[0].strip() for block in blocks] == [
        "pip install -e . && "
        "python -m tempo.main --config configs/quickstart.py --workdir runs/quickstart",
        "pip install -e '.[test]' && pytest",
    ]
