"""Multigrid runs: every shape compiled ahead, and cut in the middle of a cycle."""

import json
import os

import jax
import numpy as np
import pytest

from tempo import checkpoint, train, trees, watchdog
from tests import tiny

SHAPES = [
    "64 clips of 1 frames x 23 px",
    "32 clips of 2 frames x 23 px",
    "16 clips of 2 frames x 32 px",
    "8 clips of 4 frames x 32 px",
]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Folder of the programs of all tests; the small ones are kept too."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, 0.0)
    yield str(tmp_path_factory.mktemp("compiled"))
    jax.config.update(name, before)


@pytest.fixture(scope="module")
def config(tmp_path_factory, compiled):
    """Two steps each of 64, 32, 16 and 8 clips show 24 videos ten times."""
    scope = {}
    data_dir = tiny.make_records(tmp_path_factory.mktemp("data"))
    exec(tiny.CONFIG.replace("DATA", data_dir), scope)
    made = scope["get_config"]().to_dict()
    backbone = {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}
    return made | {
        "batch_size": 8,
        "total_epochs": 20 / 3,
        "multigrid": {"cycle": "long", "num_cycles": 1, "finetune_share": 0},
        "model": {"backbone": backbone, "head": {"dropout_prob": 0.5}},
        "loop": {"log_every_steps": 1, "accumulate_steps": 2, "compile_cache": compiled},
        "eval": {"single": {"every_epochs": 4.0, "short_side_px": 36, "size_px": 32}},
    }


def arrays(workdir):
    return trees.named(checkpoint.load_arrays(checkpoint.find(str(workdir))))


def test_cut_in_the_middle_of_a_cycle_it_ends_in_the_same_bits(
    config, compiled, tmp_path, monkeypatch, capsys
):
    uncut, cut = tmp_path / "uncut", tmp_path / "cut"
    train.train(config, str(uncut))
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line.startswith("compiled")]
    assert len(lines) == 4
    for i, (line, shape) in enumerate(zip(lines, SHAPES, strict=True)):
        assert line.startswith(f"compiled  {i + 1} of 4: {shape}")
    assert "8 steps of 8 to 64 clips in 4 shapes show 10 epochs" in said

    with monkeypatch.context() as patch:
        patch.setattr(watchdog.StopSignal, "requested", lambda self, step: step == 3)
        train.train(config, str(cut))
    assert arrays(cut)["step"] == 3
    programs_before = set(os.listdir(compiled))
    train.train(config, str(cut))
    jax.tree.map(np.testing.assert_array_equal, arrays(uncut), arrays(cut))
    # The programs of the second half were those of the first.
    assert {name for name in os.listdir(compiled) if name.startswith("jit_step")} <= programs_before

    rows = [json.loads(line) for line in (cut / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "loss" in row]
    assert [row["epoch"] * 24 for row in steps] == pytest.approx(
        [64, 128, 160, 192, 208, 224, 232, 240]
    )
    # Steps that complete four and eight epochs, and the last one.
    assert [row["step"] for row in rows if "single/top1" in row] == [2, 4, 8]
