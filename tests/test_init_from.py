"""A run that starts from other weights: what is taken, what is fresh, and that the log says so."""

import re
import shutil

import jax
import numpy as np
import optax
import pytest

import tempo
from tempo import checkpoint, init_from, models, pretrained, recipe, sharding, state, train, trees
from tempo.errors import InputError
from tempo.init_plan import Classes
from tempo.models import tracing
from tests import tiny

WIDTH = {"depths": (1, 1, 1, 1), "width": 4}
NECK = {"name": "tpn", "groups": 4, "alphas": "equal", "features": 16}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.make_records(tmp_path_factory.mktemp("data"))


def config_of(records, **changed):
    """Two steps and no evaluation."""
    return {
        "batch_size": 8,
        "total_epochs": 0.67,
        "data": {"dir": str(records), "num_workers": 0},
        "clip": {"num_frames": 4, "stride": 2},
        "input": {"size_px": 32, "host_ops": ("random_crop",)},
        "model": {"backbone": {"variant": "slowonly_r18", **WIDTH}},
        "optim": {"weight_decay": 1e-4},
        "schedule": {"base_lr": 0.02},
        "loop": {"checkpoint_every_steps": 1},
        "eval": {},
        **changed,
    }


def arrays(workdir, step=None):
    path = workdir / "checkpoints" / str(step) if step else workdir
    return checkpoint.load_arrays(checkpoint.find(path))


def written(path, config, num_classes, names=(), **info):
    """Random weights of a config's model as a checkpoint at `path`; by leaf name."""
    model = tempo.create_model(config["model"], num_classes)
    rng = np.random.default_rng(0)
    variables = trees.map_with_names(
        lambda name, s: rng.uniform(0.1, 1.0, s.shape).astype(np.float32),
        tracing.module_shapes(model, (4, 32, 32, 3)),
    )
    about = {"config": config, "class_names": list(names), "num_classes": num_classes, **info}
    pretrained.save_model(path, variables, about)
    return trees.named(variables)


# The first step only moves what it trains: with a rate of 0 the state after it is that before it.
FROZEN = {"schedule": {"base_lr": 0.0}, "loop": {"checkpoint_every_steps": 1, "ema_decay": 0.9}}


def test_a_run_from_image_weights_begins_with_them(records, tmp_path, capsys):
    flat = {"backbone": {"variant": "c2d_r18", **WIDTH}}
    deep = {"backbone": {"variant": "slowonly_r18", **WIDTH}}
    given = written(tmp_path / "flat", config_of(records, model=flat), 1000)
    rows = ({"name": "normalize", "mean": (0, 0, 0)},)
    config = config_of(
        records, model=deep, init_from=str(tmp_path / "flat"), init_inflate="center", **FROZEN,
        input={"size_px": 32, "host_ops": ("random_crop",), "device_ops": rows},
    )  # fmt: skip
    train.train(config, str(tmp_path / "run"))
    out = capsys.readouterr().out
    assert f"init      from {tmp_path / 'flat'}" in out
    assert "2 of them inflated" in out and "head: 2 leaves fresh: 1000 classes there, 7 here" in out
    assert "warning   the weights in" in out and "123.675 116.28 103.53" in out

    begun = arrays(tmp_path / "run", 1)
    ours = trees.named({"params": begun["params"]})
    average = trees.named({"params": begun["ema_params"]})
    assert {name for name in ours if "backbone" in name} == {
        name for name in given if name.startswith("params/backbone")
    }
    num_inflated = 0
    for name, value in ours.items():
        np.testing.assert_allclose(average[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
        if "backbone" not in name:
            continue
        if value.shape != given[name].shape:
            num_inflated += 1
            np.testing.assert_array_equal(value[[0, 2]], 0)
            value = value[1:2]
        np.testing.assert_array_equal(value, given[name], err_msg=name)
    assert num_inflated == 2
    assert int(begun["step"]) == 1


def test_a_resumed_run_ends_in_the_same_bits_and_needs_no_weights(records, tmp_path, capsys):
    weights, whole, cut = tmp_path / "weights", tmp_path / "whole", tmp_path / "cut"
    config = config_of(records, init_from=str(weights))
    written(weights, config, 9)
    train.train(config, str(whole))
    assert "head: 2 leaves fresh: 9 classes there, 7 here" in capsys.readouterr().out
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoints" / "2")
    shutil.rmtree(weights)
    train.train(config, str(cut))
    out = capsys.readouterr().out
    assert "resumed at step 1 of 2" in out and "init " not in out
    jax.tree.map(np.testing.assert_array_equal, arrays(whole), arrays(cut))
    with pytest.raises(InputError, match="holds a run of another config .init_from: "):
        train.train({**config, "init_from": ""}, str(whole))


def test_of_a_run_the_moving_averages_are_taken_and_land_where_the_state_lives(tmp_path):
    config = config_of("nowhere", init_from=str(tmp_path))
    made = recipe.from_config(config)
    mesh = sharding.make_mesh(model=2)

    def init(key, loaded):
        model = models.create(7, **made.model)
        return state.create(model, optax.trace(0.9), key, (4, 32, 32, 3), ema=True, loaded=loaded)

    shapes = jax.eval_shape(init, jax.random.key(0), {})
    rng = np.random.default_rng(0)
    stored = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(s.dtype), shapes)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        info = {"config": config, "class_names": [*"abcdefg"], "step": 5, "dataset": "mine"}
        checkpoints.save(5, stored, info)

    weights = init_from.begin(made)
    shardings = sharding.infer_shardings(shapes, mesh, (("kernel$", ("model",)),))
    abstract = sharding.as_abstract(shapes, shardings)
    variables = {"params": abstract.params, "batch_stats": abstract.batch_stats}
    plan = weights.plan(variables, Classes(7, "abcdefg"))
    assert "checkpoints/5 (step 5, mine)" in weights.report(plan)
    loaded = weights.load(plan, variables)
    begun = jax.jit(init, out_shardings=shardings)(jax.random.key(0), loaded)
    averages = {"params": stored.ema_params, "batch_stats": stored.ema_batch_stats}
    for ours in (
        {"params": begun.params, "batch_stats": begun.batch_stats},
        {"params": begun.ema_params, "batch_stats": begun.ema_batch_stats},
    ):
        jax.tree.map(np.testing.assert_array_equal, ours, averages)
    assert int(begun.step) == 0
    assert not any(x.any() for x in jax.tree.leaves(begun.opt_state))
    kernel = loaded["params/head/fc/kernel"]
    assert kernel.sharding == shardings.params["head"]["fc"]["kernel"]
    # One buffer each: the step gives its state away, and no two leaves may be the same memory.
    buffers = [
        shard.data.unsafe_buffer_pointer()
        for tree in (begun.params, begun.ema_params)
        for leaf in jax.tree.leaves(tree)
        for shard in leaf.addressable_shards
    ]
    assert len(set(buffers)) == len(buffers)


def test_parts_that_a_converter_filled_with_initial_values_are_no_weights(tmp_path):
    config = config_of("nowhere", init_from=str(tmp_path / "x"))
    config["model"] = {"backbone": {"variant": "slowonly_r50", **WIDTH}, "neck": NECK}
    names = trees.named_shapes(init_from.shapes_of(recipe.from_config({**config, "init_from": ""})))
    initial = sorted(name for name in names if "/backbone/" not in name)
    initial.append("params/backbone/stem_conv/kernel")  # asked for by name: stays
    source = {"source": "torchvision", "initial": initial}
    written(tmp_path / "x", config, 7, "abcdefg", source=source)
    start = init_from.begin(recipe.from_config(config))
    plan = start.plan(start.weights[0].shapes, Classes(7, "abcdefg"))
    assert plan.taken == {name for name in names if "/backbone/" in name}
    report = start.report(plan)
    assert "(step 0, torchvision)" in report
    assert len(re.findall("fresh: the weights have none|fresh: it", report)) == 4


def test_weights_that_do_not_fit_are_refused_before_the_data_are_opened(records, tmp_path):
    written(tmp_path / "x", config_of(records), 7)
    nowhere = config_of(tmp_path / "nowhere", init_from=str(tmp_path / "x"))
    deeper = {"backbone": {"variant": "slowonly_r18", **WIDTH, "depths": (1, 1, 2, 1)}}
    cases = [
        ({**nowhere, "model": deeper}, "config.init_from: the weights in .* another backbone"),
        ({**nowhere, "init_from": str(tmp_path)}, "No checkpoint in"),
        (
            {**nowhere, "init_from": "weights/r50_imagenet"},
            "no folder 'weights/r50_imagenet'. `python -m tempo.convert --source torchvision "
            "--input resnet50.pth --out weights/r50_imagenet` makes one .* init=scratch",
        ),
        (
            {**nowhere, "init_from": "weights/bninception_imagenet"},
            "--source bninception --input bn_inception.pth --out weights/bninception_imagenet` ",
        ),
        (
            {**nowhere, "init_from": "stages/a_base"},
            "names another stage, .* Start the config with stages, or .* WORKDIR/stages/a_base",
        ),
        (
            {**nowhere, "init_from": "gone/stages/a_spatial"},
            "stage 'a_spatial' of a run in 'gone', which is not there. Train .* row t4.A has both",
        ),
        (
            {**nowhere, "init_from": f"{tmp_path}/x/stages/b_temporal"},
            "stage 'b_temporal' of a run in .*/x', which has no such stage",
        ),
        ({**nowhere, "init_inflate": "centre"}, "init_inflate 'centre'. Did you mean 'center'"),
        (nowhere, "nowhere"),  # so far it fits
    ]
    for config, message in cases:
        with pytest.raises(InputError, match=message):
            train.train(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_config_without_weights_begins_with_none(records):
    assert init_from.begin(recipe.from_config(config_of(records))) is None
