"""Chosen frames of a video file that no build has looked at, however long it is.

A record's file was decoded more than once before it is read. Here the clock is read from the
packets alone where they can be trusted, and what they said is compared with the frames that come
out; where it does not hold, the file is decoded once to know it. No more than one picture is in
memory at a time.

    video = browse.look("match.mp4")
    for number, picture in browse.frames(video, [0, 50_000]): ...
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import av
import numpy as np

from tempo.data.video import decode, scan, video_file, wholeness
from tempo.data.video.seeks import FrameIndex
from tempo.data.video.video_file import RefusedVideoError

# Containers and codecs of which every packet is one frame, shown at the packet's time. Others may
# hold hidden frames (VP8), two frames in a packet (DivX), or times that are made up (AVI, MPEG).
_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_CODECS = ("h264", "hevc", "vp9", "av1", "libdav1d", "libaom-av1")
_TEXT = ("tty",)  # FFmpeg draws any text file as a terminal would
_MAX_FRAMES = 10_000_000  # 46 hours at 60 per second

REASONS = {
    "missing_file": "no such file, or a folder without videos",
    "empty_file": "it has no bytes",
    "unreadable_container": "no video file, or a damaged one",
    "no_video_stream": "sound alone, or the picture of a cover",
    "picture_not_video": "a picture, not a video",
    "unknown_codec": "FFmpeg has no decoder for it",
    "truncated": "the file ends too early",
    "corrupt_frame": "damaged",
    "decode_error": "damaged",
    "size_change": "pictures of different sizes",
    "non_monotonic_pts": "times that go back",
    "too_long": "too many frames",
}
"""The words of `RefusedVideoError` that `look` and `frames` use, explained."""


@dataclasses.dataclass(frozen=True)
class Video:
    """A file, and what has to be known of it to choose frames and to read them.

    Attributes:
      path: of the file.
      fps: mean frame rate.
      timestamps_s: float32 [N], seconds after the first frame, as records keep them.
      index: where the frames are.
      is_decoded: whether all of it was decoded to know this.
    """

    path: str
    fps: float
    timestamps_s: np.ndarray
    index: FrameIndex
    is_decoded: bool

    @property
    def num_frames(self) -> int:
        """N."""
        return len(self.timestamps_s)

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last, taken to last 1 / fps."""
        return float(self.timestamps_s[-1]) + 1 / self.fps


def look(path: str | os.PathLike, *, by_packets: bool = True) -> Video:
    """What there is in a file.

    Args:
      path: of the file.
      by_packets: read the packets alone where that is enough; the caller tries again without if
        `frames` finds that it was not.

    Raises:
      RefusedVideoError: no video, a broken or a cut one: what a build would refuse, but for the
        limits of length.
    """
    path = os.fspath(path)
    try:
        with video_file.open_video(path) as container:
            if container.format.name in _TEXT:
                raise RefusedVideoError("unreadable_container")
        found = _by_packets(path) if by_packets else None
        return _by_frames(path) if found is None else found
    except (av.FFmpegError, OSError):
        raise RefusedVideoError("decode_error@0") from None


def frames(video: Video, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """(number, upright RGB picture uint8 [H,W,3]) of each wanted frame.

    Where a key frame lies before the next wanted frame, decoding goes on from there.

    Args:
      video: from `look`.
      wanted: frame numbers, strictly increasing.

    Raises:
      RefusedVideoError: a frame could not be decoded, or is not where `video` says.
    """
    reformatter = av.video.reformatter.VideoReformatter()
    rotation, shape = int(video.index.rotation[0]), None
    try:
        for number, frame in decode.sought(video.path, video.index, wanted):
            if frame.is_corrupt:
                raise RefusedVideoError(f"corrupt_frame@{number}")
            picture = video_file.to_rgb(frame, reformatter, rotation)
            if picture.shape != (shape or picture.shape):
                raise RefusedVideoError(f"size_change@{number}")
            shape = picture.shape
            yield int(number), picture
    except (av.FFmpegError, OSError):
        raise RefusedVideoError("decode_error@?") from None


def explained(reason: str) -> str:
    """The reason of a `RefusedVideoError` with what it means."""
    meaning = REASONS.get(reason.split(":")[0].split("@")[0])
    return f"{reason} ({meaning})" if meaning else reason


def _by_frames(path: str) -> Video:
    """Decodes all of it. Its seeks are unchecked, so all reading begins with the first frame."""
    found = scan.scan_video(path, min_frames=1, max_frames=_MAX_FRAMES)
    return Video(
        path=path,
        fps=found.fps,
        timestamps_s=found.timestamps_s.astype(np.float32),
        index=found.index,
        is_decoded=True,
    )


def _by_packets(path: str) -> Video | None:
    """What the packets say, and the first frame; None where they may be wrong."""
    with video_file.open_video(path) as container:
        stream = video_file.video_stream(container)
        if container.format.name not in _CONTAINERS or stream.codec_context.name not in _CODECS:
            return None
        facts = _packets(container, stream)
        if facts is None:
            return None
        pts, keyframes, seeks = facts
        wholeness.check_frames(len(pts), stream.frames)
        tick_s = float(stream.time_base)
        fps = scan.mean_rate(stream, pts)
        times = (pts - pts[0]) * tick_s
        length_s = wholeness.promised_s(container, stream, pts[0] * tick_s)
        wholeness.check_end(path, len(pts), times[-1] + 1 / fps, length_s, fps)
    with video_file.open_video(path) as container:
        stream = video_file.video_stream(container)
        first = next(container.decode(stream), None)
        if first is None or first.pts != pts[0]:
            return None
        rotation = np.array([first.rotation % 360], np.int64)
    index = FrameIndex(pts, keyframes, seeks, rotation)
    return Video(path, fps, times.astype(np.float32), index, is_decoded=False)


def _packets(container, stream) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(times of the frames, numbers of key frames, times to seek to); None if they are in doubt."""
    shown: list[int] = []
    keys: dict[int, int] = {}
    packets = container.demux(stream)
    while (packet := video_file.next_packet(packets)) is not None and packet.size:
        if packet.pts is None or packet.is_discard or packet.is_corrupt:
            return None
        if packet.is_keyframe:
            # Containers are indexed by decoding time.
            keys[packet.pts] = packet.pts if packet.dts is None else packet.dts
        elif not shown:
            return None  # nothing to begin with
        shown.append(packet.pts)
    pts = np.unique(np.array(shown, np.int64))
    # Frames before the first key frame are not whole, and may not come out.
    if not shown or len(pts) < len(shown) or pts[0] != shown[0]:
        return None
    key_times = np.array(sorted(keys), np.int64)
    seeks = np.array([keys[time] for time in key_times.tolist()], np.int64)
    return pts, np.searchsorted(pts, key_times), seeks
