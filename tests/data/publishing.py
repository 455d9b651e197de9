"""What the datasets of `tests/data/published.py` are written with."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

WriteVideo = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Published:
    """What was written.

    Attributes:
      arguments: keyword arguments of `readers.read`, and with `out_dir` those of a build.
      counts: videos of each split.
      class_names: in label order.
      label_kind: single, multi or joint.
      is_frames: whether its videos are folders of frames.
    """

    arguments: Mapping[str, Any]
    counts: Mapping[str, int]
    class_names: Sequence[str]
    label_kind: str = "single"
    is_frames: bool = False


@dataclasses.dataclass(frozen=True)
class Fixture:
    """A way to write a dataset: `make(root, write_video)`, the latter as in `conftest`."""

    make: Callable[[pathlib.Path, WriteVideo], Published]


def write(path, text, encoding="utf-8"):
    """A text file, with its folders and with line ends as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def write_frames(folder, num_frames=12, pattern="{:05d}.jpg", tint=0):
    """A folder of numbered pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, num_frames + 1):
        frame = np.full((48, 64, 3), 20 + 5 * number, np.uint8)
        frame[:12, :16] = (tint * 40) % 256, 128, 60
        cv2.imwrite(str(folder / pattern.format(number)), frame)
