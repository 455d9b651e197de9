"""Ops from the rows of a config; host and device ops are made the same way."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tempo.errors import InputError, check_keys, lookup
from tempo.types import Array, Batch

Row = str | Mapping[str, Any]
"""An op of a table: its name, or `{"name": ..., **arguments}`."""

FLOATS = ("float32", "bfloat16")
"""What a network takes."""

NO_MOTION = 128.0
"""Of stored flow, whose values are 0-255."""

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
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        return factory(**arguments)
    except TypeError as error:  # a word where a number belongs, or a number for a pair
        given = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
        raise InputError(f"{what.capitalize()} {name!r} cannot take {given}: {error}.") from None


def check_range(op: str, name: str, value: float, most: float, least: float = 0.0) -> None:
    """Raises `InputError` unless an op's argument lies in [least, most]."""
    if not least <= value <= most:
        raise InputError(f"{op}: {name} must be {least:g} to {most:g}; got {value:g}.")


def check_output(op: str, dtype: str, **per_channel: Sequence[float]) -> None:
    """Raises `InputError` unless an op gives floats, and has one value for each of R, G and B."""
    if dtype not in FLOATS:
        raise InputError(f"{op}: dtype must be {' or '.join(FLOATS)}; got {dtype!r}.")
    for name, values in per_channel.items():
        if len(values) != 3:
            raise InputError(f"{op}: {name} needs 3 values (R, G, B); got {tuple(values)}.")


def check_std(op: str, std: Sequence[float], flow_std: float) -> None:
    """Raises `InputError` unless an op can divide frames and flow by these."""
    if min(*std, flow_std) <= 0:
        raise InputError(f"{op}: std must be above 0; got {tuple(std)} and {flow_std:g} of flow.")


def normalized_flow(batch: Batch, mean: float, std: float, dtype: str) -> Batch:
    """`{"flow": (flow - mean) / std}` as `dtype`, computed in float32; {} of a batch without."""
    if "flow" not in batch:
        return {}
    flow = (batch["flow"].astype("float32") - mean) * (1 / std)
    return {"flow": flow.astype(dtype)}
