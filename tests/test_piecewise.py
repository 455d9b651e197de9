"""Parts of a function of keys: the bits and shardings of one program, fewer programs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from tempo import piecewise, sharding, state, trees
from tempo.layers.sketch import CompactBilinear
from tempo.models import create

KEY = jax.random.key(3)
GRU = {
    "backbone": {
        "variant": "slowonly_r18",
        "depths": (1, 1, 0, 0),
        "width": 4,
        "attention": {"name": "srtg", "is_gated": True},
    },
}


class Odd(nn.Module):
    """Draws of all kinds: inside a recomputed block, not elementwise, of split keys, twice."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.remat(nn.Dense)(12, name="recomputed")(x)
        x = nn.Dense(12, kernel_init=nn.initializers.orthogonal(), name="orthogonal")(x)
        x = nn.Dense(12, kernel_init=nn.initializers.truncated_normal(), name="cut_off")(x)
        own = self.param("pair", lambda key: [jax.random.normal(key, (5,))] * 2)
        return CompactBilinear(8)(x, x) + own[0].sum() + own[1].sum()


@pytest.mark.parametrize("model", [create(10, **GRU), Odd()], ids=["gru", "odd"])
def test_a_state_begins_with_the_bits_and_shardings_of_one_program(model):
    def init(key, loaded):
        tx, shape = optax.sgd(0.1, momentum=0.9), (4, 32, 32, 3)
        return state.create(model, tx, key, shape, ema=True, loaded=loaded)

    mesh = sharding.make_mesh()
    shapes = jax.eval_shape(init, KEY, {})
    rules = ((r"(kernel|pair/0)$", (None, "data")),)
    shardings = sharding.infer_shardings(shapes, mesh, rules)
    assert {s.is_fully_replicated for s in jax.tree.leaves(shardings)} == {True, False}
    loaded = {
        n: jnp.ones(s.shape) for n, s in trees.named(shapes).items() if n == "params/head/fc/kernel"
    }
    got = piecewise.run(init, KEY, loaded, out_shardings=shardings)
    want = jax.jit(init, out_shardings=shardings)(KEY, loaded)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for name, one, other in zip(
        trees.leaf_names(want), jax.tree.leaves(got), jax.tree.leaves(want), strict=True
    ):
        assert one.sharding == other.sharding and one.dtype == other.dtype, name
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=name)
    buffers = [x.unsafe_buffer_pointer() for x in got.params.values() if isinstance(x, jax.Array)]
    assert len(set(buffers)) == len(buffers)


def test_what_differs_by_a_folded_number_alone_is_compiled_once(monkeypatch):
    def draws(key):
        values = [jax.random.normal(jax.random.fold_in(key, i), (8, 9)) for i in range(6)]
        return values, [jnp.zeros(3), jnp.zeros(3)], key

    everywhere = sharding.replicated(sharding.make_mesh())
    shardings = jax.tree.map(lambda _: everywhere, jax.eval_shape(draws, KEY))
    made = []
    jit = jax.jit
    monkeypatch.setattr(jax, "jit", lambda f, **options: made.append(f) or jit(f, **options))
    piecewise._bits_program.cache_clear()
    values, zeros, key = piecewise.run(draws, KEY, out_shardings=shardings)
    # Keys; bits; what makes numbers of bits; zeros; what hands through.
    assert len(made) == 5
    assert len({float(v[0, 0]) for v in values}) == 6 and not zeros[0].any()
    assert jnp.array_equal(jax.random.key_data(key), jax.random.key_data(KEY))
