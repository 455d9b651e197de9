"""Reads prepared datasets: `open_records` -> `Records` -> `Split` -> lazy `Record`.

A dataset is a folder made by `tempo.data.builders.records.build`: a TFDS dataset in array_record
files, an index of each split (`tempo.data.store.index`) and the header `manifest.json`. The files
are read directly: a record's other frames are not decoded, nor even read.
"""

import contextlib
import dataclasses
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tempo.data import flow_codec, manifest, specs, stages
from tempo.data.store import example_proto, index, shard_files
from tempo.data.video import decode, jpeg
from tempo.errors import InputError, RecordError, lookup

MANIFEST_FILE = "manifest.json"
REJECTED_FILE = "rejected.json"
MANIFEST_FORMAT = 3
"""Of the header, the index and the records. Another layout of any of them is another number."""
_REMEDY = "delete the dataset and prepare it again"


@dataclasses.dataclass(frozen=True)
class Record:
    """One video; nothing is read before it is asked for, and what is asked for alone.

    All raise `RecordError` where the record is damaged.

    Attributes:
      id: unique name.
    """

    id: str
    _features: example_proto.Example

    @property
    def label(self) -> int | tuple[int, ...]:
        """Row of the class names; a tuple of rows where a video can have several."""
        with self._reading("read label"):
            if "label" in self._features:
                return int(self._features["label"][0])
            return tuple(int(row) for row in self._features["labels"])

    @property
    def num_frames(self) -> int:
        """N."""
        with self._reading("read number of frames"):
            if self._has_frames:  # at hand, as the frames need it
                return len(self._features.contents("frames"))
            return int(self._features["num_frames"][0])

    @property
    def timestamps(self) -> np.ndarray:
        """Seconds after the first frame, float32 [N]."""
        with self._reading("read timestamps"):
            return self._features["timestamps"]

    @property
    def _has_frames(self) -> bool:
        # The name that comes first in the record: what is looked for in vain is looked for to its
        # end.
        return example_proto.CONTENTS + "frames" in self._features

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except (IndexError, OSError) as error:  # no such frame, or no such file any more
            raise RecordError(f"{self.id}: cannot {what}: {error}") from error
        except (ValueError, KeyError) as error:
            raise RecordError(f"{self.id}: cannot {what}: {error}; {_REMEDY}.") from error

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """The frames `indices` (any order, any shape, repeats allowed), uint8 [*indices,H,W,3].

        Each frame is decoded once. The array lies in memory of `tempo.data.store.scratch`.

        Raises:
          RecordError: a frame cannot be read or decoded.
        """
        indices = np.asarray(indices)
        wanted, places = np.unique(indices, return_inverse=True)
        with self._reading("decode frames"):
            if self._has_frames:
                frames = jpeg.decode(self._features["frames"].take(wanted))
            else:
                frame_index = decode.FrameIndex.from_features(self._features)
                video = self._features["video"]
                # The packets of a table have checksums of their own.
                video = video.part(0) if frame_index.codec else video[0]
                with stages.stage(stages.DECODE):
                    frames = decode.decode_frames(video, frame_index, wanted)
        return _placed(frames, places, indices.shape)

    @property
    def num_flows(self) -> int:
        """Fields of stored optical flow: N - 1, or 0 if the dataset has none."""
        with self._reading("read flow"):
            return len(self._features["flow_x"]) if "flow_x" in self._features else 0

    def decode_flow(self, indices: np.ndarray) -> np.ndarray:
        """The flow fields `indices` (any order, any shape), uint8 [*indices,H,W,2] in (x, y).

        Field i is the movement from frame i to i + 1; `tempo.data.flow.dequantize` gives pixels.

        Raises:
          RecordError: a field cannot be read or decoded, or there is none.
        """
        indices = np.asarray(indices)
        wanted, places = np.unique(indices, return_inverse=True)
        if not self.num_flows:
            raise RecordError(f"{self.id}: the dataset was prepared without --flow.")
        with self._reading("decode flow"):
            x, y = (self._features[name].take(wanted) for name in ("flow_x", "flow_y"))
            with stages.stage(stages.DECODE):
                fields = flow_codec.decode(x, y)
        return _placed(fields, places, indices.shape)


def _placed(pictures: np.ndarray, places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`pictures[places]` in a shape; without a copy where each is there once, in order."""
    if places.size == len(pictures) and np.array_equal(places.ravel(), np.arange(places.size)):
        return pictures.reshape(*shape, *pictures.shape[1:])
    return pictures[places.reshape(shape)]


class Split:
    """Random access to the records of one split. Picklable; safe to share between threads.

    Pickled, it is a path: a worker opens the dataset again, and shares the pages of its index.

    Attributes:
      name: of the split.
      data_dir: of the dataset.
      ids: unique names, a lazy sequence of str.
      labels: int32 [N], rows of class names; int32 [N,G] where there are G groups of classes, one
        row of the joined class names for each; uint8 [N,K], multi-hot, where a video has any number
        of labels. Read-only.
      manifest: what is known of each video, a lazy sequence of dicts.
      mirror_labels: int32 [K], label of the mirrored video; None if it keeps its label.
      flow: how the optical flow of its dataset was made; None if there is none.
    """

    def __init__(self, dataset: "Records", name: str):
        found = index.open_index(dataset.data_dir, name)
        self.name = name
        self.data_dir = dataset.data_dir
        self.ids = found.ids
        self.labels = found.labels
        self.manifest = found.rows
        self.mirror_labels = dataset.mirror_labels
        self.flow = dataset.flow
        self._dataset = dataset
        self._manifest_sha256 = dataset.manifest_sha256
        shards = dataset._header["splits"][name]["shards"]
        self._shards = [(shard["file"], shard["num_records"]) for shard in shards]
        self._lock = threading.Lock()
        self._source = None

    def __reduce__(self):
        return _opened_again, (self.data_dir, self.name, self._manifest_sha256)

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
            return Record(self.ids[row], example_proto.Example(self._opened()[row]))
        except (ValueError, OSError) as error:
            remedy = f"; {_REMEDY}" if isinstance(error, ValueError) else ""
            raise RecordError(
                f"{self.ids[row]}: cannot read record {row} of split {self.name!r} in "
                f"{self.data_dir!r}: {error}{remedy}."
            ) from error

    def check_flow(self) -> None:
        """As `Records.check_flow`."""
        self._dataset.check_flow()

    def _opened(self):
        if self._source is None:
            with self._lock:
                if self._source is None:
                    files, counts = zip(*self._shards, strict=True)
                    paths = [os.path.join(self.data_dir, name) for name in files]
                    self._source = shard_files.ShardFiles(paths, counts)
        return self._source


def _opened_again(data_dir: str, name: str, manifest_sha256: str) -> Split:
    """What a pickled split becomes; the files were looked at where it was opened first."""
    dataset = _records(data_dir, read_header(data_dir))
    if dataset.manifest_sha256 != manifest_sha256:
        raise RecordError(f"The dataset in {data_dir!r} was replaced while it was in use.")
    return Split(dataset, name)


@dataclasses.dataclass(frozen=True)
class Records:
    """A prepared dataset.

    Attributes:
      data_dir: its folder.
      name: the folder's name.
      kind: `frames` or `encoded`.
      short_side_px: longest short side of stored frames; 0 if they kept their size.
      class_names: in label order; those of several groups one group after the other.
      label_kind: a row of `tempo.types.LABEL_KINDS`.
      label_groups: number of classes of each group, by name; empty unless the kind is `joint`.
      mirror_labels: int32 [K], label of the mirrored video; None if it keeps its label.
      flow: how the optical flow was made; None if there is none.
      manifest_sha256: identity of the data: format, settings, classes and accepted videos with the
        bytes of their files; not where those files were.
      splits: names of the splits.
    """

    data_dir: str
    name: str
    kind: str
    short_side_px: int
    class_names: tuple[str, ...]
    label_kind: str
    label_groups: Mapping[str, int]
    mirror_labels: np.ndarray | None
    flow: Mapping[str, Any] | None
    manifest_sha256: str
    splits: tuple[str, ...]
    _header: Mapping[str, Any] = dataclasses.field(repr=False)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def dataset(self) -> str:
        """The row of `tempo.data.specs.DATASETS` that its videos were found by."""
        return self._header["build"]["dataset"]

    def check_flow(self) -> None:
        """Raises `InputError`, with what makes it, if the dataset has no optical flow."""
        if self.flow is not None:
            return
        if self.dataset.startswith("tempobench"):
            remedy = "set config.data.generate.flow='tvl1_jax' and another config.data.dir"
        else:
            number = self._header["build"]["split_number"]
            flags = specs.prepare_flags(self.dataset) + (
                f" --split-number {number}" if number != 1 else ""
            )
            out = f"{self.data_dir.rstrip(os.sep)}_flow"
            remedy = (
                f"run: python -m tempo.prepare {flags} --out {out} --flow tvl1 - and set "
                f"config.data.dir={out!r}"
            )
        raise InputError(
            f"The network reads optical flow, but {self.data_dir!r} holds none; {remedy}."
        )

    def split(self, name: str) -> Split:
        """A split by name; `InputError` if there is none of that name."""
        lookup(dict.fromkeys(self.splits), name, f"split of {self.data_dir!r}:")
        return Split(self, name)


def is_complete(data_dir: str | os.PathLike) -> bool:
    """Whether a finished dataset is there; its manifest is written last."""
    return (Path(data_dir) / MANIFEST_FILE).is_file()


def open_records(data_dir: str | os.PathLike, dataset: str = "folder") -> Records:
    """Opens a prepared dataset: reads its header, and looks that its files are whole.

    Records are checked when they are read.

    Args:
      data_dir: the dataset.
      dataset: what it is to be, a row of `tempo.data.specs.DATASETS`, for the command that is told
        where there is nothing.

    Raises:
      InputError: nothing there, not finished, damaged, or of another format.
    """
    root = Path(data_dir)
    header = read_header(root, dataset)
    check_files(root, header)
    return _records(str(root), header)


def check_files(data_dir: str | os.PathLike, header: Mapping[str, Any]) -> None:
    """Raises `InputError` if a file of a dataset is not as it was written.

    Files of records are there and have their size: they have checksums inside. The files of the
    index are read and compared.

    Args:
      data_dir: the dataset.
      header: from `read_header`.
    """
    kinds = {"label_kind": header["label_kind"], "num_classes": len(header["class_names"])}
    for split, facts in header["splits"].items():
        for shard in facts["shards"]:
            check_size(Path(data_dir) / shard["file"], shard["file_bytes"])
        index.check(str(data_dir), split, facts, **kinds)


def check_size(file: Path, expected: int | None = None) -> None:
    """Raises `InputError` if a file of a dataset is not there, or of another size than given."""
    size = file.stat().st_size if file.is_file() else None
    if size is None or expected not in (None, size):
        raise InputError(
            f"{str(file)!r} is {'missing' if size is None else 'cut or changed'}; delete the "
            "dataset and prepare again."
        )


def read_header(data_dir: str | os.PathLike, dataset: str = "folder") -> dict[str, Any]:
    """The content of `manifest.json`; for errors see `open_records`."""
    root = Path(data_dir)
    path = root / MANIFEST_FILE
    if not is_complete(root):
        what = "an unfinished dataset" if (root / ".build").is_dir() else "no prepared dataset"
        raise InputError(
            f"{str(root)!r} holds {what}; run: python -m tempo.prepare "
            f"{specs.prepare_flags(dataset)} --out {root}"
        )
    damage = InputError(f"{str(path)!r} is damaged; delete the dataset and prepare again.")
    try:
        header = dict(json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise damage from None
    if header.get("format") != MANIFEST_FORMAT:
        raise InputError(
            f"{str(path)!r} has format {header.get('format')!r}, this version reads "
            f"{MANIFEST_FORMAT}; delete the dataset and prepare the videos again."
        )
    if header.get("checksum") != checksum(header):
        raise damage
    return header


def checksum(header: Mapping[str, Any]) -> str:
    """What `checksum` in a header must be: that all else in it is as it was written."""
    return manifest.hash_entries({k: v for k, v in header.items() if k != "checksum"})


def _records(data_dir: str, header: Mapping[str, Any]) -> Records:
    mirrored = header["mirror_labels"]
    return Records(
        data_dir=data_dir,
        name=Path(data_dir).resolve().name,
        kind=header["kind"],
        short_side_px=header["short_side_px"],
        class_names=tuple(header["class_names"]),
        label_kind=header["label_kind"],
        label_groups=header["label_groups"],
        mirror_labels=None if mirrored is None else np.array(mirrored, np.int32),
        flow=header["flow"],
        manifest_sha256=header["sha256"],
        splits=tuple(header["splits"]),
        _header=header,
    )
