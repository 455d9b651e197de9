"""Class names in label order: lists that fix it, names as rows, and the labels of mirrored videos.

A list of classes is a text file with one name per line, `<number> <name>` or `<name>,<number>` (or
`<number>,<name>`), with or without a first row of column names, or a JSON object `{name: number}`
or list of names. Numbers count from 0 or from 1.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from tempo.data.readers import text
from tempo.errors import InputError

_NUMBER_FIRST = re.compile(r"(\d+)\s*[,;\s]\s*(\S.*)")
_NUMBER_LAST = re.compile(r"(.*\S)\s*[,;\t]\s*(\d+)")


class ClassTable:
    """Rows of class names.

    A name is found as written, or else with `_` for spaces and in any case: folders and lists of
    one dataset differ in that.

    Attributes:
      names: in label order.
      source: what to call the list in an error.
    """

    def __init__(self, names: Sequence[str], source: str):
        self.names = tuple(names)
        self.source = source
        self._rows = {name: row for row, name in enumerate(self.names)}
        if len(self._rows) < len(self.names):
            twice = next(n for i, n in enumerate(self.names) if self._rows[n] != i)
            raise InputError(f"{source} has the class {twice!r} twice; each name must be unique.")
        folded: dict[str, list[int]] = {}
        for name, row in self._rows.items():
            folded.setdefault(fold(name), []).append(row)
        self._folded = {name: rows[0] for name, rows in folded.items() if len(rows) == 1}

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int | None:
        """The row of a name, or None."""
        row = self._rows.get(name)
        return self._folded.get(fold(name)) if row is None else row

    def row(self, name: str, where: text.Where) -> int:
        """The row of a name; `InputError` with the line and the nearest name if there is none."""
        row = self.find(name)
        if row is None:
            close = difflib.get_close_matches(name, self.names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            text.fail(where, f"class {name!r} is not in {self.source}.{hint}")
        return row

    def number(self, cell: str, where: text.Where) -> int:
        """A label given as a number from 0; `InputError` if it is none of these rows."""
        row = text.integer(cell, where, "a label")
        if row >= len(self.names):
            text.fail(
                where, f"label {row} is not in {self.source}, which has 0 to {len(self.names) - 1}."
            )
        return row


def fold(name: str) -> str:
    """A class name as it is compared: spaces for underscores, lower case, no quotes, NFC."""
    name = unicodedata.normalize("NFC", name)
    return " ".join(name.replace("_", " ").replace('"', "").lower().split())


def alphabetical(names: Iterable[str], source: str) -> ClassTable:
    """The table of the names that were met, in alphabetical order."""
    return ClassTable(sorted(set(names)), source)


def read_list(path: str) -> ClassTable:
    """The classes of a file in one of the forms of this module.

    Raises:
      InputError: an empty file, a name twice, or numbers that do not count from 0 or 1.
    """
    if path.lower().endswith(".json"):
        content = text.read_json(path)
        if isinstance(content, list) and all(isinstance(name, str) for name in content):
            return ClassTable(content, path)
        if not isinstance(content, dict):
            raise InputError(f"{path!r} must hold {{name: number}} or a list of names.")
        pairs = [(str(number), name) for name, number in content.items()]
        return ClassTable(_in_order(pairs, path), path)
    lines = [line for _, line in text.lines(path)]
    if not lines:
        raise InputError(f"{path!r} is empty; it must list the classes, one per line.")
    for pattern, number, name in ((_NUMBER_FIRST, 1, 2), (_NUMBER_LAST, 2, 1)):
        for first in (0, 1):  # a row of column names may come first
            found = [pattern.fullmatch(line) for line in lines[first:]]
            if found and all(found):
                pairs = [(m[number], m[name].strip('"')) for m in found]
                return ClassTable(_in_order(pairs, path), path)
    return ClassTable(lines, path)


def _in_order(pairs: Iterable[tuple[str, str]], path: str) -> list[str]:
    """Names by their numbers."""
    pairs = list(pairs)
    try:
        ordered = sorted((int(number), name) for number, name in pairs)
    except ValueError:
        raise InputError(f"{path!r}: every class needs a whole number.") from None
    numbers = [number for number, _ in ordered]
    if not numbers or numbers not in (
        list(range(len(numbers))),
        list(range(1, len(numbers) + 1)),
    ):
        raise InputError(
            f"{path!r}: the numbers must be 0 to {len(pairs) - 1} (or 1 to {len(pairs)}), each "
            "once."
        )
    return [name for _, name in ordered]


_SIDES = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}


def mirror_labels(names: Sequence[str]) -> tuple[int, ...] | None:
    """The label of each class's mirrored videos: classes that name left and right change places.

    A name whose counterpart is no class keeps its label. In the published order of
    Something-Something V1 the pairs are (2, 4), (30, 41), (52, 66), and (86, 87), (93, 94),
    (166, 167) in that of V2. None if there is no pair.
    """
    rows = {name: row for row, name in enumerate(names)}
    swapped = (re.sub(r"\b(left|right|Left|Right)\b", lambda m: _SIDES[m[1]], n) for n in names)
    labels = tuple(rows.get(name, row) for row, name in enumerate(swapped))
    return None if labels == tuple(range(len(names))) else labels
