"""The gradient to a kernel as products over pixels equals the one that jax derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

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
def test_equals_the_derived_gradient(case, part_bytes, monkeypatch):
    shape, sides, strides, padding = CASES[case]
    pads = ((padding, padding),) * 2
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(6, *sides, shape[2])), jnp.float32)

    def convolved(kernel):
        return lax.conv_general_dilated(
            x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    y, pullback = jax.vjp(convolved, jnp.zeros(shape))
    dy = jnp.asarray(rng.normal(size=y.shape), jnp.float32)
    monkeypatch.setattr(kernel_gradient, "_PART_BYTES", part_bytes)
    got = kernel_gradient.of_conv2d(x, dy, shape, strides, pads)
    np.testing.assert_allclose(got, pullback(dy)[0], rtol=1e-5, atol=1e-5)


def test_parts_have_images_of_every_device():
    """Of a batch over two devices, each part takes the same number from either."""
    images = jnp.arange(8)[:, None]
    parts = [kernel_gradient._every(images, 2, i)[:, 0].tolist() for i in range(2)]
    assert parts == [[0, 2, 4, 6], [1, 3, 5, 7]]


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
