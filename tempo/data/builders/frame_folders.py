"""Videos that come as a folder of numbered pictures, `img_00001.jpg`, `img_00002.jpg`, ...

The pictures of a folder share everything in their names but the number at the end. Pictures of
optical flow beside them (`flow_x_00001.jpg`, `x_00001.jpg`) are left out.
"""

import dataclasses
import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from tempo.data.video import jpeg, wholeness
from tempo.data.video.decode import RefusedVideoError

DEFAULT_FPS = 25.0
"""Rate of frames whose dataset does not say: as of files whose container does not."""

_FRAME = re.compile(r"(.*?)(\d+)\.(?:jpe?g|png)", re.IGNORECASE)
_FLOW_NAMES = re.compile(r"(flow[_-]?)?[xy][_-]?|flow[_-].*", re.IGNORECASE)
_JPEG_MAGIC, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# A moment that falls on a frame but for rounding is that frame's.
_TIME_TOLERANCE_FRAMES = 1e-3


@dataclasses.dataclass(frozen=True)
class FolderScan:
    """What the frames of a folder showed; the fields are those of `decode.VideoScan`.

    Attributes:
      width: of the frames, px.
      height: of the frames, px.
      fps: as given.
      num_frames: N.
      sha256: of the frames' own hashes, in order.
    """

    width: int
    height: int
    fps: float
    num_frames: int
    sha256: str
    rotation = 0

    @property
    def timestamps_s(self) -> np.ndarray:
        """float64 [N], time of each frame after the first."""
        return np.arange(self.num_frames) / self.fps

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last."""
        return self.num_frames / self.fps


def is_frame(name: str) -> bool:
    """Whether a file name is that of a frame."""
    match = _FRAME.fullmatch(name)
    return bool(match) and not name.startswith(".") and not _FLOW_NAMES.fullmatch(match[1])


def list_frames(folder: str) -> dict[int, str]:
    """The frames' file names by their number, in ascending order.

    Raises:
      RefusedVideoError: `missing_file`; `no_frames`; `mixed_names:a|b`, where not all names begin
        alike; `duplicate_frame@k`, where a number is there twice (k is the number).
    """
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        raise RefusedVideoError("missing_file") from None
    frames: dict[int, str] = {}
    prefix = None
    for name in filter(is_frame, names):
        match = _FRAME.fullmatch(name)
        if prefix not in (None, match[1]):
            raise RefusedVideoError(f"mixed_names:{prefix}|{match[1]}")
        prefix, number = match[1], int(match[2])
        if number in frames:
            raise RefusedVideoError(f"duplicate_frame@{number}")
        frames[number] = name
    if not frames:
        raise RefusedVideoError("no_frames")
    return dict(sorted(frames.items()))


def read_frames(
    folder: str,
    frames: Mapping[int, str],
    on_frame: Callable[[np.ndarray, bytes | None], None],
    *,
    fps: float = 0.0,
    start_s: float = 0.0,
    end_s: float | None = None,
    min_frames: int,
    max_frames: int,
) -> FolderScan:
    """Decodes and validates the frames of a folder, or of a part of it.

    Args:
      folder: where they are.
      frames: from `list_frames`.
      on_frame: called with each RGB frame, uint8 [H,W,3], and the bytes of its file if they are a
        JPEG of three components, else None.
      fps: their rate; 0 if nobody knows.
      start_s: the part begins with the first frame at or after this time.
      end_s: it ends before this time; None is the last frame.
      min_frames: fewer are refused.
      max_frames: more are refused.

    Raises:
      RefusedVideoError: `missing_frame@k` and `corrupt_frame@k` (k is the number in the file name),
        `size_change@k`, `segment_past_end:t>d`, `too_few_frames:n<min`, `too_long:n>max`.
    """
    fps = fps or DEFAULT_FPS
    numbers = _part(list(frames), fps, start_s, end_s)
    if len(numbers) > max_frames:
        raise RefusedVideoError(f"too_long:{len(numbers)}>{max_frames}")
    gap = next((n for n in numbers if n not in frames), None)
    if gap is not None:
        raise RefusedVideoError(f"missing_frame@{gap}")
    if len(numbers) < min_frames:
        raise RefusedVideoError(f"too_few_frames:{len(numbers)}<{min_frames}")
    digest, shape = hashlib.sha256(), None
    for number in numbers:
        with open(os.path.join(folder, frames[number]), "rb") as f:
            data = f.read()
        digest.update(hashlib.sha256(data).digest())
        picture, is_plain_jpeg = _picture(data, number)
        if shape not in (None, picture.shape):
            raise RefusedVideoError(f"size_change@{number}")
        shape = picture.shape
        on_frame(picture, data if is_plain_jpeg else None)
    return FolderScan(shape[1], shape[0], fps, len(numbers), digest.hexdigest())


def _part(numbers: list[int], fps: float, start_s: float, end_s: float | None) -> range:
    """The numbers of the frames that a part of a folder should have."""
    first, stop = numbers[0], numbers[-1] + 1
    begin = first + max(0, math.ceil(start_s * fps - _TIME_TOLERANCE_FRAMES))
    has_s = (stop - first) / fps
    if begin >= stop:
        raise RefusedVideoError(f"segment_past_end:{start_s:g}>{has_s:g}")
    if end_s is None:
        return range(begin, stop)
    if has_s < end_s - wholeness.tolerance_s(end_s - start_s):
        raise RefusedVideoError(f"segment_past_end:{end_s:g}>{has_s:g}")
    return range(begin, min(stop, first + math.ceil(end_s * fps - _TIME_TOLERANCE_FRAMES)))


def _picture(data: bytes, number: int) -> tuple[np.ndarray, bool]:
    """The RGB picture of a file's bytes, and whether they are a JPEG that may be kept."""
    is_jpeg = data.startswith(_JPEG_MAGIC)
    if is_jpeg and not data.rstrip(b"\0").endswith(_JPEG_END):
        raise RefusedVideoError(f"corrupt_frame@{number}")
    if is_jpeg and len(sampling(data)) == 3:
        try:
            return jpeg.decode([data])[0], True
        except ValueError:
            raise RefusedVideoError(f"corrupt_frame@{number}") from None
    # PNG, and JPEG of one or four components.
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise RefusedVideoError(f"corrupt_frame@{number}")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), False


def sampling(data: bytes) -> tuple[str, ...]:
    """Sampling of each colour component of a JPEG, such as `2x2`; none if it has no frame header.

    Source: ITU-T T.81, B.2.2.
    """
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            factors = data[at + 11 : at + 11 + 3 * data[at + 9] : 3]
            return tuple(f"{both >> 4}x{both & 15}" for both in factors)
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return ()
