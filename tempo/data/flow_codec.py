"""Flow as two sequences of grey JPEGs, x and y: written while a video is read, and read back."""

from collections.abc import Sequence

import cv2
import numpy as np

from tempo.data import flow
from tempo.data.store import scratch

try:
    import simplejpeg
except ImportError:  # pragma: no cover - a wheel exists for every supported platform
    simplejpeg = None


class FlowEncoder:
    """JPEG flow of frames that come one by one; holds a few of them, however long the video."""

    def __init__(self, settings: flow.FlowSettings):
        self._settings = settings
        self._method = flow.METHODS[settings.method]
        self._waiting: list[np.ndarray] = []
        self._x: list[bytes] = []
        self._y: list[bytes] = []

    def add(self, frame: np.ndarray) -> None:
        """Takes the next RGB frame, uint8 [H,W,3].

        Raises:
          SmallFrameError: the method cannot take frames of this size.
        """
        self._waiting.append(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        if len(self._waiting) >= max(2, self._method.batch_frames):
            self._flush()

    def finish(self) -> tuple[list[bytes], list[bytes]]:
        """The JPEGs of x and of y, one of each per field."""
        self._flush()
        return self._x, self._y

    def _flush(self) -> None:
        if len(self._waiting) < 2:
            return
        settings = self._settings
        fields = flow.of_frames(np.stack(self._waiting), settings)
        for field in flow.quantize(fields, settings.bound):
            self._x.append(_encode(field[..., 0], settings.jpeg_quality))
            self._y.append(_encode(field[..., 1], settings.jpeg_quality))
        # The next field begins at the last frame.
        del self._waiting[:-1]


def decode(x: Sequence[bytes], y: Sequence[bytes]) -> np.ndarray:
    """The fields of grey JPEGs of one size, uint8 [n,H,W,2] in (x, y), in memory of `scratch`.

    Raises:
      ValueError: one is no JPEG, or of another size than the first.
    """
    out = None
    for i, pair in enumerate(zip(x, y, strict=True)):
        for channel, data in enumerate(pair):
            picture = _decode(data)
            if out is None:
                out = scratch.empty((len(x), *picture.shape, 2))
            if picture.shape != out.shape[1:3]:
                raise ValueError(f"flow {i} is {picture.shape}, the first {out.shape[1:3]}")
            out[i, ..., channel] = picture
    if out is None:
        raise ValueError("there is no flow to decode")
    return out


def _encode(levels: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of a grey picture, uint8 [H,W]."""
    levels = np.ascontiguousarray(levels)
    if simplejpeg is not None:
        return simplejpeg.encode_jpeg(
            levels[..., None], quality=quality, colorspace="GRAY", fastdct=False
        )
    done, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("cv2 could not encode a flow field")
    return data.tobytes()


def _decode(data: bytes) -> np.ndarray:
    """The grey picture of JPEG bytes, uint8 [H,W]."""
    if simplejpeg is not None:
        return simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ValueError("a flow field is no JPEG")
    return picture
