"""Lists that other libraries read: mmaction2 and SlowFast.

mmaction2: `path label` (videos), `folder num_frames label` (folders of numbered frames; the number
may be left out), `path label label ...` (several labels). SlowFast: `path label`, or `path,label`,
with or without a first row of these two names. Labels are numbers from 0; where a list counts from
1, there is a class "0" without videos. Paths are below the folder of videos, or absolute and in it;
they may have spaces. Names of classes come from `--classes`; or else, if each label has one folder
and each folder one label, from the folders; or else they are the numbers.
"""

import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.classes import ClassTable
from tempo.data.readers.listing import NO_FACTS, Place, Request, Row, resolve

_MAX_CLASSES = 100_000
_HEADER = re.compile(r'"?(?:video_?)?(?:path|name|file|filename)"?[\s,]\s*"?label"?', re.IGNORECASE)
_NUMBERS = re.compile(r"(?:[\s,]+\d+)*$")
_TWO_NUMBERS = re.compile(r"(?:[\s,]+\d+){0,2}$")  # a folder's own name may end with another


def read_videos(request: Request) -> manifest.Scan:
    """mmaction2's `VideoDataset`."""
    return _read(request, _single, "'<path> <label>'")


def read_frames(request: Request) -> manifest.Scan:
    """mmaction2's `RawframeDataset`; the number of frames is the metadata `stated_num_frames`."""
    return _read(request, _frames, "'<folder> <number of frames> <label>'", True)


def read_multilabel(request: Request) -> manifest.Scan:
    """mmaction2's `VideoDataset` with several labels (`multi_class=True`)."""
    return _read(request, _several, "'<path> <label> <label> ...'", label_kind="multi")


def read_slowfast(request: Request) -> manifest.Scan:
    """SlowFast's `train.csv`, `val.csv` and `test.csv`."""
    return _read(request, _single, "'<path> <label>' or '<path>,<label>'")


def _single(numbers: list[str]) -> list[str] | None:
    return numbers if len(numbers) == 1 else None


def _frames(numbers: list[str]) -> list[str] | None:
    return numbers[-1:] or None


def _several(numbers: list[str]) -> list[str] | None:
    return numbers


def _read(
    request: Request,
    labels_of: Callable[[list[str]], list[str] | None],
    expected: str,
    frames: bool = False,
    *,
    label_kind: str = "single",
) -> manifest.Scan:
    root = os.path.abspath(request.root)
    rows = []
    for file in request.lists(what="its lists"):
        for nth, (number, line) in enumerate(text.lines(file.path)):
            if nth == 0 and _HEADER.fullmatch(line):
                continue
            where = (file.path, number)
            path, numbers = _cut(line, _TWO_NUMBERS if frames else _NUMBERS)
            labels = labels_of(numbers)
            if not path or labels is None:
                text.fail(where, f"expected {expected}; found {line!r}.")
            path = _below(path, root, where)
            label = tuple(sorted({int(cell) for cell in labels}))
            facts = _stated(int(numbers[0])) if frames and len(numbers) == 2 else NO_FACTS
            rows.append(Row(path, file.split, label, (Place(path),), where, "", facts))
    table = request.class_list or _name_classes(rows)
    for row in rows:
        for label in row.label:
            table.number(str(label), row.where)
    if label_kind == "single":
        rows = [row._replace(label=row.label[0]) for row in rows]
    return resolve(request, table.names, rows, frames=frames, label_kind=label_kind)


@functools.cache
def _stated(num_frames: int) -> Mapping[str, Any]:
    """Shared by all rows of one number, of which there are many more than numbers."""
    return {manifest.STATED_FRAMES: num_frames}


def _cut(line: str, numbers: re.Pattern) -> tuple[str, list[str]]:
    """The path of a line, and the numbers after it."""
    at = numbers.search(line).start()
    return line[:at].strip().strip('"'), line[at:].replace(",", " ").split()


def _below(path: str, root: str, where: text.Where) -> str:
    """A path as it is below the folder of videos."""
    if not os.path.isabs(path):
        return os.path.normpath(path).replace(os.sep, "/")
    relative = os.path.relpath(path, root)
    if _is_outside(relative):  # but for links in either
        folder, name = os.path.split(path)
        relative = os.path.relpath(os.path.join(_real(folder), name), _real(root))
    if _is_outside(relative):
        text.fail(where, f"{path!r} is not below --videos {root!r}.")
    return relative.replace(os.sep, "/")


def _is_outside(relative: str) -> bool:
    return relative.split(os.sep)[0] == os.pardir


_real = functools.lru_cache(1024)(os.path.realpath)


def _name_classes(rows: Sequence[Row]) -> ClassTable:
    """Classes named as the folders of their videos where these agree, or else as numbers."""
    folders: dict[int, set[str]] = {}
    for row in rows:
        for label in row.label:
            folders.setdefault(label, set()).add(os.path.basename(os.path.dirname(row.id)))
    count = max(folders, default=-1) + 1
    if count > _MAX_CLASSES:
        row = next(row for row in rows if count - 1 in row.label)
        text.fail(row.where, f"label {count - 1} is too large; labels are numbers from 0.")
    numbers = [str(label) for label in range(count)]
    if len(folders) < count or any(len(found) != 1 for found in folders.values()):
        return ClassTable(numbers, "the lists")
    names = [next(iter(folders[label])) for label in range(count)]
    if len(set(names)) < count or not all(names):
        return ClassTable(numbers, "the lists")
    return ClassTable(names, "the lists")
