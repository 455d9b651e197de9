"""Slots of a network: a name of a table, or a mapping with the name and options of that row."""

import difflib
import functools
import inspect
import numbers
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tempo.errors import InputError

Slot = str | Mapping[str, Any]
"""A row of a table: its name, or `{"name": ..., **options}`."""


def name_of(slot: Slot) -> str:
    """The name in a slot; `none` where a mapping has none."""
    return slot if isinstance(slot, str) else slot.get("name", "none")


def make(
    slot: Slot, table: Mapping[str, Callable | None], what: str, **given: Any
) -> Callable | None:
    """The row that a slot names, with its options bound; None for a row that is None.

    An option is a parameter of the row that has a default and is not given by the network.

    Args:
      slot: of a config.
      table: rows by name: functions or module classes.
      what: the kind of slot and where the user finds it, such as
        `attention (config.backbone.attention)`.
      **given: bound too, where the row has a parameter of that name; no options.

    Raises:
      InputError: an unknown name (with those there are) or option, or a value of another kind
        than the option's default, or a number below 1 (0 where that is the default).
    """
    if not isinstance(slot, str | Mapping):
        raise InputError(f"{what} must be a name or a mapping with one; got {slot!r}.")
    name = str(name_of(slot))
    if name not in table:
        raise InputError(f"Unknown {what} {name!r}.{_near(name, table)}")
    row = table[name]
    options = {} if isinstance(slot, str) else {k: v for k, v in slot.items() if k != "name"}
    parameters = {} if row is None else inspect.signature(row).parameters
    allowed = [
        p.name
        for p in parameters.values()
        if p.default is not p.empty and p.name not in ("parent", "name", *given)
    ]
    for key, value in options.items():
        if key not in allowed:
            raise InputError(f"{what} {name!r} has no option {key!r}.{_near(key, allowed)}")
        is_slot = parameters[key].annotation == Slot  # of its own table, which checks it
        if not (is_slot and isinstance(value, Mapping)):
            _check_option(f"{what} {name!r}: {key}", value, parameters[key].default)
    if row is None:
        return None
    given = {k: v for k, v in given.items() if k in parameters}
    return functools.partial(row, **given, **options)


def _check_option(where: str, value: Any, default: Any) -> None:
    """Raises `InputError` unless an option is of its default's kind; numbers are at least 1."""
    if isinstance(default, bool):
        is_fit, words = isinstance(value, bool), "True or False"
    elif isinstance(default, int):
        least = min(1, default)
        is_fit = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        is_fit, words = is_fit and value >= least, f"a whole number of at least {least}"
    elif isinstance(default, str):
        is_fit, words = isinstance(value, str), "a name"
    else:
        return
    if not is_fit:
        raise InputError(f"{where} must be {words}; got {value!r}.")


def _near(name: str, choices: Collection[str]) -> str:
    """The end of a message: what is near, and all there is."""
    if not choices:
        return " There are none."
    near = difflib.get_close_matches(name, choices, n=1)
    return f"{f' Did you mean {near[0]!r}?' if near else ''} There are: {', '.join(choices)}."
