"""The STPN recipe: every documented argument is a valid recipe of stages that fit together."""

import functools
import re

import pytest

from tempo import models
from tempo.errors import InputError
from tempo.models.presets import MODELS
from tempo.papers import stpn
from tempo.papers.stpn_results import ROWS
from tests import recipes

# What an option needs beside it.
BESIDE = {
    "flow": "data=tempobench",
    "input": "model=tsn",
    "paths": "fusion=sum",
    "late_space": "model=A",
}
SMALL = "data=tempobench,size=small"
ARGUMENTS = [*ROWS["stpn"], "t4.B,streams=runs/x", "t2.cb.p3,streams=runs/x", "warmup=500,aux=0.3"]
# Options that say something only just.
ARGUMENTS += [
    "t4.C,streams=x,interval=9",
    "t3.att3concat,norm=l2,d2=512",
    "tsn.rgb_diff,cross=mean",
]
ARGUMENTS += ["t4.B,init=scratch,affine=trained", f"t1.vgg16.twostream,{SMALL}"]
ARGUMENTS += [
    f"{name}={choice}" + (f",{BESIDE[name]}" if name in BESIDE else "")
    for name, row in stpn.OPTIONS.items()
    for choice in row.choices
    if choice and (name, choice) not in {("size", "small"), ("paths", "1"), ("fusion", "identity")}
]


module = functools.partial(recipes.module, "stpn")
stages_of = functools.partial(recipes.stages_of, "stpn")


@pytest.mark.parametrize("arg", ARGUMENTS)
def test_every_argument_is_a_valid_recipe_with_a_network(arg):
    is_small = not re.search("data=|size=|split=|warped|hmdb|base=|cross=", arg)
    for extra in ("", f",{SMALL}") if is_small else ("",):
        for own in stages_of(arg + extra).values():
            net = models.create(101, **own.model)
            assert ("flow" in net.streams) == (own.flow is not None)


def test_the_documented_options_are_those_that_there_are():
    listed = module().__doc__.split("the default:")[1].split("and at most one row")[0]
    for name, row in stpn.OPTIONS.items():
        assert re.search(rf"\b{name}\b", listed), name
        for choice in row.choices:
            assert choice in listed, choice


def test_stages_of_the_pyramid_and_of_what_it_is_built_on():
    a, b, c = stages_of("t4.D").values()
    assert [own.total_steps for own in (a, b, c)] == [3500, 18000, 6000]
    assert [own.optim["clip_norm"] for own in (a, b, c)] == [40.0, 20.0, 20.0]
    assert a.init_from == b.init_from == "weights/bninception_imagenet"
    assert (a.init_modality, b.init_modality) == ("", "mean")
    assert dict(c.init_from) == {"spatial": "stages/a_spatial", "temporal": "stages/b_temporal"}
    assert (a.flow, b.flow.num_snippets, c.flow.num_snippets) == (None, 1, 3)
    view = c.eval["multi_view"].view
    assert (view.num_views, view.clip_starts, view.average) == (250, "tsn", "logits")
    # Both streams in one window.
    assert a.input.host_ops == c.input.host_ops != b.input.host_ops
    preset = MODELS["stpn_bninception"]
    assert dict(c.model["backbone"]) == preset["backbone"]
    necks = [models.create(101, **own).neck.clone(conv=None) for own in (c.model, preset)]
    assert necks[0] == necks[1]
    assert b.input.device_ops[0]["mean"] == (123.0, 117.0, 104.0)  # as its public weights
    other = stages_of("final.resnet50")["b_temporal"]
    assert other.input.device_ops == ({"name": "normalize", "flow_std": 57.375},)
    late = list(stages_of("t4.A").values())[-1]
    assert late.is_untrained and late.model["head"]["late_weight"] == (1.0, 1.5)
    assert list(stages_of("t4.B,streams=runs/x")) == [""]
    (joint,) = stages_of("t4.B,streams=runs/x").values()
    assert joint.init_from["temporal"] == "runs/x/stages/b_temporal"
    assert list(stages_of("t2.cb.p5")) == ["b_temporal", "c_joint"]


def test_rates_and_frozen_norms_are_those_of_tsn():
    a, b, c = stages_of("t4.D").values()

    def rate(own, name):
        return next((f for p, f in own.optim["lr_multipliers"] if re.search(p, name)), 1.0)

    conv, norm = "inc3a/b1x1", "inc3a/b1x1_norm"
    assert rate(b, "backbone/stem_conv/kernel") == 5 and rate(b, "backbone/stem_conv/bias") == 10
    assert rate(a, "backbone/stem_conv/kernel") == 1 and rate(a, "backbone/stem_conv/bias") == 2
    assert rate(a, f"backbone/{conv}/bias") == 2 and rate(a, f"backbone/{norm}/bias") == 1
    assert rate(c, "neck/attention/conv1/kernel") == 10 and rate(c, "head/fc/bias") == 2
    assert rate(c, "head/fc/kernel") == 0.25
    assert rate(c, f"backbone/temporal/{conv}/kernel") == 1
    for own, prefix in ((a, "backbone"), (c, "backbone/temporal")):
        frozen = own.optim["frozen_pattern"]
        assert re.search(frozen, f"{prefix}/{norm}/scale")
        assert not re.search(frozen, f"{prefix}/stem_norm/scale")
        assert not re.search(frozen, f"{prefix}/{conv}/bias")
        assert re.search(own.model["norm_frozen"], f"{prefix}/{norm}")
        assert not re.search(own.model["norm_frozen"], f"{prefix}/stem_norm")
    (trained, *_) = stages_of("t4.D,affine=trained").values()
    assert not trained.optim["frozen_pattern"] and trained.model["norm_frozen"]


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("t4.E", "has no row 't4.E'"),
        ("model=B,paths=5", "'paths' is for model=C|D|snippets|attention; this is model=B"),
        ("paths=1", "one path is fusion=identity"),
        ("model=C,fusion=identity", "one path is fusion=identity"),
        ("data=tempobench,split=2", "TempoBench has one split"),
        ("tsn.warped,data=tempobench", "stands still"),
        ("size=small", "size=small is for data=tempobench"),
        (f"t4.D,{SMALL},base=vgg16", "'base' is for size=full"),
        ("t1.vgg16.spatial,affine=trained", "'affine' is for norms that are frozen"),
        ("model=temporal,init=scratch,affine=trained", "'affine' is for norms"),
        ("t4.A,streams=x,affine=trained", "'affine' is for norms"),
        ("t1.vgg16.spatial,interval=9", "'interval' is for several snippets"),
        ("t3.att1,stride_rule=gap", "'stride_rule' is for several snippets"),
        ("t2.sum.p3,d1=512", "'d1' is for fusion=stcb"),
        ("t2.sum.p3,norm=none", "'norm' is for compact bilinear pooling"),
        ("t4.B,streams=x,cross=mean_rescaled", "'cross' is for networks of flow"),
        ("t4.B,init=scratch,cross=mean", "'cross' is for networks of flow"),
        ("tsn.rgb,cross=mean", "'cross' is for networks of flow"),
        ("t4.B,streams=a{b", "'streams' must be a folder of a run with stages, without"),
        ("base=vgg19", "must be one of vgg16, resnet50, resnet152, bninception"),
    ],
)
def test_arguments_that_mean_nothing_are_one_line(arg, message):
    with pytest.raises(InputError) as caught:
        module().get_config(arg)
    assert message in str(caught.value) and "\n" not in str(caught.value)
