"""Asymmetric blocks fused for inference: the same scores from one convolution each."""

import functools

import jax
import numpy as np
import pytest

import tempo
from tempo import models, trees

NET = {"variant": "c2d_r50", "depths": (1, 1, 1, 1), "width": 4}
# Blocks of two 3x3 convolutions; the first of them would be inflated if it were a plain one.
BASIC = {**NET, "variant": "slowonly_r18"}
PATHS = {"variant": "slowfast_r50", "depths": (1, 1, 1, 1), "width": 8, "channel_ratio": 4}


def create(arguments):
    return models.create(3, **{k: v for k, v in arguments.items() if k != "num_classes"})


@pytest.mark.parametrize(
    ("backbone", "conv_b", "fused"),
    [(NET, "acb3d", "3x3x3"), (BASIC, {"name": "acb2d", "zero_init": True}, "plain")],
    ids=["bottleneck", "basic"],
)
def test_fused_network_gives_the_same_scores(random_variables, backbone, conv_b, fused):
    given = {"num_classes": 3, "backbone": {**backbone, "conv_b": conv_b}, "lowering": "plain"}
    clip = np.random.default_rng(0).normal(size=(1, 4, 32, 32, 3)).astype(np.float32)
    variables = random_variables(create(given), clip, train=False)
    arguments, plain = models.fuse(given, variables)
    assert arguments == {**given, "backbone": {**backbone, "conv_b": fused}}

    def run(arguments, variables):
        apply = jax.jit(functools.partial(create(arguments).apply, train=False))
        return np.asarray(apply(variables, clip)["logits"])

    model = create(arguments)
    shapes = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), clip)
    assert trees.named_shapes(plain) == trees.named_shapes(shapes)
    expected = run(given, variables)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(run(arguments, plain), expected, rtol=1e-5, atol=1e-5)


def test_blocks_that_see_three_frames_take_no_longer_kernels():
    """Whatever extent a plain convolution would have there."""
    row = {**NET, "kernels_t": (1, 1, 5, 5), "inflate_style": "3x3x3", "conv_b": "acb3d"}

    def zeros(backbone):
        model = create({"backbone": backbone})
        video = jax.ShapeDtypeStruct((1, 4, 32, 32, 3), np.float32)
        shapes = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)
        return jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)

    arguments, plain = models.fuse({"backbone": row}, zeros(row))
    assert trees.named_shapes(plain) == trees.named_shapes(zeros(arguments["backbone"]))


def test_pathways_are_fused_where_they_have_branches(random_variables):
    given = {"backbone": {**PATHS, "conv_b": "acb3d", "fast": {"conv_b": "acb2d", "act": "elu"}}}
    clip = np.zeros((1, 8, 64, 64, 3), np.float32)
    variables = random_variables(create(given), clip, train=False)
    before = trees.named_shapes(variables)
    arguments, plain = models.fuse(given, variables)
    assert arguments["backbone"] == {
        **PATHS,
        "conv_b": "3x3x3",
        "fast": {"conv_b": "plain", "act": "elu"},
    }
    model = create(arguments)
    shapes = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), clip)
    assert trees.named_shapes(plain) == trees.named_shapes(shapes)
    assert trees.named_shapes(variables) == before  # left as they were


@pytest.mark.parametrize(
    ("conv_b", "message"),
    [
        ("2plus1d", "nothing to fuse: backbone.conv_b is '2plus1d'; it can be acb3d or acb2d"),
        ("acb3d", "no branches to fuse"),
    ],
)
def test_what_cannot_be_fused_is_refused(random_variables, conv_b, message):
    clip = np.zeros((1, 4, 32, 32, 3), np.float32)
    variables = random_variables(create({"backbone": NET}), clip, train=False)
    with pytest.raises(tempo.InputError, match=message):
        models.fuse({"backbone": {**NET, "conv_b": conv_b}}, variables)


def test_variables_of_another_depth_are_refused(random_variables):
    clip = np.zeros((1, 4, 32, 32, 3), np.float32)
    given = {"backbone": {**NET, "conv_b": "acb3d"}}
    variables = random_variables(create(given), clip, train=False)
    deeper = {"backbone": {**given["backbone"], "depths": (1, 2, 1, 1)}}
    with pytest.raises(tempo.InputError, match="no stage2_block2, which the model has"):
        models.fuse(deeper, variables)
