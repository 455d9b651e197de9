"""SlowFast: sizes of the published networks, which frames each path sees, slots, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import tempo
from tempo import models, trees
from tempo.models import blocks, size, slowfast
from tests.models.nets import apply_training

TINY = {"variant": "slowfast_r50", "depths": (1, 1, 1, 1), "width": 8, "channel_ratio": 4}


def tiny(**fields):
    return models.create(5, backbone={**TINY, **fields})


@functools.lru_cache
def params(name, num_classes, **backbone):
    model = models.create(num_classes, name=name, backbone=backbone, lowering="plain")
    video = jax.ShapeDtypeStruct((1, 64, 64, 64, 3), jnp.float32)
    return jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)["params"]


@pytest.mark.parametrize(
    ("name", "num_classes", "count"),
    [
        # PyTorchVideo's slowfast_r50 and slowfast_r101, and its model zoo's 34.48 M and 53.77 M.
        ("slowfast_r50_8x8", 400, 34_566_488),
        ("slowfast_r101_8x8", 400, 62_826_968),
        ("slowfast_r50_4x16", 400, 34_480_216),
        ("slowfast_r101_16x8", 400, 53_774_808),
        # Of 64 frames of UCF101; the public code (r1ch88/SlowFastNetworks) has the second pair.
        ("slowfast_r50_64f_112", 101, 33_791_021),
        ("slowfast_r101_64f_112", 101, 62_137_773),
        ("slowfast_r50_r1ch88", 101, 33_789_992),
        ("slowfast_r101_r1ch88", 101, 62_136_744),
    ],
)
def test_parameter_count(name, num_classes, count):
    assert trees.count_params(params(name, num_classes)) == count


def test_parameter_count_by_part():
    tree = params("slowfast_r50_64f_112", 101)
    backbone = tree["backbone"]
    assert sorted(backbone) == ["fast", *(f"lateral_{i}" for i in range(4)), "slow"]
    assert trees.count_params(backbone["slow"]) == 32_827_456
    assert trees.count_params(backbone["fast"]) == 514_152
    # Twice the channels that it reads, and a norm.
    for i, channels in enumerate((8, 32, 64, 128)):
        kernel = backbone[f"lateral_{i}"]["conv"]["kernel"]
        assert kernel.shape == (5, 1, 1, channels, 2 * channels)
        assert backbone[f"lateral_{i}"]["norm"]["scale"].shape == (2 * channels,)
    assert tree["head"]["fc"]["kernel"].shape == (2048 + 256, 101)


@pytest.mark.parametrize(
    ("name", "num_frames", "gmacs"),
    [
        # Table 2 of the paper, at 256 px.
        ("slowfast_r50_4x16", 32, 36.1),
        ("slowfast_r50_8x8", 32, 65.7),
        ("slowfast_r101_16x8", 64, 213),
    ],
)
def test_multiply_adds(name, num_frames, gmacs):
    _, macs = size.count(400, {"name": name}, (num_frames, 256, 256, 3))
    assert macs / 1e9 == pytest.approx(gmacs, rel=1e-3)


def test_paths_have_the_leaves_of_a_resnet():
    tree = params("slowfast_r50_8x8", 400)["backbone"]
    alone = models.create(400, name="slowonly_r50")
    video = jax.ShapeDtypeStruct((1, 8, 64, 64, 3), jnp.float32)
    expected = jax.eval_shape(lambda v: alone.init(jax.random.key(0), v, train=False), video)
    names = trees.leaf_names(expected["params"]["backbone"])
    assert trees.leaf_names(tree["slow"]) == trees.leaf_names(tree["fast"]) == names
    slow, fast = (tree[path]["stem_conv"]["kernel"].shape for path in ("slow", "fast"))
    assert (slow, fast) == ((1, 7, 7, 3, 64), (5, 7, 7, 3, 8))
    first = {
        path: [tree[path][f"stage{i}_block1"]["conv1"]["kernel"].shape[0] for i in range(1, 5)]
        for path in ("slow", "fast")
    }
    assert first == {"slow": [1, 1, 3, 3], "fast": [3, 3, 3, 3]}
    # What joins the slow path: twice the fast one's channels behind its own.
    inputs = [tree["slow"][f"stage{i}_block1"]["conv1"]["kernel"].shape[3] for i in range(1, 5)]
    assert inputs == [64 + 16, 256 + 64, 512 + 128, 1024 + 256]


@pytest.mark.parametrize(
    ("name", "num_frames", "slow", "fast"),
    [
        ("slowfast_r50_4x16", 32, 4, 32),
        ("slowfast_r50_8x8", 32, 8, 32),
        ("slowfast_r101_16x8", 64, 16, 64),
        ("slowfast_r50_64f_112", 64, 4, 32),
    ],
)
def test_shapes_at_112(name, num_frames, slow, fast):
    model = models.create(101, name=name)
    rows = dict(models.describe(model, (2, num_frames, 112, 112, 3)))
    assert rows.pop("logits") == (2, 101)
    sides = [28, 14, 7, 4]
    expected = {f"res{i + 2}": (2, slow, s, s, 256 * 2**i) for i, s in enumerate(sides)}
    expected |= {f"fast_res{i + 2}": (2, fast, s, s, 32 * 2**i) for i, s in enumerate(sides)}
    assert rows == expected


@pytest.mark.parametrize(
    ("fields", "num_frames", "slow", "fast"),
    [
        # One clip of 32 frames two apart, and of 64 frames one apart: the same frames of a video.
        ({"slow_stride": 8}, 32, [0, 8, 16, 24], range(32)),
        ({"slow_stride": 16, "fast_stride": 2}, 64, [0, 16, 32, 48], range(0, 64, 2)),
        ({"slow_stride": 8, "slow_index": "linspace"}, 32, [0, 10, 20, 31], range(32)),
        (
            {"slow_stride": 16, "fast_stride": 2, "slow_index": "linspace"},
            64,
            [0, 20, 40, 62],
            range(0, 64, 2),
        ),
        ({"slow_stride": 4}, 32, range(0, 32, 4), range(32)),
        ({"slow_stride": 8, "slow_index": "linspace"}, 8, [0], range(8)),
        ({"slow_stride": 1, "slow_index": "linspace"}, 4, range(4), range(4)),
    ],
)
def test_frames_of_the_paths(fields, num_frames, slow, fast):
    """The table, and that the paths are fed by it: each frame of the clip is its number."""
    module = tiny(**fields).backbone
    assert [list(f) for f in module.frames(num_frames)] == [list(slow), list(fast)]
    clip = np.broadcast_to(
        np.arange(num_frames, dtype=np.float32)[:, None, None, None], (1, num_frames, 32, 32, 3)
    )

    @jax.jit
    def inputs(clip):
        seen = {}

        def record(next_fun, args, kwargs, context):
            if context.method_name == "stages":
                seen[context.module.name] = args[0][0, :, -1, -1, -1]
            return next_fun(*args, **kwargs)

        with nn.intercept_methods(record):
            module.init(jax.random.key(0), clip, train=False)
        return seen

    seen = {path: x.astype(int).tolist() for path, x in inputs(clip).items()}
    assert seen == {"slow": list(slow), "fast": list(fast)}


@pytest.mark.parametrize(("num_frames", "alpha"), [(32, 8), (32, 4), (64, 4), (64, 8), (128, 2)])
def test_spread_frames_are_those_of_the_public_code(num_frames, alpha):
    torch = pytest.importorskip("torch")
    num_slow = num_frames // alpha
    expected = torch.linspace(0, num_frames - 1, num_slow).long().tolist()
    assert list(slowfast.SLOW_INDEX["linspace"](num_frames, num_slow)) == expected


def test_slow_path_reads_the_fast_one_and_not_the_other_way(random_variables):
    module = tiny(slow_stride=4).backbone
    clip = np.random.default_rng(0).normal(size=(1, 8, 32, 32, 3)).astype(np.float32)
    variables = random_variables(module, clip, train=False)
    run = jax.jit(functools.partial(module.apply, train=False))
    before = run(variables, clip)
    # Frame 2 is one that only the fast path sees. New arrays: a call that is still under way may
    # read the memory of the one it was given.
    brighter, darker = clip.copy(), clip.copy()
    brighter[:, 2] += 1
    darker[:, 2] -= 1
    after = run(variables, brighter)
    for name, x in before.items():
        assert np.abs(after[name] - x).max() > 1e-3, name

    def silence(name, x):
        return np.zeros_like(x) if "lateral" in name and "var" not in name else x

    silent = trees.map_with_names(silence, variables)
    alone = run(silent, brighter)
    for name, x in run(silent, darker).items():
        moved = np.abs(alone[name] - x).max()
        assert (moved > 1e-3) if name.startswith("fast") else (moved == 0), name


# --- slots ---


def activations(**fields):
    """Names of the activations of both paths' blocks and of the lateral connections."""
    seen = {}

    def record(next_fun, args, kwargs, context):
        module = context.module
        if isinstance(module, blocks.ResidualBlock | slowfast.Lateral):
            names = [k for k, v in slowfast.conv_lib.ACTIVATIONS.items() if v is module.act]
            seen[module.path[1]] = names[0]
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(record):
        models.describe(tiny(**fields), (1, 8, 32, 32, 3))
    return {k: v for k, v in seen.items() if k in ("slow", "fast", "lateral_0", "lateral_3")}


@pytest.mark.parametrize(
    ("fields", "slow", "fast", "lateral"),
    [
        ({}, "relu", "relu", "relu"),
        ({"act": "elu"}, "elu", "elu", "elu"),
        ({"slow": {"act": "elu"}}, "elu", "relu", "elu"),
        ({"fast": {"act": "elu"}, "act": "swish"}, "swish", "elu", "swish"),
        ({"lateral_norm": False}, "relu", "relu", "identity"),
        ({"lateral_norm": False, "lateral_act": "elu"}, "relu", "relu", "elu"),
        ({"lateral_act": "identity"}, "relu", "relu", "identity"),
    ],
)
def test_activations_of_the_paths(fields, slow, fast, lateral):
    assert activations(**fields) == {
        "slow": slow,
        "fast": fast,
        "lateral_0": lateral,
        "lateral_3": lateral,
    }


@pytest.mark.parametrize(("zero_init", "scale"), [(True, 0.0), (False, 1.0)])
def test_last_norms_start_at_zero(zero_init, scale):
    model = tiny(zero_init=zero_init)

    @jax.jit
    def scales():
        tree = model.init(jax.random.key(0), jnp.zeros((1, 8, 32, 32, 3)), train=False)["params"]
        blocks = [tree["backbone"][path]["stage2_block1"] for path in ("slow", "fast")]
        return [[block[norm]["scale"] for norm in ("norm2", "norm3")] for block in blocks]

    for norm2, norm3 in scales():
        np.testing.assert_array_equal(norm2, 1.0)
        np.testing.assert_array_equal(norm3, scale)


def test_fields_of_one_path_reach_it_only():
    slow = {"depths": (2, 1, 1, 1), "temporal": "tsm"}
    model = tiny(slow_stride=4, slow=slow, fast={"inflate_style": "3x3x3"})
    video = jax.ShapeDtypeStruct((1, 8, 32, 32, 3), jnp.float32)
    tree = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)
    slow, fast = (tree["params"]["backbone"][path] for path in ("slow", "fast"))
    assert "stage1_block2" in slow
    assert "stage1_block2" not in fast
    assert slow["stage3_block1"]["conv2"]["kernel"].shape[0] == 1
    assert fast["stage3_block1"]["conv2"]["kernel"].shape[0] == 3


def test_remat_and_lowerings_give_the_same_gradients(random_variables):
    basic = {"block": "basic"}
    base = {"backbone": {**TINY, "slow_stride": 4, "slow": basic, "fast": basic}}
    clip = np.random.default_rng(0).normal(size=(1, 8, 32, 32, 3)).astype(np.float32)
    variables = random_variables(models.create(5, **base), clip, train=False)

    def run(**extra):
        model = models.create(5, **base, **extra)

        def loss(params):
            outputs = model.apply({**variables, "params": params}, clip, train=False)
            return jnp.sum(outputs["logits"][:, 0])

        return jax.jit(jax.value_and_grad(loss))(variables["params"])

    expected = run(lowering="plain")
    got = run(lowering="gpu", remat=True)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 + 1e-4 * np.abs(b).max())


def test_bfloat16_and_norm_groups():
    model = models.create(5, backbone=TINY, dtype="bfloat16", norm_groups=2)
    clip = jax.ShapeDtypeStruct((4, 8, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), clip)
    train = jax.eval_shape(lambda v, x: apply_training(model, v, v["params"], x), variables, clip)
    outputs, new = train
    assert {x.dtype for x in outputs["features"].values()} == {jnp.dtype(jnp.bfloat16)}
    assert outputs["logits"].dtype == outputs["embedding"].dtype == jnp.float32
    assert outputs["embedding"].shape == (4, 8 * 32 + 2 * 32)
    assert {x.dtype for x in jax.tree.leaves((variables, new))} == {jnp.dtype(jnp.float32)}
    assert trees.leaf_names(new["batch_stats"]) == trees.leaf_names(variables["batch_stats"])
    odd = jax.ShapeDtypeStruct((3, 8, 32, 32, 3), jnp.float32)
    with pytest.raises(tempo.InputError, match="norm_groups=2 does not divide"):
        jax.eval_shape(lambda v, x: apply_training(model, v, v["params"], x), variables, odd)


# --- what is refused ---


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slow_index": "strides"}, "Did you mean 'stride'"),
        ({"lateral_act": "rellu"}, "Did you mean 'relu'"),
        ({"slow_stride": 6, "fast_stride": 4}, "slow_stride=6 must be a multiple of"),
        ({"slow_stride": 0}, "both at least 1"),
        ({"channel_ratio": 3}, "channel_ratio=3 must divide backbone.width=8"),
        ({"fusion_kernel": 4}, "fusion_kernel=4 must be odd"),
        ({"slow": {"widht": 4}}, "backbone.slow has no key 'widht'. Did you mean 'width'"),
        ({"fast": {"act": "rellu"}}, "Did you mean 'relu'"),
        ({"fast_kernels_t": (3, 3)}, "kernels_t needs one entry per stage"),
        ({"tau": 4}, "backbone has no key 'tau'"),
    ],
)
def test_bad_fields_are_refused_when_the_model_is_made(fields, message):
    with pytest.raises(tempo.InputError) as error:
        tiny(**fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "num_frames", "message"),
    [
        ({}, 12, "slow_stride=8 must divide the clip's 12 frames"),
        ({"slow_index": "linspace"}, 33, "slow_stride=8 must divide the clip's 33 frames"),
        ({"slow_stride": 4}, 2, "give clips of a multiple of 4 frames"),
        ({"fast": {"pool2_stride_t": 2}}, 16, "give both pathways the same strides"),
    ],
)
def test_clips_that_do_not_fit_are_refused_when_traced(fields, num_frames, message):
    with pytest.raises(tempo.InputError) as error:
        models.describe(tiny(**fields), (1, num_frames, 32, 32, 3))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
