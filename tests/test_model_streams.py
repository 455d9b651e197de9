"""Streams of a recipe's network, and variables that no step changes."""

import types

import jax
import numpy as np
import optax
import pytest

import tempo
from tempo import checkpoint, init_from, models, pretrained, recipe, streams, trees
from tempo import state as states
from tempo.models import tracing
from tempo.step import make_step
from tempo.task import Task

SMALL = {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}
BOTH = {"variant": "two_stream", "spatial": SMALL, "temporal": SMALL}
NECK = {"name": "stpn", "level1_dim": 8, "level2_dim": 8, "level3_dim": 16, "attention_width": 4}
CLIP = {"num_frames": 1}


def recipe_of(model, **sections):
    tree = {"data": {"dir": ""}, "clip": CLIP, "input": {"size_px": 32}, "model": model, **sections}
    return recipe.from_config(tree)


def test_shapes_are_those_of_what_the_network_reads():
    flow = {"num_snippets": 2, "num_fields": 4}
    assert streams.clip_shape(recipe_of({"backbone": SMALL})) == (1, 32, 32, 3)
    alone = recipe_of({"backbone": SMALL, "stream": "flow"}, flow=flow)
    assert streams.clip_shape(alone) == (2, 32, 32, 8)
    both = recipe_of({"backbone": BOTH}, flow=flow)
    assert streams.clip_shape(both) == {"video": (1, 32, 32, 3), "flow": (2, 32, 32, 8)}
    assert streams.flow_spec(recipe_of({"backbone": BOTH})).num_snippets == 3


def test_flow_is_refused_where_nothing_reads_it():
    with pytest.raises(tempo.InputError, match="its network reads frames alone"):
        streams.flow_spec(recipe_of({"backbone": SMALL}, flow={}))


def test_short_videos_are_told_of_every_split_that_is_read():
    """A view's own number of snippets counts; a split that is not there is left to its reader."""

    def split(name):
        frames = {"train": (30, 32), "test": (20, 24, 40)}[name]
        return types.SimpleNamespace(manifest=[{"num_frames": n} for n in frames])

    records = types.SimpleNamespace(splits=("train", "test"), split=split, check_flow=lambda: None)
    view = {"short_side_px": 36, "size_px": 32}
    evaluators = {"single_view": view, "multi_view": {**view, "num_snippets": 1, "split": "val"}}
    r = recipe_of({"backbone": SMALL, "stream": "flow"}, eval=evaluators, flow={"interval": 6})
    train, test = streams.check_flow(r, records)
    assert train.startswith("1 of 2 videos of split 'train' have fewer fields than the up to 30")
    assert test.startswith("1 of 3 videos of split 'test' have fewer fields than the 22 that")
    far = recipe_of({"backbone": SMALL, "stream": "flow"}, eval=evaluators, flow={"interval": 39})
    with pytest.raises(tempo.InputError, match="no video of split 'test' has more than 39; use at"):
        streams.check_flow(far, records)
    assert not streams.check_flow(recipe_of({"backbone": SMALL}), None)


@pytest.fixture(scope="module")
def trained():
    """A pyramid network before and after three steps with weight decay, by collection."""
    shape = {"video": (1, 32, 32, 3), "flow": (3, 32, 32, 4)}
    model = models.create(5, backbone=BOTH, neck=NECK)
    tx = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9))
    create = jax.jit(lambda key: states.create(model, tx, key, shape, ema=True))
    state = create(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = {k: rng.normal(size=(4, *s)).astype(np.float32) for k, s in shape.items()}
    batch["label"] = np.arange(4, dtype=np.int32)
    schedule = optax.constant_schedule(0.1)
    step = jax.jit(make_step(model, Task(num_classes=5), tx, schedule, lambda key, b: b))
    before, after = state, state
    for _ in range(3):
        after, _ = step(after, batch)
    return model, shape, before, after


def test_training_leaves_sketches_as_they_are(trained):
    _, _, before, after = trained
    sketches = trees.named(before.sketch)
    assert {name.rsplit("/", 1)[1] for name in sketches} >= {
        "h1",
        "s1",
        "h2",
        "s2",
        "h3",
        "s3",
        "dim",
    }
    jax.tree.map(np.testing.assert_array_equal, before.sketch, after.sketch)
    assert not any(
        "sketch" in name for name in trees.leaf_names((after.opt_state, after.ema_params))
    )
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, after.params)
    assert any(jax.tree.leaves(changed["backbone"]["temporal"]))


def info_of(shape):
    fields = {"num_snippets": shape["flow"][0], "num_fields": shape["flow"][-1] // 2}
    config = {
        "data": {"dir": ""},
        "model": {"backbone": BOTH, "neck": NECK},
        "clip": CLIP,
        "flow": fields,
        "input": {"size_px": 32},
    }
    return {"config": config, "class_names": [], "num_classes": 5}


def test_saved_weights_give_the_same_scores(trained, tmp_path):
    model, shape, _, after = trained
    path = str(tmp_path / "weights")
    variables = jax.device_get(after.eval_variables())
    pretrained.save_model(path, variables, info_of(shape))
    again, loaded, _ = pretrained.load_model(path)
    jax.tree.map(np.testing.assert_array_equal, loaded["sketch"], variables["sketch"])
    clips = {k: np.ones((2, *s), np.float32) for k, s in shape.items()}
    scores = [
        jax.jit(lambda v, x, net=net: net.apply(v, x, train=False)["logits"])(v, clips)
        for net, v in ((again, loaded), (model, variables))
    ]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: None, "no sketch"),
        (lambda tree: {**tree, "dim": np.int32(99)}, "of 99 dimensions and this network's of"),
        (lambda tree: {**tree, "h1": tree["h1"] + 1000}, "outside 0 to"),
        (lambda tree: {**tree, "s1": tree["s1"] * 2}, "not -1 or 1"),
    ],
)
def test_weights_with_another_sketch_are_refused(trained, tmp_path, change, message):
    model, shape, _, after = trained
    variables = jax.device_get(after.eval_variables())
    level = variables["sketch"]["neck"]["level1"]
    changed = change(level["stcb"])
    neck = {**variables["sketch"]["neck"], "level1": {"stcb": changed}}
    variables["sketch"] = {"neck": neck} if changed else {}
    path = str(tmp_path / "weights")
    checkpoint.save_variables(path, variables, info_of(shape))
    with pytest.raises(tempo.InputError, match=message):
        pretrained.load_variables(path, tracing.module_shapes(model, shape))


def test_views_of_another_length_are_for_networks_that_take_them():
    clip = {"num_frames": 3, "sampling": "segments"}
    tsn = {"tsn": {"views": "tsn_25x10", "num_snippets": 1}}
    streams.check_views(recipe_of({"backbone": SMALL}, clip=clip, eval=tsn))
    made = recipe_of({"backbone": BOTH, "neck": {**NECK, "level1": "concat"}}, eval=tsn)
    with pytest.raises(tempo.InputError, match="^config.eval.tsn shows .* 'flow': \\(1, 32"):
        streams.check_views(made)


def test_a_run_takes_no_pyramid_of_other_dimensions(trained, tmp_path):
    """Places of 16 dimensions, read as of 8, would be outside of them; no shape tells."""
    _, shape, _, after = trained
    variables, path = jax.device_get(after.eval_variables()), str(tmp_path / "weights")
    pretrained.save_model(path, variables, info_of(shape))
    sections = info_of(shape)["config"]
    taken = {}
    for dim in (16, 8):
        sections["model"] = {"backbone": BOTH, "neck": {**NECK, "level3_dim": dim}}
        made = recipe.from_config({**sections, "init_from": path})
        plan = init_from.begin(made).plan(init_from.shapes_of(made, 5), init_from.Classes(5))
        taken[dim] = {name.split("/")[1] for name in plan.taken}
    assert taken == {16: {"backbone", "neck", "head"}, 8: {"backbone"}}
    level = variables["sketch"]["neck"]["level3"]
    level["h1"] = level["h1"] + 1000
    checkpoint.save_variables(path, variables, info_of(shape))
    with pytest.raises(tempo.InputError, match="outside 0 to 15; the file is damaged"):
        init_from.begin(made)
