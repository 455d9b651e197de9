"""Inflated networks equal the image network where no temporal padding reaches."""

import jax
import numpy as np
import pytest

from tempo import models, trees
from tempo.convert import inflate as inflate_lib
from tempo.errors import InputError

# Two inflated blocks in res4 and one in res5: their kernels reach 2 and 3 frames.
SMALL = {"depths": (1, 1, 2, 1), "width": 4}


def backbone(variant):
    return models.create(3, backbone={"variant": variant, **SMALL}).backbone


@pytest.fixture(scope="module")
def nets():
    """Features of the 2-D and the inflated 3-D backbone for a clip, and the 3-D variables."""
    image, video = backbone("c2d_r50"), backbone("slowonly_r50")
    clip = jax.ShapeDtypeStruct((1, 9, 32, 32, 3), np.float32)
    shapes = [
        jax.eval_shape(lambda x, m=m: m.init(jax.random.key(0), x, train=False), clip)
        for m in (image, video)
    ]
    rng = np.random.default_rng(0)
    variables = trees.map_with_names(
        lambda name, s: (
            rng.uniform(0.5, 1.5, size=s.shape).astype(np.float32)
            if name.endswith(("scale", "var"))
            else (rng.normal(size=s.shape) / np.sqrt(np.prod(s.shape[:-1]))).astype(np.float32)
        ),
        shapes[0],
    )
    inflated = jax.tree.map(
        lambda x, s: inflate_lib.inflate_kernel(x, s.shape[0]) if x.ndim == 5 else x,
        variables,
        shapes[1],
    )
    run = jax.jit(
        lambda x: (image.apply(variables, x, train=False), video.apply(inflated, x, train=False))
    )
    return variables, inflated, run


def test_kernels_sum_over_time_to_the_image_kernel(nets):
    variables, inflated, _ = nets
    pairs = zip(
        trees.leaf_names(variables), jax.tree.leaves(variables), jax.tree.leaves(inflated),
        strict=True,
    )  # fmt: skip
    num_inflated = 0
    for name, a, b in pairs:
        if a.shape == b.shape:
            np.testing.assert_array_equal(a, b, err_msg=name)
        else:
            num_inflated += 1
            np.testing.assert_allclose(a, np.sum(b, axis=0, keepdims=True), rtol=1e-6)
            assert name.endswith("conv1/kernel")
            assert "stage3" in name or "stage4" in name
    assert num_inflated == 3


def test_stages_without_temporal_kernels_equal_the_image_network_on_any_clip(nets):
    clip = np.random.default_rng(1).normal(size=(1, 9, 32, 32, 3)).astype(np.float32)
    image, video = nets[2](clip)
    for stage in ("res2", "res3"):
        np.testing.assert_array_equal(image[stage], video[stage])
    assert np.abs(image["res4"] - video["res4"]).max() > 1e-2


def test_static_clip_equals_the_image_network_away_from_the_ends(nets):
    frame = np.random.default_rng(1).normal(size=(1, 1, 32, 32, 3)).astype(np.float32)
    image, video = nets[2](np.repeat(frame, 9, axis=1))
    for stage, reach in (("res4", 2), ("res5", 3)):
        error = np.abs(image[stage] - video[stage]).max((0, 2, 3, 4))
        scale = np.abs(image[stage]).max()
        inside = slice(reach, 9 - reach)
        assert error[inside].max() < 1e-5 * scale
        # Zeros beyond the ends do reach the frames before: no test may ask for equality there.
        assert error[0] > 1e-3 * scale
        assert error[reach - 1] > 1e-6 * scale


def test_kernels_of_a_network_that_sees_time_are_refused():
    with pytest.raises(InputError, match="Only kernels"):
        inflate_lib.inflate_kernel(np.ones((3, 1, 1, 2, 2)), 3)


@pytest.mark.parametrize(("method", "ratio"), [("mean", 20 / 3), ("mean_rescaled", 1.0)])
def test_a_stem_for_flow_answers_so_many_times_the_stem_for_pictures(method, ratio):
    rng = np.random.default_rng(0)
    rgb = rng.normal(0, 0.1, (1, 7, 7, 3, 8)).astype(np.float32)
    flow = inflate_lib.cross_modality(rgb, 20, method)
    assert flow.shape == (1, 7, 7, 20, 8)
    assert (flow == flow[..., :1, :]).all()

    def conv(kernel):
        x = np.full((1, 1, 16, 16, kernel.shape[-2]), -2.5, np.float32)
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 2, 2), "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )  # fmt: skip

    np.testing.assert_allclose(conv(flow), conv(rgb) * ratio, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "method", "words"),
    [(np.zeros(3), "mean", r"kernel \[...,C,F\]"), (np.zeros((1, 3, 2)), "men", "mean")],
)
def test_what_makes_no_stem_for_flow_is_refused(kernel, method, words):
    with pytest.raises(InputError, match=words):
        inflate_lib.cross_modality(kernel, 20, method)
