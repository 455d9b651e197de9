"""Slots, and what every module that stands in one keeps: number types and finite gradients."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo.layers import attention, slots, temporal
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm

TABLE = {
    "none": None,
    "row": lambda x, *, scale=1, conv: (conv, scale * x),
    "kinds": lambda x, *, some=8, any=0, on=False, way="up": (some, any, on, way),
    "free": lambda x, *, bias=0, **place: (x + bias, place),
}


def test_a_slot_is_a_name_or_a_mapping_with_options():
    assert slots.make("none", TABLE, "part", conv=1) is None
    assert slots.make("row", TABLE, "part", conv="c", norm="n")(3) == ("c", 3)
    assert slots.make({"name": "row", "scale": 2}, TABLE, "part", conv="c")(3) == ("c", 6)
    assert slots.make({"name": "free"}, TABLE, "part", conv="c")(3) == (3, {})
    assert slots.name_of({"scale": 2}) == slots.name_of("none") == "none"


@pytest.mark.parametrize(
    ("slot", "message"),
    [
        ("rom", "^Unknown part 'rom'. Did you mean 'row'. There are: none, row, kinds, free.$"),
        (3, "^part must be a name or a mapping with one; got 3.$"),
        ({"name": "row", "scal": 2}, "^part 'row' has no option 'scal'. Did you mean 'scale'"),
        ({"name": "row", "conv": 2}, "^part 'row' has no option 'conv'. There are: scale.$"),
        ({"name": "none", "scale": 2}, "^part 'none' has no option 'scale'. There are none.$"),
        ({"name": "kinds", "some": 0}, "^part 'kinds': some must be .* at least 1; got 0.$"),
        ({"name": "kinds", "some": "8"}, "some must be a whole number of at least 1; got '8'.$"),
        ({"name": "kinds", "some": True}, "some must be a whole number"),
        ({"name": "kinds", "any": -1}, "any must be a whole number of at least 0; got -1.$"),
        ({"name": "kinds", "on": "yes"}, "on must be True or False; got 'yes'.$"),
        ({"name": "kinds", "way": 2}, "way must be a name; got 2.$"),
        ({"name": "free", "place": 2}, "^part 'free' has no option 'place'. There are: bias.$"),
    ],
)
def test_what_there_is_is_told(slot, message):
    with pytest.raises(tempo.InputError, match=message):
        slots.make(slot, TABLE, "part", conv="c")


MODULES = {
    **{name: attention.ATTENTION[name] for name in ("se", "cbam")},
    "dot_product": attention.NonLocal,
    "softmax": functools.partial(attention.NonLocal, mode="softmax"),
    "tam": temporal.TEMPORAL["tam"],
}


@pytest.mark.parametrize("name", MODULES)
def test_gates_are_float32_where_activations_are_bfloat16(name):
    norm = functools.partial(BatchNorm, use_running_average=False, dtype=jnp.bfloat16)
    given = {"conv": functools.partial(Conv, dtype=jnp.bfloat16), "norm": norm}
    module = slots.make(name, MODULES, "module", **given)()
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 4, 8)).astype(jnp.bfloat16)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float32")}
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda s: rng.uniform(0.2, 0.8, s.shape).astype(np.float32), shapes)

    def loss(params, x):
        y, _ = module.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        assert (y.dtype, y.shape) == (x.dtype, x.shape)
        return y.astype(jnp.float32).sum()

    if name in ("se", "cbam", "tam"):  # these have no part that works on activations
        run = functools.partial(module.apply, mutable=True, capture_intermediates=True)
        inner = dict(jax.eval_shape(run, variables, x)[1]["intermediates"])
        del inner["__call__"]
        assert {leaf.dtype for leaf in jax.tree.leaves(inner)} == {np.dtype("float32")}
    text = str(jax.make_jaxpr(loss)(variables["params"], x))
    gates = re.findall(r":(\w+)\[[^]]*\] = (?:exp|logistic|rsqrt)\b", text)
    assert set(gates) == {"f32"}
    gradients = jax.jit(jax.grad(loss, (0, 1)))(variables["params"], x)
    for gradient in jax.tree.leaves(gradients):
        gradient = np.asarray(gradient, np.float32)
        assert np.isfinite(gradient).all()
