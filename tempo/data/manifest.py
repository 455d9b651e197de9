"""Which videos there are: scans a folder tree, gives every video a label and a split, and hashes.

Three layouts are understood:

* UCF-101: videos in `DIR/<Class>/`, `DIR/videos/<Class>/` or `DIR/UCF-101/<Class>/`, with the split
  files `classInd.txt`, `trainlistNN.txt`, `testlistNN.txt` in `DIR/ucfTrainTestlist/`;
* split folders: `DIR/train/<class>/*`, `DIR/test/<class>/*` and/or `DIR/val/<class>/*`;
* class folders: `DIR/<class>/*`, split here (`TEST_FRACTION` of each class, chosen by hash).
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tempo.errors import InputError

VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts",
)  # fmt: skip
SPLIT_FOLDERS = {"train": "train", "test": "test", "val": "val", "validation": "val"}
TEST_FRACTION = 0.2
_UCF_LISTS = "ucfTrainTestlist"


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


def scan(videos_dir: str | os.PathLike, *, split_number: int = 1) -> Scan:
    """Finds the videos below `videos_dir`, their labels and splits; opens none of them.

    Args:
      videos_dir: a tree in one of the three layouts of this module.
      split_number: which of the published splits of a UCF-style tree (`trainlist01.txt`: 1).

    Raises:
      InputError: no such folder, no video in it, or a class without a training or test video.
    """
    root = Path(videos_dir)
    if not root.is_dir():
        raise InputError(f"No folder {str(root)!r}; give --videos a folder of videos.")
    if (root / _UCF_LISTS).is_dir():
        found = _scan_ucf(root, split_number)
    elif _split_folders(root):
        found = _scan_split_folders(root)
    else:
        found = _scan_class_folders(root)
    check_classes(found.class_names, {k: [v.label for v in s] for k, s in found.splits.items()})
    return dataclasses.replace(found, splits=_with_metadata(root, found.splits), is_strict=True)


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


def _videos_below(folder: Path, root: Path) -> tuple[list[str], int]:
    """Paths (relative to `root`, with `/`, sorted) of videos below a folder, and other files."""
    videos, num_other = [], 0
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(root).parts
        if any(part.startswith(".") for part in parts) or not path.is_file():
            continue
        if path.suffix.lower() in VIDEO_SUFFIXES:
            videos.append("/".join(parts))
        else:
            num_other += 1
    return videos, num_other


def _class_folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _split_folders(root: Path) -> dict[str, Path]:
    """The split folders of a tree that has no other folders, by split."""
    folders = _class_folders(root)
    if not folders or any(p.name not in SPLIT_FOLDERS for p in folders):
        return {}
    return {SPLIT_FOLDERS[p.name]: p for p in folders}


def _no_videos(root: Path) -> InputError:
    return InputError(
        f"No videos below {str(root)!r}; expected one folder per class holding files such as "
        f"{', '.join(VIDEO_SUFFIXES[:4])}."
    )


def _scan_class_folders(root: Path) -> Scan:
    folders = _class_folders(root)
    if [p.name for p in folders] == ["videos"]:
        folders = _class_folders(folders[0])
    classes, num_ignored = {}, 0
    for folder in folders:
        videos, num_other = _videos_below(folder, root)
        num_ignored += num_other
        if videos:
            classes[folder.name] = videos
    if not classes:
        raise _no_videos(root)
    splits: dict[str, list[Source]] = {"train": [], "test": []}
    for label, (name, videos) in enumerate(classes.items()):
        if len(videos) < 2:
            raise InputError(
                f"Class {name!r} has no test video: it has 1 video and needs 2; add one, or remove "
                "the class."
            )
        test = split_class(videos)
        for path in videos:
            splits["test" if path in test else "train"].append(Source(path, path, label))
    return Scan("class_folders", tuple(classes), _frozen(splits), num_ignored)


def _scan_split_folders(root: Path) -> Scan:
    found, names, num_ignored = {}, set(), 0
    for split, folder in _split_folders(root).items():
        found[split] = {}
        for class_folder in _class_folders(folder):
            videos, num_other = _videos_below(class_folder, root)
            num_ignored += num_other
            if videos:
                found[split][class_folder.name] = videos
                names.add(class_folder.name)
    if not names:
        raise _no_videos(root)
    class_names = tuple(sorted(names))
    splits = {}
    for split in sorted(found, key=("train", "val", "test").index):
        splits[split] = [
            Source(path, path, label)
            for label, name in enumerate(class_names)
            for path in found[split].get(name, ())
        ]
    return Scan("split_folders", class_names, _frozen(splits), num_ignored)


def _scan_ucf(root: Path, split_number: int) -> Scan:
    lists = root / _UCF_LISTS
    videos_root = next((root / d for d in ("videos", "UCF-101") if (root / d).is_dir()), root)
    prefix = "" if videos_root == root else videos_root.name + "/"
    class_names = _read_class_index(lists / "classInd.txt")
    labels = {name: label for label, name in enumerate(class_names)}
    splits = {}
    for split in ("train", "test"):
        path = lists / f"{split}list{split_number:02d}.txt"
        if not path.is_file():
            known = sorted(int(m[1]) for p in lists.iterdir() if (m := _LIST_NAME.match(p.name)))
            raise InputError(
                f"No split {split_number}: {str(path)!r} is missing; --split-number can be "
                f"{', '.join(map(str, known)) or 'none of those here'}."
            )
        splits[split] = []
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            name = line.strip().split(" ")[0]
            if not name:
                continue
            class_name = name.split("/")[0]
            if class_name not in labels:
                raise InputError(
                    f"{path.name}:{number}: class {class_name!r} is not in classInd.txt."
                )
            splits[split].append(Source(name, prefix + name, labels[class_name]))
    if not any(splits.values()):
        raise InputError(f"The split files in {str(lists)!r} name no videos.")
    both = {v.id for v in splits["train"]} & {v.id for v in splits["test"]}
    if both:
        raise InputError(f"{min(both)!r} is in trainlist{split_number:02d} and in its test list.")
    return Scan("ucf", class_names, _frozen(splits))


_LIST_NAME = re.compile(r"trainlist(\d+)\.txt$")


def _read_class_index(path: Path) -> tuple[str, ...]:
    """Class names of a `classInd.txt` (`1 ApplyEyeMakeup` on each line) in label order."""
    if not path.is_file():
        raise InputError(f"{str(path)!r} is missing; it lists one '<number> <class>' per line.")
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    try:
        names = {int(number): name for number, name in rows}
    except ValueError:
        raise InputError(f"{str(path)!r}: each line must be '<number> <class>'.") from None
    if sorted(names) != list(range(1, len(rows) + 1)):
        raise InputError(f"{str(path)!r}: the numbers must be 1 to {len(rows)}, each once.")
    return tuple(names[number] for number in sorted(names))


def _frozen(splits: Mapping[str, Sequence[Source]]) -> dict[str, tuple[Source, ...]]:
    return {name: tuple(videos) for name, videos in splits.items()}


def _with_metadata(
    root: Path, splits: Mapping[str, Sequence[Source]]
) -> dict[str, tuple[Source, ...]]:
    """Adds what `DIR/tempo.json` (`{id: {...}}`) knows about each video, if it exists."""
    path = root / "tempo.json"
    if not path.is_file():
        return _frozen(splits)
    try:
        facts = dict(json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise InputError(f"{str(path)!r} must be a JSON object keyed by video.") from None
    return {
        split: tuple(
            dataclasses.replace(v, metadata=facts.get(v.id, facts.get(v.path, {}))) for v in videos
        )
        for split, videos in splits.items()
    }
