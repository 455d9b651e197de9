"""The TFDS metadata of a dataset: what its records hold, for `tfds.builder_from_directory`.

TensorFlow is not needed: `tensorflow_datasets` brings the features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tempo.data.store import example_proto, index
from tempo.data.video import decode

METADATA_FILES = ("dataset_info.json", "features.json")
"""What TFDS needs besides the records."""

_SHARD_SUFFIX = "array_record"


def create(
    kind: str, label_kind: str, class_names: Sequence[str], *, has_flow: bool = False
) -> tfds.features.FeaturesDict:
    """The features of a kind of record.

    Frames are a sequence of JPEG images: what `tfds.features.Video` stores, but that class needs
    TensorFlow to be opened. So are the columns and rows of the flow, in one channel.
    """
    classes = tfds.features.ClassLabel(names=list(class_names))
    labels = {"label": classes}
    if label_kind != "single":
        labels = {"labels": tfds.features.Sequence(classes)}
    content = _jpegs("frames", 3) if kind == "frames" else _encoded()
    if has_flow:
        content |= _jpegs("flow_x", 1) | _jpegs("flow_y", 1)
    described = example_proto.describe(dict.fromkeys(content, ()))
    content |= dict.fromkeys(described, tfds.features.Scalar(np.object_))
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            **labels,
            "num_frames": tfds.features.Scalar(np.int32),
            "timestamps": tfds.features.Tensor(shape=(None,), dtype=np.float32),
            **content,
        }
    )


def _jpegs(name: str, num_channels: int) -> dict[str, Any]:
    image = tfds.features.Image(shape=(None, None, num_channels), encoding_format="jpeg")
    return {name: tfds.features.Sequence(image)}


def _encoded() -> dict[str, Any]:
    kinds = {
        "int64": tfds.features.Tensor(shape=(None,), dtype=np.int64),
        "bytes": tfds.features.Scalar(np.object_),
    }
    index_features = {name: kinds[kind] for name, kind in decode.FEATURES.items()}
    return {**index_features, "video": kinds["bytes"]}


def shard_file(split: str, number: int, count: int) -> str:
    """The file name that TFDS looks for."""
    return f"{index.DATASET_NAME}-{split}.{_SHARD_SUFFIX}-{number:05d}-of-{count:05d}"


def write(
    out_dir: str,
    features: tfds.features.FeaturesDict,
    shards: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    description: str,
) -> None:
    """Writes `dataset_info.json`, `features.json` and label names for the shard files in `out_dir`.

    Args:
      out_dir: the dataset; its shard files must be there.
      features: from `create`.
      shards: for each split, the `num_records` and `num_bytes` of each shard.
      description: one sentence.
    """
    template = tfds.core.ShardedFileTemplate(
        data_dir=out_dir, dataset_name=index.DATASET_NAME, filetype_suffix=_SHARD_SUFFIX
    )
    split_infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[row["num_records"] for row in rows],
            num_bytes=sum(row["num_bytes"] for row in rows),
            filename_template=template.replace(split=split),
        )
        for split, rows in shards.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=out_dir,
        features=features,
        split_infos=split_infos,
        filename_template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        check_data=False,
        description=description,
    )
