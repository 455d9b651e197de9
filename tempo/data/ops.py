"""Ops from the rows of a config; host and device ops are made the same way."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tempo.errors import InputError, check_keys, lookup
from tempo.types import Array, Batch

Row = str | Mapping[str, Any]
"""An op of a table: its name, or `{"name": ..., **arguments}`."""


DeviceOp = Callable[[Array, Batch], Batch]
"""A pure `f(key, batch) -> batch` inside the compiled step."""


def name_of(row: Row) -> str | None:
    """The name in a row; None if it has none."""
    return row if isinstance(row, str) else row.get("name")


def make(row: Row, table: Mapping[str, Callable], what: str, **provided: Any) -> Any:
    """The op that a row asks for.

    Args:
      row: of a config.
      table: factories by name.
      what: kind of op, for messages.
      **provided: arguments for factories that take them, where the row gives none.

    Raises:
      InputError: an unknown op, an unknown or missing argument.
    """
    name = name_of(row)
    factory = lookup(table, name, what)
    arguments = {} if isinstance(row, str) else {k: v for k, v in row.items() if k != "name"}
    check_keys(f"{what} {name!r}", arguments, factory)
    parameters = inspect.signature(factory).parameters
    arguments = {k: v for k, v in provided.items() if k in parameters} | arguments
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in arguments]
    if missing:
        raise InputError(f"{what.capitalize()} {name!r} needs {', '.join(missing)}.")
    # A config that went through JSON has lists where ops want tuples.
    return factory(**{k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()})


def check_range(op: str, name: str, value: float, most: float, least: float = 0.0) -> None:
    """Raises `InputError` unless an op's argument lies in [least, most]."""
    if not least <= value <= most:
        raise InputError(f"{op}: {name} must be {least:g} to {most:g}; got {value:g}.")
