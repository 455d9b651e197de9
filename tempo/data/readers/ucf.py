"""UCF-101 (Soomro et al., arXiv 1212.0402) and mod-UCF101, which is made of its first split.

Lists, as in `UCF101TrainTestSplits-RecognitionTask.zip`: `classInd.txt` (`1 ApplyEyeMakeup`),
`trainlist01.txt` (`ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`) and `testlist01.txt` (the same
without a number), 01 to 03. Videos: `<Class>/<name>.avi`, anywhere below the folder of videos.
"""

import os
import random
import re
from collections.abc import Iterator

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.classes import ClassTable
from tempo.data.readers.listing import Place, Request, Row, resolve
from tempo.errors import InputError

LISTS_FOLDER = "ucfTrainTestlist"
_LINE = re.compile(r"(.*\S)\s+(\d+)")
# Of the toolkit of the VIPriors challenge (2020), which made mod-UCF101.
_MOD_SEED = 1992


def read(request: Request) -> manifest.Scan:
    """One of the three published splits.

    Where several copies of a video are below the folder of videos, that in `videos/` or `UCF-101/`
    is taken.
    """
    table = _find_lists(request)
    folders = [d for d in ("videos", "UCF-101") if os.path.isdir(os.path.join(request.root, d))]
    rows = [_row(*listed, table) for split in ("train", "test") for listed in _read(request, split)]
    names = _head(request, table)
    rows = [
        row._replace(
            label=names.row(row.class_name, row.where),
            places=(*(Place(f"{folder}/{row.id}") for folder in folders[:1]), *row.places),
        )
        for row in rows
    ]
    return resolve(request, names.names, rows, is_strict=True)


def read_mod(request: Request) -> manifest.Scan:
    """mod-UCF101 of the VIPriors action recognition challenge (2020).

    Of each class the first half (rounded up) of split 1's training list is for training and the
    rest for validation; its test list is for testing: 4,795, 4,742 and 3,783 videos. Class numbers
    are shuffled with a fixed seed. Videos may have their first names or those that the challenge's
    script gave them (`video_train_0000001.avi`).
    """
    table = _find_lists(request)
    numbers = [str(k + 1) for k in range(len(table))]
    random.Random(_MOD_SEED).shuffle(numbers)
    shuffled = ["" for _ in numbers]
    for name, number in zip(table.names, numbers, strict=True):
        shuffled[int(number) - 1] = name
    names = request.class_list or ClassTable(shuffled, "classInd.txt")
    by_class: dict[str, dict[str, list[Row]]] = {"train": {}, "test": {}}
    for split, found in by_class.items():
        for listed in _read(request, split):
            row = _row(*listed, table)
            found.setdefault(row.class_name, []).append(row)
    splits: dict[str, list[Row]] = {"train": [], "val": [], "test": []}
    for name in table.names:
        known = by_class["train"].get(name, [])
        half = -(-len(known) // 2)
        splits["train"] += known[:half]
        splits["val"] += known[half:]
        splits["test"] += by_class["test"].get(name, [])
    rows = []
    for split, word in (("train", "train"), ("val", "validation"), ("test", "test")):
        for number, row in enumerate(splits[split], start=1):
            renamed = Place(f"video_{word}_{number:07d}.avi")
            label = names.row(row.class_name, row.where)
            rows.append(row._replace(split=split, label=label, places=(*row.places, renamed)))
    return resolve(request, names.names, rows, is_strict=True)


def _head(request: Request, table: ClassTable) -> ClassTable:
    return request.class_list or table


def _find_lists(request: Request) -> ClassTable:
    """The classes of `classInd.txt`, which may be in the folder of videos."""
    request.add_folder(os.path.join(request.root, LISTS_FOLDER))
    path = request.file(r"classInd\.txt$")
    if path is None:
        raise InputError(
            f"classInd.txt is missing; it lists one '<number> <class>' per line. Dataset "
            f"{request.dataset!r} reads {request.needs}."
        )
    return ClassTable(_read_class_index(path), "classInd.txt")


def _read(request: Request, split: str) -> Iterator[tuple[str, str, text.Where]]:
    """Split, line and place of each line of one list of the chosen split; marks them all read."""
    lists = {
        int(re.findall(r"\d+", os.path.basename(file.path))[-1]): file.path
        for file in request.files(rf"{split}list\d+\.txt$")
    }
    wanted = 1 if request.dataset == "mod_ucf101" else request.split_number
    path = lists.get(wanted)
    if path is None:
        known = ", ".join(map(str, sorted(lists))) or "none of those here"
        raise InputError(
            f"No split {wanted}: {split}list{wanted:02d}.txt is missing; --split-number can be "
            f"{known}."
        )
    for number, line in text.lines(path):
        yield split, line, (path, number)


def _row(split: str, line: str, where: text.Where, table: ClassTable) -> Row:
    match = _LINE.fullmatch(line)
    name, label = match.groups() if match else (line, None)
    class_name, slash, _ = name.partition("/")
    if not slash:
        text.fail(
            where, f"expected '<Class>/<video>' and a number in training lists; found {line!r}."
        )
    row = table.find(class_name)
    if row is None:
        text.fail(where, f"class {class_name!r} is not in classInd.txt.")
    if label is not None and int(label) != row + 1:
        text.fail(where, f"{class_name!r} has number {row + 1} in classInd.txt; found {label}.")
    return Row(name, split, row, (Place(name),), where, table.names[row])


def _read_class_index(path: str) -> tuple[str, ...]:
    """Class names of a `classInd.txt` (`1 ApplyEyeMakeup` on each line) in label order."""
    rows = [line.split() for _, line in text.lines(path)]
    try:
        names = {int(number): name for number, name in rows}
    except ValueError:
        raise InputError(f"{path!r}: each line must be '<number> <class>'.") from None
    if sorted(names) != list(range(1, len(rows) + 1)):
        raise InputError(f"{path!r}: the numbers must be 1 to {len(rows)}, each once.")
    return tuple(names[number] for number in sorted(names))
