"""A table of an encoded video's packets: frames are decoded straight from the file's bytes.

With it a reader needs no demuxer and no probing, takes only the packets of the frames it wants from
the key frame before each, and lets the decoder pass over pictures that no other picture needs.
A table is made where the packets lie in the file as they are, and kept if decodes through it gave
all the pictures of the demuxer's decode.
"""

import contextlib
import dataclasses
import functools
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import av
import numpy as np

from tempo.data.video import video_file
from tempo.data.video.video_file import RefusedVideoError

# A demuxer's position of a packet may be that of its header; its bytes follow soon after.
_HEADER_BYTES = 64
_COLOURS = ("color_range", "colorspace", "color_primaries", "color_trc")
_NONE = -1
_COLUMNS = 5


class Parts(Protocol):
    """Bytes that are read in parts, as `tempo.data.store.example_proto.Part`."""

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes `start` to `stop`."""


@dataclasses.dataclass(frozen=True)
class PacketTable:
    """The packets of a video in decoding order.

    Attributes:
      codec: JSON of what the decoder is told: name, tag, extradata (hex), size and colours, and
        whether it passes over unwanted pictures that nothing refers to ("skips").
      rows: int32 [P,5], offset in the file, size in bytes, number of the frame that it gives (-1
        for none), number of the first frame that decoding from here gives whole (-1 where decoding
        cannot begin), and CRC-32.
    """

    codec: bytes
    rows: np.ndarray

    @classmethod
    def from_bytes(cls, codec: bytes, rows: bytes) -> "PacketTable":
        """Of what a record holds."""
        return cls(bytes(codec), np.frombuffer(rows, "<i4").reshape(-1, _COLUMNS))

    def frames(
        self, data: bytes | memoryview | Parts, wanted: Sequence[int], *, alone: bool = False
    ) -> Iterator[tuple[int, Any]]:
        """(number, frame) of each wanted frame, not always in order.

        Args:
          data: the file's bytes.
          wanted: frame numbers, strictly increasing.
          alone: for a check that each key frame needs nothing before it. Otherwise decoding does
            not begin again at one where no packet is left out before it, and where it does, the
            decoder is the same and may remember what it was told earlier.

        Raises:
          RefusedVideoError: a frame could not be decoded.
        """
        about, context = _described(self.codec), None
        for start, end, missing in self._runs(wanted, joins=not alone):
            packets = _read(data, self.rows[start : end + 1].tolist())
            for skips in (True, False) if about["skips"] else (False,):
                # A decoder that guesses the order of pictures may lose one as others are skipped.
                if not missing:
                    break
                context = _refreshed(None if alone else context, about)
                for frame in _decoded(context, packets, missing, skips):
                    missing.discard(frame.pts)
                    yield frame.pts, frame
            if missing:
                raise RefusedVideoError(f"decode_error@{min(missing)}")

    def _runs(self, wanted: Sequence[int], joins: bool) -> list[tuple[int, int, set[int]]]:
        """(first row, last row, wanted frames) of rows to be decoded one after the other."""
        places = self.places[np.asarray(wanted, np.int64)].tolist()
        begins = np.searchsorted(self.rows[self.keys, 3], wanted, "right") - 1
        runs = []
        for start, place, number in zip(self.keys[begins].tolist(), places, wanted, strict=True):
            if runs and (start == runs[-1][0] or (joins and start <= runs[-1][1] + 1)):
                first, last, numbers = runs[-1]
                numbers.add(int(number))
                runs[-1] = first, max(last, place), numbers
            else:
                runs.append((start, place, {int(number)}))
        return runs

    @functools.cached_property
    def places(self) -> np.ndarray:
        """int64 [N], row of each frame."""
        numbers = self.rows[:, 2]
        shown = np.flatnonzero(numbers != _NONE)
        numbers = numbers[shown]
        places = np.full(len(shown), _NONE, np.int64)
        if len(shown) and (numbers.min() < 0 or numbers.max() >= len(shown)):
            raise RefusedVideoError("damaged_packet_table")
        places[numbers] = shown
        if (places == _NONE).any():  # a number is there twice
            raise RefusedVideoError("damaged_packet_table")
        return places

    @functools.cached_property
    def keys(self) -> np.ndarray:
        """Rows that decoding may begin with, by the frames that it then gives."""
        rows = np.flatnonzero(self.rows[:, 3] != _NONE)
        return rows[np.argsort(self.rows[rows, 3], kind="stable")]


def make_table(data: bytes, pts: np.ndarray, sums: Sequence[int]) -> PacketTable | None:
    """The table of a file; None where its packets cannot be taken from its bytes.

    Args:
      data: the file's bytes.
      pts: int64 [N], times that the decoder gave the frames that are counted, in any order; others
        may come before and after.
      sums: checksum of each of these frames in the demuxer's decode.
    """
    if not len(pts) or len(data) >= 2**31:
        return None
    rows, about = _packet_rows(data, pts)
    if rows is None:
        return None
    shown = rows[rows[:, 2] != _NONE, 2]
    is_reordered = bool((np.diff(shown) < 0).any())
    # Where nothing is reordered, hardly any picture can be passed over.
    for skips in (True, False) if is_reordered else (False,):
        table = PacketTable(json.dumps(about | {"skips": skips}).encode(), rows)
        table = _checked(table, data, sums)
        if table is not None:
            return table
    return None


def _checked(table: PacketTable, data: bytes, sums: Sequence[int]) -> PacketTable | None:
    """The table without key frames that decoding cannot begin with; None if it gives others."""
    steps = (2, 8) if _described(table.codec)["skips"] else (1,)
    while True:
        # All frames, and twice where those between the wanted may be passed over.
        parts = [range(i, len(sums), step) for step in steps for i in range(min(step, 2))]
        if all(_gives(table, data, part, sums) for part in parts):
            return table
        ends = [*table.rows[table.keys[1:], 3].tolist(), len(sums)]
        bad = []
        for row, end in zip(table.keys.tolist(), ends, strict=True):
            if not _gives(table, data, range(table.rows[row, 3], end), sums):
                bad.append(row)
        if not bad or table.keys[0] in bad:
            return None
        rows = table.rows.copy()
        rows[bad, 3] = _NONE
        table = dataclasses.replace(table, rows=rows)


def _gives(table: PacketTable, data: bytes, wanted: Sequence[int], sums: Sequence[int]) -> bool:
    """Whether wanted frames have the checksums they should."""
    reformatter = av.video.reformatter.VideoReformatter()
    try:
        found = [
            video_file.checksum(frame, reformatter) == sums[number]
            for number, frame in table.frames(data, wanted, alone=True)
        ]
    except (RefusedVideoError, av.FFmpegError, ValueError):
        return False
    return all(found)


def _packet_rows(data: bytes, pts: np.ndarray) -> tuple[np.ndarray | None, dict]:
    """Rows of a table and what its decoder is told; no rows if a packet is not found in place."""
    numbers = {int(time): number for number, time in enumerate(pts)}
    rows, at = [], 0
    with video_file.open_video(data) as container:
        stream = video_file.video_stream(container)
        about = _about(stream.codec_context)
        packets = container.demux(stream)
        while (packet := video_file.next_packet(packets)) is not None and packet.size:
            at = at if packet.pos is None else packet.pos
            at = data.find(bytes(packet), at, at + packet.size + _HEADER_BYTES)
            if at < 0 or about is None:
                return None, {}
            number = _NONE if packet.is_discard else numbers.get(packet.pts, _NONE)
            begin = number if packet.is_keyframe else _NONE
            is_before = packet.pts is not None and packet.pts <= pts[0]
            if not rows or (packet.is_keyframe and number == _NONE and is_before):
                begin = 0  # at or before the frames that count
            rows.append((at, packet.size, number, begin, zlib.crc32(packet)))
            at += packet.size
    shown = sorted(row[2] for row in rows if row[2] != _NONE)
    table = np.array(rows, np.int64).reshape(-1, _COLUMNS).astype("<i4")
    return (table, about) if shown == list(range(len(pts))) else (None, {})


def _about(context) -> dict | None:
    """What a bare decoder must be told to do as the demuxer's; None if that cannot be written."""
    try:
        tag = context.codec_tag
    except UnicodeDecodeError:
        return None
    return {
        "name": context.name,
        "tag": tag,
        "extradata": (context.extradata or b"").hex(),
        "width": context.width,
        "height": context.height,
        "pix_fmt": context.pix_fmt,
        "bits": context.bits_per_coded_sample,
        **{name: int(getattr(context, name)) for name in _COLOURS},
    }


@functools.lru_cache(256)
def _described(codec: bytes) -> dict:
    return json.loads(codec)


def _context(about: Mapping):
    """A decoder that works in the caller's thread."""
    context = av.CodecContext.create(about["name"], "r")
    context.thread_type = "NONE"
    context.thread_count = 1
    context.codec_tag = about["tag"]
    if about["extradata"]:
        context.extradata = bytes.fromhex(about["extradata"])
    context.width, context.height = about["width"], about["height"]
    if about["pix_fmt"]:
        context.pix_fmt = about["pix_fmt"]
    context.bits_per_coded_sample = about["bits"]
    for name in _COLOURS:
        setattr(context, name, about[name])
    return context


def _refreshed(context, about: Mapping):
    """A decoder that knows of no packet yet."""
    if context is None:
        return _context(about)
    context.flush_buffers()
    return context


def _read(
    data: bytes | memoryview | Parts, rows: Sequence[Sequence[int]]
) -> list[tuple[int, int, memoryview]]:
    """(frame number, first whole frame, bytes) of neighbouring packets, in one read."""
    start = min(row[0] for row in rows)
    stop = max(row[0] + row[1] for row in rows)
    part = data.read(start, stop) if hasattr(data, "read") else memoryview(data)[start:stop]
    packets = []
    for offset, size, number, begin, expected in rows:
        content = part[offset - start : offset - start + size]
        if zlib.crc32(content) != expected & 0xFFFFFFFF:
            raise RefusedVideoError(f"damaged_packet@{number}")
        packets.append((number, begin, content))
    return packets


def _decoded(context, packets, missing, skips: bool) -> Iterator[Any]:
    """The missing frames among those of packets, each with its number as its time.

    Args:
      context: the decoder.
      packets: from `_read`; the first is a key frame.
      missing: numbers of frames; the caller takes out what it got.
      skips: pass over other pictures that nothing refers to.
    """
    first = packets[0][1]
    for number, _, content in packets:
        if skips:
            context.skip_frame = "DEFAULT" if number in missing else "NONREF"
        packet = av.Packet(len(content))  # with the zeros behind it that decoders may read
        packet.update(content)
        packet.pts = number
        try:
            frames = context.decode(packet)
        except (av.FFmpegError, OSError):
            if number >= first:
                return
            continue  # pictures before an open key frame may lack what they refer to
        yield from (f for f in frames if f.pts in missing and not f.is_corrupt)
    if missing:
        with contextlib.suppress(av.FFmpegError, OSError):
            yield from (f for f in context.decode(None) if f.pts in missing and not f.is_corrupt)
