"""The argument of a recipe, what follows the colon of `--config FILE:ARGUMENT`, read and checked.

It is a list of `option=value` and at most one name of a row, separated by commas:

    configs/tpn_k400.py:depth=101,frames=32x2
    configs/tpn_k400.py:t6c.cascade
    configs/tpn_k400.py:t6c.cascade,init=scratch

A row is a name for values of options; options beside it win over it.
"""

import dataclasses
import re
from collections.abc import Mapping

from tempo.errors import InputError, nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a recipe.

    Attributes:
      default: its value where nothing says another.
      choices: the values it takes; empty if `pattern` says them.
      pattern: regular expression that a value matches as a whole.
      form: how such a value looks, for people.
    """

    default: str
    choices: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""

    def check(self, name: str, value: str) -> None:
        """Raises `InputError` for a value it does not take."""
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise InputError(f"{name} must be {self.form}; got {value!r}.")
        if self.choices and value not in self.choices:
            raise InputError(f"{name} must be one of {', '.join(self.choices)}; got {value!r}.")


@dataclasses.dataclass(frozen=True)
class Argument:
    """A read argument.

    Attributes:
      row: name of the row, "" if none was named.
      values: a value of every option.
      given: the options that were named, by the user, not by the row.
      named: those and the options that the row sets.
    """

    row: str
    values: Mapping[str, str]
    given: frozenset[str]
    named: frozenset[str]


def parse(arg: str | None, options: Mapping[str, Option], rows: Mapping[str, str]) -> Argument:
    """Reads an argument.

    Args:
      arg: what stands behind the colon; None or "" is all defaults.
      options: by name.
      rows: the options of each named row, as an argument of their own.

    Raises:
      InputError: an unknown option, row or value, with the nearest known one; or one given twice.
    """
    row, given = "", {}
    for part in (arg or "").split(",") if arg else ():
        name, is_option, value = (word.strip() for word in part.partition("="))
        if not part.strip():
            raise InputError(f"The recipe's argument {arg!r} has an empty part; drop a comma.")
        if not is_option:
            _check_row(name, options, rows)
            if row:
                raise InputError(f"A recipe takes one row; got {row!r} and {name!r}.")
            row = name
            continue
        if name not in options:
            raise InputError(f"The recipe has no option {name!r}.{nearest(name, options)}")
        if name in given:
            raise InputError(f"The recipe's option {name!r} is given twice.")
        options[name].check(f"The recipe's option {name!r}", value)
        given[name] = value
    of_row = dict(parse(rows[row], options, {}).values) if row else {}
    named = frozenset(given) | (parse(rows[row], options, {}).given if row else frozenset())
    defaults = {name: option.default for name, option in options.items()}
    return Argument(row, {**defaults, **of_row, **given}, frozenset(given), named)


def _check_row(name: str, options: Mapping[str, Option], rows: Mapping[str, str]) -> None:
    if name in options:
        choices = options[name].choices
        raise InputError(
            f"The recipe's option {name!r} needs a value: {name}="
            f"{'|'.join(choices) if choices else options[name].form}."
        )
    if name not in rows:
        raise InputError(f"The recipe has no row {name!r}.{nearest(name, {**rows, **options})}")
