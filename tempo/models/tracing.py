"""Shapes of a model and of what it computes, traced once: a deep network takes seconds."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

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
    shapes = _traced(_Asked(num_classes, spelling, tuple(clip_shape), model))
    return {"params": shapes["params"], "batch_stats": shapes.get("batch_stats", {})}


@functools.lru_cache(maxsize=16)
def _traced(asked: _Asked) -> dict[str, Any]:
    model = create(asked.num_classes, **asked.model)

    def init(key):
        return model.init(key, jnp.zeros((1, *asked.clip_shape)), train=False)

    return dict(jax.eval_shape(init, jax.random.key(0)))
