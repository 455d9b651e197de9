"""When each frame is shown: by its presentation time, or by its turn in decoding.

AVI holds no presentation times. Those that FFmpeg makes up for it are out of order where pictures
are reordered, as H.264's are and those of DivX's packed streams (two pictures in one packet, then
an empty one). The decoder's order is right all the same: a frame is shown when the packet that made
the decoder give it out has its turn.
"""

import contextlib
import itertools
from collections.abc import Iterable, Sequence

import av
import numpy as np

from tempo.data.video.video_file import RefusedVideoError

PTS, DTS = "pts", "dts"  # attributes of packets and frames
_WITHOUT_PTS = ("avi",)
_PACKED = ("mpeg4",)  # codecs whose packets may keep such times in another container
_LOOK = 24  # frames


def choose(container, stream, frames: Iterable = ()) -> str:
    """The clock of an open container's frames, before all are read: `PTS` or `DTS`.

    Args:
      container: the open file.
      stream: its video stream.
      frames: its first ones, of which some may be taken to look at their times.
    """
    if container.format.name in _WITHOUT_PTS:
        return DTS
    if stream.codec_context.name not in _PACKED:
        return PTS
    seen: list[int] = []
    with contextlib.suppress(av.FFmpegError, OSError):
        seen.extend(f.pts for f in itertools.islice(frames, _LOOK) if f.pts is not None)
    return DTS if falls(seen).size else PTS


def frame_times(
    clock: str, pts: Sequence[int | None], dts: Sequence[int | None], step: float
) -> np.ndarray | None:
    """Times of frames by a clock, [N] in the stream's own unit; None if frames have none.

    Args:
      clock: from `choose`.
      pts: of each frame, as the decoder gives it.
      dts: of each frame, as the decoder gives it; those that it keeps to the end have none.
      step: from one frame to the next at the stream's rate.

    Raises:
      RefusedVideoError: `non_monotonic_pts@k`.
    """
    if clock == DTS:
        times = _filled(dts, step)
        if None not in times and not falls(times).size:
            return np.asarray(times)
    if None in pts:
        return None
    backwards = falls(pts)
    if backwards.size:
        raise RefusedVideoError(f"non_monotonic_pts@{backwards[0] + 1}")
    return np.asarray(pts, np.int64)


def rising(times: np.ndarray) -> np.ndarray:
    """The times if they rise; else none, [0]."""
    return times[:0] if falls(times).size else times


def falls(times: Sequence[float]) -> np.ndarray:
    """Where a time is not before the next."""
    return np.flatnonzero(np.diff(times) <= 0)


def _filled(dts: Sequence[int | None], step: float) -> list[float | None]:
    """With the times of the last frames, which came out when nothing was left to decode."""
    filled = list(dts)
    known = next((i + 1 for i in reversed(range(len(dts))) if dts[i] is not None), 0)
    for i in range(known, len(dts) if known else 0):
        filled[i] = filled[i - 1] + step
    return filled
