"""Shapes of a model and of what it computes, traced once: a deep network takes seconds."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from tempo import trees
from tempo.layers import sketch
from tempo.models import create
from tempo.types import ClipShapes


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is traced; two models are the same one if their arguments are spelt the same."""

    num_classes: int
    spelling: str
    streams: tuple[tuple[str, tuple[int, ...]], ...]
    model: Mapping[str, Any] = dataclasses.field(compare=False)


def variable_shapes(
    num_classes: int, model: Mapping[str, Any], clip_shape: ClipShapes
) -> dict[str, Any]:
    """As `module_shapes`, in trees that others read too: not to be changed.

    Args:
      num_classes: K.
      model: arguments of `tempo.models.create`.
      clip_shape: of one clip.

    Raises:
      InputError: a model that cannot be made, or does not fit the clips.
    """
    spelling = json.dumps(model, sort_keys=True, default=repr)
    several = clip_shape.items() if isinstance(clip_shape, Mapping) else {"": clip_shape}.items()
    streams = tuple((name, tuple(shape)) for name, shape in sorted(several))
    return _traced(_Asked(num_classes, spelling, streams, model))


@functools.lru_cache(maxsize=16)
def _traced(asked: _Asked) -> dict[str, Any]:
    streams = dict(asked.streams)
    return module_shapes(create(asked.num_classes, **asked.model), streams.get("", streams))


def module_shapes(model: nn.Module, clip_shape: ClipShapes) -> dict[str, Any]:
    """Shapes of a module's variables, traced anew; nothing is computed.

    Args:
      model: called as `model(clips, train=False)`.
      clip_shape: of one clip.

    Returns:
      `params`, `batch_stats` (empty without norms) and, if the module has one, `sketch`, whose
      `dim`s are numbers.
    """

    def init(key, clips):
        return model.init(key, clips, train=False)

    # Abstract values in, so that nothing is computed.
    shapes = sketch.traced(init, jax.random.key(0), trees.clip_like(clip_shape))
    return {"batch_stats": {}, **shapes}
