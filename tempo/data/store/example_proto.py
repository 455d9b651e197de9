"""Reads a serialized `tf.train.Example` without reading what is not asked for.

Layout: Example{1: Features{1: map<name, Feature>}}, Feature{1: bytes_list | 2: float_list |
3: int64_list}, each a message whose field 1 repeats. tempo writes the map sorted by name.

A record of many frames need not be walked to find one of them. Beside a feature `frames` stands
`contents_frames`, bytes of little-endian uint32 [n,2]: the size of each element and its CRC-32. Its
name sorts before that of what it describes, so it comes with the first bytes of the record.

All that is not checked so is checked by the record's first feature, `_checksums`: bytes of
little-endian uint32 [n,2], for each feature behind it the CRC-32 of its name and of its serialized
`Feature` (0 for those whose elements have checksums). Names are compared as they are passed, the
rest as it is read: nothing is taken from a record that is not as it was written.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tempo.data import stages

CONTENTS = "contents_"
"""First part of the name of the feature that describes the elements of another."""
IN_PARTS = {
    "frames": "frame {}",
    "flow_x": "x of flow field {}",
    "flow_y": "y of flow field {}",
    "video": "the video",
}
"""The features that are described so, and what an element of each is called."""
CHECKSUMS = "_checksums"
"""The feature that checks the others; it sorts before all of them."""
_BYTES = 2  # wire type "length-delimited"
# Names and headers of a feature; longer names make no difference but another read.
_HEADER_BYTES = 256
# Features up to this size are read together with their headers.
_SMALL_BYTES = 4096


class Source(Protocol):
    """A record in parts: `tempo.data.store.shard_files.Record`."""

    size: int
    head: memoryview

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes of the record."""

    def read_ranges(self, starts: Sequence[int], stops: Sequence[int]) -> list[memoryview]:
        """Several of them."""


class Whole:
    """A record that is in memory, as a `Source`."""

    def __init__(self, record: bytes):
        self.head = memoryview(record)
        self.size = len(record)

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes of the record, without a copy."""
        return self.head[start:stop]

    def read_ranges(self, starts: Sequence[int], stops: Sequence[int]) -> list[memoryview]:
        """Several of them."""
        return [self.head[a:b] for a, b in zip(starts, stops, strict=True)]


def describe(fields: Mapping[str, Any]) -> dict[str, list[bytes]]:
    """The features to be written beside these: the contents of those of `IN_PARTS`."""
    return {
        CONTENTS + name: [
            np.array([(len(v), zlib.crc32(v)) for v in fields[name]], "<u4").tobytes()
        ]
        for name in IN_PARTS
        if name in fields
    }


def checksums(messages: Mapping[str, bytes]) -> bytes:
    """What `CHECKSUMS` holds.

    Args:
      messages: the other features of the record, serialized, by name. Those of `IN_PARTS` may be
        left empty.
    """
    rows = [
        (zlib.crc32(name.encode()), 0 if name in IN_PARTS else zlib.crc32(messages[name]))
        for name in sorted(messages)
    ]
    return np.array(rows, "<u4").tobytes()


class Example(Mapping[str, Any]):
    """The features of a record by name: `Blobs` or a list of views, float32 [n], or int64 [n].

    Features before the one that is asked for are skipped. Everything raises `ValueError` where the
    record is not one that tempo wrote, or what is read of it is damaged.
    """

    def __init__(self, source: Source):
        self._source = source
        # Where each feature is that has been seen, and its checksum.
        self._places: dict[str, tuple[int, int, int]] = {}
        self._checksums: list[tuple[int, int]] = []  # of name and content, in order
        self._values: dict[str, Any] = {}
        self._at = -1  # of the next feature that has not been seen
        self._window, self._window_start = source.head, 0

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            with stages.stage(stages.PARSE):
                if not self._find(name):
                    raise KeyError(name)
                self._values[name] = self._read(name)
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        with stages.stage(stages.PARSE):
            return self._find(name)

    def __iter__(self) -> Iterator[str]:
        self._find(None)
        return iter(self._places)

    def __len__(self) -> int:
        self._find(None)
        return len(self._places)

    def contents(self, name: str) -> np.ndarray:
        """Size and checksum of each element of a feature of `IN_PARTS`, uint32 [n,2]."""
        packed = self[CONTENTS + name][0]
        return np.frombuffer(packed, "<u4").reshape(-1, 2)

    def _find(self, name: object) -> bool:
        """Goes on to the feature of this name; False at the end of the record."""
        if name in self._places:
            return True
        if self._at < 0:
            self._begin()
        while self._at < self._source.size:
            found, start, stop = self._next()
            number = len(self._places)
            if number == len(self._checksums) or zlib.crc32(found) != self._checksums[number][0]:
                raise ValueError(f"the name of feature {number} is damaged (its checksum differs)")
            found = str(found, "utf-8")
            self._places[found] = start, stop, self._checksums[number][1]
            if found == name:
                return True
        if len(self._places) != len(self._checksums):
            raise ValueError("a feature is missing at its end")
        return False

    def _begin(self) -> None:
        """Reads the checksums."""
        at, stop = self._field(0, 1)
        if stop != self._source.size:
            raise ValueError("not a tf.train.Example: it is cut off")
        self._at = at
        name, start, stop = self._next()
        if name != CHECKSUMS.encode():
            raise ValueError(f"no record of tempo: it does not begin with {CHECKSUMS!r}")
        values = parse_feature(self._view(start, stop))
        if not isinstance(values, list) or len(values) != 1 or len(values[0]) % 8:
            raise ValueError("the checksums of its features are damaged")
        self._checksums = list(struct.iter_unpack("<II", values[0]))

    def _next(self) -> tuple[memoryview, int, int]:
        """Name, start and end of the feature that comes next."""
        start, self._at = self._field(self._at, 1)
        key = self._field(start, 1)
        name = self._view(*key)
        return name, *(self._field(key[1], 2) if key[1] < self._at else (key[1], key[1]))

    def _field(self, start: int, number: int) -> tuple[int, int]:
        """Where the content of the length-delimited field at `start` begins and ends."""
        at = start - self._window_start
        if not 0 <= at <= len(self._window) - min(_HEADER_BYTES, self._source.size - start):
            stop = min(start + _SMALL_BYTES, self._source.size)
            self._window, self._window_start, at = self._source.read(start, stop), start, 0
        try:
            tag = self._window[at]
            size, at = _varint(self._window, at + 1)
        except IndexError:
            raise ValueError("not a tf.train.Example: it is cut off") from None
        first = self._window_start + at
        if tag != number << 3 | _BYTES or first + size > self._source.size:
            raise ValueError("not a tf.train.Example: unexpected field")
        return first, first + size

    def _view(self, start: int, stop: int) -> memoryview:
        first = self._window_start
        if first <= start and stop <= first + len(self._window):
            return self._window[start - first : stop - first]
        return self._source.read(start, stop)

    def _read(self, name: str) -> Any:
        start, stop, checksum = self._places[name]
        if name in IN_PARTS:
            if CONTENTS + name not in self._places:
                raise ValueError(f"sizes and checksums of {name} are missing")
            return Blobs(self._source, name, self._field(start, 1), self.contents(name))
        message = self._view(start, stop)
        if zlib.crc32(message) != checksum:
            raise ValueError(f"{name} is damaged (its checksum differs)")
        return parse_feature(message)


class Blobs(Sequence[memoryview]):
    """The elements of a bytes feature, read when asked for.

    Args:
      source: the record.
      name: of the feature.
      place: where in the record the list is.
      contents: uint32 [n,2], size and CRC-32 of each element.

    Raises:
      ValueError: the sizes do not fit the list; from indexing, an element is damaged.
    """

    def __init__(self, source: Source, name: str, place: tuple[int, int], contents: np.ndarray):
        self._source = source
        self._name = name
        self._sizes = sizes = contents[:, 0].astype(np.int64)
        self._checksums = contents[:, 1]
        # Before each element stand a tag and its size, in 7 bits per byte.
        headers = 1 + np.searchsorted(_VARINT_ENDS, sizes, "right")
        self._stops = place[0] + np.cumsum(sizes + headers)
        if (self._stops[-1] if len(sizes) else place[0]) != place[1]:
            raise ValueError(f"the sizes of {name} do not fit the record")

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, number):
        if isinstance(number, slice):
            return self.take(range(*number.indices(len(self))))
        return self.take([range(len(self))[number]])[0]

    def part(self, number: int) -> "Part":
        """An element of which parts are read; nothing is compared with its checksum."""
        stop = int(self._stops[number])
        return Part(self._source, stop - int(self._sizes[number]), stop)

    def take(self, numbers: Sequence[int]) -> list[memoryview]:
        """The elements of these numbers; neighbours are read together."""
        numbers = np.asarray(numbers, np.int64)
        if not numbers.size:
            return []
        if numbers.min() < 0 or numbers.max() >= len(self):
            raise IndexError(f"{self._name} {numbers.min()} to {numbers.max()} of {len(self)}")
        stops, sizes = self._stops[numbers], self._sizes[numbers]
        starts = stops - sizes
        begins = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 2) != 1)
        ends = np.append(begins[1:], len(numbers)) - 1
        runs = self._source.read_ranges(starts[begins].tolist(), stops[ends].tolist())
        with stages.stage(stages.READ):
            if len(runs) < len(numbers):
                which = np.repeat(np.arange(len(runs)), ends - begins + 1)
                inside = (starts - starts[begins][which]).tolist()
                runs = [
                    runs[run][at : at + size]
                    for run, at, size in zip(which, inside, sizes.tolist(), strict=True)
                ]
            for view, checksum, number in zip(
                runs, self._checksums[numbers].tolist(), numbers, strict=True
            ):
                if zlib.crc32(view) != checksum:
                    what = IN_PARTS[self._name].format(number)
                    raise ValueError(f"{what} is damaged (its checksum differs)")
        return runs


class Part:
    """A piece of a record, from `start` to `stop`, to be read in pieces."""

    def __init__(self, source: Source, start: int, stop: int):
        self._source = source
        self._start = start
        self._size = stop - start

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes of the piece; `ValueError` outside of it."""
        if not 0 <= start <= stop <= self._size:
            raise ValueError(f"bytes {start} to {stop} of {self._size}")
        return self._source.read(self._start + start, self._start + stop)


# Sizes that take one more byte than those below.
_VARINT_ENDS = np.array([0, 1 << 7, 1 << 14, 1 << 21, 1 << 28])


def parse(record: bytes) -> dict[str, Any]:
    """All features of a record that is in memory; bytes are views of it."""
    return dict(Example(Whole(record)))


def parse_feature(message: memoryview) -> list[memoryview] | np.ndarray:
    """A serialized `Feature`: views for bytes, float32 [n] or int64 [n] for numbers."""
    for kind, values in _fields(message):
        if kind == 1:
            return [value for _, value in _fields(values)]
        packed = b"".join(value for _, value in _fields(values))
        return np.frombuffer(packed, "<f4") if kind == 2 else _varints(packed)
    return []


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, content) of each length-delimited field of a message."""
    at, end = 0, len(view)
    while at < end:
        tag = view[at]
        if tag & 7 != _BYTES or tag >= 0x80:
            raise ValueError("not a tf.train.Example: unexpected field")
        try:
            size, at = _varint(view, at + 1)
        except IndexError:
            size = end
        if at + size > end:
            raise ValueError("not a tf.train.Example: it is cut off")
        yield tag >> 3, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A base-128 number, and the place after it."""
    size = view[at]
    at += 1
    if size >= 0x80:
        size &= 0x7F
        shift = 7
        while True:
            byte = view[at]
            at += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
    return size, at


def _varints(packed: bytes) -> np.ndarray:
    """Packed base-128 numbers as int64 (negative ones take ten bytes)."""
    data = np.frombuffer(packed, np.uint8)
    if not data.size:
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(data < 0x80) + 1
    starts = np.concatenate([[0], ends[:-1]])
    place = np.arange(data.size) - np.repeat(starts, ends - starts)
    parts = (data & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.bitwise_or.reduceat(parts, starts).astype(np.int64)
