"""Video files to pixels: what a file holds, whether it is whole, and chosen frames of it.

Everything here releases the GIL while it works, so threads scale. Colour conversion is always
asked for one thread: PyAV's own threads make it three times slower on small frames.
"""

import dataclasses
import io
import itertools
import os
import zlib
from collections.abc import Callable, Sequence

import av
import numpy as np

MIN_FRAMES = 2
MAX_FRAMES = 30_000
# Containers may promise a few frames more than they hold; more missing than this is a cut file.
_MISSING_SHARE = 0.02
_MISSING_FRAMES = 2
# Where only a duration is promised (WebM), sound may outlast the picture a little.
_MISSING_DURATION_SHARE = 0.1
_MISSING_DURATION_S = 0.5

av.logging.set_level(av.logging.PANIC)  # damage is reported by what is raised here, not on stderr


class RefusedVideoError(ValueError):
    """A video that must not become a record. `reason` is one of the words below, with a place.

    `empty_file`, `unreadable_container`, `no_video_stream`, `corrupt_frame@k`, `decode_error@k`,
    `truncated:k/n` (frames), `size_change@k`, `non_monotonic_pts@k`, `too_few_frames:n<min`,
    `too_long:n>max`.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class VideoScan:
    """What one full decode of a video showed.

    Attributes:
      width: of the upright picture, px.
      height: of the upright picture, px.
      rotation: degrees counter-clockwise that turn the stored picture upright (0, 90, 180, 270).
      fps: mean frame rate.
      timestamps_s: float64 [N], time of each frame after the first.
      pts: int64 [N], presentation times in the stream's own unit; empty if some frames have none.
      keyframes: int64 [k], frames that a seek was seen to reach exactly; 0 is always one.
      seeks: int64 [k], the time to seek to for each key frame, in the stream's own unit.
    """

    width: int
    height: int
    rotation: int
    fps: float
    timestamps_s: np.ndarray
    pts: np.ndarray
    keyframes: np.ndarray
    seeks: np.ndarray

    @property
    def index(self) -> "FrameIndex":
        """What `decode_frames` needs of it."""
        return FrameIndex(self.pts, self.keyframes, self.seeks)

    @property
    def num_frames(self) -> int:
        """N, decoded frames."""
        return len(self.timestamps_s)

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last, taken to last 1 / fps."""
        return float(self.timestamps_s[-1]) + 1.0 / self.fps


@dataclasses.dataclass(frozen=True)
class FrameIndex:
    """Where the frames of an encoded video are; see `VideoScan` for the fields."""

    pts: np.ndarray
    keyframes: np.ndarray
    seeks: np.ndarray


def scan_video(
    data: bytes,
    on_frame: Callable[[np.ndarray], None] | None = None,
    *,
    min_frames: int = MIN_FRAMES,
    max_frames: int = MAX_FRAMES,
    check_seeks: bool = False,
) -> VideoScan:
    """Decodes a whole video once, validates it, and says what it holds.

    Args:
      data: the file's bytes.
      on_frame: called with each upright RGB frame, uint8 [H,W,3], in order.
      min_frames: a video with fewer is refused.
      max_frames: a video with more is refused.
      check_seeks: also seek to every key frame and keep those that give the very same picture;
        otherwise `keyframes` is only the first frame.

    Raises:
      RefusedVideoError: the file is broken, cut, or outside the limits.
    """
    if not data:
        raise RefusedVideoError("empty_file")
    with _open(data) as container:
        scanner = _Scanner(on_frame, max_frames, check_seeks)
        stream = _video_stream(container)
        expected_frames, expected_s = scanner.read(container, stream)
        frames = scanner.frames
        num_frames = len(frames)
        if num_frames == 0:
            raise RefusedVideoError(f"truncated:0/{expected_frames or '?'}")
        fps = _mean_rate(stream, frames)
        if num_frames < expected_frames - max(_MISSING_FRAMES, _MISSING_SHARE * expected_frames):
            raise RefusedVideoError(f"truncated:{num_frames}/{expected_frames}")
        if num_frames < min_frames:
            raise RefusedVideoError(f"too_few_frames:{num_frames}<{min_frames}")
        pts, times = _times(frames, stream.time_base, fps)
        lasts_s = times[-1] + 1.0 / fps
        if lasts_s < expected_s - max(_MISSING_DURATION_S, _MISSING_DURATION_SHARE * expected_s):
            raise RefusedVideoError(f"truncated:{num_frames}/{round(expected_s * fps)}")
    width, height = scanner.size
    if scanner.rotation % 180:
        width, height = height, width
    seeks = _checked_seeks(data, pts, scanner) if check_seeks else {0: 0}
    return VideoScan(
        width=width,
        height=height,
        rotation=scanner.rotation,
        fps=fps,
        timestamps_s=times,
        pts=pts,
        keyframes=np.fromiter(seeks, np.int64),
        seeks=np.fromiter(seeks.values(), np.int64),
    )


def decode_frames(data: bytes, index: FrameIndex, wanted: Sequence[int]) -> np.ndarray:
    """The upright RGB frames `wanted` of an encoded video, uint8 [n,H,W,3].

    Seeks to the last key frame before a wanted frame wherever that skips something, decodes from
    there, converts only wanted frames to RGB, and stops after the last of them.

    Args:
      data: the file's bytes.
      index: made by `scan_video(..., check_seeks=True)` for these bytes.
      wanted: frame numbers, strictly increasing.

    Raises:
      RefusedVideoError: a wanted frame could not be decoded.
    """
    out = None
    reformatter = av.video.reformatter.VideoReformatter()
    with _open(data) as container:
        stream = _video_stream(container)
        position, frames = 0, None
        for i, target in enumerate(wanted):
            row = np.searchsorted(index.keyframes, target, "right") - 1
            if frames is None or index.keyframes[row] > position:
                position = index.keyframes[row]
                frames = _frames_from(container, stream, index, row)
            frame = next(itertools.islice(frames, target - position, None), None)
            position = target + 1
            if frame is None:
                raise RefusedVideoError(f"decode_error@{target}")
            picture = _to_rgb(frame, reformatter)
            if out is None:
                out = np.empty((len(wanted), *picture.shape), np.uint8)
            if picture.shape != out.shape[1:]:
                raise RefusedVideoError(f"size_change@{target}")
            out[i] = picture
    return out


class _CorruptFrameError(Exception):
    """The decoder marked a frame as damaged."""


class _Scanner:
    """Reads all frames of an open container; holds what was seen of each."""

    def __init__(self, on_frame, max_frames: int, check_seeks: bool):
        self.on_frame = on_frame
        self.max_frames = max_frames
        self.check_seeks = check_seeks
        self.frames: list[int | None] = []  # pts
        self.key_sums: dict[int, int] = {}  # frame number -> checksum of a key frame
        self.key_dts: dict[int, int] = {}  # pts -> dts of packets that begin with a key frame
        self.size: tuple[int, int] = (0, 0)
        self.rotation = 0
        self._reformatter = av.video.reformatter.VideoReformatter()

    def read(self, container, stream) -> tuple[int, float]:
        """Decodes to the end; the frames and the seconds that the container had promised."""
        promised = stream.frames
        num_discarded = 0
        packets = container.demux(stream)
        while (packet := _next_packet(packets)) is not None:
            num_discarded += packet.is_discard  # outside an edit list: counted, never shown
            if packet.is_keyframe and None not in (packet.pts, packet.dts):
                self.key_dts[packet.pts] = packet.dts
            try:
                for frame in packet.decode():
                    self._see(frame)
            except av.FFmpegError:
                self._damaged("decode_error", packets, promised)
            except _CorruptFrameError:
                self._damaged("corrupt_frame", packets, promised)
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        else:
            seconds = (container.duration or 0) / av.time_base
        return max(0, promised - num_discarded), seconds

    def _damaged(self, reason: str, packets, promised: int) -> None:
        """Refuses; damage with nothing after it, though more was promised, is where a file ends."""
        number = len(self.frames)
        if number < promised - 1:
            rest = _next_packet(packets)
            if rest is None or not rest.size:  # an empty packet flushes the decoder at the end
                raise RefusedVideoError(f"truncated:{number}/{promised}") from None
        raise RefusedVideoError(f"{reason}@{number}") from None

    def _see(self, frame) -> None:
        number = len(self.frames)
        if frame.is_corrupt:
            raise _CorruptFrameError
        if number == 0:
            self.size = (frame.width, frame.height)
            self.rotation = frame.rotation % 360
        elif (frame.width, frame.height) != self.size:
            raise RefusedVideoError(f"size_change@{number}")
        if number >= self.max_frames:
            raise RefusedVideoError(f"too_long:{number + 1}>{self.max_frames}")
        if self.check_seeks and frame.key_frame:
            self.key_sums[number] = _checksum(frame)
        self.frames.append(frame.pts)
        if self.on_frame is not None:
            self.on_frame(_to_rgb(frame, self._reformatter))


def _next_packet(packets):
    """The next packet; None where the container ends or breaks off."""
    try:
        return next(packets, None)
    except (av.FFmpegError, OSError):
        return None


def _open(data: bytes):
    try:
        return av.open(io.BytesIO(data), metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError):
        raise RefusedVideoError("unreadable_container") from None


def _video_stream(container):
    if not container.streams.video:
        # A file that was cut inside its header opens, but says nothing of what is in it.
        is_known = any(stream.type in ("audio", "subtitle") for stream in container.streams)
        raise RefusedVideoError("no_video_stream" if is_known else "unreadable_container")
    stream = container.streams.video[0]
    # One thread per video: the callers run one video per core.
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def _to_rgb(frame, reformatter) -> np.ndarray:
    picture = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    if frame.rotation:
        # The display matrix's angle; numpy's turn equals what players show, pixel for pixel.
        picture = np.ascontiguousarray(np.rot90(picture, k=round(frame.rotation / 90)))
    return picture


def _checksum(frame) -> int:
    """Of the first plane's pixels, without the padding at the end of its rows."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    width = min(plane.line_size, plane.width * max(1, frame.format.components[0].bits + 7 >> 3))
    return zlib.crc32(np.ascontiguousarray(rows[: plane.height, :width]))


def _mean_rate(stream, pts: Sequence[int | None]) -> float:
    """Frames per second from the frames' own times, or what the container says, or 25."""
    if len(pts) > 1 and None not in (pts[0], pts[-1]) and pts[-1] > pts[0]:
        return float((len(pts) - 1) / ((pts[-1] - pts[0]) * stream.time_base))
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else 25.0


def _times(pts: Sequence[int | None], time_base, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Presentation times (ticks; empty if some frames have none) and seconds after the first."""
    if None in pts:
        return np.zeros(0, np.int64), np.arange(len(pts)) / fps
    ticks = np.asarray(pts, np.int64)
    backwards = np.flatnonzero(np.diff(ticks) <= 0)
    if backwards.size:
        raise RefusedVideoError(f"non_monotonic_pts@{backwards[0] + 1}")
    return ticks, (ticks - ticks[0]) * float(time_base)


def _frames_from(container, stream, index: FrameIndex, row: int):
    """Frames from key frame `row` of the index on."""
    if row:
        container.seek(int(index.seeks[row]), stream=stream, backward=True)
    first = index.pts[index.keyframes[row]] if len(index.pts) else None
    try:
        for frame in container.decode(stream):
            # A seek may land a little early, and pictures before an open key frame come out too.
            if first is None or (frame.pts is not None and frame.pts >= first):
                yield frame
    except (av.FFmpegError, OSError):
        return


def _checked_seeks(data: bytes, pts: np.ndarray, scanner: _Scanner) -> dict[int, int]:
    """Key frame -> time to seek to, where a seek gives the same picture and then the next one.

    Containers are indexed by decoding time, which is before the presentation time where frames are
    reordered. The first frame needs no seek.
    """
    seeks = {0: 0}
    if not len(pts):
        return seeks
    with _open(data) as container:
        stream = _video_stream(container)
        for number in sorted(scanner.key_sums.keys() - {0}):
            time = scanner.key_dts.get(int(pts[number]), int(pts[number]))
            index = FrameIndex(pts, np.array([0, number]), np.array([0, time]))
            frames = _frames_from(container, stream, index, 1)
            frame, after = next(frames, None), next(frames, None)
            if frame is None or frame.pts != pts[number]:
                continue
            if _checksum(frame) != scanner.key_sums[number]:
                continue
            if number + 1 < len(pts) and (after is None or after.pts != pts[number + 1]):
                continue
            seeks[number] = time
    return seeks


def read_file(path: str | os.PathLike) -> bytes:
    """A file's bytes; `RefusedVideoError("missing_file")` if there is none."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        raise RefusedVideoError("missing_file") from None
