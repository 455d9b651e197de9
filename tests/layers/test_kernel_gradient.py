"""The gradient to a kernel as products over pixels equals the one that jax derives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from experiments.benchmarks import collectives
from tempo.layers import kernel_gradient, target

# (kh, kw, C, F), (H, W), strides, padding; wide and narrow, odd and even, with ends not reached.
CASES = {
    "wider": ((3, 3, 2, 5), (6, 7), (1, 1), 1),
    "narrower": ((3, 3, 5, 2), (7, 6), (2, 2), 1),
    "stem": ((7, 5, 3, 4), (9, 12), (2, 3), 2),
    "unpadded_row": ((1, 3, 3, 4), (4, 5), (1, 1), 0),
}


@pytest.mark.parametrize("part_bytes", [2**23, 1500, 1])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_images", [6, 8])  # of which four devices can have equal parts
def test_equals_the_derived_gradient(case, part_bytes, num_images, monkeypatch):
    shape, sides, strides, padding = CASES[case]
    pads = ((padding, padding),) * 2
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(num_images, *sides, shape[2])), jnp.float32)

    def convolved(kernel):
        return lax.conv_general_dilated(
            x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    y, pullback = jax.vjp(convolved, jnp.zeros(shape))
    dy = jnp.asarray(rng.normal(size=y.shape), jnp.float32)
    monkeypatch.setattr(kernel_gradient, "_PART_BYTES", part_bytes)
    got = kernel_gradient.of_conv2d(x, dy, shape, strides, pads)
    np.testing.assert_allclose(got, pullback(dy)[0], rtol=1e-5, atol=1e-5)


def test_devices_meet_once_behind_the_loop_over_parts(monkeypatch):
    """Each sums its own images: nothing is gathered, and no part is summed over devices."""
    monkeypatch.setattr(kernel_gradient, "_PART_BYTES", 1)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    batch, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["data"], []))
    shape, pads = (1, 3, 2, 3), ((0, 0), (1, 1))
    rng = np.random.default_rng(0)
    x, dy = (rng.normal(size=(2 * jax.device_count(), 2, 3, c)).astype(np.float32) for c in (2, 3))

    def of_clips(x, dy):
        return kernel_gradient.of_conv2d(x, dy, shape, (1, 1), pads)

    run = jax.jit(of_clips, in_shardings=batch, out_shardings=whole).lower(x, dy).compile()
    found = collectives.summary(collectives.parse(run.as_text()))
    assert found == {"all-reduce": {"count": 1, "bytes": math.prod(shape) * 4}}
    monkeypatch.undo()
    np.testing.assert_allclose(run(x, dy), of_clips(x, dy), rtol=1e-5, atol=1e-5)


def test_parts_are_summed_in_float32(monkeypatch):
    """256 + 1 is 256 in bfloat16, however often one is added."""
    monkeypatch.setattr(kernel_gradient, "_PART_BYTES", 1)
    x = jnp.ones((257, 1, 1, 1), jnp.bfloat16)
    dy = jnp.concatenate([jnp.full((1, 1, 1, 1), 256.0), jnp.ones((256, 1, 1, 1))])
    got = kernel_gradient.of_conv2d(
        x, dy.astype(jnp.bfloat16), (1, 1, 1, 1), (1, 1), ((0, 0), (0, 0))
    )
    assert got.dtype == jnp.bfloat16
    assert float(got[0, 0, 0, 0]) == 512


def test_accelerators_keep_the_derived_gradient():
    assert [kernel_gradient.is_wanted(groups) for groups in (1, 2)] == [True, False]
    with target.compiled_for("tpu"):
        assert not kernel_gradient.is_wanted(1)
