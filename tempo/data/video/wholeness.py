"""Whether a file holds what its container promises: so many frames, seconds, or bytes."""

import io
import os

import av

from tempo.data.video.video_file import RefusedVideoError

# Containers may promise a few frames more than they hold; more missing than this is a cut file.
_MISSING_SHARE = 0.02
_MISSING_FRAMES = 2
# Where only a duration is promised, the last frame may be shown for longer than the others.
_MISSING_DURATION_SHARE = 0.1
_MISSING_DURATION_S = 0.5

_MATROSKA = "matroska,webm"
_HEADER, _SEGMENT, _VOID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\xec"
_HEAD_BYTES = 65536


def tolerance_s(length_s: float) -> float:
    """How many of so many promised seconds may be missing."""
    return max(_MISSING_DURATION_S, _MISSING_DURATION_SHARE * length_s)


def promised_s(container, stream, first_s: float) -> float:
    """How long the picture lasts after its first frame, as the container says; 0 if it does not.

    The duration of a file with sound is no promise about the picture. In Matroska a duration
    is the time at which the last frame ends.

    Args:
      container: the open file.
      stream: its video stream.
      first_s: the first frame's time.
    """
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    is_matroska = container.format.name == _MATROSKA
    end_s = _noted_s(stream) if is_matroska else None
    if end_s is None and len(container.streams) == 1:
        end_s = (container.duration or 0) / av.time_base
    return max(0.0, (end_s or 0.0) - (first_s if is_matroska else 0.0))


def _noted_s(stream) -> float | None:
    """The stream's own end, which some writers of Matroska note beside it as hours:min:s."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        return None


def lacks_bytes(source: bytes | memoryview | str | os.PathLike) -> bool:
    """Whether a Matroska or WebM file ends before its segment does, where that says its size."""
    if isinstance(source, str | os.PathLike):
        size = os.path.getsize(source)
        with open(source, "rb") as f:
            head = f.read(_HEAD_BYTES)
    else:
        size, head = len(source), bytes(source[:_HEAD_BYTES])
    file = io.BytesIO(head)
    if file.read(4) != _HEADER:
        return False
    file.seek(_number(file) or 0, os.SEEK_CUR)
    while (name := file.read(1)) == _VOID:
        file.seek(_number(file) or 0, os.SEEK_CUR)
    if name + file.read(3) != _SEGMENT:
        return False
    length = _number(file)
    return length is not None and file.tell() + length > size


def _number(file) -> int | None:
    """EBML's integer of one to eight bytes (RFC 8794, section 4); None if it means unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    size = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(size - 1), "big") - (1 << 7 * size)
    return None if value == (1 << 7 * size) - 1 else value


def check_frames(num_frames: int, expected: int) -> None:
    """Refuses a whole file with fewer frames than were promised; 0 is no promise."""
    if num_frames == 0:
        raise RefusedVideoError(f"truncated:0/{expected or '?'}")
    if num_frames < expected - max(_MISSING_FRAMES, _MISSING_SHARE * expected):
        raise RefusedVideoError(f"truncated:{num_frames}/{expected}")


def check_end(source, num_frames: int, lasts_s: float, length_s: float, fps: float) -> None:
    """Refuses a whole file, or a part that goes to a file's end, that ends too early.

    Args:
      source: the file's bytes or its path.
      num_frames: that there are.
      lasts_s: how long they last.
      length_s: how long they should; 0 if unknown.
      fps: frames per second.
    """
    whole = round(length_s * fps)
    if length_s and lasts_s < length_s - tolerance_s(length_s):
        raise RefusedVideoError(f"truncated:{num_frames}/{max(1, whole)}")
    if lacks_bytes(source):
        raise RefusedVideoError(f"truncated:{num_frames}/{whole if whole > num_frames else '?'}")
