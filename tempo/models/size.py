"""How big a model is: parameters and multiply-adds, by tracing only."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from tempo import trees
from tempo.models import create


def describe(num_classes: int, model: Mapping[str, Any], clip_shape: tuple[int, ...]) -> str:
    """Parameters and multiply-adds of one clip, in words; see `count`."""
    params, macs = count(num_classes, model, clip_shape)
    return (
        f"{params:,} parameters, {macs / 1e9:.4g} GMACs ({2 * macs / 1e9:.4g} GFLOPs) per clip of "
        f"{'x'.join(map(str, clip_shape))}"
    )


def count(
    num_classes: int, model: Mapping[str, Any], clip_shape: tuple[int, ...]
) -> tuple[int, int]:
    """(parameters in training, multiply-adds of one clip at inference), by tracing only.

    Args:
      num_classes: K.
      model: arguments of `tempo.models.create`.
      clip_shape: `[T,H,W,C]`.
    """
    # The other lowerings do the same sums in more or fewer counted operations.
    return count_traced(create(num_classes, **{**model, "lowering": "plain"}), clip_shape)


def count_traced(plain: nn.Module, clip_shape: tuple[int, ...]) -> tuple[int, int]:
    """`count` of a model that was made with the lowering `plain`."""
    video = jax.ShapeDtypeStruct((1, *clip_shape), "float32")
    variables = jax.eval_shape(
        lambda key, x: plain.init(key, x, train=False), jax.random.key(0), video
    )
    macs = trees.count_macs(lambda v, x: plain.apply(v, x, train=False)["logits"], variables, video)
    return trees.count_params(variables["params"]), macs
