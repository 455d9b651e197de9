"""Which videos there are: what a scan of a dataset gives, and what is the same for all scans.

`tempo.data.readers` has the scans themselves.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tempo.errors import InputError

TEST_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class Source:
    """One video as found, before it was opened.

    Attributes:
      id: unique name, for files in class folders the path below their root, with `/`.
      path: path relative to the videos directory, with `/`: a file, or a folder of numbered frames.
      label: row of the class names; several rows where a video has more than one label.
      start_s: where the video begins in the file, seconds after its first frame.
      end_s: where it ends; None is the end of the file.
      metadata: facts known about the video besides its pixels (JSON values).
    """

    id: str
    path: str
    label: int | tuple[int, ...]
    start_s: float = 0.0
    end_s: float | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a scan found: class names in label order, and the videos of each split in record order.

    Attributes:
      layout: how the videos were listed.
      class_names: in label order; those of several groups one group after the other.
      splits: the videos of each split.
      num_ignored: files that are no video by their suffix.
      label_kind: one of `tempo.types.LABEL_KINDS`.
      label_groups: number of classes of each group, in order; empty unless the kind is `joint`.
      mirror_labels: for each class, that of its mirrored videos; None if they keep theirs.
      fps: rate of folders of frames; 0 where files know theirs.
      refused: `{"id", "source", "split", "reason"}` of listed videos that are refused unopened.
      is_strict: whether every class must have a video to train on and one to test on.
    """

    layout: str
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[Source, ...]]
    num_ignored: int = 0
    label_kind: str = "single"
    label_groups: Mapping[str, int] = dataclasses.field(default_factory=dict)
    mirror_labels: tuple[int, ...] | None = None
    fps: float = 0.0
    refused: tuple[Mapping[str, str], ...] = ()
    is_strict: bool = False

    @property
    def num_videos(self) -> int:
        """Videos in all splits."""
        return sum(len(videos) for videos in self.splits.values())


def check_classes(class_names: Sequence[str], labels: Mapping[str, Iterable[int]]) -> None:
    """Raises `InputError` naming the first class that has no video to train or to test on.

    Args:
      class_names: names in label order.
      labels: the labels of the videos of each split. A tree of test videos alone is fine.
    """
    held_out = "test" if "test" in labels else "val"
    for split in dict.fromkeys((*labels, held_out)):
        missing = set(range(len(class_names))) - set(labels.get(split, ()))
        if not missing:
            continue
        name, more = class_names[min(missing)], len(missing) - 1
        also = f" (and {more} more)" if more else ""
        if split in ("train", held_out):
            raise InputError(
                f"Class {name!r}{also} has no {split} video; add one, or remove the class."
            )


def hash_entries(content: Any) -> str:
    """sha256 (hex) of JSON content in canonical form: sorted keys, no spaces, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def split_class(paths: Sequence[str], test_fraction: float = TEST_FRACTION) -> set[str]:
    """The test videos of one class, chosen by the hash of each path.

    The choice depends on the paths alone: not on their order, the machine or a seed. A share of
    `test_fraction` (rounded, at least 1) is taken from a class of two videos or more, none from a
    smaller one. Adding a video moves few others between the splits.
    """
    if len(paths) < 2:
        return set()
    num_test = min(max(1, round(test_fraction * len(paths))), len(paths) - 1)
    by_hash = sorted(paths, key=lambda p: (hashlib.sha256(p.encode()).hexdigest(), p))
    return set(by_hash[:num_test])
