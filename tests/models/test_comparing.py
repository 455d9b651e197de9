"""Which models score the same with the same weights, where the shapes of weights do not tell."""

import json

import pytest

from tempo import models
from tempo.models import comparing
from tempo.models.presets import MODELS

SLOWFAST = {"name": "slowfast_r50_4x16"}


@pytest.mark.parametrize(
    ("key", "there", "here"),
    [
        ("act", "relu", "elu"),
        ("downsample", "strided", "pool_pre"),
        ("slow_index", "stride", "linspace"),
    ],
)
def test_fields_that_leave_shapes_alike_are_named(key, there, here):
    found = comparing.differences(SLOWFAST, {**SLOWFAST, "backbone": {key: here}})
    assert found == {f"backbone.{key}": (there, here)}


def test_a_part_of_another_kind_is_named_alone():
    found = comparing.differences({"name": "tpn_tsm_r50"}, {"name": "tsm_r50"})
    assert found == {"neck": ("TPN", None)}
    assert comparing.differences({"name": "tsm_r50"}, {"name": "tsn_r50"}).keys() == {
        "backbone.temporal"
    }


@pytest.mark.parametrize("name", models.list_models())
def test_a_preset_is_what_its_row_says_however_it_is_run(name):
    stored = json.loads(json.dumps({**MODELS[name], "remat": True}))
    run = {"dtype": "bfloat16", "lowering": "plain", "norm_groups": 2}
    assert comparing.differences(stored, {"name": name, **run}) == {}


def test_what_counts_in_training_alone_or_is_not_there_is_no_difference():
    absent = {"shift_div": 4, "nonlocal_mode": "softmax"}
    assert comparing.differences(SLOWFAST, {**SLOWFAST, "backbone": absent}) == {}
    shifted = {"slow": {"temporal": "tsm"}}
    there, here = ({**SLOWFAST, "backbone": own} for own in (shifted, {**shifted, **absent}))
    assert comparing.differences(there, here).keys() == {
        "backbone.shift_div", "backbone.nonlocal_mode",
    }  # fmt: skip
    own = {"conv_b": {"name": "acb3d", "zero_init": True}, "zero_init": False}
    given = {"head": {"dropout_prob": 0.9}, "backbone": own}
    here = {"backbone": {"conv_b": "acb3d", "zero_init": True}}
    assert comparing.differences({**SLOWFAST, **given}, {**SLOWFAST, **here}) == {}
