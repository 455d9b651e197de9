"""The relu whose gradient reads its result is jax's in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo.layers import activation


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_relu_and_its_gradient_are_those_of_jax(dtype):
    x = jnp.asarray([-2.0, -0.0, 0.0, 1e-30, 3.0, jnp.inf, -jnp.inf], dtype)
    dy = jnp.arange(1.0, 8.0).astype(dtype)
    got, pullback = jax.vjp(activation.relu, x)
    expected, derived = jax.vjp(jax.nn.relu, x)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(pullback(dy)[0], derived(dy)[0])
    assert pullback(dy)[0].dtype == dtype


def test_the_backward_pass_keeps_the_result_alone():
    _, pullback = jax.vjp(activation.relu, jnp.asarray([-1.0, 2.0]))
    (kept,) = jax.tree.leaves(pullback)
    np.testing.assert_array_equal(kept, [0.0, 2.0])
