"""X3D: published sizes, what its fields say of its blocks, and fields that cannot be."""

import math

import jax
import jax.numpy as jnp
import pytest

import tempo
from tempo import models, trees
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm
from tempo.models import heads, published, size, tracing, x3d

TINY = {"depths": (1, 1, 1, 1), "widths": (4, 8, 12, 16)}


def shapes(name="x3d_xs", num_classes=400, clip=(4, 32, 32, 3), **backbone):
    """Shapes of the leaves by collection and name."""
    model = {"name": name, "backbone": backbone}
    found = tracing.variable_shapes(num_classes, model, clip)
    return {kind: trees.named_shapes(found[kind]) for kind in ("params", "batch_stats")}


def number(leaves):
    return sum(map(math.prod, leaves.values()))


@pytest.mark.parametrize(
    ("name", "num_params", "num_statistics"),
    [("x3d_xs", 3_794_274, 31_416), ("x3d_l", 6_153_384, 66_264)],
)
def test_arrays_are_as_many_as_in_the_public_code(name, num_params, num_statistics):
    found = shapes(name)
    assert number(found["params"]) == num_params
    assert number(found["batch_stats"]) == num_statistics
    # The classifier reads 2048 features.
    assert num_params - 200 * 2049 == {"x3d_xs": 3_384_474, "x3d_l": 5_743_584}[name]


def test_the_smaller_three_are_one_network():
    assert x3d.VARIANTS["x3d_xs"] == x3d.VARIANTS["x3d_s"] == x3d.VARIANTS["x3d_m"]
    assert x3d.VARIANTS["x3d_m"]["depths"] == (3, 5, 11, 7)
    assert x3d.VARIANTS["x3d_l"]["depths"] == (5, 10, 25, 15)


def test_pyslowfast_has_one_more_norm():
    """On the shortcut of res2, which changes no channels: 48 parameters of the named networks."""
    usual, theirs = (
        shapes(shortcut_norm=name, **TINY)["params"] for name in ("on_change", "always")
    )
    further = {k: theirs[k] for k in theirs.keys() - usual.keys()}
    assert further == {f"backbone/stage1_block1/norm_proj/{k}": (4,) for k in ("scale", "bias")}


def test_the_largest_is_that_of_the_paper():
    """11.0 M without norms, and 48.4 G (arXiv 2004.04730, table 4)."""
    (row,) = published.PUBLISHED["x3d_xl"]
    clip = (row.num_frames, row.side_px, row.side_px, 3)
    num_params, macs = size.count(400, {"name": "x3d_xl"}, clip)
    assert (num_params, round(macs / 1e9, 1)) == (11_095_840, row.gmacs)
    assert round((num_params - 95_580) / 1e6, 1) == row.mparams


def test_multiply_adds_of_a_training_crop():
    assert round(size.count(400, {"name": "x3d_m"}, (16, 224, 224, 3))[1] / 1e9, 3) == 4.732


def test_gates_stand_in_every_second_block_and_are_as_wide_as_rounding_says():
    found = shapes()["params"]
    inside = {}
    for name, shape in found.items():
        if name.endswith("se/fc1/kernel"):
            stage, block = name.split("/")[1].removeprefix("stage").split("_block")
            inside.setdefault(int(stage), {})[int(block)] = shape[-1]
    assert inside == {
        1: {1: 8, 3: 8},
        2: {1: 8, 3: 8, 5: 8},
        3: dict.fromkeys(range(1, 12, 2), 16),
        4: dict.fromkeys(range(1, 8, 2), 32),
    }
    assert not any("/se/" in name for name in shapes(se_every=0, **TINY)["params"])


@pytest.mark.parametrize(
    ("width", "rounded"), [(3.4, 8), (8.8, 8), (9, 16), (16.8, 16), (20, 24), (69.6, 72)]
)
def test_widths_are_rounded_to_eights(width, rounded):
    assert x3d.round_width(width) == rounded


def test_frames_are_kept_and_pixels_halve_in_every_stage():
    model = models.create(5, name="x3d_xs", backbone=TINY, remat=True, dtype="bfloat16")
    rows = dict(models.describe(model, (1, 3, 52, 36, 3)))
    assert [rows[f"res{i}"] for i in range(2, 6)] == [
        (1, 3, 13, 9, 4), (1, 3, 7, 5, 8), (1, 3, 4, 3, 12), (1, 3, 2, 2, 16),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"depths": (3, 0, 11, 7)}, r"backbone.depths must have a whole number of at least 1"),
        ({"widths": (24, 48, 96)}, r"backbone.widths needs one entry per stage, 4"),
        ({"expansion": 0.01}, r"backbone.expansion=0.01 leaves the blocks of res2 no channels"),
        ({"expansion": float("inf")}, r"backbone.expansion must be a number above 0, .* got inf"),
        ({"se_ratio": 0}, r"backbone.se_ratio must be a whole number of at least 1; got 0"),
        ({"stem_kernel_t": 4}, r"backbone.stem_kernel_t must be an odd whole number; got 4"),
        ({"shortcut_norm": "never"}, r"Unknown shortcut_norm .* 'never'"),
        ({"inner_act": "swich"}, r"Unknown inner_act .* Did you mean 'swish'"),
        ({"width": 24}, r"backbone has no key 'width'. Did you mean 'widths'"),
    ],
)
def test_fields_that_leave_a_stage_empty_or_mean_nothing(backbone, message):
    with pytest.raises(tempo.InputError, match=message) as error:
        models.create(5, name="x3d_s", backbone=backbone)
    assert "\n" not in str(error.value)


def test_clips_without_pixels_are_refused():
    model = models.create(5, name="x3d_s", backbone=TINY)
    with pytest.raises(tempo.InputError, match="Clips of 4x0x32 .* each must be at least 1"):
        models.describe(model, (1, 4, 0, 32, 3))


@pytest.mark.parametrize(
    ("fields", "x", "message"),
    [
        ({"expansion": 0.1}, jnp.ones((1, 1, 1, 1, 4)), "must leave at least one channel of 4"),
        ({}, (jnp.ones((1, 1, 1, 1, 4)),) * 2, "one feature map; got 2 pathways"),
        ({"window": (2, 0, 2)}, jnp.ones((1, 1, 1, 1, 4)), r"head.window .* got \(2, 0, 2\)"),
        ({"window": (2, 2)}, jnp.ones((1, 1, 1, 1, 4)), r"head.window .* got \(2, 2\)"),
    ],
)
def test_features_that_the_head_cannot_read(fields, x, message):
    with pytest.raises(tempo.InputError, match=message):
        head = heads.X3DHead(3, Conv, BatchNorm, **fields)
        jax.eval_shape(lambda: head.init(jax.random.key(0), x, train=False))


def test_windows_change_neither_the_embedding_nor_the_scores_of_what_fits_into_one():
    x = jax.random.normal(jax.random.key(0), (2, 2, 3, 3, 4))
    whole = heads.X3DHead(3, Conv, BatchNorm, features=6, dropout_prob=0.0)
    variables = whole.init(jax.random.key(1), x, train=False)

    def score(window, train=False):
        head = whole.clone(window=window)
        method, changed = "embed_and_score", ["batch_stats"] if train else False
        result = head.apply(variables, x, train=train, method=method, mutable=changed)
        return result[0] if train else result

    embedding, logits = score(())
    for window in ((2, 3, 3), (9, 3, 8)):
        assert (score(window)[1] == logits).all()
    smaller = score((2, 2, 3))
    assert (smaller[0] == embedding).all()
    assert jnp.allclose(jax.nn.logsumexp(smaller[1], -1), 0, atol=1e-6)
    assert jnp.abs(jax.nn.log_softmax(logits) - smaller[1]).max() > 1e-4
    # In training the logits are averaged, not what softmax makes of them.
    assert jnp.abs(jax.nn.logsumexp(score((2, 2, 3), train=True)[1], -1)).max() > 1e-2


def test_scores_are_linear_in_the_embedding_and_float32():
    head = heads.X3DHead(3, Conv, BatchNorm, features=6)
    x = jax.random.normal(jax.random.key(0), (2, 2, 3, 3, 4), jnp.bfloat16)
    variables = head.init(jax.random.key(1), x, train=False)
    embedding, logits = head.apply(variables, x, train=False, method="embed_and_score")
    assert embedding.dtype == logits.dtype == jnp.float32
    assert embedding.shape == (2, 6)
    assert embedding.min() == 0
    fc = variables["params"]["fc"]
    assert jnp.allclose(logits, embedding @ fc["kernel"] + fc["bias"], atol=1e-6)
    assert (head.apply(variables, x, train=False) == logits).all()


def test_a_step_of_training_updates_the_norm_of_the_head_once():
    """Though both the embedding and the scores come from behind it."""
    head = heads.X3DHead(3, Conv, BatchNorm, features=6)
    x = jax.random.normal(jax.random.key(0), (2, 2, 3, 3, 4))
    variables = head.init(jax.random.key(1), x, train=False)
    _, new = head.apply(
        variables,
        x,
        train=True,
        method="embed_and_score",
        mutable=["batch_stats"],
        rngs={"dropout": jax.random.key(2)},
    )
    seen = jnp.einsum("bthwc,cd->d", x, variables["params"]["conv5"]["kernel"][0, 0, 0]) / 36
    assert jnp.allclose(new["batch_stats"]["norm5"]["mean"], 0.1 * seen, atol=1e-5)
