"""Which models score the same with the same weights, where the shapes of weights do not tell."""

import json

import pytest

from tempo import models
from tempo.models import comparing
from tempo.models.presets import MODELS

SLOWFAST = {"name": "slowfast_r50_4x16"}
ACB3D = {"name": "acb3d", "zero_init": False}


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


@pytest.mark.parametrize(
    "option",
    [
        {"input": "full"},
        {"lateral_from": "pre"},
        {"share_norm": True},
        {"pool": "avg"},
        {"share_indices": True},
        *({"frames": {"name": "triplet", **frames}} for frames in (
            {"select": "highest"}, {"square": True}, {"border": "replicate"},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_every_option_of_mtconv_makes_another_network(option):
    here = {"name": "mtnet_s", "backbone": {"mtconv": option}}
    assert comparing.differences({"name": "mtnet_s"}, here).keys() == {"backbone.mtconv"}
    (name, value), = option.items()  # fmt: skip
    slot = {"name": "mtnet_r50", "backbone": {"conv_b": {"name": "mtconv", name: value}}}
    assert comparing.differences({"name": "mtnet_r50"}, slot).keys() == {"backbone.conv_b"}


@pytest.mark.parametrize(
    ("name", "there", "here"),
    [
        ("mtnet_s", {}, {"stem_frames": {"name": "triplet", "select": "lowest"}}),
        ("mtnet_s", {}, {"mtconv": {"pool": "soft"}}),
        ("mtnet_s", {}, {"mtconv": {"frames": {"name": "triplet", "square": False}}}),
        ("mtnet_s", {"sr_layers": 0}, {"sr_layers": 0, "cell": "rnn"}),
        ("mtnet_r50", {}, {"conv_b": {"name": "mtconv", "pool": "soft"}}),
        ("mtnet_r50", {}, {"attention": {"name": "sr", "unroll": 2}}),
        ("slowfast_r50_4x16", {"slow": {"conv_b": "acb3d"}}, {"slow": {"conv_b": ACB3D}}),
    ],
)  # fmt: skip
def test_a_default_that_is_written_out_makes_no_other_network(name, there, here):
    two = ({"name": name, "backbone": own} for own in (there, here))
    assert comparing.differences(*two) == {}


def test_a_gate_of_another_cell_is_another_network():
    here = {"name": "mtnet_s", "backbone": {"cell": "rnn"}}
    assert comparing.differences({"name": "mtnet_s"}, here) == {"backbone.cell": ("gru", "rnn")}
