"""Several configs of one: what a stage has of the rest, and what makes no stage."""

import re

import ml_collections
import pytest

from tempo import recipe, stages
from tempo.errors import InputError

CONFIG = {
    "seed": 3,
    "init_from": "weights/x",
    "model": {"backbone": {"variant": "c2d_r18", "conv_b": {"name": "acb3d", "zero_init": True}}},
    "input": {"host_ops": ("flip",)},
}


def split(**named):
    return stages.split({**CONFIG, "stages": named})


def test_stages_come_by_name_and_have_the_rest_of_the_config():
    own = {"conv_b": "plain", "act": "elu"}
    configs = split(b={"seed": 4}, a={"model": {"backbone": own}}, c={"input": {"host_ops": ()}})
    assert list(configs) == ["a", "b", "c"]
    # Mappings are merged, everything else replaced; the rest of the config is left alone.
    assert configs["a"]["model"] == {"backbone": {**CONFIG["model"]["backbone"], **own}}
    assert configs["b"] == {**CONFIG, "seed": 4, "init_from": "stages/a"}
    assert configs["c"]["input"]["host_ops"] == ()
    assert [c["init_from"] for c in configs.values()] == ["weights/x", "stages/a", "stages/b"]
    configs = split(
        a={}, b={"init_from": ""}, c={"init_from": {"slow": "a", "fast": "x"}}, d={"init_from": "y"}
    )
    assert [c["init_from"] for c in configs.values()] == [
        "weights/x", "", {"slow": "stages/a", "fast": "x"}, "y",
    ]  # fmt: skip
    assert stages.is_stage(configs["c"]) and not stages.is_stage(configs["d"])
    # A mapping is not merged with one outside, and a first stage may be from scratch too.
    tree = {"init_from": {"slow": "x"}, "stages": {"a": {"init_from": ""}, "b": {}}}
    assert [c["init_from"] for c in stages.split(tree).values()] == ["", "stages/a"]
    staged = ml_collections.ConfigDict({**CONFIG, "stages": {"a": {}, "b": {"seed": 5}}})
    assert stages.last(staged)["seed"] == 5
    assert stages.split(CONFIG) == {} and stages.last(CONFIG) is CONFIG


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"a": {"init_from": "b"}, "b": {}}, "stages.a starts from the stage 'b', which does not"),
        ({"a": {"init_from": {"slow": "a"}}}, "stages.a.init_from.slow starts from the stage 'a'"),
        ({"a": {"stages": {}}}, "stages.a has stages of its own"),
        ({"a": 2}, "stages.a must hold values for keys of the config, .*; got 2"),
        ({"a/b": {}}, "stages.a/b: a stage is named by letters"),
    ],
)
def test_what_is_no_stage(named, message):
    with pytest.raises(InputError, match=message):
        split(**named)


def test_a_config_with_stages_is_no_recipe_of_one_run():
    made = {"data": {"dir": "x"}, "clip": {"num_frames": 4}, "model": {"name": "tsn_r18"}}
    assert recipe.from_config({**made, "stages": {}}).seed == 0
    with pytest.raises(InputError, match=re.escape("tempo.stages.last gives the config")):
        recipe.from_config({**made, "stages": {"a": {}}})
