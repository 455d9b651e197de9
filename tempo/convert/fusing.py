"""A checkpoint with asymmetric blocks becomes one with plain blocks, for inference."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tempo import models, pretrained, trees
from tempo.convert import weights_alone


@dataclasses.dataclass(frozen=True)
class Fused:
    """What is written, and what it was.

    Attributes:
      variables: `params`, `batch_stats` and, if the model has one, `sketch`.
      info: what is written beside them.
      num_before, num_after: parameters.
    """

    variables: Mapping[str, Any]
    info: Mapping[str, Any]
    num_before: int
    num_after: int


def read(checkpoint: str, *, command: str = "") -> Fused:
    """The weights of a run or a converted checkpoint, fused (`models.fuse`); nothing is written.

    Args:
      checkpoint: what `tempo.load_model` takes; of a run the moving averages, if it kept them.
      command: how this was called, for the record.

    Raises:
      InputError: no such checkpoint, or one whose model has nothing to fuse.
    """
    _, variables, info = pretrained.load_model(checkpoint)
    config = info["config"]
    arguments, fused = models.fuse(config["model"], variables)
    beside = weights_alone.beside(info, "fused", command)
    beside |= {"config": {**config, "model": arguments}}
    before, after = (trees.count_params(v["params"]) for v in (variables, fused))
    return Fused(fused, beside, before, after)
