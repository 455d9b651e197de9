"""Where the frames of an encoded video are, and how a seek in its container reaches them."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import av
import numpy as np

from tempo.data import video_file


@dataclasses.dataclass(frozen=True)
class FrameIndex:
    """What `decode_frames` needs to know of an encoded video; kept beside it in its record.

    Attributes:
      pts: int64 [N], presentation times in the stream's own unit; empty if some frames have none.
      keyframes: int64 [k], frames that a seek was seen to reach exactly; 0 is always one.
      seeks: int64 [k], the time to seek to for each key frame, in the stream's own unit.
      rotation: int64 [1], degrees counter-clockwise that turn the stored picture upright.
    """

    pts: np.ndarray
    keyframes: np.ndarray
    seeks: np.ndarray
    rotation: np.ndarray

    def to_features(self) -> dict[str, Any]:
        """Its part of a record: integer arrays and lists of bytes by name, see `FEATURES`."""
        return {name: getattr(self, name) for name in FEATURES}

    @classmethod
    def from_features(cls, features: Mapping[str, Any]) -> "FrameIndex":
        """The inverse of `to_features`, from a parsed record."""
        return cls(*(features[name] for name in FEATURES))


# Names in a record, and what each holds: integers ("int64") or one byte string ("bytes").
FEATURES = {"pts": "int64", "keyframes": "int64", "seeks": "int64", "rotation": "int64"}


def frames_from(container, stream, index: FrameIndex, row: int) -> Iterator[Any]:
    """Frames from key frame `row` of the index on, up to the first that cannot be decoded."""
    if row:
        container.seek(int(index.seeks[row]), stream=stream, backward=True)
    first = index.pts[index.keyframes[row]] if len(index.pts) else None
    begun = first is None
    packets = container.demux(stream)
    while (packet := video_file.next_packet(packets)) is not None:
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


def checked_seeks(
    data: bytes, pts: np.ndarray, key_sums: Mapping[int, int], key_dts: Mapping[int, int]
) -> dict[int, int]:
    """Key frame -> time to seek to, where a seek gives the same picture and then the next one.

    Containers are indexed by decoding time, which is before the presentation time where frames are
    reordered. The first frame needs no seek.

    Args:
      data: the file's bytes.
      pts: of its frames.
      key_sums: frame number -> checksum of each key frame in a full decode.
      key_dts: pts -> dts of packets that begin with a key frame.
    """
    seeks = {0: 0}
    if not len(pts):
        return seeks
    with video_file.open_video(data) as container:
        stream = video_file.video_stream(container)
        for number in sorted(key_sums.keys() - {0}):
            time = key_dts.get(int(pts[number]), int(pts[number]))
            index = FrameIndex(pts, np.array([0, number]), np.array([0, time]), np.zeros(1))
            frames = frames_from(container, stream, index, 1)
            frame, after = next(frames, None), next(frames, None)
            if frame is None or frame.pts != pts[number]:
                continue
            if video_file.checksum(frame) != key_sums[number]:
                continue
            if number + 1 < len(pts) and (after is None or after.pts != pts[number + 1]):
                continue
            seeks[number] = time
    return seeks
