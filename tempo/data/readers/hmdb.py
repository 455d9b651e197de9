"""HMDB-51 (Kuehne et al., ICCV 2011): 51 classes, three splits.

Lists, as in `test_train_splits.rar`: `<class>_test_split<1|2|3>.txt`, with lines `name.avi 1` for
training, `2` for testing and `0` for videos that the split leaves out. Videos:
`<class>/<name>.avi`. Classes are numbered in alphabetical order.
"""

import os
import re

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.classes import alphabetical
from tempo.data.readers.listing import Place, Request, Row, resolve
from tempo.errors import InputError

_LIST = re.compile(r"(.+)_test_split(\d+)\.txt", re.IGNORECASE)
_USES = {"1": "train", "2": "test", "0": None}


def read(request: Request) -> manifest.Scan:
    """One of the three published splits."""
    lists: dict[int, dict[str, str]] = {}
    for file in request.files(_LIST.pattern, what="its 51 lists <class>_test_split1.txt"):
        match = _LIST.match(os.path.basename(file.path))
        lists.setdefault(int(match[2]), {})[match[1]] = file.path
    chosen = lists.get(request.split_number)
    if chosen is None:
        known = ", ".join(map(str, sorted(lists)))
        raise InputError(
            f"No split {request.split_number}: <class>_test_split{request.split_number}.txt is "
            f"missing; --split-number can be {known}."
        )
    table = request.class_list or alphabetical(chosen, "the split files")
    rows = []
    for name, path in sorted(chosen.items()):
        for number, line in text.lines(path):
            where = (path, number)
            video, _, use = line.replace("\t", " ").rpartition(" ")
            if not video or use not in _USES:
                text.fail(where, f"expected '<video> <0|1|2>'; found {line!r}.")
            if _USES[use]:
                key = f"{name}/{video.strip()}"
                label = table.row(name, where)
                rows.append(Row(key, _USES[use], label, (Place(key),), where, name))
    return resolve(request, table.names, rows, is_strict=True)
