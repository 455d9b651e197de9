"""Stages that start from several others: two streams trained apart, then scored and fused."""

import re
import shutil

import jax
import numpy as np
import pytest

from tempo import checkpoint, files, staged, trees
from tempo.errors import InputError
from tests import compiled, tiny

NET = {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}
BOTH = {"variant": "two_stream", "spatial": NET, "temporal": NET}
STREAMS = {"spatial": "a_spatial", "temporal": "b_temporal"}
FLOW = {"num_snippets": 2, "num_fields": 2, "interval": 2, "train_intervals": (1, 2)}
EVAL = {"single_view": {"short_side_px": 36, "size_px": 32}}
FUSED = {"name": "stpn", "level1_dim": 8, "level2_dim": 8, "level3_dim": 16, "attention_width": 4}


def config_of(data_dir, **changed):
    """Two steps a stage, but for the one that only scores."""
    config = {
        "batch_size": 8,
        "total_steps": 2,
        "data": {"dir": str(data_dir), "num_workers": 0},
        "clip": {"num_frames": 1, "stride": 1},
        "input": {"size_px": 32, "host_ops": ("random_crop",)},
        "optim": {"weight_decay": 1e-2},
        "schedule": {"base_lr": 0.05, "warmup_steps": 1, "warmup_factor": 1.0},
        "loop": {"checkpoint_every_steps": 1},
        "eval": {},
        "stages": {
            "a_spatial": {"model": {"backbone": NET}},
            "b_temporal": {
                "model": {"backbone": NET, "stream": "flow"},
                "flow": FLOW,
                "init_modality": "mean",
                "schedule": {"base_lr": 0.0},
            },
            "c_late": {
                "model": {"backbone": BOTH, "head": {"name": "late_fusion"}},
                "flow": FLOW,
                "init_from": STREAMS,
                "eval": EVAL,
                "total_epochs": 0,
                "total_steps": 0,
            },
            "d_joint": {
                "model": {"backbone": BOTH, "neck": FUSED},
                "flow": FLOW,
                "init_from": STREAMS,
                "eval": EVAL,
                "optim": {"freeze_base_steps": 1},
            },
        },
    }
    return config | changed


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.make_records(tmp_path_factory.mktemp("data"), num_train=16, num_test=7, flow="dis")


@pytest.fixture(scope="module")
def uncut(records, tmp_path_factory):
    """A run that was never cut, and the cache of what it compiled."""
    with compiled.kept_in(tmp_path_factory.mktemp("compiled")):
        workdir = tmp_path_factory.mktemp("uncut")
        yield workdir, staged.run(config_of(records), str(workdir))


def leaves(workdir, step=None):
    folder = workdir / "checkpoints" / str(step) if step is not None else workdir
    return trees.named(checkpoint.load_arrays(checkpoint.find(str(folder))))


def test_each_pathway_starts_from_its_own_stage(uncut):
    workdir, rows = uncut
    a, b, c = (leaves(workdir / "stages" / n) for n in ("a_spatial", "b_temporal", "c_late"))
    assert [row["name"] for row in files.read_json(workdir / "stages.json")] == [
        *("a_spatial", "b_temporal", "c_late", "d_joint")
    ]
    assert files.read_json(workdir / "config.json")["init_from"] == {
        "spatial": "stages/a_spatial",
        "temporal": "stages/b_temporal",
    }
    # Colours became flow; nothing was trained at a rate of 0.
    stem = "params/backbone/stem_conv/kernel"
    mean = np.repeat(a[stem].mean(-2, keepdims=True), 4, axis=-2)
    np.testing.assert_allclose(b[stem], mean, rtol=1e-6)
    np.testing.assert_array_equal(b["params/head/fc/kernel"], a["params/head/fc/kernel"])
    # Without steps a run is what it starts from.
    [scored] = files.read_json(workdir / "stages" / "c_late" / "results.json")
    assert int(c["step"]) == scored["checkpoint_step"] == 0
    count = 0
    for pathway, there in (("spatial", a), ("temporal", b)):
        for name, value in there.items():
            if re.match("(params|batch_stats)/(backbone|head)/", name):
                collection, part, rest = name.split("/", 2)
                np.testing.assert_array_equal(c[f"{collection}/{part}/{pathway}/{rest}"], value)
                count += 1
    assert count == sum(name.startswith(("params/", "batch_stats/")) for name in c)
    # The head's first step moved nothing of the base, its second did.
    first, last = leaves(workdir, 1), leaves(workdir)
    np.testing.assert_array_equal(first["params/backbone/spatial/stem_conv/kernel"], a[stem])
    assert (last["params/backbone/spatial/stem_conv/kernel"] != a[stem]).any()
    sketches = [name for name in first if name.startswith("sketch/")]
    assert len(sketches) > 10 and rows[0]["checkpoint_step"] == 2
    for name in sketches:
        np.testing.assert_array_equal(first[name], last[name])


def test_cut_in_the_last_stage_it_ends_in_the_same_bits(uncut, records, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(uncut[0], workdir)
    shutil.rmtree(workdir / "checkpoints" / "2")
    # The stage without steps was cut while it was evaluated.
    path = str(workdir / "stages.json")
    files.write_json(path, files.read_json(path)[:2])
    [row] = staged.run(config_of(records), str(workdir))
    log = capsys.readouterr().out
    assert log.count("it is not run again") == 2
    assert "resumed at step 0 of 0" in log and "resumed at step 1 of 2" in log
    assert row["top1"] == uncut[1][0]["top1"]
    jax.tree.map(np.testing.assert_array_equal, leaves(workdir), leaves(uncut[0]))
    assert files.read_json(path) == files.read_json(uncut[0] / "stages.json")


@pytest.mark.parametrize(
    ("stage", "changed", "message"),
    [
        ("b_temporal", {"init_modality": ""}, "'b_temporal' cannot .*init_modality='mean' makes"),
        ("b_temporal", {"init_modality": "maen"}, "'maen'. Did you mean 'mean'"),
        ("c_late", {"init_from": {"spatial": "a_spatial"}}, "1 .spatial. and 1 .temporal. in the"),
        ("c_late", {"init_from": {"spatal": "a_spatial"}}, "no part 'spatal'. Did you mean 'spat"),
        ("c_late", {"init_from": {**STREAMS, "temporal": "b_tempral"}}, "mean 'b_temporal'"),
        ("c_late", {"init_from": ("a_spatial",)}, "is a folder, or folders by pathway such as"),
        ("c_late", {"init_from": ""}, "trains nothing, and there is no config.init_from"),
        (
            "c_late",
            {"model": {"backbone": BOTH}},
            "total_epochs=0 trains nothing, but the weights lack 2 leaves of the model .params/h",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_started_from_is_refused_before_the_first_stage(
    tmp_path, stage, changed, message
):
    config = config_of(tmp_path / "nowhere")
    config["stages"][stage] |= changed
    with pytest.raises(InputError, match=message):
        staged.run(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
