"""Every lowering of a convolution equals the plain one, in value and in gradient."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import models
from tempo.layers import conv
from tempo.layers.lowerings import LOWERINGS, ConvSpec

# name: (kernel_size, strides, groups, C, F, (T, H, W)); padding is half the kernel, as in Conv.
# Odd and even sizes, so that a stride of two meets both ends.
CASES = {
    "stem": ((1, 7, 7), (1, 2, 2), 1, 3, 8, (2, 14, 13)),
    "stem_inflated": ((5, 7, 7), (2, 2, 2), 1, 3, 8, (6, 14, 13)),
    "stem_of_a_fast_path": ((5, 7, 7), (1, 2, 2), 1, 3, 8, (4, 10, 9)),
    "stem_of_three_frames_narrow": ((3, 5, 5), (1, 2, 2), 1, 3, 8, (4, 10, 9)),
    "stem_of_three_frames": ((3, 7, 7), (1, 2, 2), 1, 3, 8, (4, 10, 9)),
    "lateral_4": ((7, 1, 1), (4, 1, 1), 1, 6, 12, (8, 3, 4)),
    "lateral_4_narrow": ((5, 1, 1), (4, 1, 1), 1, 6, 12, (8, 3, 4)),
    "lateral_8": ((5, 1, 1), (8, 1, 1), 1, 6, 12, (16, 3, 4)),
    "spatial": ((1, 3, 3), (1, 1, 1), 1, 6, 8, (3, 6, 5)),
    "spatial_strided": ((1, 3, 3), (1, 2, 2), 1, 6, 8, (3, 8, 7)),
    "spatial_grouped": ((1, 3, 3), (1, 2, 2), 4, 8, 12, (2, 6, 7)),
    "spatial_grouped_unstrided": ((1, 3, 3), (1, 1, 1), 4, 8, 12, (2, 6, 7)),
    "spatial_depthwise": ((1, 3, 3), (1, 2, 2), 6, 6, 6, (2, 7, 6)),
    "temporal": ((3, 1, 1), (1, 1, 1), 1, 6, 8, (5, 3, 4)),
    "temporal_strided": ((3, 1, 1), (2, 1, 1), 1, 6, 8, (5, 3, 4)),
    "temporal_one_frame": ((3, 1, 1), (1, 1, 1), 1, 6, 8, (1, 3, 4)),
    "temporal_grouped": ((3, 1, 1), (1, 1, 1), 4, 8, 12, (5, 3, 4)),
    "temporal_depthwise": ((5, 1, 1), (1, 1, 1), 6, 6, 6, (6, 3, 4)),
    "pointwise": ((1, 1, 1), (1, 1, 1), 1, 6, 8, (3, 4, 5)),
    "pointwise_strided": ((1, 1, 1), (1, 2, 2), 1, 6, 8, (3, 4, 5)),
    "pointwise_strided_time_alone": ((1, 1, 1), (2, 1, 1), 1, 6, 8, (5, 3, 4)),
    "pointwise_strided_time": ((1, 1, 1), (2, 2, 2), 1, 6, 8, (5, 4, 5)),
    "pointwise_grouped": ((1, 1, 1), (1, 1, 1), 4, 8, 12, (3, 4, 5)),
    "full": ((3, 3, 3), (1, 1, 1), 1, 6, 8, (4, 5, 6)),
    "full_strided": ((3, 3, 3), (1, 2, 2), 1, 6, 8, (4, 5, 6)),
    "full_strided_time": ((3, 3, 3), (2, 2, 2), 1, 6, 8, (5, 6, 5)),
    "full_grouped": ((3, 3, 3), (1, 1, 1), 4, 8, 12, (3, 4, 4)),
    "full_grouped_strided": ((3, 3, 3), (1, 2, 2), 4, 8, 12, (3, 4, 5)),
    "full_grouped_strided_time": ((3, 3, 3), (2, 1, 1), 4, 8, 12, (5, 4, 4)),
    "full_depthwise": ((3, 3, 3), (1, 1, 1), 6, 6, 6, (4, 5, 6)),
    "full_depthwise_strided": ((3, 3, 3), (1, 2, 2), 6, 6, 6, (4, 5, 6)),
    "full_depthwise_strided_time": ((3, 3, 3), (2, 2, 2), 6, 6, 6, (5, 6, 5)),
}


def spec_of(case):
    kernel_size, strides, groups, channels, features, _ = CASES[case]
    return ConvSpec(
        kernel_size, strides, tuple(k // 2 for k in kernel_size), groups, channels, features
    )


def value_and_gradients(compute, case):
    """Output and gradients to input and kernel, for random cotangents."""
    spec = spec_of(case)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *CASES[case][5], spec.in_features)).astype(np.float32)
    shape = (*spec.kernel_size, spec.in_features // spec.groups, spec.features)
    kernel = rng.normal(size=shape).astype(np.float32)

    @jax.jit
    def run(x, kernel):
        y, pullback = jax.vjp(lambda x, k: compute(x, k, spec), x, kernel)
        return y, *pullback(jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape))

    return run(x, kernel)


@pytest.fixture(scope="module")
def plain_results():
    """Results of the plain convolution by case, computed on first use."""
    results = {}

    def get(case):
        if case not in results:
            results[case] = value_and_gradients(LOWERINGS["plain"].compute, case)
        return results[case]

    return get


@pytest.mark.parametrize(
    ("case", "lowering"),
    [
        (case, name)
        for case in CASES
        for name, lowering in LOWERINGS.items()
        if name != "plain" and lowering.suits(spec_of(case))
    ],
)
def test_lowering_equals_plain_convolution(case, lowering, plain_results):
    got = value_and_gradients(LOWERINGS[lowering].compute, case)
    for name, a, b in zip(
        ("value", "input gradient", "kernel gradient"), got, plain_results(case), strict=True
    ):
        assert a.dtype == b.dtype == jnp.float32
        scale = np.abs(b).max()
        np.testing.assert_allclose(a / scale, b / scale, atol=1e-5, err_msg=name)


def test_plain_convolution_against_a_loop():
    spec = spec_of("full_strided_time")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 3, 4, 5, 6)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 6, 8)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((1, 2, 2, 3, 8))
    for t, h, w in np.ndindex(2, 2, 3):
        window = padded[0, 2 * t : 2 * t + 3, 2 * h : 2 * h + 3, 2 * w : 2 * w + 3]
        expected[0, t, h, w] = np.einsum("thwc,thwcf->f", window, kernel)
    y = LOWERINGS["plain"].compute(x, kernel, spec)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["temporal_grouped", "pointwise_grouped"])
def test_grouped_convolution_keeps_groups_apart(case):
    """Input channels of group 1 reach output channels of group 1 only."""
    spec = spec_of(case)
    width_in, width_out = spec.in_features // spec.groups, spec.features // spec.groups
    x = np.random.default_rng(0).normal(size=(1, *CASES[case][5], 8)).astype(np.float32)
    kernel = np.ones((*spec.kernel_size, width_in, spec.features), np.float32)
    changed = x.copy()
    changed[..., width_in : 2 * width_in] += 1
    run = LOWERINGS[conv.choose(spec)].compute
    moved = np.abs(run(changed, kernel, spec) - run(x, kernel, spec)).max((0, 1, 2, 3)) > 0.1
    assert np.flatnonzero(moved).tolist() == list(range(width_out, 2 * width_out))


def shallow(name):
    """A preset of one or two blocks per stage: all of its kinds of convolutions."""
    row = models.MODELS[name]["backbone"]
    module, _ = models.BACKBONES[row["variant"]]
    fields = inspect.signature(module).parameters
    depths = (1, 2, 2, 1, 1)
    small = {"depths": depths[: len(fields["depths"].default)]} if "depths" in fields else {}
    # So narrow, the groups of a multi-fiber network would be others.
    small |= {"width": 16} if "width" in fields and "num_fibers" not in fields else {}
    small |= {"sr_layers": 0} if "sr_layers" in fields else {}
    small |= {"nonlocal_blocks": ((), (1,), (), ())} if "nonlocal_blocks" in row else {}
    for key in ("kernels_t", "slow_kernels_t", "fast_kernels_t"):
        if key in row:  # of the blocks that are left
            small[key] = [k if isinstance(k, int) else k[:2] for k in row[key]]
    # VGG's own head is as large as the map of a frame of 224 px.
    head = {"name": "pool"} if row["variant"] == "vgg16" else {}
    return models.create(4, name=name, backbone=small, head=head)


def test_cases_cover_the_convolutions_of_all_models(monkeypatch):
    used = set()

    def record(spec, lowering="auto"):
        used.add((spec.kernel_size, spec.strides, spec.group_kind))
        return "plain"

    monkeypatch.setattr(conv, "choose", record)
    # Many are one network but for their depths.
    # Those of two streams are two of the others.
    alone = [n for n, m in models.MODELS.items() if m["backbone"]["variant"] != "two_stream"]
    distinct = {repr(model): model for model in map(shallow, alone)}
    for model in distinct.values():
        models.describe(model, (1, 16, 64, 64, 3))
    tested = {(s.kernel_size, s.strides, s.group_kind) for s in map(spec_of, CASES)}
    assert len(used) > 5
    assert used - tested == set()


@pytest.mark.parametrize("backend", sorted(conv.AUTO))
@pytest.mark.parametrize("case", sorted(CASES))
def test_every_backend_has_a_lowering_that_suits(case, backend):
    spec = spec_of(case)
    assert LOWERINGS[conv.choose(spec, backend)].suits(spec)


def test_override_is_taken_where_it_suits_and_auto_elsewhere():
    assert conv.choose(spec_of("temporal"), "fold_stack") == "fold_stack"
    dense = spec_of("full")
    assert conv.choose(dense, "shifted_products") == conv.choose(dense, "auto")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("temporal", "matmul_split"),
        ("temporal_strided", "matmul_sum"),
        ("lateral_8", "matmul_sum"),
        ("temporal_grouped", "matmul_sum"),
        ("full", "fold_sum"),
        ("stem_of_a_fast_path", "fold_split"),
        ("stem_inflated", "fold_stack"),
    ],
)
def test_choice_on_the_cpu_by_what_was_measured(case, expected):
    assert conv.choose(spec_of(case), "cpu") == expected


def test_unknown_lowering_names_the_nearest():
    with pytest.raises(tempo.InputError, match="Did you mean 'matmul_sum'"):
        conv.choose(spec_of("full"), "matmul_sums")


def test_groups_that_do_not_divide_the_channels_are_refused():
    module = conv.Conv(12, (3, 1, 1), groups=5)
    with pytest.raises(tempo.InputError, match="groups=5 must divide its 8 input"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, 2, 3, 3, 8)))


def test_layout_dtype_and_bias_of_the_module():
    module = conv.Conv(12, (3, 1, 1), groups=4, use_bias=True, dtype=jnp.bfloat16)
    x = jnp.ones((1, 2, 3, 3, 8))
    y, variables = module.init_with_output(jax.random.key(0), x)
    chex.assert_shape(variables["params"]["kernel"], (3, 1, 1, 2, 12))
    chex.assert_shape(variables["params"]["bias"], (12,))
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert y.dtype == jnp.bfloat16
    shifted = jax.tree.map(lambda a: a, variables)
    shifted["params"]["bias"] = jnp.full((12,), 2.0)
    np.testing.assert_allclose(
        np.float32(module.apply(shifted, x)), np.float32(y) + 2, rtol=0.02, atol=0.02
    )


def test_default_initialisation_has_he_fan_out_variance():
    kernel = conv.Conv(256, (1, 3, 3)).init(jax.random.key(0), jnp.ones((1, 1, 3, 3, 64)))
    std = kernel["params"]["kernel"].std()
    np.testing.assert_allclose(std, np.sqrt(2 / (9 * 256)), rtol=0.02)
