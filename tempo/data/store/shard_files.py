"""Reads parts of records in array_record files, without the rest of the record.

A record of 140 JPEG frames has 2.6 MB, of which a clip of 8 frames needs 0.15 MB. The library reads
records whole; here a record's place is looked up in the file's own index, and only the bytes that
are asked for are read.

An array_record file is a Riegeli file (github.com/google/riegeli, doc/riegeli_records_file_format)
of uncompressed chunks with one record each. Blocks of 64 KiB begin with a header of 24 bytes that
interrupts whatever lies there. The last block says where the footer is, and that where each record
is. The checksums of the format cover whole records and are not looked at: what is read in parts
carries its own.
"""

import itertools
import os
import struct
import threading
from collections.abc import Sequence

import numpy as np

from tempo.data import stages
from tempo.data.store import scratch

_BLOCK = 1 << 16
_BLOCK_HEADER = 24
_IN_BLOCK = _BLOCK - _BLOCK_HEADER
_CHUNK_HEADER = struct.Struct("<QQQQQ")  # hash, data size, hash, type | records << 8, decoded size
_SIMPLE = ord("r")
_UNCOMPRESSED = 0
# Read with a record's header: of most records all but the frames.
_HEAD_BYTES = 4096
_MAX_OPEN_FILES = 128


class Record:
    """The bytes of one record, read when asked for."""

    def __init__(self, file: "ShardFile", start: int, size: int, head: memoryview):
        self._file = file
        self._start = start  # counted without the headers of blocks
        self.size = size
        self.head = head

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes `start` to `stop` of the record, in memory of `scratch`.

        Raises:
          ValueError: the file ends before them.
        """
        if 0 <= start <= stop <= len(self.head):
            return self.head[start:stop]
        return self.read_ranges([start], [stop])[0]

    def read_ranges(self, starts: Sequence[int], stops: Sequence[int]) -> list[memoryview]:
        """Several of them, in order and apart.

        Raises:
          ValueError: some are not in the record, or not in the file.
        """
        if min(starts) < 0 or max(stops) > self.size:
            raise ValueError(f"bytes {starts} to {stops} of a record of {self.size}")
        with stages.stage(stages.READ):
            first = self._start
            return self._file.read([first + a for a in starts], [first + b for b in stops])


class ShardFiles:
    """The records of several files, in order; safe to share between threads.

    Args:
      paths: the files.
      counts: how many records each has.
    """

    def __init__(self, paths: Sequence[str], counts: Sequence[int]):
        self._paths = list(paths)
        self._ends = np.cumsum(counts)
        # Those used last, by number. A file is closed when it is no longer here and all records
        # read from it are gone.
        self._opened: dict[int, ShardFile] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, row: int) -> Record:
        """Record `row`.

        Raises:
          OSError: the file cannot be read.
          ValueError: it is not such a file, or it is damaged.
        """
        number = int(np.searchsorted(self._ends, row, "right"))
        first = int(self._ends[number - 1]) if number else 0
        with self._lock:
            file = self._opened.pop(number, None)
            if file is not None:
                self._opened[number] = file  # behind all others
        if file is None:
            file = self._open(number, first)
        return file.record(row - first)

    def _open(self, number: int, first: int) -> "ShardFile":
        file = ShardFile(self._paths[number])
        count = int(self._ends[number]) - first
        if len(file) != count:
            raise ValueError(f"{self._paths[number]!r} has {len(file)} records, not {count}")
        with self._lock:
            self._opened[number] = file
            if len(self._opened) > _MAX_OPEN_FILES:
                del self._opened[next(iter(self._opened))]
        return file


class ShardFile:
    """One open file: its number of records, and each."""

    def __init__(self, path: str):
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._chunks = self._read_footer()
        except (IndexError, OverflowError, struct.error) as error:
            raise ValueError(f"{path!r} is damaged: its index cannot be read") from error

    def __del__(self):
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def __len__(self) -> int:
        return len(self._chunks)

    def record(self, number: int) -> Record:
        """Record `number`, with as much of it as came with its header."""
        start = _content(int(self._chunks[number]))
        with stages.stage(stages.READ):
            (head,) = self.read([start], [min(start + _HEAD_BYTES, self._end)])
        size, skipped = self._values(head, start)
        return Record(self, start + skipped, size, head[skipped : skipped + size])

    def read(self, starts: Sequence[int], stops: Sequence[int]) -> list[memoryview]:
        """What is between places in the file, counted without the headers of blocks."""
        if max(stops) > self._end:  # asked for by a number that is damaged, perhaps
            raise ValueError(f"{self._path!r} ends before byte {max(stops)}")
        places = [
            (_place(a), _place(b - 1) + 1 if b > a else _place(a))
            for a, b in zip(starts, stops, strict=True)
        ]
        memory = memoryview(scratch.empty((sum(b - a for a, b in places),)))
        found, at = [], 0
        for place, stop in places:
            data = memory[at : at + stop - place]
            at += stop - place
            done = os.preadv(self._fd, [data], place)
            while done < len(data):
                count = os.preadv(self._fd, [data[done:]], place + done)
                if not count:
                    raise ValueError(f"{self._path!r} is shorter than it was")
                done += count
            if place // _BLOCK != (stop - 1) // _BLOCK:
                data = data[: _without_headers(data, place)]
            found.append(data)
        return found

    def _values(self, head: memoryview, start: int) -> tuple[int, int]:
        """The size of the record of a chunk, and the bytes of the chunk before it."""
        if len(head) < _CHUNK_HEADER.size + 2:
            raise ValueError(f"{self._path!r} is cut off")
        _, data_size, _, kind, decoded_size = _CHUNK_HEADER.unpack_from(head)
        if kind & 0xFF != _SIMPLE or head[_CHUNK_HEADER.size] != _UNCOMPRESSED:
            raise ValueError(f"{self._path!r} is no uncompressed array_record file")
        skipped = _CHUNK_HEADER.size + data_size - decoded_size
        if not _CHUNK_HEADER.size < skipped <= len(head):
            raise ValueError(f"{self._path!r} is damaged at byte {_place(start)}")
        return decoded_size, skipped

    def _read_footer(self) -> np.ndarray:
        """Where the chunk of each record is, int64 [n]."""
        size = os.fstat(self._fd).st_size
        if size % _BLOCK or not size:
            raise ValueError(f"{self._path!r} is cut off")
        self._end = _content(size)
        last = self._chunk(size - _BLOCK)
        numbers = _numbers(last[0]) if last else {}
        if 1 not in numbers:
            raise ValueError(f"{self._path!r} has no index")
        entries = [_numbers(record) for record in self._chunk(numbers[1])[1:]]
        if any(entry.get(3) != 1 for entry in entries):
            raise ValueError(f"{self._path!r} has several records in a chunk")
        chunks = np.array([entry.get(1, 0) for entry in entries], np.int64)
        if (np.diff(chunks) <= 0).any() or (len(chunks) and chunks[-1] >= size):
            raise ValueError(f"{self._path!r} is damaged: its index is out of order")
        return chunks

    def _chunk(self, position: int) -> list[memoryview]:
        """All records of a chunk."""
        start = _content(position)
        (head,) = self.read([start], [start + _CHUNK_HEADER.size + 1])
        _, data_size, _, kind, decoded_size = _CHUNK_HEADER.unpack_from(head)
        if kind & 0xFF != _SIMPLE or head[-1] != _UNCOMPRESSED or data_size < decoded_size:
            raise ValueError(f"{self._path!r} is no uncompressed array_record file")
        start += _CHUNK_HEADER.size
        (data,) = self.read([start], [start + data_size])
        sizes, at = [], data_size - decoded_size
        _, place = _varint(data, 1)
        while place < at:
            size, place = _varint(data, place)
            sizes.append(size)
        if sum(sizes) != decoded_size:
            raise ValueError(f"{self._path!r} is damaged: its index has another size")
        ends = np.cumsum([at, *sizes])
        return [data[a:b] for a, b in itertools.pairwise(ends)]


def _content(place: int) -> int:
    """A place in the file, counted without the headers of blocks."""
    block, inside = divmod(place, _BLOCK)
    return block * _IN_BLOCK + max(inside - _BLOCK_HEADER, 0)


def _place(content: int) -> int:
    """The inverse of `_content`."""
    block, inside = divmod(content, _IN_BLOCK)
    return block * _BLOCK + _BLOCK_HEADER + inside


def _without_headers(data: memoryview, position: int) -> int:
    """Moves together what lies between headers of blocks; the number of bytes left."""
    stop = _BLOCK - position % _BLOCK
    kept = min(stop, len(data))
    while stop < len(data):
        start = stop + _BLOCK_HEADER
        stop = min(stop + _BLOCK, len(data))
        count = max(stop - start, 0)
        data[kept : kept + count] = data[start : start + count]
        kept += count
    return kept


def _numbers(message: memoryview) -> dict[int, int]:
    """The integers of a protocol buffer message by their field; none if it holds anything else."""
    found, at = {}, 0
    while at < len(message):
        if message[at] & 7:
            return {}
        field = message[at] >> 3
        found[field], at = _varint(message, at + 1)
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A base-128 number, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
