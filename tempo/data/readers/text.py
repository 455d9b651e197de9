"""Annotation files as rows with line numbers, and the one-line errors that name a bad line.

All files are read as UTF-8 with or without a byte order mark, with any kind of line end; blank
lines are skipped. Nothing here knows a dataset.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from tempo.errors import InputError

SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""The words that folders, columns and file names have for each split."""
SPLITS = tuple(dict.fromkeys(SPLIT_WORDS.values()))
"""The splits, in record order."""

_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(SPLIT_WORDS)})")  # not the end of "latest", "interval"
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")

Where = tuple[str, int]
"""A line: the file's path and its number, counted from 1."""


def fail(where: Where, problem: str) -> NoReturn:
    """Raises `InputError` as `file:line: problem`."""
    raise InputError(f"{where[0]}:{where[1]}: {problem}")


def read(path: str) -> str:
    """The whole text; `InputError` if the file is not there or not UTF-8 text."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            return f.read()
    except UnicodeDecodeError:
        raise InputError(f"{path!r} is not UTF-8 text; give the plain text file.") from None
    except OSError as error:
        raise InputError(f"Cannot read {path!r}: {error.strerror}.") from None


def lines(path: str) -> Iterator[tuple[int, str]]:
    """Number and stripped text of each line that is not blank."""
    # Not splitlines(): it also cuts at characters that may stand inside a name, such as U+2028.
    for number, line in enumerate(io.StringIO(read(path), newline=None), start=1):
        if text := line.strip():
            yield number, text


def rows(path: str, *, strict: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Number and cells (stripped) of each row of a comma-separated file that is not blank.

    Args:
      path: the file.
      strict: whether a quote in the wrong place is an error, or read as well as it can be.
    """
    content = io.StringIO(read(path), newline="")
    reader = csv.reader(content, strict=strict, skipinitialspace=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fail((path, reader.line_num), f"expected comma-separated cells; {error}.")
        cells = [cell.strip() for cell in cells]
        if any(cells):
            yield reader.line_num, cells


def table(
    path: str, columns: Sequence[str], *, optional: Sequence[str] = (), strict: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Number and wanted cells of each row of a comma-separated file whose first row names them.

    Args:
      path: the file.
      columns: names that must be there.
      optional: further names; their cells are empty where the file has no such column.
      strict: as in `rows`.

    Yields:
      the line's number, and the cells of `columns` and `optional` in that order.
    """
    found = rows(path, strict=strict)
    number, header = next(found, (1, []))
    names = [name.lower() for name in header]
    wanted = ", ".join(columns)
    if absent := [name for name in columns if name not in names]:
        told = ",".join(header[:8]) or "nothing"
        fail((path, number), f"expected a row of column names with {wanted}; "
             f"{absent[0]!r} is not in {told!r}.")  # fmt: skip
    places = [names.index(n) if n in names else len(names) for n in (*columns, *optional)]
    for number, cells in found:
        if len(cells) != len(names):
            fail((path, number), f"expected {len(names)} cells ({','.join(header)}); "
                 f"found {len(cells)}.")  # fmt: skip
        cells.append("")
        yield number, [cells[place] for place in places]


def read_json(path: str) -> Any:
    """The content of a JSON file; `InputError` names the line that is not JSON."""
    try:
        return json.loads(read(path))
    except json.JSONDecodeError as error:
        fail((path, error.lineno), f"not JSON: {error.msg}.")


def integer(text: str, where: Where, what: str) -> int:
    """A whole number of at least 0; also written as `5.0`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value < 0 or not value.is_integer():
        fail(where, f"expected {what} (a whole number); found {text!r}.")
    return int(value)


def seconds(text: str, where: Where, what: str) -> float:
    """A time of at least 0 s, as seconds or as `hours:minutes:seconds`."""
    try:
        value = 0.0
        for part in text.split(":"):
            value = 60 * value + float(part)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        fail(where, f"expected {what} (seconds or h:m:s); found {text!r}.")
    return value


def segment(start: str, end: str, where: Where) -> tuple[float, float]:
    """Start and end in seconds; the end must come later."""
    start_s = seconds(start, where, "a start time")
    end_s = seconds(end, where, "an end time")
    if end_s <= start_s:
        fail(where, f"expected an end after the start; found {start} to {end}.")
    return start_s, end_s


def split_of(path: str) -> str:
    """The split that a file name tells (`train`, `val` or `test`); empty if none or several."""
    words = _SPLIT.findall(_CAPITAL.sub(r"_\1", os.path.basename(path)).lower())
    found = {SPLIT_WORDS[word] for word in words}
    return found.pop() if len(found) == 1 else ""
