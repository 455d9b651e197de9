"""Networks of the literature out of slots: their published sizes, and the geometry behind them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo import models, trees
from tempo.models import presets, size


@functools.lru_cache
def params(name):
    """Shapes for the 400 classes of Kinetics and clips of 8 frames."""
    model = models.create(400, name=name, lowering="plain")
    video = jax.ShapeDtypeStruct((1, 8, 64, 64, 3), jnp.float32)
    return jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)["params"]


def weights(tree):
    """Parameters without those of norms, as the papers count."""
    named = trees.named(tree).items()
    return sum(math.prod(leaf.shape) for name, leaf in named if "norm" not in name)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("r2plus1d_r50_ptv", 28_107_600),  # PyTorchVideo's r2plus1d_r50
        ("r3d_r50_x1", 36_724_688),  # 3-D ResNet-50 of arXiv 2011.03949, 36.7 M in its table 2
        ("r3d_r50", 46_980_944),  # counted here; the usual expansion has no published number
        ("r2plus1d_r50", 46_985_057),  # counted here, as the next: VMZ has depths 34 and 152
        ("r2plus1d_r101", 86_050_785),
    ],
)
def test_exact_parameter_count(name, count):
    assert trees.count_params(params(name)) == count


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # mmaction2 1.2, model zoo: all parameters.
        ("tanet_r50", 25.6),
        ("nl_i3d_r50", 35.4),
        ("ip_csn_r152", 33.0),
        # PyTorchVideo, model zoo: csn_r101.
        ("ir_csn_r101", 22.2),
    ],
)
def test_published_parameter_count(name, millions):
    assert round(trees.count_params(params(name)) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # arXiv 1904.02811.
        ("ir_csn_r101", 22.1),
        ("ip_csn_r101", 24.5),
        ("ip_csn_r152", 32.8),
        # Compared with in arXiv 2004.04730.
        ("r2plus1d_r34", 63.6),
        ("nl_i3d_r50", 35.3),
        ("nl_i3d_r101", 54.3),
        ("slowfast_r101_16x8_nl", 60.0),  # 59.9 there: 59,954,504 cut off
    ],
)
def test_published_count_of_weights_without_norms(name, millions):
    assert round(weights(params(name)) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("conv_b", "r50", "r101"),
    [
        ("acb3d", 72_121_613, 134_433_549),
        ("acb2d", 41_470_733, 76_626_189),
        ("2plus1d", 56_798_297, 105_534_441),
    ],
)
def test_parameters_of_slowfast_with_other_convolutions(conv_b, r50, r101):
    """Counted from the definitions at 101 classes; no paper gives them."""
    name = "slowfast_r50_64f_112"
    model = models.create(101, name=name, backbone={"conv_b": conv_b}, lowering="plain")
    video = jax.ShapeDtypeStruct((1, 16, 64, 64, 3), jnp.float32)
    tree = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)["params"]
    assert trees.count_params(tree) == r50
    # An R101 has 17 more of the blocks that repeat in res4, and is otherwise the same preset.
    rows = [dict(models.MODELS[n]["backbone"]) for n in (name, name.replace("r50", "r101"))]
    assert [row.pop("variant") for row in rows] == ["slowfast_r50", "slowfast_r101"]
    assert rows[0] == rows[1]
    block = sum(
        trees.count_params(tree["backbone"][path]["stage3_block2"]) for path in ("slow", "fast")
    )
    assert trees.count_params(tree) + 17 * block == r101


@pytest.mark.parametrize(
    ("name", "clip", "gmacs"),
    [
        ("ir_csn_r101", (32, 256, 256, 3), 73.8),  # arXiv 1904.02811
        ("r2plus1d_r34", (32, 112, 112, 3), 152.4),  # 152 in arXiv 1904.02811 and 2004.04730
        # arXiv 2011.03949 has 53.2 GFLOPs, twice the multiply-adds, with other things counted too.
        ("r3d_r50_x1", (16, 224, 224, 3), 26.5),
    ],
)
def test_published_multiply_adds_hold_strides_and_pools(name, clip, gmacs):
    _, macs = size.count(400, {"name": name}, clip)
    assert round(macs / 1e9, 1) == gmacs


def test_r50_of_multi_temporal_convolutions():
    """Beside arXiv 2011.03949, table 2: 35.7 M parameters and 23.1 G, both near and neither met.

    The other two networks are counted with the definitions of PyTorch's GRU, two biases per gate.
    """
    count, macs = size.count(400, {"name": "mtnet_r50"}, (16, 224, 224, 3))
    gates = sum(
        n * (6 * c**2 + 4 * c) for n, c in zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True)
    )
    assert round((count - gates) / 1e6, 2) == 29.44
    assert round(count / 1e6, 2) == 37.00
    assert round((count + gates) / 1e6, 2) == 44.56  # 44.57 with two biases
    np.testing.assert_allclose(macs / 1e9, 22.06, rtol=0.002)


@pytest.mark.parametrize(
    ("name", "clip", "frames", "sides"),
    [
        ("r2plus1d_r34", (16, 112, 112, 3), [16, 8, 4, 2], [56, 28, 14, 7]),
        ("r2plus1d_r50_ptv", (16, 224, 224, 3), [16, 16, 8, 4], [56, 28, 14, 7]),
        ("ir_csn_r101", (8, 64, 64, 3), [8, 4, 2, 1], [16, 8, 4, 2]),
        ("r3d_r50", (16, 64, 64, 3), [8, 4, 2, 1], [16, 8, 4, 2]),
    ],
)
def test_stages_of_networks_that_stride_time(name, clip, frames, sides):
    overrides = {"depths": (1, 1, 1, 1), "width": 4}
    rows = dict(models.describe(models.create(5, name=name, backbone=overrides), (1, *clip)))
    got = [rows[f"res{i}"][1:4] for i in range(2, 6)]
    assert got == [(t, s, s) for t, s in zip(frames, sides, strict=True)]


def test_every_preset_has_a_clip_to_be_described_by():
    """Of more than one frame of the slow path."""
    for name in models.list_models():
        backbone = models.create(5, name=name).backbone
        frames, _ = presets.clip_of(name)
        if "slowfast" in name:
            assert len(backbone.frames(frames)[0]) in (4, 8, 16)
        else:  # 4 and 13 of X3D, 1 beside several snippets of flow
            assert frames in (1, 4, 8, 13, 16)


def test_a_clip_of_every_stream_that_a_preset_reads():
    both = {"video": (1, 32, 32, 3), "flow": (3, 32, 32, 20)}
    streams = ("video", "flow")
    assert presets.clip_shapes("stpn_r50", streams, 1, 32) == both
    single = {**both, "flow": (1, 32, 32, 20)}
    assert presets.clip_shapes("stpn_bninception_b", streams, 1, 32) == single
    assert presets.clip_shapes("tsn_r50_flow", ("flow",), 8, 32) == (8, 32, 32, 20)
    assert presets.clip_shapes("tsn_bninception_rgb_diff", ("video",), 3, 32) == (3, 32, 32, 15)
    assert presets.clip_shapes("slowonly_r50", ("video",), 8, 32) == (8, 32, 32, 3)
