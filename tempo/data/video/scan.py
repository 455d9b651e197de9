"""Decodes a video, or a part of one, once: what it holds, and whether it is whole."""

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Sequence

import av
import numpy as np

from tempo.data.video import clock as clocks
from tempo.data.video import seeks, video_file, wholeness
from tempo.data.video.seeks import FrameIndex, Seen
from tempo.data.video.video_file import RefusedVideoError

MIN_FRAMES = 2
MAX_FRAMES = 30_000
# How far before a part to seek, if nearer key frames turn out to lie behind its start.
_LEADS_S = (0.0, 2.0, 20.0)
# Without an index, and after a seek their frames may get times of their neighbours.
_READ_FROM_START = ("mpeg",)


@dataclasses.dataclass(frozen=True)
class VideoScan:
    """What one decode of a video, or of a part of one, showed.

    Attributes:
      width: of the upright picture, px.
      height: of the upright picture, px.
      rotation: degrees counter-clockwise that turn the stored picture upright (0, 90, 180, 270).
      fps: mean frame rate.
      timestamps_s: float64 [N], time of each frame after the first.
      index: what `decode_frames` needs to read these frames again.
    """

    width: int
    height: int
    rotation: int
    fps: float
    timestamps_s: np.ndarray
    index: FrameIndex

    @property
    def num_frames(self) -> int:
        """N, decoded frames."""
        return len(self.timestamps_s)

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last, taken to last 1 / fps."""
        return float(self.timestamps_s[-1]) + 1.0 / self.fps


@dataclasses.dataclass(frozen=True)
class Span:
    """A part of a file. Times are in the stream's own unit ("ticks"), by the span's clock.

    Attributes:
      clock: of the frames, see `tempo.data.video.clock`.
      start_s: as asked for, after the file's first frame.
      end_s: as asked for; None is the end of the file.
      origin: time of the file's first frame.
      first: the earliest time inside.
      end: the earliest time behind it; None is the end of the file.
      step: from one frame to the next at the file's rate.
      key: presentation time of the key frame to decode from.
      seek: time to seek to; None decodes from the start of the file.
    """

    clock: str
    start_s: float
    end_s: float | None
    origin: int
    first: int
    end: int | None
    step: float
    key: int
    seek: int | None


def scan_video(
    source: bytes | str | os.PathLike,
    on_frame: Callable[[np.ndarray], None] | None = None,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    min_frames: int = MIN_FRAMES,
    max_frames: int = MAX_FRAMES,
    check_seeks: bool = False,
) -> VideoScan:
    """Decodes a video, or the part [start_s, end_s) of it, once; validates it; says what it holds.

    A part is sought, and only what it needs is decoded. A file on disk is never held in memory.

    Args:
      source: a file's bytes or its path.
      on_frame: called with each upright RGB frame, uint8 [H,W,3], in order.
      start_s: seconds after the file's first frame.
      end_s: seconds after the file's first frame; None is the end of the file.
      min_frames: a video with fewer is refused.
      max_frames: a video with more is refused.
      check_seeks: also make the index that reads frames fast, and check that it gives the very
        same pictures; otherwise it leads to the first frame only. For whole files given as bytes;
        for a part see `tempo.data.video.cut.scan_encoded`.

    Raises:
      RefusedVideoError: the file is broken, cut, or outside the limits; nothing in that part.
    """
    limits = (min_frames, max_frames)
    scan, seen = scan_frames(source, on_frame, start_s, end_s, limits, check_seeks)
    if not check_seeks:
        return scan
    if seen.span is not None or not isinstance(source, bytes):
        raise ValueError("check_seeks needs a whole file's bytes")
    facts = Seen(seen.known_pts, seen.sums, seen.keys, seen.key_dts, scan.rotation)
    return dataclasses.replace(scan, index=seeks.make_index(source, facts))


def scan_frames(
    source, on_frame, start_s: float, end_s: float | None, limits: tuple[int, int], has_sums: bool
) -> tuple[VideoScan, "Scanner"]:
    """`scan_video` without seeks, and what it saw; `has_sums`: checksums of the frames, too."""
    if start_s <= 0 and end_s is None:
        scanner = Scanner(on_frame, limits[1], has_sums)
        return _read(source, scanner, limits[0]), scanner
    span = _span(source, max(0.0, start_s), end_s)
    for lead_s in (*_LEADS_S, None):
        scanner = Scanner(on_frame, limits[1], has_sums, span)
        try:
            return _read(source, scanner, limits[0], lead_s), scanner
        except _LateError:
            continue
    raise RefusedVideoError("decode_error@0")


def span_packets(container, stream, span: Span, lead_s: float | None):
    """(packets from a key frame not after the span's start, the span from there), after a seek.

    Raises:
      _LateError: the seek came out behind the start.
    """
    if lead_s is None:
        return container.demux(stream), dataclasses.replace(span, key=span.origin, seek=None)
    if container.format.name in _READ_FROM_START:
        raise _LateError
    target = max(span.origin, span.first - round(lead_s / float(stream.time_base)))
    try:
        if span.clock == clocks.DTS:
            # Only the first packet may say that others hold two pictures each.
            next(container.demux(stream)).decode()
        container.seek(target, stream=stream, backward=True)
    except (av.FFmpegError, OSError, StopIteration):
        raise _LateError from None
    packets = container.demux(stream)
    while (packet := video_file.next_packet(packets)) is not None:
        if packet.is_keyframe and packet.pts is not None:
            if packet.pts > span.first:
                raise _LateError
            key = packet.pts if span.clock == clocks.DTS else max(packet.pts, span.origin)
            return _chained(packet, packets), dataclasses.replace(span, key=key, seek=target)
    raise _LateError


class _LateError(Exception):
    """Decoding began too late to give the first frame of a part."""


class _CorruptFrameError(Exception):
    """The decoder marked a frame as damaged."""


class Scanner:
    """Reads all frames of an open container, or of a span; holds what was seen of each.

    Attributes:
      pts: of each frame as the decoder gives it, None where it has none.
      dts: of each frame as the decoder gives it, None where it has none.
      sums: checksum of each frame, if asked for.
      keys: numbers of key frames.
      key_dts: pts -> dts of packets that begin with a key frame.
      span: the part that was read, None for all.
    """

    def __init__(self, on_frame, max_frames: int, has_sums: bool, span: Span | None = None):
        self.on_frame = on_frame
        self.max_frames = max_frames
        self.pts: list[int | None] = []
        self.dts: list[int | None] = []
        self.sums: list[int] = []
        self.keys: list[int] = []
        self.key_dts: dict[int, int] = {}
        self.size: tuple[int, int] = (0, 0)
        self.rotation = 0
        self.span = span
        self.last: float | None = None  # time of the last frame decoded, within a span or before
        self.is_done = False  # a frame behind the span has come
        self._begun = False
        self._has_sums = has_sums
        self._reformatter = av.video.reformatter.VideoReformatter()

    @property
    def known_pts(self) -> np.ndarray:
        """int64 [N], `pts`; empty if some frames have none."""
        return np.array([] if None in self.pts else self.pts, np.int64)

    def read(self, container, stream, lead_s: float | None = None) -> int:
        """Decodes to the end; the number of frames that the container had promised."""
        promised, num_discarded = 0, 0
        if self.span is None:
            packets, promised = container.demux(stream), stream.frames
        else:
            packets, self.span = span_packets(container, stream, self.span, lead_s)
        while not self.is_done and (packet := video_file.next_packet(packets)) is not None:
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
        return max(0, promised - num_discarded)

    def _damaged(self, reason: str, packets, promised: int) -> None:
        """Refuses; damage with nothing after it, though more was promised, is where a file ends."""
        number = len(self.pts)
        if self.span is not None and self.span.seek is not None and not number:
            raise _LateError  # it may come of the seek
        if number < promised - 1:
            rest = video_file.next_packet(packets)
            if rest is None or not rest.size:  # an empty packet flushes the decoder at the end
                raise RefusedVideoError(f"truncated:{number}/{promised}") from None
        raise RefusedVideoError(f"{reason}@{number}") from None

    def _see(self, frame) -> None:
        if self.is_done or (self.span is not None and not self._is_inside(frame)):
            return
        number = len(self.pts)
        if frame.is_corrupt:
            raise _CorruptFrameError
        if number == 0:
            self.size = (frame.width, frame.height)
            self.rotation = frame.rotation % 360
        elif (frame.width, frame.height) != self.size:
            raise RefusedVideoError(f"size_change@{number}")
        if number >= self.max_frames:
            raise RefusedVideoError(f"too_long:{number + 1}>{self.max_frames}")
        if frame.key_frame:
            self.keys.append(number)
        if self._has_sums:
            self.sums.append(video_file.checksum(frame, self._reformatter))
        self.pts.append(frame.pts)
        self.dts.append(frame.dts)
        if self.on_frame is not None:
            self.on_frame(video_file.to_rgb(frame, self._reformatter, frame.rotation))

    def _is_inside(self, frame) -> bool:
        """Whether a frame is in the span; notes its time, guessed from the rate if it has none."""
        span = self.span
        time = getattr(frame, span.clock)
        if time is None:
            time = span.origin if self.last is None else self.last + span.step
        if not self._begun and not self._begins(frame, time):
            return False
        self._begun = True
        if span.clock == clocks.PTS and time < span.key:
            return False  # before an open key frame: it lacks what it refers to
        self.last = time
        self.is_done = span.end is not None and time >= span.end
        return time >= span.first and not self.is_done

    def _begins(self, frame, time: float) -> bool:
        """Whether this is the key frame that was sought; all before it lack what they refer to."""
        span = self.span
        if span.seek is None:
            return True
        if span.clock == clocks.PTS:
            if time > span.key:
                raise _LateError
            return time == span.key
        if time > span.first:
            raise _LateError
        return frame.pts == span.key


def _read(source, scanner: Scanner, min_frames: int, lead_s: float | None = None) -> VideoScan:
    with video_file.open_video(source) as container:
        stream = video_file.video_stream(container)
        expected_frames = scanner.read(container, stream, lead_s)
        num_frames = len(scanner.pts)
        tick_s = float(stream.time_base)
        span = scanner.span
        if span is None:
            wholeness.check_frames(num_frames, expected_frames)
            clock = clocks.choose(container, stream)
        else:
            _check_part(source, scanner, container, stream)
            clock = span.clock
        if num_frames < min_frames:
            raise RefusedVideoError(f"too_few_frames:{num_frames}<{min_frames}")
        step = 1 / (video_file.frame_rate(stream) * tick_s)
        try:
            ticks = clocks.frame_times(clock, scanner.pts, scanner.dts, step)
        except RefusedVideoError:
            if span is not None:  # its frames were chosen by that clock
                raise
            ticks = clocks.frame_times(clocks.DTS, scanner.pts, scanner.dts, step)
        fps = mean_rate(stream, ticks)
        times = np.arange(num_frames) / fps if ticks is None else (ticks - ticks[0]) * tick_s
        if span is None:
            length_s = wholeness.promised_s(container, stream, (scanner.pts[0] or 0) * tick_s)
            wholeness.check_end(source, num_frames, times[-1] + 1.0 / fps, length_s, fps)
    width, height = scanner.size
    if scanner.rotation % 180:
        width, height = height, width
    zero = np.zeros(1, np.int64)
    pts = clocks.rising(scanner.known_pts)
    index = FrameIndex(pts, zero, zero, np.array([scanner.rotation], np.int64))
    return VideoScan(width, height, scanner.rotation, fps, times, index)


def _check_part(source, scanner: Scanner, container, stream) -> None:
    """Refuses a part with nothing in it, or one that the file ends well before the end of."""
    span, num_frames = scanner.span, len(scanner.pts)
    if scanner.is_done:
        if not num_frames:
            raise RefusedVideoError("empty_segment")
        return
    if scanner.last is None:
        raise _LateError
    tick_s = float(stream.time_base)
    has_s = (scanner.last - span.origin + span.step) * tick_s
    wanted_s = math.inf if span.end_s is None else span.end_s
    there_s = min(wanted_s, wholeness.promised_s(container, stream, span.origin * tick_s))
    wholeness.check_end(
        source,
        num_frames,
        has_s - span.start_s,
        max(0.0, there_s - span.start_s),
        video_file.frame_rate(stream),
    )
    if not num_frames:
        raise RefusedVideoError(f"segment_past_end:{span.start_s:g}>{has_s:.3f}")
    if wanted_s < math.inf and has_s < wanted_s - wholeness.tolerance_s(wanted_s - span.start_s):
        raise RefusedVideoError(f"segment_past_end:{span.end_s:g}>{has_s:.3f}")


def _span(source, start_s: float, end_s: float | None) -> Span:
    """The span's ticks, counted from the file's first frame, which is decoded to know its time."""
    if end_s is not None and end_s <= start_s:
        raise RefusedVideoError("empty_segment")
    with video_file.open_video(source) as container:
        stream = video_file.video_stream(container)
        try:
            frames = container.decode(stream)
            frame = next(frames, None)
        except (av.FFmpegError, OSError):
            raise RefusedVideoError("decode_error@0") from None
        if frame is None:
            raise RefusedVideoError(f"truncated:0/{stream.frames or '?'}")
        clock = clocks.choose(container, stream, itertools.chain([frame], frames))
        origin = getattr(frame, clock) or 0
        ticks_per_s = 1 / float(stream.time_base)

        def tick(seconds: float) -> int:
            # A thousandth of a tick earlier: 0.2 s is five frames of 0.04 s in binary, too.
            return origin + math.ceil(seconds * ticks_per_s - 1e-3)

        return Span(
            clock=clock,
            start_s=start_s,
            end_s=end_s,
            origin=origin,
            first=tick(start_s),
            end=None if end_s is None else tick(end_s),
            step=ticks_per_s / video_file.frame_rate(stream),
            key=origin,
            seek=None,
        )


def _chained(packet, packets):
    yield packet
    yield from packets


def mean_rate(stream, ticks: Sequence[float] | None) -> float:
    """Frames per second from the frames' own times, or what the container says, or 25."""
    if ticks is not None and len(ticks) > 1:
        return float((len(ticks) - 1) / ((ticks[-1] - ticks[0]) * stream.time_base))
    return video_file.frame_rate(stream)
