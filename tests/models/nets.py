"""A small pyramid neck, ways to run networks, and leaves by name: shared by tests of models."""

import functools
from unittest import mock

import jax
import numpy as np
from flax import linen as nn

from tempo import trees
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm
from tempo.models import tpn

WIDTH = 32  # channels of res5; res4 has half


def neck(**fields):
    """A neck for 5 classes with 4 groups, or as `fields` say."""
    return tpn.TPN(Conv, BatchNorm, 5, **{"groups": 4, **fields})


def stage_shapes(batch):
    """Shapes of the features of a backbone 4 channels wide: 8 frames of 64 px."""
    return {
        f"res{i}": jax.ShapeDtypeStruct(
            (batch, 8, 64 // 2**i, 64 // 2**i, WIDTH >> (5 - i)), np.float32
        )
        for i in (2, 3, 4, 5)
    }


def run(module, variables, stages):
    """The fused feature map at inference."""
    return np.asarray(jax.jit(functools.partial(module.apply, train=False))(variables, stages)[0])


def apply_training(model, variables, params, clip):
    """Outputs of a training step's forward pass with these parameters, and the new statistics."""
    return model.apply(
        {**variables, "params": params},
        clip,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": jax.random.key(0)},
    )


def named_leaves(tree):
    """Leaves by name, such as `head/fc/bias`."""
    return trees.named(tree)


def pyramids(function, *args):
    """`function(*args)` and the levels of its pyramids by the name of the fusion they go into."""
    seen = {}

    def record(next_fun, args, kwargs, context):
        if isinstance(context.module, tpn.LevelFusion) and context.method_name == "__call__":
            seen[context.module.name] = args[0]
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(record):
        result = function(*args)
    return result, seen


def shapes_alone():
    """A context in which parameters start at zero: to trace a third faster where none is read."""

    def param(self, name, init_fn, *args, **kwargs):
        start = nn.initializers.zeros if args else init_fn
        return real(self, name, start, *args, **kwargs)

    real = nn.Module.param
    return mock.patch.object(nn.Module, "param", param)
