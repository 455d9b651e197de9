"""The temporal pyramid neck: its flows by hand, the whole of it in numpy, its identities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tempo import trees
from tests.models.nets import WIDTH, neck, pyramids, run


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
    ("flow", "expected"),
    [
        ("isolation", [HAND_LEVELS]),
        ("top_down", [HAND_TOP_DOWN]),
        ("bottom_up", [HAND_BOTTOM_UP]),
        ("parallel", [HAND_TOP_DOWN, HAND_BOTTOM_UP]),
        ("cascade", [HAND_TOP_DOWN, HAND_CASCADE]),
        ("cascade_single", [HAND_CASCADE]),
    ],
)
def test_flow_of_four_levels_by_hand(flow, expected):
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
    _, seen = pyramids(functools.partial(module.apply, train=False), variables, stages)
    assert [[np.ravel(level).tolist() for level in levels] for levels in seen.values()] == expected


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
    variables = random_variables(neck(), stages, train=False)
    variables = edit(variables, "lateral_down", np.zeros_like)
    parallel, isolated = (
        pyramids(
            functools.partial(neck(flow=flow, force_two_pyramids=True).apply, train=False),
            variables,
            stages,
        )[1]["level_fusion_bu"]
        for flow in ("parallel", "isolation")
    )
    jax.tree.map(np.testing.assert_array_equal, parallel, isolated)


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
    module = neck(alphas=(4, 8), flow="parallel")
    variables = random_variables(module, stages, train=False)
    _, seen = pyramids(functools.partial(module.apply, train=False), variables, stages)
    td, bu = seen["level_fusion_td"], seen["level_fusion_bu"]
    low, top = bu[0], td[1]  # the unchanged ends of the two passes
    assert (low.shape[1], top.shape[1]) == (2, 1)
    np.testing.assert_array_equal(td[0], low + top)


def test_temporal_modulation_is_linear_and_keeps_negative_values(stages, random_variables):
    """No norm, no activation: without pooling, minus the input gives minus the output."""
    module = neck(source="res5", alphas=(1, 1, 1, 1), flow="isolation")
    stages = {"res5": stages["res5"]}
    variables = random_variables(module, stages, train=False)

    levels = modulated(module, variables, stages)
    negated = modulated(module, variables, {"res5": -stages["res5"]})
    for a, b in zip(levels, negated, strict=True):
        np.testing.assert_allclose(a, -b, rtol=1e-6)
        assert np.min(a) < 0


@pytest.mark.parametrize(
    "fields", [{"source": "res5"}, {"source": "res2345", "spatial_modulation": False}]
)
@pytest.mark.parametrize("group", range(4))
def test_temporal_modulation_keeps_groups_of_channels_apart(
    fields, group, stages, random_variables
):
    """Pooling in place of spatial modulation, so that stage channels reach it unmixed."""
    module = neck(**fields)
    variables = random_variables(module, stages, train=False)
    changed = {}
    for name, x in stages.items():
        width = x.shape[-1] // 4
        changed[name] = x.copy()
        changed[name][..., group * width : (group + 1) * width] += 1
    before, after = (modulated(module, variables, s) for s in (stages, changed))
    for a, b in zip(before, after, strict=True):
        moved = np.abs(b - a).max((0, 1, 2, 3)) > 1e-3
        assert np.flatnonzero(moved).tolist() == list(range(4 * group, 4 * group + 4))


def modulated(module, variables, stages):
    """What the temporal modulation of each of four levels gives, before its frames are pooled."""

    @jax.jit
    def capture(variables, stages):
        return module.apply(
            variables, stages, train=False, mutable="intermediates",
            capture_intermediates=lambda m, _: (m.name or "").startswith("temporal_mod"),
        )[1]["intermediates"]  # fmt: skip

    seen = capture(variables, stages)
    return [np.asarray(seen[f"temporal_mod_{i}"]["__call__"][0]) for i in range(4)]


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
