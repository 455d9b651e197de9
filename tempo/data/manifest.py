"""Which videos there are: what a scan of a dataset gives, and what is the same for all scans.

`tempo.data.readers` has the scans themselves.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tempo.errors import InputError

TEST_FRACTION = 0.2
STATED_FRAMES = "stated_num_frames"
"""Key of `Source.metadata`: how many frames a list says that a folder of frames has."""


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
      class_names: in label order; those of several groups one group after the other.
      splits: the videos of each split.
      num_ignored: files in the folders of a tree that are no video by their suffix.
      num_repeated: lines of lists that say again what another line says.
      label_kind: one of `tempo.types.LABEL_KINDS`.
      label_groups: number of classes of each group, in order; empty unless the kind is `joint`.
      mirror_labels: for each class, that of its mirrored videos; None if they keep theirs.
      fps: rate of folders of frames; 0 where files know theirs.
      refused: `{"id", "source", "split", "reason"}` of listed videos that are refused unopened.
      is_strict: whether every class must have a video to train on and one to test on.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[Source, ...]]
    num_ignored: int = 0
    num_repeated: int = 0
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

    @property
    def notes(self) -> tuple[str, ...]:
        """A line about each kind of thing that was left out without a verdict."""
        told = (
            (self.num_ignored, "files ignored, no videos by their suffix"),
            (self.num_repeated, "lines of lists repeated, taken once"),
        )
        return tuple(f"{what}: {count}" for count, what in told if count)


def check_scan(scan: Scan) -> None:
    """Raises `InputError` if two videos have one id or are one file, or a name is no text."""
    ids: set[str] = set()
    whole: dict[str, str] = {}  # whole files; parts of one may overlap, as actions do
    for video in itertools.chain(*scan.splits.values()):
        _check_text(video.id)
        _check_text(video.path)
        if video.id in ids:
            raise InputError(f"The video {video.id!r} is there twice; an id must be unique.")
        ids.add(video.id)
        if video.end_s is not None or video.start_s > 0:
            continue
        other = whole.setdefault(video.path, video.id)
        if other != video.id:
            raise InputError(
                f"{other!r} and {video.id!r} are one file, {video.path!r}; list it once."
            )
    for row in scan.refused:
        _check_text(row["id"])
        _check_text(row["source"])


def _check_text(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"The file name {name!r} is not UTF-8; rename the file (convmv does many)."
        ) from None


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
    by_hash = sorted(paths, key=lambda p: (_sha256(p), p))
    return set(by_hash[:num_test])


def _sha256(path: str) -> str:
    # A name that is not UTF-8 is refused where the whole scan is checked.
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()
