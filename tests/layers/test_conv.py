"""The convolution by definition, its choice of lowerings and its module.

That lowerings equal the plain one `test_zoo_lowerings` holds.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo.layers import conv
from tempo.layers.lowerings import LOWERINGS, ConvSpec

# name: (kernel_size, strides, groups, C, F, (T, H, W)); padding is half the kernel, as in Conv.
CASES = {
    "stem_inflated": ((5, 7, 7), (2, 2, 2), 1, 3, 8, (6, 14, 13)),
    "stem_of_a_fast_path": ((5, 7, 7), (1, 2, 2), 1, 3, 8, (4, 10, 9)),
    "lateral_8": ((5, 1, 1), (8, 1, 1), 1, 6, 12, (16, 3, 4)),
    "temporal": ((3, 1, 1), (1, 1, 1), 1, 6, 8, (5, 3, 4)),
    "temporal_strided": ((3, 1, 1), (2, 1, 1), 1, 6, 8, (5, 3, 4)),
    "temporal_grouped": ((3, 1, 1), (1, 1, 1), 4, 8, 12, (5, 3, 4)),
    "pointwise_grouped": ((1, 1, 1), (1, 1, 1), 4, 8, 12, (3, 4, 5)),
    "full": ((3, 3, 3), (1, 1, 1), 1, 6, 8, (4, 5, 6)),
    "full_strided_time": ((3, 3, 3), (2, 2, 2), 1, 6, 8, (5, 6, 5)),
}


def spec_of(case):
    kernel_size, strides, groups, channels, features, _ = CASES[case]
    return ConvSpec(
        kernel_size, strides, tuple(k // 2 for k in kernel_size), groups, channels, features
    )


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
