"""Programs traced for a backend that is not present."""

import jax
import jax.numpy as jnp
from jax import lax

from tempo.layers import conv, memory, target
from tempo.layers.conv_spec import ConvSpec


def test_layers_follow_the_backend_that_is_compiled_for():
    spec = ConvSpec((3, 1, 1), (1, 1, 1), (1, 0, 0), 1, 8, 8)
    stored = jax.jit(memory.stored)
    with target.compiled_for("cpu"):
        assert conv.choose(spec) == conv.AUTO["cpu"]["temporal", "dense"]
        on_cpu = str(jax.make_jaxpr(stored)(jnp.ones(3)))
    with target.compiled_for("tpu"):
        assert target.backend() == "tpu"
        assert conv.choose(spec) == conv.AUTO["tpu"]["temporal", "dense"]
        on_tpu = str(jax.make_jaxpr(stored)(jnp.ones(3)))
    assert target.backend() == jax.default_backend()
    assert conv.AUTO["cpu"]["temporal", "dense"] != conv.AUTO["tpu"]["temporal", "dense"]
    barrier = lax.optimization_barrier_p.name
    assert barrier in on_cpu and barrier not in on_tpu  # one jitted function, traced twice
