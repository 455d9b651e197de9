"""What values the fields of a residual network can have: whole numbers, odd extents, yes or no."""

import numbers
from collections.abc import Callable, Iterable
from typing import Any

from tempo.errors import InputError


def is_whole(value: Any, at_least: int = 1) -> bool:
    """Whether a value is a whole number (True is none) of at least so much."""
    is_number = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_number and value >= at_least


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


_Check = tuple[Callable[[Any], bool], str]
_COUNT: _Check = (is_whole, "a whole number of at least 1")
_SIZE: _Check = (lambda value: is_whole(value, 0), "a whole number of at least 0")
_EXTENT: _Check = (_is_odd, "an odd whole number")
_SWITCH: _Check = (lambda value: isinstance(value, bool), "True or False")

FIELDS: dict[str, _Check] = {
    **dict.fromkeys(("width", "shift_every", "shift_div"), _COUNT),
    **dict.fromkeys(("stem_stride_t", "pool1_stride_t", "pool2_stride_t"), _COUNT),
    **dict.fromkeys(("expansion", "stem_inner"), _SIZE),
    **dict.fromkeys(("stem_kernel_t", "pool1_kernel_t"), _EXTENT),
    **dict.fromkeys(("stem_pool", "pool_stem", "shift_shortcut"), _SWITCH),
    **dict.fromkeys(("zero_init", "partial_norm"), _SWITCH),
}
"""By field of `resnet.ResNet`: whether a value can be, and what can."""

PER_STAGE: dict[str, _Check] = {
    # A stage of 0 blocks hands on what it gets.
    "depths": _SIZE,
    "strides": _COUNT,
    "strides_t": _COUNT,
    "kernels_t": (_are_odd, "an odd whole number, or a list of such"),
    "nonlocal_blocks": (_are_places, "a list of different whole numbers"),
}
"""The same for each of the four entries of a field that has one per stage."""


def check(network: Any) -> None:
    """Raises `InputError` if a field of a `resnet.ResNet` has a value that it cannot have."""
    for field, (is_fit, words) in FIELDS.items():
        value = getattr(network, field)
        if not is_fit(value):
            raise InputError(f"backbone.{field} must be {words}; got {value!r}.")
    for field, (is_fit, words) in PER_STAGE.items():
        value = getattr(network, field)
        if not isinstance(value, list | tuple) or len(value) != 4:
            raise InputError(f"backbone.{field} needs one entry per stage, 4; got {value!r}.")
        for stage, entry in enumerate(value):
            if not is_fit(entry):
                raise InputError(
                    f"backbone.{field} must have {words} per stage; got {entry!r} for "
                    f"res{stage + 2}."
                )
    for stage, (places, depth) in enumerate(
        zip(network.nonlocal_blocks, network.depths, strict=True)
    ):
        for place in places:
            if place >= depth:
                raise InputError(
                    f"backbone.nonlocal_blocks has block {place} in res{stage + 2}, whose "
                    f"{depth} blocks are 0 to {depth - 1}; give those of the stage."
                )


def check_whole(network: Any, fields: Iterable[str]) -> None:
    """Raises `InputError` if one of these fields is no whole number."""
    for field in fields:
        value = getattr(network, field)
        if not is_whole(value, 0):
            raise InputError(f"backbone.{field} must be a whole number; got {value!r}.")
