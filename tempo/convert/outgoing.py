"""A checkpoint of ours becomes one of mmaction2: the same rows, read the other way."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tempo import pretrained, trees
from tempo.convert import mmaction2, mmaction2_limits, recognise, rules, tensor_files
from tempo.convert.source import swapped
from tempo.convert.trunk import Trunk
from tempo.errors import InputError, lookup
from tempo.layers import slots

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
    mmaction2_limits.check(model)
    leaves = _without_biases({k: np.asarray(v) for k, v in trees.named(variables).items()})
    trunks = recognise.trunks_of(model.backbone)
    two_paths = len(trunks) > 1
    layout = next(x for x in target.layouts if x.is_fast_first == two_paths)
    if two_paths:
        fast = leaves["params/backbone/fast/stage4_block1/conv_proj/kernel"].shape[-1]
        leaves[rules.FC] = swapped(leaves[rules.FC], len(leaves[rules.FC]) - fast)
    if rules.FC in leaves:  # mmaction2's classifiers always have a bias
        zeros = np.zeros(leaves[rules.FC].shape[1], np.float32)
        leaves.setdefault(rules.FC.replace("kernel", "bias"), zeros)
    arrays, unknown = rules.to_keys(
        leaves,
        layout.rows,
        may_name=lambda row, leaf: (
            row[2] != "shifted_conv" if two_paths else _may_name(row, leaf, trunks[""])
        ),
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
    return Export(arrays, meta, unknown, mmaction2_limits.notes(model, info))


def write(export: Export, path: str) -> None:
    """Writes a `.pth` with `state_dict` and `meta`, or a `.safetensors`; a good file stays if not.

    Raises:
      InputError: another suffix.
    """
    tensor_files.write(path, export.arrays, meta=export.meta)


def _may_name(row: rules.Row, leaf: str, trunk: Trunk) -> bool:
    """Whether a row that names a wrapped block or convolution finds it wrapped, or else plain."""
    match = re.fullmatch(r"\w+/backbone/stage(\d)_block(\d+)/(.+)", leaf)
    source, _, kind = row
    if not match or not source.startswith("backbone.layer"):
        return True
    stage, block = int(match[1]) - 1, int(match[2]) - 1
    has_module = block % trunk["shift_every"] == 0 and slots.name_of(trunk["temporal"])
    if kind == "shifted_conv" and has_module != "tsm":
        return False
    # 3-D blocks of mmaction2 hold their non-local block themselves.
    has_nonlocal = trunk.is_flat and block in trunk["nonlocal_blocks"][stage]
    is_wrapped = has_module == "tam" or has_nonlocal
    return is_wrapped == (".block." in source) or ".tam." in source


def _is_flat(leaf: str, trunk: Trunk) -> bool:
    """Convolutions of non-local blocks are 3-D in 2-D networks too."""
    return trunk.is_flat and leaf.startswith("params/backbone/") and "_nonlocal/" not in leaf


def _without_biases(leaves: rules.Arrays) -> rules.Arrays:
    """A bias that a norm follows as a part of the norm's mean, for there it has no other place."""
    out = dict(leaves)
    for name, bias in leaves.items():
        if name.endswith("_nonlocal/out/bias"):
            mean = name.replace("params/", "batch_stats/").replace("/out/bias", "/norm/mean")
            out[mean] = out[mean] - bias
            del out[name]
    return out
