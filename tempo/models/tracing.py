"""Shapes of a model and of what it computes, traced once: a deep network takes seconds."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from tempo.models import create


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is traced; two models are the same one if their arguments are spelt the same."""

    num_classes: int
    spelling: str
    clip_shape: tuple[int, ...]
    model: Mapping[str, Any] = dataclasses.field(compare=False)


def variable_shapes(
    num_classes: int, model: Mapping[str, Any], clip_shape: tuple[int, ...]
) -> dict[str, Any]:
    """Shapes of `{"params", "batch_stats"}`, in trees that others read too: not to be changed.

    Args:
      num_classes: K.
      model: arguments of `tempo.models.create`.
      clip_shape: `[T,H,W,C]`.

    Raises:
      InputError: a model that cannot be made, or does not fit the clips.
    """
    spelling = json.dumps(model, sort_keys=True, default=repr)
    return _traced(_Asked(num_classes, spelling, tuple(clip_shape), model))


@functools.lru_cache(maxsize=16)
def _traced(asked: _Asked) -> dict[str, Any]:
    return module_shapes(create(asked.num_classes, **asked.model), asked.clip_shape)


def module_shapes(model: nn.Module, clip_shape: Sequence[int]) -> dict[str, Any]:
    """Shapes of a module's `params` and `batch_stats`, traced anew; nothing is computed.

    Args:
      model: called as `model(video, train=False)`.
      clip_shape: `[T,H,W,C]` of a clip.
    """

    def init(key):
        return model.init(key, jnp.zeros((1, *clip_shape)), train=False)

    shapes = dict(jax.eval_shape(init, jax.random.key(0)))
    return {"params": shapes["params"], "batch_stats": shapes.get("batch_stats", {})}
