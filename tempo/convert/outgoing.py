"""A checkpoint of ours becomes one of mmaction2: the same rows, read the other way."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tempo import pretrained, trees
from tempo.convert import mmaction2, recognise, rules, tensor_files
from tempo.convert.source import swapped
from tempo.errors import InputError, lookup
from tempo.models import slowfast

TARGETS = {"mmaction2": mmaction2.SOURCE}
"""Public formats that are written, by name."""


@dataclasses.dataclass(frozen=True)
class Export:
    """Arrays under public names.

    Attributes:
      arrays: what a state dict holds, counters of norms included.
      meta: what stands beside the state dict.
      left_out: leaves that `partial` names.
      notes: what the other side's config has to say for the same numbers.
    """

    arrays: rules.Arrays
    meta: Mapping[str, Any]
    left_out: Sequence[str]
    notes: Sequence[str]


def read(checkpoint: str, *, to: str = "mmaction2", partial: Sequence[str] = ()) -> Export:
    """The weights of a run or a converted checkpoint under public names; nothing is written.

    Args:
      checkpoint: what `tempo.load_model` takes; of a run the moving averages, if it kept them.
      to: a name of `TARGETS`.
      partial: patterns of leaves that may be left out.

    Raises:
      InputError: no such checkpoint, or a part of the model that the format has no place for.
    """
    target = lookup(TARGETS, to, "format (--to)")
    _, variables, info = pretrained.load_model(checkpoint)
    leaves = {name: np.asarray(value) for name, value in trees.named(variables).items()}
    backbone, neck = recognise.parts(info["config"]["model"])
    two_paths = backbone["variant"] in slowfast.VARIANTS
    layout = next(x for x in target.layouts if x.is_fast_first == two_paths)
    if two_paths:
        fast = leaves["params/backbone/fast/stage4_block1/conv_proj/kernel"].shape[-1]
        leaves[rules.FC] = swapped(leaves[rules.FC], len(leaves[rules.FC]) - fast)
    is_flat = not two_paths and recognise.trunk_of(_shapes(leaves), "params/backbone/").is_flat
    shift_every = backbone.get("shift_every", 1) if backbone.get("temporal") == "tsm" else 0
    arrays, unknown = rules.to_keys(
        leaves,
        layout.rows,
        is_shifted=lambda leaf: _is_shifted(leaf, shift_every),
        is_flat=lambda leaf: is_flat and leaf.startswith("params/backbone/"),
    )
    homeless = [n for n in unknown if not any(re.search(pattern, n) for pattern in partial)]
    if homeless:
        more = ", ..." if len(homeless) > 3 else ""
        raise InputError(
            f"{to} has no place for {len(homeless)} parts of {checkpoint} "
            f"({', '.join(homeless[:3])}{more}); leave them out with --partial REGEX."
        )
    names = list(info["class_names"])
    meta = {"meta": {"dataset_meta": {"classes": names}} if names else {}}
    return Export(arrays, meta, unknown, _notes(backbone, neck, info))


def write(export: Export, path: str) -> None:
    """Writes a `.pth` with `state_dict` and `meta`, or a `.safetensors`; a good file stays if not.

    Raises:
      InputError: another suffix.
    """
    tensor_files.write(path, export.arrays, meta=export.meta)


def _is_shifted(leaf: str, every: int) -> bool:
    match = re.fullmatch(r"params/backbone/stage\d_block(\d+)/conv1/kernel", leaf)
    return bool(every and match) and (int(match[1]) - 1) % every == 0


def _notes(backbone: Mapping[str, Any], neck: Mapping[str, Any], info: Mapping[str, Any]):
    """What mmaction2's config must say, and what it cannot."""
    notes = []
    if backbone.get("shift_shortcut"):
        notes.append(
            "the model's projection shortcuts read the shifted input, which mmaction2's do not: "
            "its numbers will differ"
        )
    if neck:
        frames = info["preprocessing"]["num_frames"]
        notes.append(
            f"in mmaction2's config: neck.flow_type={neck.get('flow', 'parallel')!r}, and scales "
            f"of alphas={neck.get('alphas', 'rule')!r} for {frames} frames"
        )
    return notes


def _shapes(leaves: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in leaves.items()}
