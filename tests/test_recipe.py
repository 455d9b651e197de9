import copy
import importlib.util
import pathlib

import ml_collections
import pytest

import tempo
from tempo import recipe, stages
from tempo.errors import InputError
from tempo.evaluators import KINDS, multi_view, per_frame, tempo_robustness, use_of_time

CONFIGS = pathlib.Path(tempo.__file__).parent.parent / "configs"

MINIMAL = {
    "data": {"dir": "data"},
    "clip": {"num_frames": 8},
    "model": {"name": "tsn_r18"},
    "eval": {"single": {"num_clips": 2, "every_epochs": 1.0}},
}


def changed(path, value):
    config = copy.deepcopy(MINIMAL)
    *parents, last = path.split("/")
    node = config
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return config


def test_defaults_come_from_the_callees():
    r = recipe.from_config(ml_collections.ConfigDict(MINIMAL))
    assert r.batch_size == 64
    assert r.clip.stride == 1
    assert r.loop.accumulate_steps == 1
    assert r.eval["single"].view.num_clips == 2
    assert r.eval["single"].kind == multi_view.MultiView()
    assert r.optim == {}


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("btch_size", 3, "The config has no key 'btch_size'. Did you mean 'batch_size'"),
        ("data/num_worker", 3, "config.data has no key 'num_worker'. Did you mean 'num_workers'"),
        ("clip/strides", 3, "config.clip has no key 'strides'. Did you mean 'stride'"),
        ("input/size", 3, "config.input has no key 'size'. Did you mean 'size_px'"),
        ("model/nam", "x", "config.model has no key 'nam'. Did you mean 'name'"),
        ("loss/smoothing", 0.1, "config.loss has no key 'smoothing'.*label_smoothing"),
        ("optim/momentun", 0.1, "config.optim has no key 'momentun'. Did you mean 'momentum'"),
        ("optim/schedule", 0.1, "config.optim has no key 'schedule'"),
        ("schedule/lr", 0.1, "config.schedule has no key 'lr'.*base_lr"),
        ("schedule/total_steps", 1, "config.schedule has no key 'total_steps'"),
        ("loop/log_steps", 1, "config.loop has no key 'log_steps'. Did you mean 'log_every_steps'"),
        ("mesh/modle", 1, "config.mesh has no key 'modle'. Did you mean 'model'"),
        ("eval/single/clips", 1, "config.eval.single has no key 'clips'.*num_clips"),
        ("total_epochs", -1, "total_epochs must be 0 or more, and finite; got -1"),
        ("total_epochs", float("inf"), "total_epochs must be 0 or more, and finite; got inf"),
        ("total_steps", 2.5, "total_steps must be a whole number, 0 or more; got 2.5"),
        ("loop/ema_decay", 1.0, r"ema_decay must be in \[0, 1\); got 1.0"),
        ("loop/accumulate_steps", 0, "accumulate_steps must be a whole number, 1 or more; got 0"),
        ("total_steps", True, "total_steps must be a whole number, 0 or more; got True"),
        ("flow", None, "config.flow must hold values by key; got None"),
        ("eval/single", "center", "config.eval.single must hold values by key; got 'center'"),
        ("schedule/boundaries_steps", 5, "must be whole numbers that rise from above 0.* got 5"),
    ],
)
def test_misspelt_keys_and_bad_values_name_what_is_near(path, value, message):
    with pytest.raises(InputError, match=message):
        recipe.from_config(changed(path, value))


@pytest.mark.parametrize("section", ["data", "clip", "model"])
def test_sections_without_defaults_must_be_there(section):
    config = {k: v for k, v in MINIMAL.items() if k != section}
    with pytest.raises(InputError, match=f"no section '{section}'"):
        recipe.from_config(config)


def test_a_required_key_must_be_there():
    with pytest.raises(InputError, match=r"config\.data: .*'dir'"):
        recipe.from_config({**MINIMAL, "data": {}})


RECIPES = sorted(path for path in CONFIGS.glob("*.py") if "_ensemble" not in path.stem)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_config_in_the_tree_is_valid(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.__doc__ and "python -m tempo" in module.__doc__
    recipe.from_config(stages.last(module.get_config("")))


def evaluators(**eval_section):
    return recipe.from_config(MINIMAL | {"eval": eval_section}).eval


def test_kinds_of_evaluators_take_their_own_keys():
    made = evaluators(
        a={"kind": "multi_view", "save_views": True, "save_embedding": True},
        b={"kind": "tempo_robustness", "strides": [2, 4], "num_clips": 3, "every_epochs": 1.0},
        c={"kind": "per_frame", "frames_per_s": 2.5, "size_px": 112, "batch_size": 16},
        d={"kind": "use_of_time", "shuffle_seed": 3, "crop": "three", "split": "val"},
    )
    assert made["a"].kind == multi_view.MultiView(save_views=True, save_embedding=True)
    assert made["b"].kind == tempo_robustness.TempoRobustness(strides=(2, 4))
    assert made["b"].view.num_clips == 3 and made["b"].every_epochs == 1.0
    assert made["c"].kind == per_frame.PerFrame(frames_per_s=2.5)
    assert made["c"].view.size_px == 112 and made["c"].batch_size == 16
    assert made["d"].kind == use_of_time.UseOfTime(shuffle_seed=3)
    assert made["d"].view.crop == "three" and made["d"].split == "val"
    assert [made[name].kind.name for name in "abcd"] == list(KINDS)


@pytest.mark.parametrize(
    "section, message",
    [
        ({"kind": "per_fram"}, "config.eval.x.kind.*'per_fram'. Did you mean 'per_frame'"),
        ({"strides": (2,)}, "x.strides is not used by kind 'multi_view', but by tempo_robustness"),
        (
            {"kind": "per_frame", "num_clips": 2},
            "x.num_clips is not used by kind 'per_frame', but by multi_view, tempo_robustness",
        ),
        ({"kind": "per_frame", "views": "center"}, "x.views is not used by kind 'per_frame'"),
        ({"kind": "use_of_time", "save_views": True}, "x.save_views is not used by"),
        ({"kind": "use_of_time", "shuffle_sed": 1}, "Did you mean 'shuffle_seed'"),
        ({"kind": "tempo_robustness", "strides": (0,)}, "whole numbers from 1; got 0"),
        ({"views": "k400_10x3"}, "Unknown view set 'k400_10x3'. Did you mean 'k400_10x3_"),
    ],
)
def test_keys_that_a_kind_does_not_use_are_refused(section, message):
    with pytest.raises(InputError, match=message):
        evaluators(x=section)


def test_named_views_can_be_changed_in_part():
    made = evaluators(x={"views": "k400_10x3_ticks", "num_clips": 4}, y={"views": "ten_crop"})
    view = made["x"].view
    assert (view.num_clips, view.clip_starts, view.crop, view.size_px) == (4, "ticks", "three", 256)
    assert (made["y"].view.num_views, made["y"].view.size_px) == (10, 224)


def test_named_evaluators_replace_those_of_the_config():
    there = {
        "b": {"num_clips": 2},
        "a": {"crop": "full", "short_side_px": 128, "split": "val", "num_clips": 3},
        "use_of_time": {"kind": "use_of_time", "num_clips": 5},
    }
    config = recipe.with_evaluators(
        ml_collections.ConfigDict(MINIMAL | {"eval": there}),
        ["b", "per_frame", "tempo_robustness", "use_of_time"],
    )
    made = recipe.from_config(config).eval
    assert list(made) == ["b", "per_frame", "tempo_robustness", "use_of_time"]
    assert made["b"].view.num_clips == 2
    # As the config has it, where it has it; else one centre crop like that of its main evaluator.
    assert made["use_of_time"].view.num_clips == 5
    for name in ("per_frame", "tempo_robustness"):
        assert made[name].kind.name == name and made[name].split == "val"
        view = made[name].view
        assert (view.num_views, view.crop, view.size_px, view.short_side_px) == (
            1, "center", 128, 128,
        )  # fmt: skip
    bare = {k: v for k, v in MINIMAL.items() if k != "eval"}
    made = recipe.from_config(recipe.with_evaluators(bare, ["multi_view"])).eval
    assert made["multi_view"].view.size_px == 224 and made["multi_view"].split == "test"


def test_the_views_of_a_model_are_those_of_one_evaluator():
    def made(**evaluators):
        given = {"input": {"size_px": 112}, "eval": evaluators}
        return recipe.main_view(recipe.from_config(MINIMAL | given))

    ten, three = {"num_clips": 10}, {"num_clips": 3}
    frames, time = {"kind": "per_frame"}, {"kind": "use_of_time", "num_clips": 5}
    assert made(a=three, multi_view=ten, z=three).num_clips == 10
    assert made(z=three, b=ten, a=frames).num_clips == 10
    assert made(b=three, multi_view=time).num_clips == 3
    for without in ({}, {"a": frames, "b": time}):
        view = made(**without)
        assert (view.num_views, view.size_px, view.short_side_px) == (1, 112, 128)


def test_evaluators_that_are_neither_there_nor_a_kind():
    with pytest.raises(InputError, match="Unknown evaluator 'singel'.*Did you mean 'single'"):
        recipe.with_evaluators(MINIMAL, ["singel"])
    with pytest.raises(InputError, match="Did you mean 'per_frame'"):
        recipe.with_evaluators(MINIMAL, ["single", "perframe"])
    with pytest.raises(InputError, match="No evaluator is named"):
        recipe.with_evaluators(MINIMAL, [])


def test_features_are_stored_by_multi_view_evaluators_alone():
    given = {"eval": {"a": {"num_clips": 2}, "b": {"kind": "use_of_time"}}}
    found = recipe.with_embedding(given)
    assert found["eval"] == {
        "a": {"num_clips": 2, "save_embedding": True},
        "b": {"kind": "use_of_time"},
    }
    assert "save_embedding" not in given["eval"]["a"]
    with pytest.raises(InputError, match="kind 'multi_view', but none runs"):
        recipe.with_embedding({"eval": {"b": {"kind": "use_of_time"}}})


@pytest.mark.parametrize("name", ["tpn_k400", "tpn_epic", "tpn_sthv1", "tpn_sthv2", "vipriors"])
def test_the_command_line_may_set_the_cycle_of_any_recipe(name):
    """It changes only what a config has."""
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.get_config().multigrid.cycle == "none"
