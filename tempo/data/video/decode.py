"""Video files to pixels: the entry points of scanning, cutting and reading chosen frames.

A build calls `scan_video(path, on_frame, start_s=, end_s=)` for records of frames and
`scan_encoded(path, on_frame, start_s=, end_s=)` -> (bytes, scan) for encoded ones: whole files and
parts alike. The record keeps the bytes and `scan.index.to_features()` (kinds in `FEATURES`); a
reader gives `FrameIndex.from_features(...)` and the bytes to `decode_frames`.
"""

import itertools
from collections.abc import Iterator, Sequence

import av
import numpy as np

from tempo.data.store import scratch
from tempo.data.video import seeks, video_file
from tempo.data.video.cut import scan_encoded
from tempo.data.video.packets import PacketTable, Parts
from tempo.data.video.scan import MAX_FRAMES, MIN_FRAMES, VideoScan, scan_video
from tempo.data.video.seeks import FEATURES, FrameIndex
from tempo.data.video.video_file import RefusedVideoError, read_file

__all__ = [
    "FEATURES",
    "MAX_FRAMES",
    "MIN_FRAMES",
    "FrameIndex",
    "RefusedVideoError",
    "VideoScan",
    "decode_frames",
    "read_file",
    "scan_encoded",
    "scan_video",
]


def decode_frames(
    data: bytes | memoryview | Parts, index: FrameIndex, wanted: Sequence[int]
) -> np.ndarray:
    """The upright RGB frames `wanted` of an encoded video, uint8 [n,H,W,3].

    Decodes from the last key frame before a wanted frame wherever that skips something, converts
    only wanted frames to RGB, and stops after the last of them. The array lies in memory of
    `tempo.data.store.scratch`.

    Args:
      data: the file's bytes; to be read in parts only where the index has a table of packets.
      index: made by `scan_encoded`, or by `scan_video(..., check_seeks=True)` for these bytes.
      wanted: frame numbers, strictly increasing.

    Raises:
      RefusedVideoError: a wanted frame could not be decoded.
    """
    out = None
    reformatter = av.video.reformatter.VideoReformatter()
    rotation = int(index.rotation[0])
    rows = {int(number): row for row, number in enumerate(wanted)}
    if index.codec:
        frames = PacketTable.from_bytes(index.codec, index.packets).frames(data, list(rows))
    else:
        frames = sought(data, index, list(rows))
    for number, frame in frames:
        picture = video_file.to_rgb(frame, reformatter, rotation)
        if out is None:
            out = scratch.empty((len(rows), *picture.shape))
        if picture.shape != out.shape[1:]:
            raise RefusedVideoError(f"size_change@{number}")
        out[rows[number]] = picture
    return out


def sought(data, index: FrameIndex, wanted: Sequence[int]) -> Iterator[tuple[int, object]]:
    """(number, frame) of each wanted frame, by seeks in the container."""
    with video_file.open_video(data) as container:
        stream = video_file.video_stream(container)
        position, frames = 0, None
        for target in wanted:
            row = np.searchsorted(index.keyframes, target, "right") - 1
            if frames is None or index.keyframes[row] > position:
                position = index.keyframes[row]
                frames = seeks.frames_from(container, stream, index, row)
            frame = next(itertools.islice(frames, target - position, None), None)
            position = target + 1
            if frame is None or (len(index.pts) and frame.pts != index.pts[target]):
                raise RefusedVideoError(f"decode_error@{target}")
            yield target, frame
