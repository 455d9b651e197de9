"""Reads prepared datasets: `open_records` -> `Records` -> `Split` -> lazy `Record`.

A dataset is a folder made by `tempo.data.builders.records.build`: a TFDS dataset in array_record
files plus `manifest.json`. The files are read directly: a record's other frames are never decoded
or copied.
"""

import dataclasses
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_data_source

from tempo.data import decode, example_proto, jpeg
from tempo.errors import InputError, RecordError, lookup

MANIFEST_FILE = "manifest.json"
REJECTED_FILE = "rejected.json"
MANIFEST_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Record:
    """One video; no frame is decoded before `decode`.

    Attributes:
      id: unique name.
      label: class number.
      num_frames: N.
      timestamps: float32 [N], seconds after the first frame.
    """

    id: str
    label: int
    num_frames: int
    timestamps: np.ndarray
    _features: Mapping[str, Any]

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """The frames `indices` (any order, any shape, repeats allowed), uint8 [*indices,H,W,3].

        Each frame is decoded once.

        Raises:
          RecordError: a frame cannot be decoded.
        """
        indices = np.asarray(indices)
        wanted, places = np.unique(indices, return_inverse=True)
        try:
            if "frames" in self._features:
                frames = jpeg.decode([self._features["frames"][i] for i in wanted])
            else:
                fields = dataclasses.fields(decode.FrameIndex)
                index = decode.FrameIndex(*(self._features[field.name] for field in fields))
                frames = decode.decode_frames(self._features["video"][0], index, wanted)
        except (ValueError, IndexError) as error:
            raise RecordError(f"{self.id}: cannot decode frames: {error}") from error
        if wanted.size == indices.size and np.array_equal(places.ravel(), np.arange(wanted.size)):
            return frames.reshape(*indices.shape, *frames.shape[1:])
        return frames[places.reshape(indices.shape)]


class Split:
    """Random access to the records of one split. Picklable; safe to share between threads."""

    def __init__(self, name: str, data_dir: str, shards: Sequence[Mapping], entries: list[dict]):
        self.name = name
        self.data_dir = data_dir
        self.manifest = entries
        self.ids: list[str] = [e["id"] for e in entries]
        self.labels = np.array([e["label"] for e in entries], np.int32)
        self._shards = [(shard["file"], shard["num_records"]) for shard in shards]
        self._lock = threading.Lock()
        self._source = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Record:
        """Record `row`.

        Raises:
          RecordError: the record cannot be read.
        """
        row = int(row)
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a split of {len(self)} videos")
        try:
            features = example_proto.parse(self._opened()[row])
            return Record(
                id=str(features["id"][0], "utf-8"),
                label=int(features["label"][0]),
                num_frames=int(features["num_frames"][0]),
                timestamps=features["timestamps"],
                _features=features,
            )
        except Exception as error:
            raise RecordError(
                f"{self.ids[row]}: cannot read record {row} of split {self.name!r} in "
                f"{self.data_dir!r}: {error}"
            ) from error

    def _opened(self):
        if self._source is None:
            with self._lock:
                if self._source is None:
                    self._source = array_record_data_source.ArrayRecordDataSource(
                        [
                            _FileInstruction(os.path.join(self.data_dir, name), 0, count, count)
                            for name, count in self._shards
                        ]
                    )
        return self._source

    def __getstate__(self) -> dict[str, Any]:
        # Workers need the records, not what the manifest says about them.
        return self.__dict__ | {"manifest": [], "_lock": None, "_source": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class _FileInstruction:
    """What array_record wants to know of a shard whose length is known."""

    filename: str
    skip: int
    take: int
    examples_in_shard: int


@dataclasses.dataclass(frozen=True)
class Records:
    """A prepared dataset.

    Attributes:
      data_dir: its folder.
      name: the folder's name.
      kind: `frames` or `encoded`.
      short_side_px: longest short side of stored frames; 0 if they kept their size.
      class_names: in label order.
      manifest_sha256: identity of the data: settings, classes and accepted videos with their bytes.
      splits: names of the splits.
    """

    data_dir: str
    name: str
    kind: str
    short_side_px: int
    class_names: tuple[str, ...]
    manifest_sha256: str
    splits: tuple[str, ...]
    _manifest: Mapping[str, Any] = dataclasses.field(repr=False)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def split(self, name: str) -> Split:
        """A split by name; `InputError` if there is none of that name."""
        lookup(dict.fromkeys(self.splits), name, f"split of {self.data_dir!r}:")
        entries = self._manifest["splits"][name]
        return Split(name, self.data_dir, self._manifest["shards"][name], entries)


def is_complete(data_dir: str | os.PathLike) -> bool:
    """Whether a finished dataset is there; its manifest is written last."""
    return (Path(data_dir) / MANIFEST_FILE).is_file()


def open_records(data_dir: str | os.PathLike) -> Records:
    """Opens a prepared dataset; reads its manifest and looks that its files are whole.

    Raises:
      InputError: nothing there, not finished, damaged, or of another format.
    """
    root = Path(data_dir)
    path = root / MANIFEST_FILE
    if not is_complete(root):
        what = "an unfinished dataset" if (root / ".build").is_dir() else "no prepared dataset"
        raise InputError(
            f"{str(root)!r} holds {what}; run: python -m tempo.prepare --videos DIR --out {root}"
        )
    try:
        made = json.loads(path.read_text())
    except ValueError:
        raise InputError(
            f"{str(path)!r} is damaged; delete the dataset and prepare again."
        ) from None
    if made.get("format") != MANIFEST_FORMAT:
        raise InputError(
            f"{str(path)!r} has format {made.get('format')!r}, this version reads "
            f"{MANIFEST_FORMAT}; prepare the videos again."
        )
    for shard in (shard for shards in made["shards"].values() for shard in shards):
        file = root / shard["file"]
        size = file.stat().st_size if file.is_file() else None
        if size != shard["file_bytes"]:
            raise InputError(
                f"{str(file)!r} is {'missing' if size is None else 'cut or changed'}; delete the "
                "dataset and prepare again."
            )
    return Records(
        data_dir=str(root),
        name=root.resolve().name,
        kind=made["kind"],
        short_side_px=made["short_side_px"],
        class_names=tuple(made["class_names"]),
        manifest_sha256=made["sha256"],
        splits=tuple(made["splits"]),
        _manifest=made,
    )
