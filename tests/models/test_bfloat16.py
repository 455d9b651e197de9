"""In bfloat16 the work is done in bfloat16: no layer hands float32 features on by accident.

Networks are traced, not run: the products and convolutions of a gradient tell their operands.
"""

import jax
import jax.numpy as jnp
import pytest

from tempo import models
from tests.models import nets

RESNET = {"variant": "slowonly_r50", "depths": (1, 0, 0, 0), "width": 8}
FAMILIES = {
    "resnet": {
        "backbone": {
            **RESNET, "depths": (1, 1, 0, 0), "temporal": "tsm", "attention": "srtg",
        }
    },
    "gates": {"backbone": {**RESNET, "temporal": "tam", "attention": "se"}},
    "nonlocal": {"backbone": {**RESNET, "nonlocal_blocks": ((0,), (), (), ())}},
    "softmax": {
        "backbone": {
            **RESNET, "nonlocal_blocks": ((0,), (), (), ()), "nonlocal_mode": "embedded_gaussian",
        }
    },
    "tpn": {
        "backbone": {**RESNET, "depths": (1, 1, 1, 1)}, "neck": {"name": "tpn", "groups": 2},
    },
    "slowfast": {"backbone": {"variant": "slowfast_r50", "depths": (1, 0, 0, 0), "width": 16}},
    "x3d": {
        "backbone": {"variant": "x3d_xs", "depths": (1, 1, 1, 1), "widths": (8, 8, 8, 8)},
    },
    "mtnet": {"backbone": {"variant": "mtnet_s", "depths": (1, 0, 0, 0)}},
    "mfnet": {
        "backbone": {
            "variant": "mfnet", "depths": (1, 0, 0, 0), "stem_width": 8, "width": 8,
            "num_fibers": 4,
        }
    },
    "bninception": {"backbone": {"variant": "bninception", "width": 4}},
    "vgg": {
        "backbone": {"variant": "vgg16", "depths": (1, 1, 1, 1, 1), "width": 4},
        "head": {"name": "vgg", "features": 8, "side": 1},
    },
}  # fmt: skip
CLIPS = (2, 8, 32, 32, 3)


def equations(jaxpr):
    """Of a program and all that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(tuple(equation.params.values())):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


@pytest.mark.parametrize("family", FAMILIES)
def test_products_of_features_have_bfloat16_operands(family):
    model = models.create(3, dtype="bfloat16", **FAMILIES[family])
    clips = jax.ShapeDtypeStruct(CLIPS, jnp.float32)

    def outputs(variables, clips):
        return model.apply(
            variables, clips, train=True, mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )  # fmt: skip

    def loss(params, others, clips):
        found, changed = outputs({**others, "params": params}, clips)
        logits = [found["logits"], *found.get("aux_logits", ())]
        assert {x.dtype for x in logits} == {jnp.dtype("float32")}
        assert {x.dtype for x in jax.tree.leaves(changed)} <= {jnp.dtype("float32")}
        return sum(x.sum() for x in logits)

    with nets.shapes_alone():
        others = jax.eval_shape(lambda c: model.init(jax.random.key(0), c, train=False), clips)
    params = others.pop("params")
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    traced = jax.make_jaxpr(jax.grad(loss))(params, others, clips)
    seen = 0
    for equation in equations(traced.jaxpr):
        name, operands = equation.primitive.name, [v.aval for v in equation.invars]
        if name == "conv_general_dilated" or (
            # Those of pooled features, a row per clip and frame or less, may be float32.
            name == "dot_general" and max(x.size // x.shape[-1] for x in operands) > 256
        ):
            seen += 1
            assert {str(x.dtype) for x in operands} == {"bfloat16"}, equation
        if name == "reduce_sum" and operands[0].ndim >= 5 and operands[0].size > 2**12:
            # Statistics of norms, the gradients of scales, biases and gates: over all positions.
            assert operands[0].dtype == jnp.float32, equation
    assert seen >= 3
