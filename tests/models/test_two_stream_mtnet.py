"""The released MTNet: sizes of its networks, shapes of its streams, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import models, trees
from tempo.models import size, tracing, two_stream_mtnet

DEPTHS = {
    name: row["depths"] for name, row in two_stream_mtnet.VARIANTS.items()
}  # of which the first has two blocks in every stage


@pytest.fixture(scope="module")
def leaves():
    """Shapes of mtnet_xs_released for 200 classes."""
    made = models.create(200, name="mtnet_xs_released")
    return trees.named_shapes(tracing.module_shapes(made, (16, 64, 64, 3))["params"])


@pytest.mark.parametrize(
    ("name", "count", "readme"),
    [
        ("mtnet_xs_released", 21_725_384, None),
        ("mtnet_s_released", 39_866_568, 39.9),
        ("mtnet_m_released", 43_920_584, 43.9),
        ("mtnet_l_released", 87_997_640, 88.0),
    ],
)
def test_parameters_of_the_release(name, count, readme, leaves):
    """Blocks behind the second of a stage are like it. PyTorch has a bias more for two gates."""
    assert models.MODELS[name]["backbone"] == {"variant": name}
    total = biases = 0
    for leaf, shape in leaves.items():
        stage, _, block = leaf.removeprefix("backbone/stage").partition("_block")
        times = DEPTHS[name][int(stage) - 1] - 1 if block.startswith("2/") else 1
        total += times * int(np.prod(shape))
        # b_hr and b_hz beside b_ir and b_iz.
        biases += times * shape[0] * ("/ir/bias" in leaf or "/iz/bias" in leaf)
    assert total == count
    if readme:  # README of the release, for 200 classes
        assert round((total + biases) / 1e6, 1) == readme


@pytest.mark.parametrize(("ratio", "gmacs"), [(0.875, 25.29), (0.5, 13.01)])
def test_multiply_adds_of_the_release(ratio, gmacs):
    """Those of its code in PyTorch; the gates have less than 0.1 % of them."""
    model = {"name": "mtnet_m_released", "backbone": {"ratio": ratio, "sr_layers": 0}}
    _, macs = size.count(200, model, (16, 224, 224, 3))
    assert macs / 1e9 == pytest.approx(gmacs, rel=5e-3)


def test_streams_are_split_downwards_and_the_long_one_has_half_the_sizes():
    assert two_stream_mtnet.split(64, 0.875) == (56, 8)
    assert two_stream_mtnet.split(10, 0.75) == (7, 3)
    fields = {"depths": (1, 1, 1, 1), "width": 8, "sr_layers": 0}
    made = models.create(5, backbone={"variant": "mtnet_m_released", **fields})

    def features(frames, size):
        return {name: shape[1:] for name, shape in models.describe(made, (2, frames, *size, 3))}

    shapes = features(16, (224, 224))
    assert shapes["res2"] == (8, 56, 56, 7)
    assert shapes["long_res2"] == (4, 28, 28, 1)
    assert shapes["res5"] == (1, 7, 7, 56)
    assert shapes["long_res5"] == (1, 4, 4, 8)
    # A stem of 35x56 is padded to 36x57; an odd row is left out of the long stream's mean.
    shapes = features(13, (70, 112))
    assert shapes["res2"] == (6, 18, 29, 7)
    assert shapes["long_res2"] == (3, 9, 14, 1)
    # Sizes that the release stops at.
    assert features(1, (16, 16))["long_res5"] == (1, 1, 1, 8)
    assert features(2, (4, 4))["res5"] == (1, 1, 1, 56)


def test_the_stem_keeps_the_frames_most_like_their_neighbours():
    """By squared cosines: frames that are opposite to each other are alike."""
    angles = jnp.deg2rad(jnp.array([0, 90, 0, 180, 0, 90, 0, 45]))
    frames = jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
    x = jnp.tile(frames[None, :, None, None], (1, 1, 2, 2, 1))
    kept = two_stream_mtnet._fewer_frames(x)
    np.testing.assert_allclose(kept[0, :, 0, 0], frames[jnp.array([2, 3, 4, 6])], atol=1e-6)
    assert two_stream_mtnet._fewer_frames(x[:, :2]).shape[1] == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratio": 1.0}, r"backbone.ratio=1.0 must be between 0 and 1 .* width=64 channels"),
        ({"ratio": 0.01}, "backbone.ratio=0.01 must be"),
        ({"ratio": "0.5"}, "backbone.ratio='0.5' must be"),
        ({"cell": "gro"}, "Unknown cell .* 'gro'. Did you mean 'gru'"),
        ({"pool": "soft"}, "Unknown pool .* 'soft'"),
        ({"depths": (1, 1, 0, 1)}, r"backbone.depths must have .* got 0 for res4"),
        ({"sr_layers": -1}, "backbone.sr_layers must be a whole number; got -1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(fields, message):
    with pytest.raises(tempo.InputError, match=message) as error:
        models.create(2, backbone={"variant": "mtnet_m_released", **fields})
    assert "\n" not in str(error.value)


def test_training_in_bfloat16_with_rematerialised_blocks_can_be_traced():
    fields = {"depths": (1, 1, 1, 1), "width": 8, "sr_layers": 0}
    made = models.create(2, name="mtnet_m_released", backbone=fields, dtype="bfloat16", remat=True)
    variables = tracing.module_shapes(made, (8, 32, 32, 3))

    def loss(params, video):
        outputs, new = made.apply(variables_of(params), video, train=True, mutable=["batch_stats"])
        return outputs["logits"].sum(), (outputs["features"], new)

    def variables_of(params):
        stats = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), variables["batch_stats"])
        return {"params": params, "batch_stats": stats}

    video = jax.ShapeDtypeStruct((2, 8, 32, 32, 3), jnp.float32)
    gradients, (features, new) = jax.eval_shape(
        jax.grad(loss, has_aux=True), variables["params"], video
    )
    assert features["long_res5"].dtype == jnp.bfloat16
    assert trees.named_shapes(gradients) == trees.named_shapes(variables["params"])
    assert trees.named_shapes(new["batch_stats"]) == trees.named_shapes(variables["batch_stats"])
