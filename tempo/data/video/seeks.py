"""Where the frames of an encoded video are: a table of packets, or seeks in its container."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import av
import numpy as np

from tempo.data.video import clock, packets, video_file


@dataclasses.dataclass(frozen=True)
class FrameIndex:
    """What `decode_frames` needs to know of an encoded video; kept beside it in its record.

    Either a table of packets (see `tempo.data.video.packets`), or times to seek to in the
    container.

    Attributes:
      pts: int64 [N], presentation times in the stream's own unit; empty if some frames have none
        or they do not rise, or there is a table.
      keyframes: int64 [k], frames that a seek was seen to reach exactly; 0 is always one.
      seeks: int64 [k], the time to seek to for each key frame, in the stream's own unit.
      rotation: int64 [1], degrees counter-clockwise that turn the stored picture upright.
      codec: JSON of what the decoder of the packets is told; empty without a table.
      packets: the rows of the table, in little-endian order.
    """

    pts: np.ndarray
    keyframes: np.ndarray
    seeks: np.ndarray
    rotation: np.ndarray
    codec: bytes = b""
    packets: bytes = b""

    def to_features(self) -> dict[str, Any]:
        """Its part of a record: integer arrays and lists of one byte string, see `FEATURES`."""
        values = {name: getattr(self, name) for name in FEATURES}
        return {n: [v] if FEATURES[n] == "bytes" else v for n, v in values.items()}

    @classmethod
    def from_features(cls, features: Mapping[str, Any]) -> "FrameIndex":
        """The inverse of `to_features`, from a parsed record."""
        codec = bytes(features["codec"][0])
        if codec:  # the others are not asked for, so they need not be read
            return _of_table(codec, features["packets"][0], features["rotation"])
        return cls(*(features[name] for name in ("pts", "keyframes", "seeks", "rotation")))


# Names in a record, and what each holds: integers ("int64") or one byte string ("bytes").
FEATURES = {
    "pts": "int64",
    "keyframes": "int64",
    "seeks": "int64",
    "rotation": "int64",
    "codec": "bytes",
    "packets": "bytes",
}


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a full decode of a file by its demuxer showed of the frames that count.

    Attributes:
      pts: int64 [N], times that the decoder gave the frames, which may not rise; empty if some
        frames have none.
      sums: checksum of each frame.
      keys: numbers of key frames.
      key_dts: pts -> dts of packets that begin with a key frame.
      rotation: degrees counter-clockwise that turn the stored picture upright.
    """

    pts: np.ndarray
    sums: Sequence[int]
    keys: Sequence[int]
    key_dts: Mapping[int, int]
    rotation: int


def make_index(data: bytes, seen: Seen) -> FrameIndex:
    """The index of a file: a table of its packets if that gives the same pictures, else seeks."""
    rotation = np.array([seen.rotation], np.int64)
    table = packets.make_table(data, seen.pts, seen.sums)
    if table is not None:
        return _of_table(table.codec, table.rows.tobytes(), rotation)
    seen = dataclasses.replace(seen, pts=clock.rising(seen.pts))
    checked = checked_seeks(data, seen)
    return FrameIndex(
        pts=seen.pts,
        keyframes=np.fromiter(checked, np.int64),
        seeks=np.fromiter(checked.values(), np.int64),
        rotation=rotation,
    )


def _of_table(codec: bytes, rows: bytes, rotation: np.ndarray) -> FrameIndex:
    none, zero = np.zeros(0, np.int64), np.zeros(1, np.int64)
    return FrameIndex(none, zero, zero, rotation, codec, rows)


def frames_from(container, stream, index: FrameIndex, row: int) -> Iterator[Any]:
    """Frames from key frame `row` of the index on, up to the first that cannot be decoded."""
    if row:
        container.seek(int(index.seeks[row]), stream=stream, backward=True)
    first = index.pts[index.keyframes[row]] if len(index.pts) else None
    begun = first is None
    demuxed = container.demux(stream)
    while (packet := video_file.next_packet(demuxed)) is not None:
        try:
            frames = packet.decode()
        except (av.FFmpegError, OSError):
            if begun:
                return
            continue  # pictures before an open key frame may lack what they refer to
        for frame in frames:
            # A seek may land a little early, and pictures before an open key frame come out too.
            begun = begun or (frame.pts is not None and frame.pts >= first)
            if begun:
                yield frame


def checked_seeks(data: bytes, seen: Seen) -> dict[int, int]:
    """Key frame -> time to seek to, where a seek gives the same picture and then the next one.

    Containers are indexed by decoding time, which is before the presentation time where frames are
    reordered. The first frame needs no seek.
    """
    seeks, pts = {0: 0}, seen.pts
    if not len(pts):
        return seeks
    reformatter = av.video.reformatter.VideoReformatter()
    with video_file.open_video(data) as container:
        stream = video_file.video_stream(container)
        for number in sorted(set(seen.keys) - {0}):
            time = seen.key_dts.get(int(pts[number]), int(pts[number]))
            index = FrameIndex(pts, np.array([0, number]), np.array([0, time]), np.zeros(1))
            frames = frames_from(container, stream, index, 1)
            frame, after = next(frames, None), next(frames, None)
            if frame is None or frame.pts != pts[number]:
                continue
            if video_file.checksum(frame, reformatter) != seen.sums[number]:
                continue
            if number + 1 < len(pts) and (after is None or after.pts != pts[number + 1]):
                continue
            seeks[number] = time
    return seeks
