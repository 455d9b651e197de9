"""The errors a user sees as one line: they name the value, the limit and the remedy."""

import difflib
import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any


class InputError(ValueError):
    """Bad input (config, file, flag), found before any long work.

    `tempo.main` and the other commands print it as a single line and exit with status 2; from
    Python it is a plain `ValueError`.
    """


class RunError(RuntimeError):
    """A run that cannot go on, for a reason its message says whole. `tempo.main` exits with 1."""


class RecordError(RunError):
    """A record that cannot be read or decoded; says which."""


class NonFiniteError(RunError):
    """Numbers that stopped being finite: a run that diverged.

    Attributes:
      bad_step: the checkpoint of this step, if there is one, is already spoilt; None if unknown.
    """

    def __init__(self, message: str, bad_step: int | None = None):
        super().__init__(message)
        self.bad_step = bad_step


def nearest(name: str, choices: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or the sorted choices if none is close; made to end a message."""
    choices = sorted(map(str, choices))
    close = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Choose from: {', '.join(choices)}."


def lookup(table: Mapping[str, Any], name: str, what: str) -> Any:
    """`table[name]`, or an `InputError` that says what `name` was meant to be and what is near."""
    if name not in table:
        raise InputError(f"Unknown {what} {name!r}.{nearest(name, table)}")
    return table[name]


def is_whole(value: Any, at_least: int = 1) -> bool:
    """Whether a value is a whole number (True is none) of at least so much."""
    is_number = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_number and value >= at_least


def check_whole(where: str, value: Any, at_least: int = 1) -> None:
    """Raises `InputError` unless a value is a whole number of at least so much.

    Args:
      where: how the user knows the place, such as `config.total_steps`.
      value: found there.
      at_least: the smallest that will do.
    """
    if not is_whole(value, at_least):
        raise InputError(f"{where} must be a whole number, {at_least} or more; got {value!r}.")


def check_keys(
    where: str, given: Iterable[str], function: Callable[..., Any], *, also: Iterable[str] = ()
) -> None:
    """Raises `InputError` if `given` holds a key that `function` has no parameter for.

    Args:
      where: how the user knows the place, such as `config.optim`.
      given: the keys found there.
      function: the callee whose signature lists the allowed keys: its keyword-only parameters, or
        all of them if it has none (`parent` and `name` of a linen module are not the user's).
      also: further keys that are allowed.
    """
    parameters = inspect.signature(function).parameters.values()
    allowed = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]
    if not allowed:
        allowed = [p.name for p in parameters if p.name not in ("self", "parent", "name")]
    allowed += also
    for key in given:
        if key not in allowed:
            raise InputError(f"{where} has no key {key!r}.{nearest(key, allowed)}")
