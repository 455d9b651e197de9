"""The slots of residual blocks: where their parts stand, what they keep, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import tempo
from tempo import models, trees
from tempo.layers import conv
from tempo.layers.norm import BatchNorm
from tempo.models import blocks

RESNET = {"variant": "c2d_r50", "depths": (2, 1, 1, 1), "width": 4}
SLOWFAST = {
    "variant": "slowfast_r50",
    "depths": (1, 2, 1, 1),
    "width": 8,
    "channel_ratio": 4,
    "slow_stride": 4,
}
CHALLENGE = {"act": "elu", "downsample": "pool_block", "conv_b": "acb3d"}


def create(row, **fields):
    return models.create(3, backbone={**row, **fields}, lowering="plain")


def shapes(row, num_frames=8, side=64, **fields):
    model = create(row, **fields)
    video = jax.ShapeDtypeStruct((1, num_frames, side, side, 3), jnp.float32)
    tree = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)
    return trees.named_shapes(tree["params"]["backbone"])


@pytest.fixture(scope="module")
def resnet_shapes():
    return shapes(RESNET)


@pytest.fixture(scope="module")
def slowfast_shapes():
    return shapes(SLOWFAST)


@pytest.mark.parametrize(
    ("fields", "added"),
    [
        ({"temporal": {"name": "tsm", "shift_div": 4}}, {}),
        (
            {"temporal": "tam"},
            # On what conv1 gives, of 4 frames in the slow path's 2 and the fast one's 8.
            {
                "temporal/global_fc1/kernel": (8, 16),
                "temporal/global_fc2/kernel": (16, 3),
                "temporal/local_conv1/kernel": (3, 1, 1, 8, 2),
                "temporal/local_conv2/kernel": (1, 1, 1, 2, 8),
            },
        ),
        (
            {"conv_b": "acb3d"},
            {"conv2_3x3x3/kernel": (3, 3, 3, 8, 8), "conv2_3x1x1/kernel": (3, 1, 1, 8, 8)},
        ),
        (
            {"conv_b": {"name": "2plus1d", "order": "temporal_first", "width": "equal"}},
            {"conv2_t/kernel": (3, 1, 1, 8, 8)},
        ),
        ({"conv_b": "pointwise_depthwise"}, {"conv2_pointwise/kernel": (1, 1, 1, 8, 8)}),
        ({"attention": {"name": "se", "ratio": 4}}, {"attention/fc1/kernel": (1, 1, 1, 32, 8)}),
        ({"attention": "cbam"}, {"attention/conv/kernel": (3, 7, 7, 2, 1)}),
        ({"attention": "sr"}, {"attention/layer1/hn/kernel": (32, 32)}),
        ({"attention": "srtg"}, {"attention/recursion/layer2/if/kernel": (32, 32)}),
    ],
    ids=str,
)
def test_leaves_that_a_slot_adds_to_a_block(resnet_shapes, fields, added):
    """To every block, and the others keep their names."""
    new = {k: v for k, v in shapes(RESNET, **fields).items() if k not in resnet_shapes}
    where = {k.split("/")[0] for k in new}
    assert len(where) == (5 if added else 0)
    got = {k.removeprefix("stage2_block1/"): v for k, v in new.items() if "stage2_block1" in k}
    assert {k: v for k, v in got.items() if k.endswith("kernel") and k in added} == added


class Closed(nn.Module):
    """A gate that lets nothing through."""

    @nn.compact
    def __call__(self, x):
        return 0 * x


@pytest.mark.parametrize(("place", "is_left"), [("branch", True), ("final", False)])
def test_gates_stand_before_the_sum_or_behind_all(place, is_left):
    x = np.random.default_rng(0).uniform(1, 2, (1, 1, 2, 2, 4)).astype(np.float32)
    block = blocks.ResidualBlock(
        layout=blocks.layout("bottleneck"),
        features=1,
        strides=(1, 1, 1),
        kernels_t=(1, 1, 1),
        conv=conv.Conv,
        norm=functools.partial(BatchNorm, use_running_average=True),
        act=nn.relu,
        attention=Closed,
        attention_place=place,
    )
    y, _ = jax.jit(block.init_with_output)(jax.random.key(0), x)
    np.testing.assert_array_equal(y, x * is_left)


@pytest.mark.parametrize(("slot", "place"), [("sr", "branch"), ("srtg", "final")])
def test_a_row_says_where_its_gate_stands(slot, place):
    places = set()

    def note(call, args, kwargs, context):
        if isinstance(context.module, blocks.ResidualBlock):
            places.add(context.module.attention_place)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        shapes(RESNET, num_frames=1, depths=(1, 0, 0, 0), attention=slot)
    assert places == {place}


def test_one_dict_describes_the_challenge_network(slowfast_shapes):
    new = shapes(SLOWFAST, **CHALLENGE)
    assert slowfast_shapes.items() <= new.items()  # weights of the base load by name
    added = {k.rsplit("/", 2)[0] for k in new if k not in slowfast_shapes}
    branches = [f"stage{s}_block{b}" for s, b in ((1, 1), (2, 1), (2, 2), (3, 1), (4, 1))]
    assert added == {f"{path}/{block}" for path in ("slow", "fast") for block in branches}


def test_a_path_can_have_slots_of_its_own(slowfast_shapes):
    new = shapes(SLOWFAST, slow={"conv_b": "acb2d"}, nonlocal_blocks=((), (1,), (), ()))
    added = {k for k in new if k not in slowfast_shapes}
    assert {k.split("/")[0] for k in added} == {"slow"}
    kernels = {k: v for k, v in new.items() if "nonlocal" in k and k.endswith("kernel")}
    assert kernels == {
        f"slow/stage2_block2_nonlocal/{part}/kernel": shape
        for part, shape in {
            "theta": (1, 1, 1, 64, 32),
            "phi": (1, 1, 1, 64, 32),
            "g": (1, 1, 1, 64, 32),
            "out": (1, 1, 1, 32, 64),
        }.items()
    }


@pytest.mark.parametrize("downsample", sorted(blocks.DOWNSAMPLE))
@pytest.mark.parametrize("pool_stem", [False, True])
def test_pools_keep_parameters_and_sizes(resnet_shapes, downsample, pool_stem):
    fields = {"downsample": downsample, "pool_stem": pool_stem}
    assert shapes(RESNET, **fields) == resnet_shapes
    rows = dict(models.describe(create(RESNET, **fields), (1, 1, 112, 112, 3)))
    assert [rows[f"res{i}"][2] for i in range(2, 6)] == [28, 14, 7, 4]


def block(downsample, **fields):
    return blocks.ResidualBlock(
        layout=blocks.layout("bottleneck"),
        features=2,
        strides=(1, 2, 2),
        kernels_t=(1, 1, 1),
        conv=functools.partial(conv.Conv, lowering="plain"),
        norm=functools.partial(BatchNorm, use_running_average=True),
        act=nn.elu,
        downsample=blocks.DOWNSAMPLE[downsample],
        **fields,
    )


@pytest.fixture(scope="module")
def run_block(random_variables):
    x = np.random.default_rng(0).normal(size=(1, 1, 12, 12, 4)).astype(np.float32)
    variables = random_variables(block("strided"), x)
    return x, lambda downsample, x: np.asarray(block(downsample).apply(variables, x))


@pytest.mark.parametrize("downsample", ["pool_block", "pool_pre", "pool_shortcut"])
def test_pools_change_which_elements_are_kept_and_nothing_else(run_block, downsample):
    x, run = run_block
    constant = np.broadcast_to(x[:, :, :1, :1], x.shape)
    inner = np.s_[:, :, 1:5, 1:5]  # away from the zeros around the frame
    strided = run("strided", constant)[inner]
    np.testing.assert_allclose(run(downsample, constant)[inner], strided, rtol=1e-5, atol=1e-6)
    assert np.abs(run(downsample, x) - run("strided", x))[inner].max() > 0.1


def relus(jaxpr):
    """Maxima of something and zero; max pools have no constant."""
    found = 0
    for eqn in jaxpr.eqns:
        literals = [v.val for v in eqn.invars if isinstance(v, jax.extend.core.Literal)]
        found += eqn.primitive.name == "max" and any(np.all(v == 0) for v in literals)
        found += sum(map(relus, trees._inner_jaxprs(eqn.params)))
    return found


@pytest.mark.parametrize(("act", "expected"), [("elu", False), ("relu", True)])
def test_no_relu_is_left_where_the_slot_has_another_activation(act, expected):
    conv_b = {"name": "2plus1d"}
    fields = {**CHALLENGE, "conv_b": conv_b, "act": act, "nonlocal_blocks": ((), (0,), (), ())}
    model = create(SLOWFAST, **fields)
    video = jax.ShapeDtypeStruct((1, 8, 64, 64, 3), jnp.float32)
    run = lambda v: model.init_with_output(jax.random.key(0), v, train=False)[0]["logits"]  # noqa: E731
    assert (relus(jax.make_jaxpr(run)(video).jaxpr) > 0) == expected


@pytest.fixture(scope="module")
def base(random_variables):
    clip = np.random.default_rng(0).normal(size=(1, 4, 64, 64, 3)).astype(np.float32)
    model = create(RESNET)
    variables = random_variables(model, clip, train=False)
    return clip, variables, logits(model, variables, clip)


def logits(model, variables, clip):
    return np.asarray(
        jax.jit(functools.partial(model.apply, train=False))(variables, clip)["logits"]
    )


def test_modules_inserted_into_a_trained_network_change_nothing_at_first(base, random_variables):
    """Branches of a convolution and non-local blocks; new leaves are random but those of norms."""
    clip, trained, expected = base
    conv_b = {"name": "acb3d", "zero_init": True}
    model = create(RESNET, conv_b=conv_b, nonlocal_blocks=((1,), (0,), (0,), ()))
    old = trees.named(trained)

    @jax.jit
    def fresh_norms():
        fresh = trees.named(model.init(jax.random.key(0), clip, train=False)["params"])
        fresh = {f"params/{name}": leaf for name, leaf in fresh.items() if "norm" in name}
        return {name: leaf for name, leaf in fresh.items() if name not in old}

    given = {**fresh_norms(), **old}
    random = random_variables(model, clip, seed=1, train=False)
    started = trees.map_with_names(lambda name, leaf: given.get(name, leaf), random)
    assert len(set(trees.leaf_names(random)) - set(given)) > 30
    # What is added is zero; the compiler rounds the sums around it in its own way.
    np.testing.assert_allclose(logits(model, started, clip), expected, rtol=2e-6, atol=2e-6)
    assert np.abs(logits(model, random, clip) - expected).max() > 1e-2


def test_everything_at_once_in_training_in_bfloat16_with_remat():
    fields = {
        **CHALLENGE,
        "temporal": "tam",
        "attention": "se",
        "nonlocal_blocks": ((), (0,), (0,), ()),
        "pool_stem": True,
    }
    model = models.create(
        3, backbone={**RESNET, **fields}, dtype="bfloat16", remat=True, lowering="plain"
    )
    video = jax.ShapeDtypeStruct((2, 8, 64, 64, 3), jnp.float32)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    outputs, variables = jax.eval_shape(
        lambda v: model.init_with_output(keys, v, train=True), video
    )
    assert {x.dtype for x in outputs["features"].values()} == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"conv_b": "acb2d"}, True),
        ({"conv_b": {"name": "acb3d"}}, False),
        ({"temporal": {"name": "tam"}}, False),
        ({"attention": "se"}, False),
        ({"nonlocal_blocks": ((0,), (), (), ())}, False),
        ({"strides_t": (1, 1, 1, 2)}, False),
        ({"kernels_t": (1, 1, (1, 3), 1)}, False),
        ({"pool1_kernel_t": 3}, False),
    ],
    ids=str,
)
def test_which_networks_see_one_frame_at_a_time(fields, expected):
    assert create(RESNET, **fields).backbone.is_per_frame == expected


# --- what is refused ---


@pytest.mark.parametrize("row", [RESNET, SLOWFAST], ids=["resnet", "slowfast"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conv_b": "abc3d"}, "conv_b (config.backbone.conv_b) 'abc3d'. Did you mean 'acb3d'?"),
        ({"conv_b": "dense"}, "There are: plain, 3x3x3, 2plus1d, acb3d, acb2d, depthwise, point"),
        ({"conv_b": {"name": "acb3d", "order": 1}}, "has no option 'order'. There are: zero_init."),
        ({"conv_b": {"name": "plain", "order": 1}}, "has no option 'order'. There are none."),
        ({"temporal": "shift"}, "There are: none, tsm, tam."),
        ({"temporal": 5}, "must be a name or a mapping with one; got 5."),
        ({"temporal": {"name": "tsm", "segments": 8}}, "Did you mean 'num_segments'?"),
        ({"downsample": "max"}, "pool_block, pool_pre, pool_shortcut, strided."),
        ({"attention": "gate"}, "There are: none, se, cbam, sr, srtg."),
        ({"attention": {"name": "sr", "cells": "gru"}}, "Did you mean 'cell'?"),
        ({"nonlocal_mode": "softmx"}, "Did you mean 'softmax'?"),
        ({"nonlocal_blocks": ((), (2,), (), ())}, "res3, whose"),
        ({"nonlocal_blocks": ((), (1,))}, "nonlocal_blocks needs one entry per stage, 4"),
    ],
    ids=str,
)
def test_bad_slots_are_refused_when_the_model_is_made(row, fields, message):
    with pytest.raises(tempo.InputError) as error:
        create(row, **fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "num_frames", "message"),
    [
        ({"temporal": {"name": "tsm", "num_segments": 8}}, 4, "num_segments=8 frames and the clip"),
        ({"temporal": "tsm"}, 1, "of a clip of 1 frame; set backbone.temporal='none'"),
        ({"conv_b": "depthwise", "block": "basic"}, 4, "use backbone.block='bottleneck'"),
    ],
    ids=str,
)
def test_clips_that_do_not_fit_are_refused_when_described(fields, num_frames, message):
    """As a run does before it makes any data."""
    with pytest.raises(tempo.InputError) as error:
        models.describe(create({**RESNET, "width": 8}, **fields), (1, num_frames, 64, 64, 3))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_adaptive_modules_are_for_one_number_of_frames():
    model = create(RESNET, temporal="tam")
    clips = [jax.ShapeDtypeStruct((1, t, 32, 32, 3), jnp.float32) for t in (4, 8)]
    variables = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), clips[0])
    with pytest.raises(tempo.InputError, match="clips of 4 frames and gets 8"):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, clips[1])
