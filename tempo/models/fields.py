"""What values the fields of a backbone can have: whole numbers, odd extents, yes or no."""

import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tempo.errors import InputError, is_whole


def is_number(value: Any) -> bool:
    """Whether a value is a number (True is none) that is finite."""
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _is_odd(value: Any) -> bool:
    return is_whole(value) and value % 2 == 1


def _are_odd(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(map(_is_odd, values))


def _are_places(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and all(is_whole(place, 0) for place in value)
        and len(set(value)) == len(value)
    )


Check = tuple[Callable[[Any], bool], str]
"""Whether a value will do, and what would, in words."""
COUNT: Check = (is_whole, "a whole number of at least 1")
SIZE: Check = (lambda value: is_whole(value, 0), "a whole number of at least 0")
EXTENT: Check = (_is_odd, "an odd whole number")
SWITCH: Check = (lambda value: isinstance(value, bool), "True or False")

FIELDS: dict[str, Check] = {
    **dict.fromkeys(("width", "shift_every", "shift_div"), COUNT),
    **dict.fromkeys(("stem_stride_t", "pool1_stride_t", "pool2_stride_t"), COUNT),
    **dict.fromkeys(("expansion", "stem_inner"), SIZE),
    **dict.fromkeys(("stem_kernel_t", "pool1_kernel_t"), EXTENT),
    **dict.fromkeys(("stem_pool", "pool_stem", "shift_shortcut"), SWITCH),
    **dict.fromkeys(("zero_init", "partial_norm"), SWITCH),
}
"""By field of `resnet.ResNet`: whether a value can be, and what can."""

PER_STAGE: dict[str, Check] = {
    # A stage of 0 blocks hands on what it gets.
    "depths": SIZE,
    "strides": COUNT,
    "strides_t": COUNT,
    "kernels_t": (_are_odd, "an odd whole number, or a list of such"),
    "nonlocal_blocks": (_are_places, "a list of different whole numbers"),
}
"""The same for each of the four entries of a field that has one per stage."""


def check(
    network: Any,
    fields: Mapping[str, Check] = FIELDS,
    per_stage: Mapping[str, Check] = PER_STAGE,
) -> None:
    """Raises `InputError` if a field of a backbone has a value that it cannot have.

    Args:
      network: a `resnet.ResNet`, or what has the fields below.
      fields: as `FIELDS`.
      per_stage: as `PER_STAGE`.
    """
    for field, (is_fit, words) in fields.items():
        value = getattr(network, field)
        if not is_fit(value):
            raise InputError(f"backbone.{field} must be {words}; got {value!r}.")
    for field, (is_fit, words) in per_stage.items():
        value = getattr(network, field)
        if not isinstance(value, list | tuple) or len(value) != 4:
            raise InputError(f"backbone.{field} needs one entry per stage, 4; got {value!r}.")
        for stage, entry in enumerate(value):
            if not is_fit(entry):
                raise InputError(
                    f"backbone.{field} must have {words} per stage; got {entry!r} for "
                    f"res{stage + 2}."
                )
    if "nonlocal_blocks" in per_stage:
        _check_places(network)


def _check_places(network: Any) -> None:
    """Raises `InputError` if a non-local block stands behind a block that there is not."""
    for stage, (places, depth) in enumerate(
        zip(network.nonlocal_blocks, network.depths, strict=True)
    ):
        for place in places:
            if place >= depth:
                raise InputError(
                    f"backbone.nonlocal_blocks has block {place} in res{stage + 2}, whose "
                    f"{depth} blocks are 0 to {depth - 1}; give those of the stage."
                )


def check_expansion(expansion: Any, widths: Sequence[int]) -> None:
    """Raises `InputError` unless so many times the channels of every stage, cut off, are some."""
    if not is_number(expansion) or expansion <= 0:
        raise InputError(
            f"backbone.expansion must be a number above 0, such as 2.25; got {expansion!r}."
        )
    for stage, width in enumerate(widths):
        if int(expansion * width) < 1:
            raise InputError(
                f"backbone.expansion={expansion!r} leaves the blocks of res{stage + 2} no "
                f"channels; it must be at least 1 / {width}."
            )


def check_clips(x: Any, network: str) -> None:
    """Raises `InputError` if clips `[B,T,H,W,C]` for a network have no frames or pixels."""
    if 0 in x.shape[1:4]:
        raise InputError(
            f"Clips of {'x'.join(map(str, x.shape[1:4]))} (frames, height, width) leave the "
            f"stages of {network} nothing to see; each must be at least 1."
        )


def check_whole(network: Any, fields: Iterable[str]) -> None:
    """Raises `InputError` if one of these fields is no whole number."""
    for field in fields:
        value = getattr(network, field)
        if not is_whole(value, 0):
            raise InputError(f"backbone.{field} must be a whole number; got {value!r}.")
