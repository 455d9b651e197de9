"""Whether two models score the same with the same weights: what the shapes of weights do not say.

The activation, the fold of a shift or the frames that a pathway sees leave all shapes alike.
"""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from tempo.layers import attention, block_conv, frame_selection, temporal
from tempo.layers import mtconv as mtconv_lib
from tempo.models import create, mtnet
from tempo.models.recognizer import Recognizer

_PARTS = ("backbone", "neck", "head")

# Arguments of `create` that say how a network is computed, not which one it is.
_HOW = ("dtype", "lowering", "norm_groups", "norm_group_size", "remat")

# Fields, and options of slots, that only count in training; and a head's two ways to one score.
_TRAINING = (
    "aux_dropout_prob",
    "dropout_prob",
    "fully_convolutional",
    "partial_norm",
    "zero_init",
)

# Options of slots that, as `_HOW`, say how it is computed.
_HOW_OPTIONS = ("unroll",)

# Rows of the slots, and of what is in them: an option that has its default says nothing.
_SLOTS = {
    "attention": attention.ATTENTION,
    "conv_b": block_conv.CONV_B,
    "frames": frame_selection.FRAMES,
    "mtconv": {"mtconv": mtconv_lib.MTConv},
    "stem_frames": mtnet.STEM_FRAMES,
    "temporal": temporal.TEMPORAL,
}

# Fields of a backbone that say how something is, by the field that says whether it is there.
_OF = {
    "sr_layers": ("cell",),
    "temporal": ("shift_div", "shift_shortcut", "shift_every"),
    "nonlocal_blocks": ("nonlocal_mode", "nonlocal_pool"),
}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys of a config by which two models differ in evaluation, and their two values.

    Presets, variants and defaults count as what they stand for.

    Args:
      there: arguments of `tempo.models.create`.
      here: the same of the other one.

    Raises:
      InputError: one of them cannot be made.
    """
    old, new = _described(there), _described(here)
    # Of parts of another kind nothing else is worth saying.
    other = [f"{part}." for part in _PARTS if old.get(part) != new.get(part)]
    unused = _unused(old) | _unused(new)
    return {
        key: (old.get(key), new.get(key))
        for key in {**old, **new}
        if old.get(key) != new.get(key) and key not in unused and not key.startswith(tuple(other))
    }


def _described(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a model by its key in a config, and the class of each part."""
    model: Recognizer = create(2, **{k: v for k, v in arguments.items() if k not in _HOW})
    found = {"norm": arguments.get("norm", "batch")}
    for part in _PARTS:
        module = getattr(model, part)
        found[part] = None if module is None else type(module).__name__
        for field in () if module is None else dataclasses.fields(module):
            # What has no default is given by `create`, for the parts to make their layers with.
            defaults = (field.default, field.default_factory)
            is_given = all(default is dataclasses.MISSING for default in defaults)
            if not is_given and field.name not in ("parent", "name", *_TRAINING):
                found[f"{part}.{field.name}"] = _plain(getattr(module, field.name), field.name)
    return found


def _unused(described: Mapping[str, Any]) -> set[str]:
    """Keys that are about something that the model has not."""
    if described.get("backbone.slow") or described.get("backbone.fast"):
        return set()  # a pathway may have for itself what the two do not share
    absent = [own for own in _OF if described.get(f"backbone.{own}") in ("none", [[]] * 4, 0)]
    return {f"backbone.{key}" for own in absent for key in _OF[own]}


def _plain(value: Any, field: str = "") -> Any:
    """As JSON has it; of a slot what is not its row's default, and a name alone is that name."""
    if isinstance(value, Mapping):
        usual = _defaults(field, value)
        plain = {k: _plain(v, k) for k, v in value.items() if k not in (*_TRAINING, *_HOW_OPTIONS)}
        plain = {k: v for k, v in plain.items() if k not in usual or v != usual[k]}
        return plain["name"] if set(plain) == {"name"} else plain
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value


def _defaults(field: str, slot: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a slot of that field has if none is given."""
    table = _SLOTS.get(field, {})
    row = table.get(field if field in table else slot.get("name", "none"))
    parameters = {} if row is None else inspect.signature(row).parameters
    return {k: _plain(p.default, k) for k, p in parameters.items() if k != "name"}
