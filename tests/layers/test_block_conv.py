"""What stands in the place of a 3x3 convolution: names, shapes, identities, fused branches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import tempo
from tempo.layers import block_conv, slots
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm


class Place(nn.Module):
    """A row of CONV_B in the scope of a module, as a block has it."""

    slot: object
    features: int = 4
    strides: tuple = (1, 1, 1)
    act: object = nn.relu
    is_training: bool = False

    @nn.compact
    def __call__(self, x):
        return slots.make(self.slot, block_conv.CONV_B, "conv_b", train=self.is_training)(
            x,
            conv=Conv,
            norm=functools.partial(BatchNorm, use_running_average=not self.is_training),
            act=self.act,
            features=self.features,
            kernel_size=(1, 3, 3),
            strides=self.strides,
            name_suffix="2",
            scale_init=None,
        )


def made(slot, shape, seed=0, **fields):
    """Variables with random numbers where initialisation has constants."""
    shapes = jax.eval_shape(lambda x: Place(slot, **fields).init(jax.random.key(0), x), shape)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.uniform(0.5, 1.5, s.shape).astype(np.float32), shapes)


def x_of(*shape):
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


SPACE, TIME, FULL = (1, 3, 3), (3, 1, 1), (3, 3, 3)
TEMPORAL_FIRST = {"name": "2plus1d", "order": "temporal_first"}


@pytest.mark.parametrize(
    ("slot", "features", "kernels", "norms"),
    [
        ("plain", 16, {"conv2": (*SPACE, 8, 16)}, ["norm2"]),
        ("3x3x3", 16, {"conv2": (*FULL, 8, 16)}, ["norm2"]),
        # 27 * 8 * 16 weights in 9 * 8 m + 3 m * 16.
        ("2plus1d", 16, {"conv2": (*SPACE, 8, 28), "conv2_t": (*TIME, 28, 16)}, ["norm2", "inner"]),
        # 27 * 8 * 16 weights in 3 * 8 m + 9 m * 16.
        (
            TEMPORAL_FIRST,
            16,
            {"conv2_t": (*TIME, 8, 20), "conv2": (*SPACE, 20, 16)},
            ["norm2", "inner"],
        ),
        (
            {**TEMPORAL_FIRST, "width": "equal"},
            16,
            {"conv2_t": (*TIME, 8, 16), "conv2": (*SPACE, 16, 16)},
            ["norm2", "inner"],
        ),
        (
            "acb3d",
            16,
            {
                "conv2": (*SPACE, 8, 16),
                "conv2_3x3x3": (*FULL, 8, 16),
                "conv2_3x1x1": (*TIME, 8, 16),
            },
            ["norm2", "3x3x3", "3x1x1"],
        ),
        (
            "acb2d",
            16,
            {
                "conv2": (*SPACE, 8, 16),
                "conv2_1x3x1": (1, 3, 1, 8, 16),
                "conv2_1x1x3": (1, 1, 3, 8, 16),
            },
            ["norm2", "1x3x1", "1x1x3"],
        ),
        ("depthwise", 8, {"conv2": (*FULL, 1, 8)}, ["norm2"]),
        (
            "pointwise_depthwise",
            16,
            {"conv2_pointwise": (1, 1, 1, 8, 16), "conv2": (*FULL, 1, 16)},
            ["norm2", "pointwise"],
        ),
    ],
    ids=str,
)
def test_names_and_shapes(slot, features, kernels, norms):
    calls = []
    place = Place(slot, features, (2, 2, 2), act=lambda x: calls.append(1) or x)
    x = jnp.zeros((1, 4, 6, 6, 8))
    y, variables = jax.eval_shape(lambda x: place.init_with_output(jax.random.key(0), x), x)
    assert y.shape == (1, 2, 3, 3, features)
    params = variables["params"]
    found = {name: params[name]["kernel"].shape for name in params if name.startswith("conv")}
    assert found == kernels
    expected = {name if name == "norm2" else f"norm2_{name}" for name in norms}
    assert set(params) - set(found) == set(variables["batch_stats"]) == expected
    assert len(calls) == ("inner" in norms)


@pytest.mark.parametrize(
    ("slot", "fused_slot", "strides"),
    [
        ("acb3d", "3x3x3", (1, 1, 1)),
        ("acb3d", "3x3x3", (1, 2, 2)),
        ("acb2d", "plain", (1, 2, 2)),
    ],
)
def test_fused_branches_compute_the_same(slot, fused_slot, strides):
    x = x_of(2, 3, 5, 6, 4)
    variables = made(slot, x)
    block = {**variables["params"], "conv1": {"kernel": 1}}
    params, stats = block_conv.fuse(block, variables["batch_stats"])
    assert params.pop("conv1") == {"kernel": 1}
    assert set(params) == {"conv2", "norm2"}
    y = jax.jit(Place(slot, strides=strides).apply)(variables, x)
    fused = jax.jit(Place(fused_slot, strides=strides).apply)(
        {"params": params, "batch_stats": stats}, x
    )
    assert np.abs(y).max() > 5
    np.testing.assert_allclose(fused, y, rtol=1e-5, atol=1e-5)


def test_a_place_without_branches_is_not_fused():
    variables = made("plain", x_of(1, 1, 3, 3, 4))
    with pytest.raises(tempo.InputError, match="conv2 of a block with conv2, norm2 has no branch"):
        block_conv.fuse(variables["params"], variables["batch_stats"])


@pytest.mark.parametrize("slot", ["acb3d", "acb2d"])
def test_branches_with_zero_scale_leave_a_plain_block_as_it_is(slot):
    x = x_of(2, 3, 4, 4, 4)
    module = Place({"name": slot, "zero_init": True}, is_training=True)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    plain = {k: {m: v[m] for m in v if m in ("conv2", "norm2")} for k, v in variables.items()}

    def outputs(variables, plain):
        rows = ((module, variables), (Place("plain", is_training=True), plain))
        return [m.apply(v, x, mutable="batch_stats")[0] for m, v in rows]

    np.testing.assert_array_equal(*jax.jit(outputs)(variables, plain))
    scales = {k: v["scale"].max() for k, v in variables["params"].items() if "norm" in k}
    assert sorted(scales.values()) == [0, 0, 1]
    assert scales["norm2"] == 1


def test_a_multi_temporal_place_takes_options_and_ends_its_branches_in_the_activation():
    slot = {"name": "mtconv", "ratio": 0.5, "pool": "avg", "frames": {"name": "triplet"}}
    calls = []
    x = jnp.zeros((1, 4, 6, 6, 8))
    place = Place(slot, 16, (2, 2, 2), act=lambda x: calls.append(1) or x)
    y, variables = jax.eval_shape(lambda x: place.init_with_output(jax.random.key(0), x), x)
    assert y.shape == (1, 2, 3, 3, 16)
    mtconv = variables["params"]["mtconv2"]
    assert mtconv["local_conv"]["kernel"].shape == (3, 3, 3, 4, 8)
    assert mtconv["lateral_conv"]["kernel"].shape == (1, 1, 1, 8, 8)
    assert len(calls) == 2


def test_refusals_are_one_line():
    x = x_of(1, 2, 3, 3, 4)
    for slot, message in [
        ("depthwise", "keeps its 4 channels and cannot give 8"),
        ({"name": "acb3d", "zero": True}, "'acb3d' has no option 'zero'. Did you mean 'zero_init'"),
        ({"name": "2plus1d", "width": "same"}, "width of conv_b '2plus1d' 'same'.*equal, matched"),
        ("3x1x3", "There are: plain, 3x3x3, 2plus1d, acb3d, acb2d, depthwise"),
        ({"name": "mtconv", "ratio": 0.0}, "ratio=0.0 must be above 0 and at most 1"),
        ({"name": "plain", "features": 2}, "'plain' has no option 'features'. There are none"),
    ]:
        with pytest.raises(tempo.InputError, match=message):
            jax.eval_shape(lambda x, s=slot: Place(s, 8).init(jax.random.key(0), x), x)
