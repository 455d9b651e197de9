"""How big a model is: parameters and multiply-adds, by tracing only."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from tempo import trees
from tempo.models import create
from tempo.types import ClipShapes


def describe(num_classes: int, model: Mapping[str, Any], clip_shape: ClipShapes) -> str:
    """Parameters and multiply-adds of one clip, in words; see `count`."""
    params, macs = count(num_classes, model, clip_shape)
    several = clip_shape if isinstance(clip_shape, Mapping) else {"": clip_shape}
    told = [f"{name} {'x'.join(map(str, shape))}".strip() for name, shape in several.items()]
    return (
        f"{params:,} parameters, {macs / 1e9:.4g} GMACs ({2 * macs / 1e9:.4g} GFLOPs) per clip of "
        f"{' and '.join(told)}"
    )


def count(num_classes: int, model: Mapping[str, Any], clip_shape: ClipShapes) -> tuple[int, int]:
    """(parameters in training, multiply-adds of one clip at inference), by tracing only.

    Args:
      num_classes: K.
      model: arguments of `tempo.models.create`.
      clip_shape: of one clip.
    """
    # The other lowerings do the same sums in more or fewer counted operations.
    return count_traced(create(num_classes, **{**model, "lowering": "plain"}), clip_shape)


def count_traced(plain: nn.Module, clip_shape: ClipShapes) -> tuple[int, int]:
    """`count` of a model that was made with the lowering `plain`."""
    clips = trees.clip_like(clip_shape)
    variables = jax.eval_shape(
        lambda key, x: plain.init(key, x, train=False), jax.random.key(0), clips
    )
    macs = trees.count_macs(lambda v, x: plain.apply(v, x, train=False)["logits"], variables, clips)
    return trees.count_params(variables["params"]), macs
