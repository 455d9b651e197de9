"""A checkpoint of ours becomes one of mmaction2: the same rows, read the other way."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import linen as nn

from tempo import pretrained, trees
from tempo.convert import mmaction2, recognise, rules, tensor_files
from tempo.convert.source import swapped
from tempo.convert.trunk import Trunk
from tempo.errors import InputError, lookup
from tempo.models import tpn

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
    model, variables, info = pretrained.load_model(checkpoint)
    leaves = {name: np.asarray(value) for name, value in trees.named(variables).items()}
    trunks = recognise.trunks_of(model.backbone)
    two_paths = len(trunks) > 1
    layout = next(x for x in target.layouts if x.is_fast_first == two_paths)
    if two_paths:
        fast = leaves["params/backbone/fast/stage4_block1/conv_proj/kernel"].shape[-1]
        leaves[rules.FC] = swapped(leaves[rules.FC], len(leaves[rules.FC]) - fast)
    arrays, unknown = rules.to_keys(
        leaves,
        layout.rows,
        is_shifted=lambda leaf: not two_paths and _is_shifted(leaf, trunks[""]),
        is_flat=lambda leaf: not two_paths and _is_flat(leaf, trunks[""]),
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
    return Export(arrays, meta, unknown, _notes(model, info))


def write(export: Export, path: str) -> None:
    """Writes a `.pth` with `state_dict` and `meta`, or a `.safetensors`; a good file stays if not.

    Raises:
      InputError: another suffix.
    """
    tensor_files.write(path, export.arrays, meta=export.meta)


def _is_shifted(leaf: str, trunk: Trunk) -> bool:
    match = re.fullmatch(r"params/backbone/stage\d_block(\d+)/conv1/kernel", leaf)
    has_shift = trunk["temporal"] == "tsm"
    return bool(has_shift and match) and (int(match[1]) - 1) % trunk["shift_every"] == 0


def _is_flat(leaf: str, trunk: Trunk) -> bool:
    return trunk.is_flat and leaf.startswith("params/backbone/")


def _notes(model: nn.Module, info: Mapping[str, Any]) -> list[str]:
    """What mmaction2's config must say, and what it cannot."""
    notes = []
    if getattr(model.backbone, "shift_shortcut", False):
        notes.append(
            "the model's projection shortcuts read the shifted input, which mmaction2's do not: "
            "its numbers will differ"
        )
    if isinstance(model.neck, tpn.TPN):
        frames = info["preprocessing"]["num_frames"]
        notes.append(
            f"in mmaction2's config: neck.flow_type={model.neck.flow!r}, and scales of alphas="
            f"{model.neck.alphas!r} for {frames} frames"
        )
    return notes
