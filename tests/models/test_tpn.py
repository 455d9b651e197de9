"""The temporal pyramid neck: its flows by hand, its identities, what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import tempo
from tempo import models, trees
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm
from tempo.models import tpn

WIDTH = 32  # channels of res5; res4 has half


def neck(conv=Conv, **fields):
    return tpn.TPN(conv, BatchNorm, 5, **{"groups": 4, **fields})


@pytest.fixture(scope="module")
def stages():
    """Stage features of a backbone 4 channels wide, 8 frames, with negative values too."""
    rng = np.random.default_rng(0)
    return {
        f"res{i}": rng.normal(size=(2, 8, 64 // 2**i, 64 // 2**i, WIDTH >> (5 - i))).astype(
            np.float32
        )
        for i in (2, 3, 4, 5)
    }


def run(module, variables, stages, **kwargs):
    return np.asarray(jax.jit(functools.partial(module.apply, train=False))(variables, stages)[0])


def edit(variables, pattern, function):
    """Variables with `function` applied to the leaves whose name contains `pattern`."""
    return trees.map_with_names(lambda name, x: function(x) if pattern in name else x, variables)


# --- one channel, one number per frame: recursions that can be followed by hand ---

HAND_FRAMES = [1, 2, 3, 4, 5, 6, 7, 8]
HAND_LEVELS = [[1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 5, 7], [1, 5], [1]]
HAND_TOP_DOWN = [[4, 5, 8, 9, 16, 17, 20, 21], [3, 5, 11, 13], [2, 6], [1]]
HAND_BOTTOM_UP = [HAND_FRAMES, [3, 7, 11, 15], [8, 20], [21]]
HAND_CASCADE = [HAND_TOP_DOWN[0], [8, 14, 28, 34], [16, 40], [41]]


@pytest.mark.parametrize(
    ("flow", "pyramids"),
    [
        ("isolation", [HAND_LEVELS]),
        ("top_down", [HAND_TOP_DOWN]),
        ("bottom_up", [HAND_BOTTOM_UP]),
        ("parallel", [HAND_TOP_DOWN, HAND_BOTTOM_UP]),
        ("cascade", [HAND_TOP_DOWN, HAND_CASCADE]),
        ("cascade_single", [HAND_CASCADE]),
    ],
)
def test_flow_of_four_levels_by_hand(flow, pyramids):
    """Levels are every 1st, 2nd, 4th, 8th frame; all kernels pass the frame itself."""
    module = neck(source="res5", flow=flow, groups=1)
    frames = np.array(HAND_FRAMES, np.float32).reshape(1, 8, 1, 1, 1)
    stages = {"res5": np.concatenate([frames, 0 * frames], -1)}  # 2 channels in, 1 per level
    shapes = jax.eval_shape(lambda s: module.init(jax.random.key(0), s, train=False), stages)

    def centre_tap(name, s):
        value = np.zeros(s.shape, np.float32)
        if name.endswith("kernel"):
            value[s.shape[0] // 2, 0, 0, 0] = 1.0
        return value

    variables = trees.map_with_names(centre_tap, shapes)
    seen = []

    def record(next_fun, args, kwargs, context):
        if isinstance(context.module, tpn.LevelFusion) and context.method_name == "__call__":
            seen.append([np.ravel(level).tolist() for level in args[0]])
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(record):
        module.apply(variables, stages, train=False)
    assert seen == pyramids


# --- the whole neck against a plain numpy version of its operation table ---


def numpy_conv(x, kernel, stride=1, groups=1):
    """Convolution by summing over taps, half-kernel padding, the same stride along H and W."""
    kt, kh, kw = kernel.shape[:3]
    pad = [(0, 0), *((k // 2, k // 2) for k in (kt, kh, kw)), (0, 0)]
    padded = np.pad(x, pad)
    t, h, w = x.shape[1:4]
    parts = []
    for g in range(groups):
        cin, cout = kernel.shape[3], kernel.shape[4] // groups
        xs = padded[..., g * cin : (g + 1) * cin]
        ks = kernel[..., g * cout : (g + 1) * cout]
        parts.append(
            sum(
                xs[:, i : i + t, j : j + h : stride, k : k + w : stride] @ ks[i, j, k]
                for i, j, k in np.ndindex(kt, kh, kw)
            )
        )
    return np.concatenate(parts, -1)


def numpy_pool(x, size):
    """Ceil-mode max pool along T."""
    return np.stack([x[:, i : i + size].max(1) for i in range(0, x.shape[1], size)], 1)


def numpy_unit(variables, path, x, **kwargs):
    params, stats = variables["params"], variables["batch_stats"]
    for key in path.split("/"):
        params, stats = params[key], stats[key]
    y = numpy_conv(x, params["conv"]["kernel"], **kwargs)
    norm, running = params["norm"], stats["norm"]
    y = (y - running["mean"]) / np.sqrt(running["var"] + 1e-5) * norm["scale"] + norm["bias"]
    return np.maximum(y, 0)


def numpy_neck(variables, stages, alphas, flow, groups):
    """Two levels, two pyramids."""
    params = variables["params"]
    levels = [numpy_unit(variables, "spatial_mod_0_0", stages["res4"], stride=2), stages["res5"]]
    levels = [
        numpy_pool(numpy_conv(x, params[f"temporal_mod_{i}"]["kernel"], groups=groups), alphas[i])
        for i, x in enumerate(levels)
    ]
    low, top = levels
    ratio = low.shape[1] // top.shape[1]
    td = [low + np.repeat(top, ratio, axis=1), top]
    start = {"parallel": levels, "cascade": td}[flow]
    down = numpy_pool(numpy_conv(start[0], params["lateral_down_0"]["kernel"]), ratio)
    bu = [start[0], start[1] + down]
    fused = []
    for name, (low, top) in (("td", td), ("bu", bu)):
        path = f"level_fusion_{name}"
        mapped = [
            numpy_unit(variables, f"{path}/level_0", numpy_pool(low, ratio), groups=groups),
            numpy_unit(variables, f"{path}/level_1", top, groups=groups),
        ]
        fused.append(numpy_unit(variables, f"{path}/fusion", np.concatenate(mapped, -1)))
    return numpy_unit(variables, "pyramid_fusion", np.concatenate(fused, -1))


@pytest.mark.parametrize("alphas", [(8, 8), (4, 8), (2, 4)])
def test_neck_equals_its_operation_table(alphas, stages, random_variables):
    outputs = {}
    for flow in ("parallel", "cascade"):
        module = neck(alphas=alphas, flow=flow)
        variables = random_variables(module, stages, train=False)
        outputs[flow] = run(module, variables, stages)
        expected = numpy_neck(variables, stages, alphas, flow, groups=4)
        assert outputs[flow].shape == (2, 8 // alphas[-1], 2, 2, WIDTH)
        np.testing.assert_allclose(outputs[flow], expected, rtol=1e-4, atol=1e-4)
    # The two flows are different networks on the same weights.
    assert np.abs(outputs["parallel"] - outputs["cascade"]).max() > 0.05


# --- identities ---


def test_without_lateral_flow_all_flows_are_equal(stages, random_variables):
    variables = random_variables(neck(), stages, train=False)
    no_down = edit(variables, "lateral_down", np.zeros_like)
    same = [
        run(neck(flow=flow, td_gate=0.0, force_two_pyramids=True), no_down, stages)
        for flow in ("cascade", "parallel", "isolation")
    ]
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], same[2])
    # The gate alone makes both bottom-up passes start from the same levels.
    gated = [
        run(neck(flow=flow, td_gate=0.0), variables, stages) for flow in ("cascade", "parallel")
    ]
    np.testing.assert_array_equal(*gated)
    assert np.abs(gated[0] - same[0]).max() > 1e-2


def test_bottom_up_pyramid_without_its_kernels_is_the_isolated_one(stages, random_variables):
    pyramids = {}

    def record(next_fun, args, kwargs, context):
        if isinstance(context.module, tpn.LevelFusion) and context.method_name == "__call__":
            pyramids[flow, context.module.name] = args[0]
        return next_fun(*args, **kwargs)

    variables = random_variables(neck(), stages, train=False)
    variables = edit(variables, "lateral_down", np.zeros_like)
    for flow in ("parallel", "isolation"):
        module = neck(flow=flow, force_two_pyramids=True)
        with nn.intercept_methods(record):
            module.apply(variables, stages, train=False)
    jax.tree.map(
        np.testing.assert_array_equal,
        pyramids["parallel", "level_fusion_bu"],
        pyramids["isolation", "level_fusion_bu"],
    )


@pytest.mark.parametrize(("alphas", "dead"), [((8, 8), True), ((4, 8), False)])
def test_outer_taps_of_the_lateral_kernel_are_dead_on_one_frame(
    alphas, dead, stages, random_variables
):
    module = neck(alphas=alphas)
    variables = random_variables(module, stages, train=False)

    @jax.jit
    def loss(kernel):
        params = {**variables["params"], "lateral_down_0": {"kernel": kernel}}
        out, _ = module.apply({**variables, "params": params}, stages, train=False)
        return jnp.sum(out**2)

    kernel = variables["params"]["lateral_down_0"]["kernel"]
    gradient = np.abs(jax.grad(loss)(kernel)).max((1, 2, 3, 4))
    changed = kernel.copy()
    changed[[0, 2]] += 1
    assert gradient[1] > 1e-3
    assert (loss(changed) == loss(kernel)) == dead
    assert (gradient[[0, 2]] == 0).all() == dead


def test_repeating_the_top_level_equals_broadcasting_it(stages, random_variables):
    """The released R101 models broadcast one top frame over two; repeating is the same."""
    seen = {}

    def record(next_fun, args, kwargs, context):
        if context.module.name == "level_fusion_td" and context.method_name == "__call__":
            seen["td"] = args[0]
        if context.module.name == "level_fusion_bu" and context.method_name == "__call__":
            seen["bu"] = args[0]
        return next_fun(*args, **kwargs)

    module = neck(alphas=(4, 8), flow="parallel")
    variables = random_variables(module, stages, train=False)
    with nn.intercept_methods(record):
        module.apply(variables, stages, train=False)
    low, top = seen["bu"][0], seen["td"][1]  # the unchanged ends of the two passes
    assert (low.shape[1], top.shape[1]) == (2, 1)
    np.testing.assert_array_equal(seen["td"][0], low + top)


def test_temporal_modulation_is_linear_and_keeps_negative_values(stages, random_variables):
    """No norm, no activation: without pooling, minus the input gives minus the output."""
    module = neck(source="res5", alphas=(1, 1, 1, 1), flow="isolation")
    stages = {"res5": stages["res5"]}
    variables = random_variables(module, stages, train=False)

    @jax.jit
    def levels(stages):
        return [
            module.apply(
                variables, stages, train=False,
                capture_intermediates=lambda m, _: (m.name or "").startswith("temporal_mod"),
            )[1]["intermediates"][f"temporal_mod_{i}"]["__call__"][0]
            for i in range(4)
        ]  # fmt: skip

    for a, b in zip(levels(stages), levels({"res5": -stages["res5"]}), strict=True):
        np.testing.assert_allclose(a, -b, rtol=1e-6)
        assert np.min(a) < 0


def test_exchanging_the_halves_of_a_concatenation_needs_both_sides(stages, random_variables):
    module = neck(flow="parallel", alphas=(8, 8))
    variables = random_variables(module, stages, train=False)
    expected = run(module, variables, stages)

    def exchange(tree, a, b):
        return {**tree, a: tree[b], b: tree[a]}

    def roll_half(x):
        return np.roll(x, x.shape[3] // 2, axis=3)

    def exchange_levels(tree):
        fusion = exchange(tree["level_fusion_td"], "level_0", "level_1")
        return {**tree, "level_fusion_td": fusion}

    fusion_kernel = "level_fusion_td/fusion/conv/kernel"
    # Fusing the concatenation of exchanged inputs with an exchanged kernel changes nothing.
    swapped = edit(variables, "pyramid_fusion/conv/kernel", roll_half)
    only_kernel = run(module, swapped, stages)
    assert np.abs(only_kernel - expected).max() > 1e-2

    def exchange_outputs(name):
        outputs = {}

        def intercept(next_fun, args, kwargs, context):
            if context.module.name == name and context.method_name == "__call__":
                half = args[0].shape[-1] // 2
                args = (jnp.roll(args[0], half, axis=-1),)
                outputs["seen"] = True
            return next_fun(*args, **kwargs)

        return intercept, outputs

    for variables_, name in (
        (swapped, "pyramid_fusion"),
        (edit(variables, fusion_kernel, roll_half), "fusion"),
    ):
        intercept, outputs = exchange_outputs(name)
        if name == "fusion":
            variables_ = edit(variables_, "level_fusion_bu/fusion/conv/kernel", roll_half)
        with nn.intercept_methods(intercept):
            both = run(module, variables_, stages)
        assert outputs["seen"]
        np.testing.assert_allclose(both, expected, rtol=1e-4, atol=1e-4)

    crossed = {k: exchange_levels(v) for k, v in variables.items()}
    assert np.abs(run(module, crossed, stages) - expected).max() > 1e-2


def test_reversed_clip_and_kernels_give_the_same_output_when_every_level_is_one_frame(
    stages, random_variables
):
    module = neck(alphas="equal")
    variables = random_variables(module, stages, train=False)
    flipped = edit(variables, "kernel", lambda x: x[::-1])
    reversed_stages = jax.tree.map(lambda x: x[:, ::-1], stages)
    expected = run(module, variables, stages)
    got = run(module, flipped, reversed_stages)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(run(module, variables, reversed_stages) - expected).max() > 1e-3


# --- levels, components, auxiliary heads ---


@pytest.mark.parametrize(
    ("fields", "frames"),
    [
        ({"source": "res45"}, [2, 1]),
        ({"source": "res345"}, [4, 2, 1]),
        ({"source": "res2345"}, [8, 4, 2, 1]),
        ({"source": "res5"}, [8, 4, 2, 1]),
        ({"source": "res5", "single_depth": "pool"}, [8, 4, 2, 1]),
        ({"source": "res45", "alphas": "equal"}, [1, 1]),
        ({"source": "res45", "alphas": (1, 2)}, [8, 4]),
        ({"source": "res2345", "temporal_modulation": False}, [8, 8, 8, 8]),
        ({"source": "res2345", "spatial_modulation": False}, [8, 4, 2, 1]),
    ],
)
@pytest.mark.parametrize("flow", sorted(tpn.FLOWS))
def test_frames_per_level_and_output_shape(fields, frames, flow, stages):
    module = neck(**{"groups": 2, **fields}, flow=flow)
    seen = []

    def record(next_fun, args, kwargs, context):
        if isinstance(context.module, tpn.LevelFusion) and context.method_name == "__call__":
            seen.append([level.shape for level in args[0]])
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(record):
        out, _ = jax.eval_shape(
            lambda s: module.init_with_output(jax.random.key(0), s, train=False)[0], stages
        )
    for pyramid in seen:
        assert pyramid == [(2, t, 2, 2, WIDTH // 2) for t in frames]
    assert len(seen) == (2 if flow in ("parallel", "cascade") else 1)
    assert out.shape == (2, frames[-1], 2, 2, WIDTH)


def parameter_parts(**fields):
    module = neck(**fields)
    stages = {
        f"res{i}": jax.ShapeDtypeStruct((1, 8, 64 // 2**i, 64 // 2**i, WIDTH >> (5 - i)), "float32")
        for i in (2, 3, 4, 5)
    }
    tree = jax.eval_shape(lambda s: module.init(jax.random.key(0), s, train=False), stages)
    return tree["params"]


def test_each_component_can_be_removed():
    full = parameter_parts()
    assert "spatial_mod_0_0" in full
    assert "spatial_mod_0_0" not in parameter_parts(spatial_modulation=False)
    assert full["temporal_mod_0"]["kernel"].shape == (3, 1, 1, 8, 16)
    assert parameter_parts(temporal_modulation=False)["temporal_mod_0"]["kernel"].shape[0] == 1
    assert "lateral_down_0" not in parameter_parts(flow="isolation")
    assert "pyramid_fusion" not in parameter_parts(flow="isolation")
    assert not any("aux" in key for key in parameter_parts(aux_levels="none"))


@pytest.mark.parametrize(
    ("source", "aux_levels", "heads"),
    [
        ("res45", "second_top", {"aux_head_0": 16}),
        ("res345", "second_top", {"aux_head_1": 16}),
        ("res2345", "all_but_top", {"aux_head_0": 4, "aux_head_1": 8, "aux_head_2": 16}),
        ("res2345", "none", {}),
        ("res5", "second_top", {}),
    ],
)
def test_auxiliary_heads_by_level(source, aux_levels, heads):
    params = parameter_parts(source=source, aux_levels=aux_levels, groups=2)
    kernels = {k: v["conv"]["conv"]["kernel"].shape for k, v in params.items() if "aux" in k}
    assert kernels == {k: (1, 3, 3, c, 2 * c) for k, c in heads.items()}


@pytest.fixture(scope="module")
def small_model():
    return models.create(
        5,
        name="tpn_slowonly_r50",
        backbone={"depths": (1, 1, 1, 1), "width": 2},
        neck={"groups": 2},
    )


def test_auxiliary_logits_come_in_training_only(small_model, random_variables):
    clip = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    variables = random_variables(small_model, clip, train=False)
    run = jax.jit(functools.partial(small_model.apply, train=False))
    outputs = run(variables, clip)
    assert "aux_logits" not in outputs
    neck_params = {k: v for k, v in variables["params"]["neck"].items() if "aux" not in k}
    without = {**variables, "params": {**variables["params"], "neck": neck_params}}
    np.testing.assert_array_equal(run(without, clip)["logits"], outputs["logits"])
    trained = jax.eval_shape(
        lambda v: small_model.apply(
            v, clip, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)}
        )[0],
        variables,
    )
    assert [a.shape for a in trained["aux_logits"]] == [(2, 5)]


def test_gradient_of_the_auxiliary_head_reaches_res4_and_below_only(small_model, random_variables):
    clip = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    variables = random_variables(small_model, clip, train=False)

    @jax.jit
    def gradient(params):
        def loss(params):
            outputs, _ = small_model.apply(
                {**variables, "params": params},
                clip,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )
            return jnp.sum(outputs["aux_logits"][0] ** 2)

        return jax.grad(loss)(params)

    gradients = gradient(variables["params"])
    for name, g in zip(trees.leaf_names(gradients), jax.tree.leaves(gradients), strict=True):
        below = name.startswith("backbone") and "stage4" not in name
        # A norm takes away what a shift before it adds; scale and kernel tell.
        if below and name.endswith(("kernel", "scale")):
            assert np.abs(g).max() > 0, name
        elif not below and "aux_head" not in name:
            assert np.abs(g).max() == 0, name


# --- what is refused ---


@pytest.mark.parametrize(
    ("fields", "num_frames", "message"),
    [
        ({"alphas": (3, 8)}, 8, "divide the 8 frames"),
        ({"alphas": (0, 8)}, 8, "divide the 8 frames"),
        ({"alphas": (8, 16)}, 8, "divide the 8 frames"),
        ({"alphas": (2, 4, 8)}, 8, "3 entries for the 2 levels"),
        ({"alphas": (8, 4)}, 8, "must divide the next"),
        ({"alphas": (3, 4)}, 12, "must divide the next"),
        ({"source": "res2345"}, 12, "'rule' needs a multiple of 8"),
    ],
)
def test_alphas_that_do_not_fit_are_refused_when_traced(fields, num_frames, message):
    model = models.create(5, name="tpn_slowonly_r18", backbone={"width": 4}, neck=fields)
    with pytest.raises(tempo.InputError) as error:
        models.describe(model, (1, num_frames, 32, 32, 3))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_groups_that_do_not_divide_the_channels_are_refused():
    model = models.create(5, name="tpn_slowonly_r18", backbone={"width": 2})
    with pytest.raises(tempo.InputError, match="neck/temporal_mod_0: groups=32 must divide"):
        models.describe(model, (1, 8, 32, 32, 3))
