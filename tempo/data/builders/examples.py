"""One video to one serialized `tf.train.Example`, and the TFDS metadata that describes them.

TensorFlow is not needed: `tensorflow_datasets` brings the protocol buffers and the features.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from tempo.data import decode, jpeg, manifest

KINDS = ("frames", "encoded")
DATASET_NAME = "videos"  # the first part of the shard files' names
_INDEX = [field.name for field in dataclasses.fields(decode.FrameIndex)]
SHARD_GLOB = f"{DATASET_NAME}-*.array_record-*"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """How a video becomes an example.

    Attributes:
      kind: `frames` (a JPEG per frame) or `encoded` (the file's bytes and an index of its frames).
      short_side_px: longest short side of stored frames; 0 keeps them. Unused by `encoded`.
      jpeg_quality: 1 to 100. Unused by `encoded`.
      min_frames: a video with fewer is refused.
      max_frames: a video with more is refused.
    """

    kind: str
    short_side_px: int
    jpeg_quality: int
    min_frames: int
    max_frames: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a video: an example and its manifest entry, or the reason of its refusal."""

    source: manifest.Source
    example: bytes | None = None
    entry: dict[str, Any] | None = None
    reason: str | None = None


def encode_video(videos_dir: str, source: manifest.Source, settings: ExampleSettings) -> Outcome:
    """Decodes, validates and encodes one video."""
    jpegs: list[bytes] = []

    def keep(frame: np.ndarray) -> None:
        small = jpeg.resize_short_side(frame, settings.short_side_px)
        jpegs.append(jpeg.encode(small, settings.jpeg_quality))

    is_frames = settings.kind == "frames"
    try:
        data = decode.read_file(os.path.join(videos_dir, source.path))
        scan = decode.scan_video(
            data,
            keep if is_frames else None,
            min_frames=settings.min_frames,
            max_frames=settings.max_frames,
            check_seeks=not is_frames,
        )
    except decode.RefusedVideoError as error:
        return Outcome(source, reason=error.reason)
    fields: dict[str, Any] = {
        "id": [source.id.encode()],
        "label": np.array([source.label]),
        "num_frames": np.array([scan.num_frames]),
        "timestamps": scan.timestamps_s.astype(np.float32),
    }
    if is_frames:
        fields["frames"] = jpegs
    else:
        numbers = {name: getattr(scan, name) for name in _INDEX}
        fields |= {"video": [data], **numbers}
    entry = {
        "id": source.id,
        "label": source.label,
        "num_frames": scan.num_frames,
        "fps": round(scan.fps, 6),
        "duration_s": round(scan.duration_s, 6),
        "width": scan.width,
        "height": scan.height,
        "sha256": hashlib.sha256(data).hexdigest(),
        "source": source.path,
        "metadata": dict(source.metadata),
    }
    return Outcome(source, example=serialize(fields), entry=entry)


def serialize(fields: Mapping[str, Sequence[bytes] | np.ndarray]) -> bytes:
    """A `tf.train.Example` of bytes lists, float arrays and integer arrays; always the same."""
    example = tf_example_pb2.Example()
    for name, value in fields.items():
        feature = example.features.feature[name]
        if not isinstance(value, np.ndarray):
            feature.bytes_list.value.extend(value)
        elif value.dtype.kind == "f":
            feature.float_list.value.extend(value.tolist())
        else:
            feature.int64_list.value.extend(value.tolist())
    return example.SerializeToString(deterministic=True)


def features(kind: str, class_names: Sequence[str]) -> tfds.features.FeaturesDict:
    """The TFDS features of a kind of record.

    Frames are a sequence of JPEG images: what `tfds.features.Video` stores, but that class needs
    TensorFlow to be opened.
    """
    common = {
        "id": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=list(class_names)),
        "num_frames": tfds.features.Scalar(np.int32),
        "timestamps": tfds.features.Tensor(shape=(None,), dtype=np.float32),
    }
    if kind == "frames":
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        return tfds.features.FeaturesDict({**common, "frames": tfds.features.Sequence(image)})
    numbers = {name: tfds.features.Tensor(shape=(None,), dtype=np.int64) for name in _INDEX}
    video = tfds.features.Scalar(np.object_)
    return tfds.features.FeaturesDict({**common, **numbers, "video": video})


def shard_file(split: str, number: int, count: int) -> str:
    """The file name that TFDS looks for."""
    return f"{DATASET_NAME}-{split}.array_record-{number:05d}-of-{count:05d}"


def write_metadata(
    out_dir: str,
    kind: str,
    class_names: Sequence[str],
    files: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Writes `dataset_info.json`, `features.json` and label names for the shard files in `out_dir`.

    Args:
      out_dir: the dataset; its shard files must be there.
      kind: a row of `KINDS`.
      class_names: in label order.
      files: for each split, the `num_records` and `num_bytes` of each shard.
    """
    template = tfds.core.ShardedFileTemplate(
        data_dir=out_dir, dataset_name=DATASET_NAME, filetype_suffix="array_record"
    )
    split_infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[row["num_records"] for row in rows],
            num_bytes=sum(row["num_bytes"] for row in rows),
            filename_template=template.replace(split=split),
        )
        for split, rows in files.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=out_dir,
        features=features(kind, class_names),
        split_infos=split_infos,
        filename_template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        check_data=False,
        description=f"Videos prepared by tempo, as {kind} records.",
    )
