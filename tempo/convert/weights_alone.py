"""A checkpoint of a run becomes its weights alone: what a model needs, bit by bit, and no more."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tempo import pretrained


class Weights(NamedTuple):
    """What is written: arrays by collection, and what stands beside them."""

    variables: Mapping[str, Any]
    info: Mapping[str, Any]


def read(checkpoint: str, *, command: str = "") -> Weights:
    """Parameters, statistics and sketch of a run, without its optimizer; nothing is written.

    Args:
      checkpoint: what `tempo.load_model` takes; of a run the moving averages, if it kept them.
      command: how this was called, for the record.

    Raises:
      InputError: no such checkpoint, or one that does not fit its model.
    """
    _, variables, info = pretrained.load_model(checkpoint)
    return Weights(variables, beside(info, "tempo", command))


def beside(info: Mapping[str, Any], source: str, command: str) -> dict[str, Any]:
    """What is written beside weights that come from a checkpoint of ours.

    Args:
      info: of `tempo.load_model`.
      source: what made them.
      command: how it was called.
    """
    kept = {k: v for k, v in info.items() if k not in ("path", "preprocessing", "views")}
    origin = {"source": source, "file": info["path"], "step": info.get("step", 0)}
    return kept | {"source": {**origin, "command": command}}
