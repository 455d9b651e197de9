"""Parts of long video files as small files of their own, without encoding again.

The packets of a part, from the key frame before it, go unchanged into a new container. What the
new file decodes to is compared with the part, so its index names exactly the part's frames.
"""

import dataclasses
import io
import itertools
import os
from collections.abc import Callable

import av
import numpy as np

from tempo.data.video import scan as scan_lib
from tempo.data.video import seeks, video_file
from tempo.data.video.clock import DTS
from tempo.data.video.scan import MAX_FRAMES, MIN_FRAMES, Span, VideoScan
from tempo.data.video.video_file import RefusedVideoError

# Tried in this order; the first that takes the codec and gives back the same pictures stays.
_CONTAINERS = ("mp4", "matroska", "avi")
_MAX_REORDERED = 16  # frames; of H.264 and HEVC, and more than others
# A record is one message, which protobuf takes up to 2 GiB, and it is held in memory.
MAX_BYTES = 2**30


def scan_encoded(
    path: str | os.PathLike,
    on_frame: Callable[[np.ndarray], None] | None = None,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    min_frames: int = MIN_FRAMES,
    max_frames: int = MAX_FRAMES,
) -> tuple[bytes, VideoScan]:
    """What an encoded record holds: a file's bytes, or those of a part of it, and their index.

    The scan is that of `scan_video(path, ...)`; its index counts the frames of the part and finds
    them in the bytes.

    Args:
      path: the file.
      on_frame: called with each upright RGB frame of the part, uint8 [H,W,3], in order.
      start_s: seconds after the file's first frame.
      end_s: seconds after the file's first frame; None is the end of the file.
      min_frames: a video with fewer is refused.
      max_frames: a video with more is refused.

    Raises:
      RefusedVideoError: as `scan_video`; `too_large` of more than `MAX_BYTES`, before they are
        read; `uncut_segment` if no container gives the part back.
    """
    limits = (min_frames, max_frames)
    if start_s <= 0 and end_s is None:
        data = video_file.read_file(path, MAX_BYTES)
        return data, scan_lib.scan_video(
            data, on_frame, min_frames=min_frames, max_frames=max_frames, check_seeks=True
        )
    scan, seen = scan_lib.scan_frames(path, on_frame, start_s, end_s, limits, has_sums=True)
    spans = [seen.span]
    if seen.span.clock == DTS and seen.span.seek is not None:
        # The first packet alone may say that others hold two pictures each.
        spans.append(dataclasses.replace(seen.span, seek=None))
    for span, name in itertools.product(spans, _CONTAINERS):
        try:
            data = _remux(path, span, name)
        except RefusedVideoError:
            raise
        except (av.FFmpegError, OSError, ValueError):
            continue  # it does not take this codec, or packets without times
        index = _index(data, seen.sums, scan.rotation)
        if index is not None:
            return data, dataclasses.replace(scan, index=index)
    raise RefusedVideoError("uncut_segment")


def _remux(path, span: Span, container_name: str) -> bytes:
    """The span's packets in a container of their own."""
    file = io.BytesIO()
    with video_file.open_video(path) as source, av.open(file, "w", container_name) as out:
        stream = video_file.video_stream(source)
        copy = out.add_stream_from_template(stream, opaque=True)
        packets = _packets(source, stream, span)
        times = _decode_times([(packet.pts, packet.dts) for packet in packets])
        for packet, dts in zip(packets, times, strict=True):
            packet.pts = None if packet.pts is None else packet.pts - times[0]
            packet.dts = dts - times[0]
            packet.stream = copy
            out.mux(packet)
    return file.getvalue()


def _packets(source, stream, span: Span) -> list:
    """All packets that the pictures of a span need."""
    if span.seek is not None:
        source.seek(span.seek, stream=stream, backward=True)
    found, size = [], 0
    packets = source.demux(stream)
    while (packet := video_file.next_packet(packets)) is not None and packet.size:
        if not found and span.seek is not None and not _begins(packet):
            continue
        if span.end is not None:
            # No picture is shown before it is decoded, nor much before its turn.
            time = packet.dts
            if time is None and packet.pts is not None:
                time = packet.pts - _MAX_REORDERED * span.step
            if time is not None and time >= span.end:
                break
        found.append(packet)
        size += packet.size
        if size > MAX_BYTES:
            raise RefusedVideoError(f"too_large:{size}>{MAX_BYTES}")
    return found


def _begins(packet) -> bool:
    return packet.is_keyframe and packet.pts is not None


def _decode_times(times: list[tuple[int | None, int | None]]) -> list[int]:
    """Decoding times of packets by their (pts, dts), made up where they are missing or do not rise.

    Raises:
      ValueError: there are no times to make them of.
    """
    dts = [dts for _, dts in times]
    if None not in dts and all(a < b for a, b in itertools.pairwise(dts)):
        return dts
    shown = [pts for pts, _ in times]
    if None in shown or not shown:
        raise ValueError("packets without times")
    ordered = sorted(shown)
    ahead = max(turn - pts for turn, pts in zip(ordered, shown, strict=True))
    return [turn - ahead for turn in ordered]


def _index(data: bytes, sums: list[int], rotation: int) -> seeks.FrameIndex | None:
    """Where frames with these checksums, one after the other, are in a file; None if nowhere."""
    pts, found, keys, key_dts = [], [], [], {}
    reformatter = av.video.reformatter.VideoReformatter()
    with video_file.open_video(data) as container:
        stream = video_file.video_stream(container)
        packets = container.demux(stream)
        while (packet := video_file.next_packet(packets)) is not None:
            if packet.is_keyframe and None not in (packet.pts, packet.dts):
                key_dts[packet.pts] = packet.dts
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue  # pictures before an open key frame
            for frame in frames:
                pts.append(frame.pts)
                found.append(video_file.checksum(frame, reformatter))
                keys.append(frame.key_frame)
    starts = range(len(found) - len(sums) + 1)
    at = next((i for i in starts if found[i : i + len(sums)] == sums), None)
    inside = slice(at, None if at is None else at + len(sums))
    if at is None or None in pts[inside]:
        return None
    numbers = [i for i, is_key in enumerate(keys[inside]) if is_key]
    seen = seeks.Seen(np.array(pts[inside], np.int64), sums, numbers, key_dts, rotation)
    index = seeks.make_index(data, seen)
    # Without times, frames are counted from the file's first.
    return index if index.codec or len(index.pts) or not at else None
