"""Convolutions of all kinds of presets, read from the models: all lowerings equal the plain one.

Value and gradients; with them, a few that no preset has.

Of convolutions that differ in nothing but the numbers of channels and the size of their input one
is computed, with few channels and a small input: see `reduced`. All of one kind are one program.
`python -m experiments.benchmarks.conv --models '*' --check` takes the true channels.
"""

import dataclasses
import itertools
import re

import jax
import numpy as np
import pytest

import tempo
from experiments.benchmarks import zoo
from tempo.layers import conv
from tempo.layers.conv_spec import ConvSpec
from tempo.layers.lowerings import LOWERINGS

_CUBE, _PLANE, _TIME, _POINT = (3, 3, 3), (1, 3, 3), (3, 1, 1), (1, 1, 1)

# (kernel_size, strides, groups, C, F), (T, H, W): other numbers of groups, a stride of two that
# meets the other end in time, and kernels of one channel without extent in time.
OTHERS = [
    ((_PLANE, (1, 2, 2), 4, 8, 12), (2, 6, 7)),
    ((_PLANE, (1, 2, 2), 6, 6, 6), (2, 7, 6)),
    ((_TIME, (2, 1, 1), 1, 6, 8), (5, 3, 4)),
    ((_POINT, (2, 2, 2), 1, 6, 8), (5, 4, 5)),
    ((_POINT, (1, 1, 1), 4, 8, 12), (3, 4, 5)),
    ((_CUBE, (2, 2, 2), 1, 6, 8), (5, 6, 5)),
    ((_CUBE, (2, 1, 1), 4, 8, 12), (5, 4, 4)),
    ((_CUBE, (2, 2, 2), 6, 6, 6), (5, 6, 5)),
]


def others():
    """`OTHERS`, padded with half the kernel, as (spec, input shape)."""
    for (kernel_size, strides, *numbers), extents in OTHERS:
        padding = tuple(k // 2 for k in kernel_size)
        spec = ConvSpec(kernel_size, strides, padding, *numbers)
        yield spec, (2, *extents, spec.in_features)


def reduced(spec, shape):
    """(spec, input shape) of the same geometry, small.

    The few channels of pixels stay; else the narrower side has 6 channels and the wider one 8, or
    both have 6. A grouped convolution has two groups, a depthwise one six. Extents: those of
    `zoo.few_windows`, and a column more, lest height and width be taken for each other; so a stride
    of two meets both ends.
    """
    inputs, outputs = spec.in_features, spec.features
    few_in, few_out = (
        6 if n <= other else 8 for n, other in ((inputs, outputs), (outputs, inputs))
    )
    groups = {"dense": 1, "grouped": 2, "depthwise": 6}[spec.group_kind]
    if inputs <= 4:
        few_in = inputs
    spec = dataclasses.replace(spec, groups=groups, in_features=few_in, features=few_out)
    batch, *extents, channels = zoo.few_windows(spec, shape)
    kernel = zip(spec.kernel_size, spec.strides, strict=True)
    # Where the kernel neither reaches nor steps, any extent is like another.
    extents = [2 if one == (1, 1) else n for n, one in zip(extents, kernel, strict=True)]
    return spec, (batch, *extents[:2], extents[2] + 1, channels)


def of_distinct_networks():
    """Names of presets: of networks that differ only in depth or in gates, the shallowest."""
    chosen = {}
    for name in tempo.list_models():
        network = repr(tempo.create_model(name, num_classes=10))
        depths = re.findall(r"depths = \(([\d, ]*)\)", network)
        depth = sum(int(n) for found in depths for n in re.findall(r"\d+", found))
        key = re.sub(r"depths = \([\d, ]*\)|sr_layers = \d+", "", network)
        chosen[key] = min(chosen.get(key, (depth, name)), (depth, name))
    return [name for _, name in chosen.values()]


@pytest.fixture(scope="module")
def kinds():
    """Distinct reduced convolutions, by kind of kernel and of groups."""
    found = {reduced(*key) for key in zoo.of_models(of_distinct_networks())} | set(others())
    kinds = {}
    for spec, shape in sorted(found, key=repr):
        kinds.setdefault((spec.kernel_kind, spec.group_kind), []).append((spec, shape))
    return kinds


def test_all_lowerings_of_all_convolutions_of_all_models_are_equal(kinds):
    assert len(kinds) >= 10
    for kind in kinds.values():
        check_kind(kind)


def test_every_backend_has_a_lowering_that_suits(kinds):
    for backend in conv.AUTO:
        for spec, _ in itertools.chain(*kinds.values()):
            assert LOWERINGS[conv.choose(spec, backend)].suits(spec)


def check_kind(kind):
    @jax.jit
    def compute(operands):
        rows = zip(kind, operands, strict=True)
        return [zoo.all_lowerings(spec, *arrays) for (spec, _), arrays in rows]

    results = jax.device_get(compute([zoo.operands(*case) for case in kind]))
    for (spec, _), by_name in zip(kind, results, strict=True):
        expected = by_name.pop("plain")
        assert by_name
        for name, got in by_name.items():
            for what, a, b in zip(("y", "dx", "dkernel"), got, expected, strict=True):
                assert a.dtype == b.dtype == np.float32
                scale = np.abs(b).max()
                np.testing.assert_allclose(
                    a / scale, b / scale, atol=1e-5, err_msg=f"{spec} {name} {what}"
                )
