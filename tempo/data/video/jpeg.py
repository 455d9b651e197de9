"""Frames to JPEG bytes and back, by simplejpeg (libjpeg-turbo), or cv2 where that is missing.

Both release the GIL. They do not give exactly the same pixels.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from tempo.data import stages
from tempo.data.store import scratch

try:
    import simplejpeg
except ImportError:  # pragma: no cover - a wheel exists for every supported platform
    simplejpeg = None

QUALITY = 90


def encode(frame: np.ndarray, quality: int = QUALITY) -> bytes:
    """JPEG bytes (4:2:0) of an RGB frame, uint8 [H,W,3]."""
    frame = np.ascontiguousarray(frame)
    if simplejpeg is not None:
        # As videos are stored. Of full colour (its default) they take 1.4 times the bytes and 1.5
        # times as long to decode.
        return simplejpeg.encode_jpeg(
            frame, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False
        )
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), flags)
    if not done:
        raise ValueError("cv2 could not encode a JPEG frame")
    return data.tobytes()


def decode(frames: Sequence[bytes]) -> np.ndarray:
    """The RGB pictures of JPEG frames of one size, uint8 [n,H,W,3], in memory of `scratch`.

    Raises:
      ValueError: a frame is no JPEG, or of another size than the first.
    """
    with stages.stage(stages.DECODE):
        return _decode(frames)


def _decode(frames: Sequence[bytes]) -> np.ndarray:
    if simplejpeg is None:
        pictures = [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR) for f in frames]
        if any(p is None for p in pictures):
            raise ValueError("a frame is no JPEG")
        return np.stack([cv2.cvtColor(p, cv2.COLOR_BGR2RGB) for p in pictures])
    height, width = simplejpeg.decode_jpeg_header(frames[0])[:2]
    out = scratch.empty((len(frames), height, width, 3))
    for i, frame in enumerate(frames):
        picture = simplejpeg.decode_jpeg(frame, colorspace="RGB", buffer=out[i])
        if picture.shape != out.shape[1:]:
            raise ValueError(f"frame {i} is {picture.shape[:2]}, the first {out.shape[1:3]}")
    return out


def resize_short_side(frame: np.ndarray, short_side_px: int) -> np.ndarray:
    """The frame with its short side reduced to `short_side_px`; never enlarged; 0 keeps it."""
    height, width = frame.shape[:2]
    scale = short_side_px / min(height, width)
    if short_side_px == 0 or scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
