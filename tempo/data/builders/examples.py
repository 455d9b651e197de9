"""One video to one serialized `tf.train.Example` and its row in the manifest, or to a refusal."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import av
import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from tempo.data import flow as flow_lib
from tempo.data import flow_codec, manifest
from tempo.data.builders import frame_folders
from tempo.data.builders.originals import Originals
from tempo.data.store import example_proto
from tempo.data.video import decode, jpeg

KINDS = ("frames", "encoded")
# Larger files are decoded from disk where their bytes are not stored.
_IN_MEMORY_BYTES = 128 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """How a video becomes an example.

    Attributes:
      kind: `frames` (a JPEG per frame) or `encoded` (the file's bytes and an index of its frames).
      short_side_px: longest short side of stored frames; 0 keeps them. Unused by `encoded`.
      jpeg_quality: 1 to 100. Unused by `encoded`.
      min_frames: a video with fewer is refused.
      max_frames: a video with more is refused.
      folder_fps: rate of folders of frames; 0 if nobody knows.
      label_kind: a row of `tempo.types.LABEL_KINDS`.
      is_check: validate, and make no example.
      flow: how optical flow is made and stored beside the frames; None stores none.
    """

    kind: str
    short_side_px: int
    jpeg_quality: int
    min_frames: int
    max_frames: int
    folder_fps: float = 0.0
    label_kind: str = "single"
    is_check: bool = False
    flow: flow_lib.FlowSettings | None = None

    def described(self) -> dict[str, Any]:
        """As JSON: what makes two builds the same."""
        told = dataclasses.asdict(self) | {"flow": self.flow and self.flow.identity}
        return told | {"pictures": self.pictures}

    @property
    def pictures(self) -> dict[str, Any] | None:
        """What decides the stored pixels besides size and quality; None if no picture is stored."""
        if self.kind != "frames" or self.is_check:
            return None
        # As it comes out, whatever was asked for: the encoders' defaults differ.
        sampling = frame_folders.sampling(jpeg.encode(np.zeros((16, 16, 3), np.uint8)))
        encoder = "opencv" if jpeg.simplejpeg is None else "simplejpeg"
        return {"encoder": encoder, "sampling": ",".join(sampling)}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a video: a row of the manifest and an example, or the reason of its refusal.

    A check makes rows without examples.
    """

    source: manifest.Source
    row: dict[str, Any] | None = None
    example: bytes | None = None
    reason: str | None = None


class _Pictures:
    """The stored pictures of a video, made from its frames as they are decoded."""

    def __init__(self, settings: ExampleSettings):
        self._settings = settings
        self._jpegs: list[bytes] = []
        self._flow = settings.flow and flow_codec.FlowEncoder(settings.flow)
        self._num_checked = 0

    @property
    def is_wanted(self) -> bool:
        """Whether pictures are asked for: to be stored, or for a check of what flow needs."""
        is_check = self._settings.is_check
        return self._settings.kind == "frames" and (not is_check or self._flow is not None)

    def add(self, frame: np.ndarray, data: bytes | None = None) -> None:
        """The next upright RGB frame, uint8 [H,W,3]; `data` is a JPEG of it, if there is one."""
        if not self.is_wanted:
            return
        if self._settings.is_check:
            self._check_flow(frame)
            return
        small = jpeg.resize_short_side(frame, self._settings.short_side_px)
        if small is not frame or data is None:
            data = jpeg.encode(small, self._settings.jpeg_quality)
        self._jpegs.append(data)
        if self._flow:
            self._in_flow(self._flow.add, small)

    def features(self) -> dict[str, Any]:
        """What the record holds of them; nothing in a check."""
        is_stored = self.is_wanted and not self._settings.is_check
        found = {"frames": self._jpegs} if is_stored else {}
        if found and self._flow:
            found["flow_x"], found["flow_y"] = self._in_flow(self._flow.finish)
        return found

    def _check_flow(self, frame: np.ndarray) -> None:
        """Makes the first field: all frames of a video have one size."""
        if self._num_checked > 1:
            return
        self._num_checked += 1
        self._in_flow(self._flow.add, jpeg.resize_short_side(frame, self._settings.short_side_px))
        if self._num_checked > 1:
            self._in_flow(self._flow.finish)

    def _in_flow(self, step: Callable, *args) -> Any:
        try:
            return step(*args)
        except flow_lib.SmallFrameError as error:
            raise decode.RefusedVideoError(error.reason) from None


def encode_video(
    originals: Originals, split: str, source: manifest.Source, settings: ExampleSettings
) -> Outcome:
    """Decodes, validates and encodes one video of a split."""
    try:
        scan, sha256, content = _read(originals, source, settings)
    except decode.RefusedVideoError as error:
        return Outcome(source, reason=error.reason)
    except av.FFmpegError as error:
        return Outcome(source, reason=f"decode_error:{type(error).__name__}")
    except OSError as error:
        return Outcome(source, reason=f"unreadable_file:{error.strerror or error}")
    is_single = settings.label_kind == "single"
    row = {
        "id": source.id,
        "split": split,
        "path": source.path,
        **({"label": source.label} if is_single else {"labels": list(source.label)}),
        "start_s": source.start_s,
        "end_s": source.end_s,
        "num_frames": scan.num_frames,
        "fps": round(scan.fps, 6),
        "duration_s": round(scan.duration_s, 6),
        "width": scan.width,
        "height": scan.height,
        "rotation": scan.rotation,
        "sha256": sha256,
        "metadata": dict(source.metadata),
    }
    if settings.is_check:
        return Outcome(source, row)
    labels = {"label": [source.label]} if is_single else {"labels": source.label}
    fields = {
        "id": [source.id.encode()],
        **{name: np.array(rows, np.int64) for name, rows in labels.items()},
        "num_frames": np.array([scan.num_frames]),
        "timestamps": scan.timestamps_s.astype(np.float32),
        **content,
        **example_proto.describe(content),
    }
    return Outcome(source, row, serialize(fields))


def _read(
    originals: Originals, source: manifest.Source, settings: ExampleSettings
) -> tuple[decode.VideoScan | frame_folders.FolderScan, str, dict[str, Any]]:
    """What a decode of the video showed, the hash of its file, and the content of its record."""
    path, pictures = originals.path(source), _Pictures(settings)
    limits = {"min_frames": settings.min_frames, "max_frames": settings.max_frames}
    part = {"start_s": source.start_s, "end_s": source.end_s}
    is_part = source.start_s > 0 or source.end_s is not None
    if originals.is_folder(source):
        frames = originals.frames(path)
        fps = settings.folder_fps
        scan = frame_folders.read_frames(path, frames, pictures.add, fps=fps, **part, **limits)
        stated = source.metadata.get(manifest.STATED_FRAMES, 0)
        if not is_part and scan.num_frames < stated:
            raise decode.RefusedVideoError(f"truncated:{scan.num_frames}/{stated}")
        return scan, scan.sha256, pictures.features()
    if settings.kind == "encoded" and (is_part or not settings.is_check):
        data, scan = decode.scan_encoded(path, **part, **limits)
        sha256 = originals.sha256(source) if is_part else hashlib.sha256(data).hexdigest()
        return scan, sha256, {"video": [data], **scan.index.to_features()}
    on_frame = pictures.add if pictures.is_wanted else None
    if is_part or originals.facts(source)[0] > _IN_MEMORY_BYTES:
        scan = decode.scan_video(path, on_frame, **part, **limits)
        return scan, originals.sha256(source), pictures.features()
    data = decode.read_file(path)
    scan = decode.scan_video(data, on_frame, **limits)
    return scan, hashlib.sha256(data).hexdigest(), pictures.features()


def serialize(fields: Mapping[str, Sequence[bytes] | np.ndarray]) -> bytes:
    """A `tf.train.Example` of bytes lists, float arrays and integer arrays; always the same.

    Its first feature has the checksums of the others, see `tempo.data.store.example_proto`.
    """
    example = tf_example_pb2.Example()
    for name, value in fields.items():
        feature = example.features.feature[name]
        if not isinstance(value, np.ndarray):
            feature.bytes_list.value.extend(value)
        elif value.dtype.kind == "f":
            feature.float_list.value.extend(value.tolist())
        else:
            feature.int64_list.SetInParent()  # an empty list is of integers too
            feature.int64_list.value.extend(value.tolist())
    messages = {
        name: b"" if name in example_proto.IN_PARTS else value.SerializeToString(deterministic=True)
        for name, value in example.features.feature.items()
    }
    checksums = example.features.feature[example_proto.CHECKSUMS]
    checksums.bytes_list.value.append(example_proto.checksums(messages))
    return example.SerializeToString(deterministic=True)
