import copy
import importlib.util
import pathlib

import ml_collections
import pytest

import tempo
from tempo import recipe
from tempo.errors import InputError

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
        ("total_epochs", 0, "total_epochs must be positive; got 0"),
        ("loop/ema_decay", 1.0, r"ema_decay must be in \[0, 1\); got 1.0"),
        ("loop/accumulate_steps", 0, "accumulate_steps must be at least 1"),
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


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda p: p.stem)
def test_every_config_in_the_tree_is_valid(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.__doc__ and "python -m tempo" in module.__doc__
    recipe.from_config(module.get_config(""))
