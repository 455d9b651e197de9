"""Whether the codecs that read and write datasets work here, tried on a few pictures made up.

Each check goes the way of the library: a video is encoded, scanned and read back frame by frame, as
a build and a reader do; a JPEG and a record are written and read.
"""

import pathlib
import tempfile
from collections.abc import Callable

import av
import cv2
import numpy as np
from array_record.python import array_record_module

from tempo.data.store.shard_files import ShardFile
from tempo.data.video import decode, jpeg

# What published datasets are stored in, with an encoder that makes such a file.
_VIDEOS = {
    "h264 in mp4": ("h264", "libx264", "mp4"),
    "mpeg4 in avi": ("mpeg4", "mpeg4", "avi"),
    "vp9 in webm": ("vp9", "libvpx-vp9", "webm"),
    "hevc in mp4": ("hevc", "libx265", "mp4"),
    "mjpeg in avi": ("mjpeg", "mjpeg", "avi"),
}
_NUM_FRAMES, _HEIGHT, _WIDTH = 12, 48, 64
_WANTED = (1, 6, 11)
# Grey levels by which pictures may differ on average after lossy coding; those of neighbouring
# frames differ by `_STEP`.
_MAX_ERROR = 4.0
_STEP = 14


def check() -> dict[str, str]:
    """What came of each check, by its name: `ok`, `untested: why` or `failed: why`."""
    checks = {
        **{name: lambda row=row: _check_video(*row) for name, row in _VIDEOS.items()},
        "jpeg frames": _check_jpeg,
        "records": _check_record,
        "tv-l1 flow by OpenCV": _check_tvl1,
    }
    return {name: _outcome(run) for name, run in checks.items()}


def _outcome(run: Callable[[], str]) -> str:
    """What a check says, or the error that it ended with, in one line."""
    try:
        return run()
    except Exception as error:
        # Whatever a broken codec raises is what the user has to be told.
        return f"failed: {type(error).__name__}: {' '.join(str(error).split())}"


def _check_video(codec: str, encoder: str, container: str) -> str:
    av.codec.Codec(codec, "r")
    try:
        av.codec.Codec(encoder, "w")
    except ValueError:
        return f"untested: a decoder is there, but no encoder {encoder}"
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"clip.{container}")
        pictures = _pictures()
        _write(path, pictures, encoder)
        data, scan = decode.scan_encoded(path)
    if scan.num_frames != len(pictures):
        return f"failed: {scan.num_frames} of {len(pictures)} frames were read"
    return _compared(decode.decode_frames(data, scan.index, _WANTED), pictures[list(_WANTED)])


def _check_jpeg() -> str:
    pictures = _pictures()
    encoded = [jpeg.encode(picture) for picture in pictures]
    outcome = _compared(jpeg.decode(encoded), pictures)
    slow = " (by cv2: simplejpeg is missing, reading takes longer)"
    return outcome + (slow if jpeg.simplejpeg is None and outcome == "ok" else "")


def _check_record() -> str:
    record = _pictures().tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "one.array_record"))
        writer = array_record_module.ArrayRecordWriter(path, "group_size:1,uncompressed")
        writer.write(record)
        writer.close()
        file = ShardFile(path)
        stored = file.record(0)
        back = bytes(stored.read(0, stored.size))
    return "ok" if back == record else "failed: other bytes were read than written"


def _check_tvl1() -> str:
    if not hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create"):
        return "untested: OpenCV without contrib; install '.[flow]' if you need it"
    first, second = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in _pictures()[:2])
    field = cv2.optflow.DualTVL1OpticalFlow_create().calc(first, second, None)
    shape = (_HEIGHT, _WIDTH, 2)
    if field.shape != shape or not np.isfinite(field).all():
        return f"failed: flow of shape {field.shape}, expected {shape} of finite numbers"
    return "ok"


def _pictures() -> np.ndarray:
    """Frames of which no two are alike, uint8 [T,H,W,3]: a smooth slope that grows brighter."""
    slope = np.linspace(0, 60, _WIDTH)[None, None, :, None]
    brightness = 10 + _STEP * np.arange(_NUM_FRAMES)[:, None, None, None]
    colour = np.asarray((0, 8, 16))
    return np.broadcast_to(slope + brightness + colour, (_NUM_FRAMES, _HEIGHT, _WIDTH, 3)).astype(
        np.uint8
    )


def _write(path: pathlib.Path, pictures: np.ndarray, encoder: str) -> None:
    with av.open(str(path), "w") as container:
        # The one that talks on stderr whatever FFmpeg is told.
        quiet = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
        stream = container.add_stream(encoder, rate=25, options=quiet)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        stream.bit_rate = 2_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _compared(got: np.ndarray, expected: np.ndarray) -> str:
    if got.shape != expected.shape:
        return f"failed: pictures {got.shape}, expected {expected.shape}"
    errors = np.abs(got.astype(float) - expected).mean(axis=(1, 2, 3))
    if errors.max() > _MAX_ERROR:
        return f"failed: a picture differs by {errors.max():.0f} grey levels"
    return "ok"
