"""The index of a split: what is known of its videos without opening a record.

Four files stand beside the records of each split:

* `videos-<split>.jsonl`: one JSON object per video, in record order;
* `videos-<split>.offsets.npy`: int64 [N+1], where in that file each object begins;
* `videos-<split>.ids.npy`: UTF-8 bytes of fixed width [N];
* `videos-<split>.labels.npy`: int32 [N] (`single`), int32 [N,G] (`joint`), uint8 [N,K] (`multi`).

The arrays are mapped into memory: a split of any size opens at once, only the pages in use take
memory, and all workers of a machine share them. Once, when the dataset is opened, the files are
compared with their hashes (`check`); 240,000 videos take 0.1 s.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tempo import files
from tempo.errors import InputError

DATASET_NAME = "videos"  # the first part of the names of a dataset's files
_REMEDY = "delete the dataset and prepare it again"


def file_names(split: str) -> dict[str, str]:
    """The names of a split's four files: `rows`, `offsets`, `ids`, `labels`."""
    stem = f"{DATASET_NAME}-{split}"
    arrays = {name: f"{stem}.{name}.npy" for name in ("offsets", "ids", "labels")}
    return {"rows": f"{stem}.jsonl", **arrays}


def write(
    data_dir: str,
    split: str,
    rows: Iterable[Mapping[str, Any]],
    *,
    label_kind: str,
    num_classes: int,
) -> dict[str, Any]:
    """Writes the index of a split; rows are written as they come.

    Args:
      data_dir: the dataset.
      split: the split.
      rows: JSON objects in record order, with `id` and `label` (an int) or `labels` (a list).
      label_kind: a row of `tempo.types.LABEL_KINDS`.
      num_classes: K.

    Returns:
      `num_videos`, `rows_sha256` (identity of the rows, wherever their files lay), and
      `index_sha256`: the hash of each file.
    """
    names = file_names(split)
    paths = {key: os.path.join(data_dir, name) for key, name in names.items()}
    ids, labels, offsets, digest = [], [], [0], hashlib.sha256()
    with files.replacing(paths["rows"], "wb") as f:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            f.write(line)
            digest.update(_identity(row))
            offsets.append(offsets[-1] + len(line))
            ids.append(row["id"].encode())
            labels.append(row["label"] if label_kind == "single" else row["labels"])
    arrays = {
        "offsets": np.array(offsets, np.int64),
        "ids": np.array(ids, np.bytes_),
        "labels": _LABEL_COLUMNS[label_kind](labels, num_classes),
    }
    for key, array in arrays.items():
        with files.replacing(paths[key], "wb") as f:
            np.save(f, array)
    return {
        "num_videos": len(ids),
        "rows_sha256": digest.hexdigest(),
        "index_sha256": {names[key]: _hash(path) for key, path in paths.items()},
    }


def _hash(path: str) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def check(
    data_dir: str, split: str, facts: Mapping[str, Any], *, label_kind: str, num_classes: int
) -> None:
    """Raises `InputError` if the index of a split is not what `write` made.

    Args:
      data_dir: the dataset.
      split: the split.
      facts: what `write` gave.
      label_kind: a row of `tempo.types.LABEL_KINDS`.
      num_classes: K.
    """
    for name, expected in facts["index_sha256"].items():
        path = os.path.join(data_dir, name)
        if not os.path.isfile(path):
            raise InputError(f"{path!r} is missing; {_REMEDY}.")
        if _hash(path) != expected:
            raise InputError(f"{path!r} is damaged (its checksum differs); {_REMEDY}.")
    found, names = open_index(data_dir, split), file_names(split)
    for name, column in {"ids": found.ids, "labels": found.labels, "offsets": found.rows}.items():
        if len(column) != facts["num_videos"]:
            path = os.path.join(data_dir, names[name])
            raise InputError(
                f"{path!r} is of {len(column)} videos, not {facts['num_videos']}; {_REMEDY}."
            )
    limit = 2 if label_kind == "multi" else num_classes
    least = -1 if label_kind == "joint" else 0  # -1: the label of a group is not known
    low, high = found.labels.min(initial=0), found.labels.max(initial=0)
    if low < least or high >= limit:
        path = os.path.join(data_dir, names["labels"])
        raise InputError(
            f"{path!r} has labels from {low} to {high}, not {least} to {limit - 1}; {_REMEDY}."
        )


def _identity(row: Mapping[str, Any]) -> bytes:
    """What a row says of the video: all but its `path`, which differs between copies."""
    said = {key: value for key, value in row.items() if key != "path"}
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"


def _rows_of_classes(labels: Sequence[Any], num_classes: int) -> np.ndarray:
    return np.array(labels, np.int32)


def _multi_hot(labels: Sequence[Sequence[int]], num_classes: int) -> np.ndarray:
    out = np.zeros((len(labels), num_classes), np.uint8)
    for row, classes in zip(out, labels, strict=True):
        row[list(classes)] = 1
    return out


_LABEL_COLUMNS = {"single": _rows_of_classes, "joint": _rows_of_classes, "multi": _multi_hot}


@dataclasses.dataclass(frozen=True)
class Index:
    """The open index of a split.

    Attributes:
      ids: unique names.
      labels: int32 [N], int32 [N,G] or uint8 [N,K]; read-only, a view of the file.
      rows: what the manifest says of each video.
    """

    ids: "Ids"
    labels: np.ndarray
    rows: "Rows"


def open_index(data_dir: str, split: str) -> Index:
    """Maps the index of a split; reads nothing of it yet, nor checks it."""
    paths = {key: os.path.join(data_dir, name) for key, name in file_names(split).items()}
    return Index(
        ids=Ids(_mapped(paths["ids"])),
        labels=_mapped(paths["labels"]),
        rows=Rows(paths["rows"], _mapped(paths["offsets"])),
    )


def _mapped(path: str) -> np.ndarray:
    # As a plain array: what numpy makes of a memmap is one too, with surprises.
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)


class Ids(Sequence[str]):
    """The ids of a split, as strings made when asked for; `np.asarray` gives all of them."""

    def __init__(self, column: np.ndarray):
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, rows):
        """The id of a row; an array of them for a slice or an array of rows."""
        chosen = self._column[rows]
        if isinstance(chosen, bytes):
            return chosen.decode()
        return np.char.decode(chosen, "utf-8")

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None

    def __repr__(self) -> str:
        return f"<{len(self)} ids>"


class Rows(Sequence[dict[str, Any]]):
    """The rows of a split; each is parsed when asked for."""

    def __init__(self, path: str, offsets: np.ndarray):
        self._path = path
        self._offsets = offsets
        self._text: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row):
        """The row of a number; a list of rows for a slice."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = range(len(self))[row]  # an IndexError outside, and negative numbers
        if self._text is None:
            self._text = np.memmap(self._path, np.uint8, "r")
        return json.loads(self._text[self._offsets[row] : self._offsets[row + 1]].tobytes())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with open(self._path, "rb") as f:
            for line in f:
                yield json.loads(line)

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self._path}>"
