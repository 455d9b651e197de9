"""Opens video files: the reasons of a refusal, packets and frames of one stream, upright RGB.

Everything here releases the GIL while it works, so threads scale. Colour conversion is always
asked for one thread: PyAV's own threads make it three times slower on small frames.
"""

import io
import math
import os
import zlib

import av
import numpy as np
from av.stream import Disposition

# Formats of FFmpeg that hold pictures; those of single files are called `png_pipe` and so on.
_PICTURES = ("apng", "gif", "image2", "image2pipe")

av.logging.set_level(av.logging.PANIC)  # damage is reported by what is raised, not on stderr


class RefusedVideoError(ValueError):
    """A video that must not become a record. `reason` is one of the words below, with a place.

    `missing_file`, `empty_file`, `unreadable_container`, `no_video_stream` (sound alone, or with
    the picture of a cover), `picture_not_video` (a still or animated picture under the name of a
    video), `unknown_codec`, `corrupt_frame@k`, `decode_error@k`, `truncated:k/n` (frames),
    `size_change@k`, `non_monotonic_pts@k`, `too_few_frames:n<min`, `too_long:n>max`; of an encoded
    record `too_large:n>max` (bytes); of a part of a file also `empty_segment` (no frame has a time
    inside it), `segment_past_end:t>d` (seconds) and `uncut_segment` (its packets, moved to a file
    of their own, do not give its frames).
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def read_file(path: str | os.PathLike, max_bytes: float = math.inf) -> bytes:
    """A file's bytes; refuses it as `missing_file` or, before it is read, as `too_large`."""
    try:
        size = os.path.getsize(path)
        if size > max_bytes:
            raise RefusedVideoError(f"too_large:{size}>{max_bytes}")
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        raise RefusedVideoError("missing_file") from None


def open_video(source: bytes | memoryview | str | os.PathLike):
    """An open container: of a file's bytes, or of a file on disk, which is read piece by piece."""
    is_path = isinstance(source, str | os.PathLike)
    if is_path and not os.path.isfile(source):
        raise RefusedVideoError("missing_file")
    if not (os.path.getsize(source) if is_path else len(source)):
        raise RefusedVideoError("empty_file")
    file = f"file:{os.fspath(source)}" if is_path else io.BytesIO(source)
    try:
        return av.open(file, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError):
        raise RefusedVideoError("unreadable_container") from None


def video_stream(container):
    """The first video stream, set to decode in the caller's thread."""
    name = container.format.name
    if name in _PICTURES or name.endswith("_pipe"):
        raise RefusedVideoError("picture_not_video")
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        # A file that was cut inside its header opens, but says nothing of what is in it.
        known = ("audio", "subtitle", "video")
        is_known = any(stream.type in known for stream in container.streams)
        raise RefusedVideoError("no_video_stream" if is_known else "unreadable_container")
    stream = moving[0]
    if stream.codec_context is None:
        raise RefusedVideoError("unknown_codec")
    # One thread per video: the callers run one video per core.
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def next_packet(packets):
    """The next packet; None where the container ends or breaks off."""
    try:
        return next(packets, None)
    except (av.FFmpegError, OSError):
        return None


def frame_rate(stream) -> float:
    """Frames per second as the container says, or 25."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else 25.0


def to_rgb(frame, reformatter, rotation: float) -> np.ndarray:
    """The upright picture, uint8 [H,W,3]; `rotation` in degrees counter-clockwise."""
    picture = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    if rotation:
        # The display matrix's angle; numpy's turn equals what players show, pixel for pixel.
        picture = np.rot90(picture, k=round(rotation / 90))
    return np.ascontiguousarray(picture)  # rows may have been padded, too


def checksum(frame, reformatter) -> int:
    """Of the RGB picture before it is turned upright."""
    return zlib.crc32(to_rgb(frame, reformatter, 0))
