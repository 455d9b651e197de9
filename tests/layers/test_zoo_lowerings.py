"""Convolutions of all kinds of presets, read from the models: all lowerings equal the plain one.

Of convolutions that differ in nothing but the numbers of channels and the size of their input one
is computed, with few channels and a small input: see `reduced`. All of one kind are one program.
`python -m experiments.benchmarks.conv --models '*' --check` takes the true channels.
"""

import dataclasses
import re

import jax
import numpy as np
import pytest

import tempo
from experiments.benchmarks import zoo


def reduced(spec, shape):
    """(spec, input shape) of the same geometry, small.

    The few channels of pixels stay; else the narrower side has 6 channels and the wider one 8, or
    both have 6. A grouped convolution has two groups, a depthwise one six. Extents: those of
    `zoo.few_windows`.
    """
    inputs, outputs = spec.in_features, spec.features
    few_in, few_out = (
        6 if n <= other else 8 for n, other in ((inputs, outputs), (outputs, inputs))
    )
    groups = {"dense": 1, "grouped": 2, "depthwise": 6}[spec.group_kind]
    if inputs <= 4:
        few_in = inputs
    spec = dataclasses.replace(spec, groups=groups, in_features=few_in, features=few_out)
    return spec, zoo.few_windows(spec, shape)


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
    found = {reduced(*key) for key in zoo.of_models(of_distinct_networks())}
    kinds = {}
    for spec, shape in sorted(found, key=repr):
        kinds.setdefault((spec.kernel_kind, spec.group_kind), []).append((spec, shape))
    return kinds


def test_all_lowerings_of_all_convolutions_of_all_models_are_equal(kinds):
    assert len(kinds) >= 10
    for kind in kinds.values():
        check_kind(kind)


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
                scale = np.abs(b).max()
                np.testing.assert_allclose(
                    a / scale, b / scale, atol=1e-5, err_msg=f"{spec} {name} {what}"
                )
