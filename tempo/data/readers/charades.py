"""Charades (Sigurdsson et al., arXiv 1604.01753): several of 157 labels per video.

Lists: `Charades_v1_train.csv` and `Charades_v1_test.csv` with, among others, the columns `id` and
`actions` (`c092 11.90 21.20;c147 0.00 12.60`, or nothing). Classes: `Charades_v1_classes.txt` with
lines `c000 Holding some clothes`. Videos: `<id>.mp4`. A video has every label that it has at any
time.
"""

import re

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.classes import ClassTable
from tempo.data.readers.listing import Place, Request, Row, resolve
from tempo.errors import InputError

_CLASS = re.compile(r"c(\d{3})\s+(\S.*)")
_ACTION = re.compile(r"c(\d{3}) (\d+(?:\.\d*)?) (\d+(?:\.\d*)?)")
_CLASSES = r"(?!.*(?:object|verb)classes).*classes\.txt$"


def read(request: Request) -> manifest.Scan:
    """The videos of all lists that are given, with the labels they have at any time."""
    table = request.class_list
    path = request.file(_CLASSES, what="" if table else "Charades_v1_classes.txt")
    table = table or _read_classes(path)
    rows = []
    for file in request.lists(r".*\.csv$", what="Charades_v1_train.csv or Charades_v1_test.csv"):
        # The sentences beside the actions have stray quotes.
        for number, (video, actions) in text.table(file.path, ("id", "actions"), strict=False):
            where = (file.path, number)
            if not video:
                text.fail(where, "expected an id.")
            labels = _labels(actions, where, table)
            rows.append(Row(video, file.split, labels, (Place(video),), where))
    return resolve(request, table.names, rows, label_kind="multi")


def _labels(actions: str, where: text.Where, table: ClassTable) -> tuple[int, ...]:
    labels = set()
    for action in filter(None, actions.split(";")):
        match = _ACTION.fullmatch(action.strip())
        if match is None:
            text.fail(where, f"expected actions 'c092 11.90 21.20;...'; found {action!r}.")
        labels.add(table.number(match[1], where))
    return tuple(sorted(labels))


def _read_classes(path: str) -> ClassTable:
    names = []
    for number, line in text.lines(path):
        match = _CLASS.fullmatch(line)
        if match is None or int(match[1]) != len(names):
            text.fail((path, number), f"expected 'c{len(names):03d} <class>'; found {line!r}.")
        names.append(match[2])
    if not names:
        raise InputError(f"{path!r} is empty; it must list the classes.")
    return ClassTable(names, path)
