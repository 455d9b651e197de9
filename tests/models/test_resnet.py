"""ResNet: the slots, the temporal shift inside blocks, time symmetry, norm statistics."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

from tempo import models, trees
from tempo.layers import conv
from tempo.layers.norm import BatchNorm
from tempo.layers.temporal import TemporalShift
from tempo.models import blocks
from tests.models.nets import named_leaves

TINY = {"depths": (2, 1, 1, 1), "width": 8}


def backbone(variant="c2d_r50", **fields):
    return models.create(3, backbone={"variant": variant, **TINY, **fields}).backbone


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)


def run(module, variables, clip):
    return jax.jit(functools.partial(module.apply, train=False))(variables, clip)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("temporal", ["none", "tsm"])
@pytest.mark.parametrize("kernels_t", [(1, 1, 3, 3), ((3, 1), 3, 1, (1, 3))])
@pytest.mark.parametrize("inflate_style", ["3x1x1", "3x3x3"])
@pytest.mark.parametrize("act", ["relu", "elu", "swish"])
def test_shapes_over_the_product_of_slots(block, temporal, kernels_t, inflate_style, act):
    module = backbone(
        block=block,
        temporal=temporal,
        kernels_t=kernels_t,
        inflate_style=inflate_style,
        act=act,
    )
    shape = jax.ShapeDtypeStruct((2, 4, 64, 64, 3), np.float32)
    features, variables = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x, train=True), shape
    )
    expansion = 4 if block == "bottleneck" else 1
    for i in range(4):
        side = 16 // 2**i
        assert features[f"res{i + 2}"].shape == (2, 4, side, side, 8 * 2**i * expansion)
    kernels = {k: s.shape[0] for k, s in _kernels(variables["params"]).items()}
    inflated = "conv1" if inflate_style == "3x1x1" else "conv2"
    first = kernels_t[0][0] if isinstance(kernels_t[0], tuple) else kernels_t[0]
    assert kernels[f"stage1_block1/{inflated}/kernel"] == first
    assert kernels[f"stage1_block2/{inflated}/kernel"] == 1
    assert kernels["stage1_block1/conv_proj/kernel" if expansion == 4 else "stem_conv/kernel"] == 1


def _kernels(params):
    return {name: leaf for name, leaf in named_leaves(params).items() if name.endswith("kernel")}


def test_scores_of_a_2d_network_are_the_mean_over_its_frames(random_variables, clip):
    """Frames do not see each other: TSN, and TSM without its shift."""
    model = models.create(3, backbone={"variant": "c2d_r50", **TINY})
    variables = random_variables(model, clip, train=False)
    whole = run(model, variables, clip)["logits"]
    frames = run(model, variables, clip.reshape(8, 1, 32, 32, 3))["logits"]
    np.testing.assert_allclose(whole, frames.reshape(2, 4, 3).mean(1), rtol=1e-4, atol=1e-4)
    assert np.abs(frames[0] - frames[1]).max() > 1e-2


def test_shift_of_no_frames_is_the_2d_network(random_variables, clip):
    """TSM and TSN share their parameters; with the shift taken out they are one network."""
    tsm, tsn = backbone(temporal="tsm"), backbone()
    variables = random_variables(tsn, clip, train=False)
    jax.tree.map(np.testing.assert_array_equal, random_variables(tsm, clip, train=False), variables)

    def without_shift(next_fun, args, kwargs, context):
        return args[0] if isinstance(context.module, TemporalShift) else next_fun(*args, **kwargs)

    with nn.intercept_methods(without_shift):
        silenced = run(tsm, variables, clip)["res5"]
    expected = run(tsn, variables, clip)["res5"]
    np.testing.assert_array_equal(silenced, expected)
    assert np.abs(run(tsm, variables, clip)["res5"] - expected).max() > 1e-2


def test_shifted_projection_is_the_only_difference_of_the_released_shift(random_variables, clip):
    plain, released = backbone(temporal="tsm"), backbone(temporal="tsm", shift_shortcut=True)
    variables = random_variables(plain, clip, train=False)
    replaced = []

    def shift_projection(next_fun, args, kwargs, context):
        if context.module.name == "conv_proj" and context.method_name == "__call__":
            replaced.append(context.module.path)
            args = (TemporalShift(parent=None).apply({}, args[0]), *args[1:])
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(shift_projection):
        rebuilt = run(plain, variables, clip)
    expected = run(released, variables, clip)
    assert len(replaced) == 4
    for stage, features in expected.items():
        np.testing.assert_allclose(rebuilt[stage], features, rtol=1e-5, atol=1e-5)
    assert np.abs(run(plain, variables, clip)["res2"] - expected["res2"]).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "expected"), [("tsm_r50", 3 + 4 + 6 + 3), ("tsm_r101", 2 + 2 + 12 + 2)]
)
def test_number_of_shifted_blocks(name, expected):
    model = models.create(3, name=name, backbone={"width": 8}, lowering="plain")
    calls = []

    def count(next_fun, args, kwargs, context):
        calls.extend([1] * isinstance(context.module, TemporalShift))
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(count):
        models.describe(model, (1, 2, 32, 32, 3))
    assert len(calls) == expected


def test_reversed_clip_and_kernels_reverse_the_features(random_variables, clip):
    module = backbone("slowonly_r50")
    variables = random_variables(module, clip, train=False)
    flipped = trees.map_with_names(
        lambda name, x: x[::-1] if name.endswith("kernel") else x, variables
    )
    forward = run(module, variables, clip)
    backward = run(module, flipped, clip[:, ::-1])
    for stage, features in forward.items():
        np.testing.assert_allclose(backward[stage][:, ::-1], features, rtol=1e-4, atol=1e-4)
    unflipped = run(module, variables, clip[:, ::-1])["res5"]
    assert np.abs(unflipped[:, ::-1] - forward["res5"]).max() > 1e-2


@pytest.mark.parametrize(("block", "last"), [("basic", "norm2"), ("bottleneck", "norm3")])
def test_zero_init_makes_a_block_an_identity(block, last):
    layout = blocks.BLOCKS[block]
    module = blocks.ResidualBlock(
        layout=layout,
        features=8 // layout[-1].expansion,
        strides=(1, 1, 1),
        kernels_t=(1,) * len(layout),
        conv=conv.Conv,
        norm=functools.partial(BatchNorm, use_running_average=True),
        act=nn.relu,
        zero_init=True,
    )
    x = np.random.default_rng(0).random((1, 2, 3, 3, 8)).astype(np.float32)
    y, variables = jax.jit(module.init_with_output)(jax.random.key(0), x)
    np.testing.assert_array_equal(y, x)
    scales = {k: float(v["scale"][0]) for k, v in variables["params"].items() if "norm" in k}
    assert scales.pop(last) == 0.0
    assert set(scales.values()) == {1.0}


def test_evaluation_does_not_depend_on_the_rest_of_the_batch(random_variables, clip):
    module = backbone()
    variables = random_variables(module, clip, train=False)
    whole, alone = (run(module, variables, x)["res5"] for x in (clip, clip[:1]))
    np.testing.assert_allclose(whole[:1], alone, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def training_statistics(random_variables, clip):
    """Old statistics, new ones with and without `partial_norm`, and the stem's activations."""

    def step(partial_norm):
        module = backbone(partial_norm=partial_norm)
        variables = random_variables(module, clip, train=False)

        @jax.jit
        def run(variables, clip):
            return module.apply(
                variables, clip, train=True, mutable=["batch_stats", "intermediates"],
                capture_intermediates=lambda m, _: m.name == "stem_conv",
            )[1]  # fmt: skip

        return variables["batch_stats"], run(variables, clip)

    old, new = step(False)
    _, new_partial = step(True)
    return old, new, new_partial


def test_training_moves_running_statistics_by_a_tenth(training_statistics):
    old, new, _ = training_statistics
    x = np.asarray(new["intermediates"]["stem_conv"]["__call__"][0])
    for name, batch in (("mean", x.mean((0, 1, 2, 3))), ("var", x.var((0, 1, 2, 3)))):
        expected = 0.9 * old["stem_norm"][name] + 0.1 * batch
        np.testing.assert_allclose(
            new["batch_stats"]["stem_norm"][name], expected, rtol=1e-4, atol=1e-6
        )


def test_partial_norm_trains_with_running_statistics_behind_the_stem(training_statistics):
    old, new, partial = training_statistics
    for name, before in old.items():
        changed = [
            not np.array_equal(a, b)
            for after in (new, partial)
            for a, b in zip(
                jax.tree.leaves(before), jax.tree.leaves(after["batch_stats"][name]), strict=True
            )
        ]
        half = len(changed) // 2
        assert all(changed[:half])
        assert all(changed[half:]) if name == "stem_norm" else not any(changed[half:])
