"""Networks of pictures that TSN and two streams are built on: sizes, stages, frozen norms."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import tempo
from tempo import models, trees
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm
from tempo.models import bninception, size, vgg

LATER_NORMS = r"/(?!stem_norm)[^/]*$"
NARROW = {"variant": "bninception", "width": 2}


def shapes(model, clip):
    video = jax.ShapeDtypeStruct(clip, jnp.float32)
    return jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)


@pytest.fixture(scope="module")
def bn():
    return models.create(1000, name="tsn_bninception", lowering="plain")


def test_bninception_is_that_of_the_published_table(bn):
    rows = dict(models.describe(bn, (1, 1, 224, 224, 3)))
    assert [rows[f"res{i}"][1:] for i in range(2, 6)] == [
        (1, 56, 56, 192), (1, 28, 28, 320), (1, 14, 14, 608), (1, 7, 7, 1024),
    ]  # fmt: skip
    tree = shapes(bn, (1, 1, 224, 224, 3))["params"]["backbone"]
    named = trees.named_shapes(tree)
    assert trees.count_params(tree) == 10_270_240
    layers = collections.Counter(name.split("/")[-1] for name in named)
    assert layers == {"kernel": 69, "scale": 69, "bias": 2 * 69}
    # A pattern of paths finds the norms by their names, and among them the first one.
    norms = {name.split("/")[-2] for name in named if name.endswith("scale")}
    assert all(name.endswith("norm") for name in norms)
    flow = shapes(models.create(1, name="tsn_bninception_flow"), (1, 1, 32, 32, 20))
    assert trees.count_params(flow["params"]["backbone"]) - 10_270_240 == 53_312


def test_pools_in_ceil_mode_leave_what_caffe_does():
    for side, expected in ((112, 56), (9, 4), (4, 2), (2, 1), (1, 1)):
        grown = np.arange(side, dtype=np.float32) - 2 * side  # below what might stand beyond
        for axis in (2, 3):
            x = grown.reshape((-1, 1, 1) if axis == 2 else (1, -1, 1))
            x = np.broadcast_to(x, (1, 1, side, side, 1))
            y = np.asarray(bninception._halved(x, bninception._ceil_mode(x)))
            assert y.shape == (1, 1, expected, expected, 1)
            # Of each window the last one, and of a window that is cut the border's.
            last = [grown[min(2 * i + 2, side - 1)] for i in range(expected)]
            np.testing.assert_array_equal(np.moveaxis(y, axis, -1)[0, 0, 0, 0], last)


def test_vgg16_is_the_published_one():
    """arXiv 1409.1556: 138 M parameters; 15.5 G multiply-adds."""
    params, macs = size.count(1000, {"name": "tsn_vgg16"}, (1, 224, 224, 3))
    assert params == 138_357_544
    assert macs / 1e9 == pytest.approx(15.5, rel=0.01)
    model = models.create(1, name="tsn_vgg16")
    rows = dict(models.describe(model, (1, 2, 224, 224, 3)))
    assert rows["res5"] == (1, 2, 7, 7, 512)
    tree = shapes(model, (1, 1, 224, 224, 3))["params"]["backbone"]
    assert sum(name.endswith("kernel") for name in trees.named(tree)) == 13


def test_the_head_of_vgg_averages_the_places_of_larger_frames():
    head = vgg.VGGHead(3, Conv, features=4, side=2)
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 2, 5)).astype(np.float32)
    variables = head.init(jax.random.key(0), x, train=False)
    whole = head.apply(variables, x, train=False)
    parts = [head.apply(variables, x[:, :, i : i + 2], train=False) for i in (0, 1)]
    np.testing.assert_allclose(whole, np.mean(parts, 0), rtol=1e-5, atol=1e-6)
    with pytest.raises(tempo.InputError, match="head.side=2 is more than the features' 1x2"):
        head.apply(variables, x[:, :, :1], train=False)


def test_frames_too_small_for_the_pools_are_refused():
    with pytest.raises(tempo.InputError, match="frames of 16x31 px leave nothing"):
        models.describe(models.create(1, name="tsn_vgg16"), (1, 1, 16, 31, 3))


def test_strides_on_the_first_convolution_as_in_caffe():
    """He et al., arXiv 1512.03385, table 1: 3.8 G; torchvision's R50 has 4.09."""
    model = {"name": "tsn_r50", "backbone": {"stride_on": "conv1"}}
    params, macs = size.count(1000, model, (1, 224, 224, 3))
    assert params == 25_557_032
    assert round(macs / 1e9, 3) == 3.858


def moved(backbone, pattern):
    """Norms whose running statistics a training step changes, from what is traced of it."""
    model = models.create(3, backbone=backbone, norm_frozen=pattern)
    clip = jax.ShapeDtypeStruct((2, 1, 32, 32, 3), jnp.float32)
    variables = shapes(model, clip.shape)

    def forward(stats, params, clip):
        variables = {"params": params, "batch_stats": stats}
        rngs = {"dropout": jax.random.key(0)}
        return model.apply(variables, clip, train=True, mutable=["batch_stats"], rngs=rngs)[1]

    stats = variables["batch_stats"]
    jaxpr = jax.make_jaxpr(forward)(stats, variables["params"], clip).jaxpr
    names = list(trees.named(stats))
    # What a norm leaves as it is goes out as it came in.
    pairs = zip(names, jaxpr.invars, jaxpr.outvars, strict=False)
    return {name.rpartition("/")[0] for name, a, b in pairs if a is not b}, len(names) // 2


def test_partial_batch_norm_leaves_all_norms_but_the_first():
    assert moved(NARROW, LATER_NORMS)[0] == {"backbone/stem_norm"}
    found, total = moved({"variant": "c2d_r18", "width": 4, "depths": (1, 0, 0, 0)}, "")
    assert len(found) == total


def test_a_frozen_norm_gives_in_training_what_it_gives_in_evaluation():
    class Pair(nn.Module):
        is_used: bool
        pattern: str = ""

        @nn.compact
        def __call__(self, x):
            return [
                BatchNorm(self.is_used, frozen_pattern=self.pattern, name=name)(x)
                for name in ("stem_norm", "later_norm")
            ]

    x = np.random.default_rng(0).normal(2, 3, size=(2, 1, 2, 2, 3)).astype(np.float32)
    variables = Pair(True).init(jax.random.key(0), x)
    evaluated = Pair(True).apply(variables, x)
    first, later = Pair(False, "^later").apply(variables, x, mutable=["batch_stats"])[0]
    np.testing.assert_array_equal(later, evaluated[1])
    assert np.abs(first - evaluated[0]).max() > 0.1


def test_what_is_no_pattern_or_width_is_refused():
    with pytest.raises(tempo.InputError, match=r"norm_frozen='\(' is no regular expression"):
        models.create(3, name="tsn_r18", norm_frozen="(")
    with pytest.raises(tempo.InputError, match="backbone.width must be an even whole number"):
        models.create(3, backbone={**NARROW, "width": 3})
    with pytest.raises(tempo.InputError, match="stride_on"):
        models.create(3, backbone={"variant": "c2d_r50", "stride_on": "conv3"})
