"""Videos in folders that are named as their classes.

Three layouts are understood:

* UCF-101: split files in `DIR/ucfTrainTestlist/` (see `readers.ucf`);
* split folders: `DIR/train/<class>/*`, `DIR/test/<class>/*` and/or `DIR/val/<class>/*`;
* class folders: `DIR/<class>/*`, split here (`manifest.TEST_FRACTION` of each class, by hash).

Facts about videos are taken from `DIR/tempo.json` (`{id: {...}}`) if it exists.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from tempo.data import manifest
from tempo.data.readers import inventory, text, ucf
from tempo.data.readers.classes import ClassTable, alphabetical
from tempo.data.readers.listing import Request
from tempo.errors import InputError

SPLIT_FOLDERS = {"train": "train", "test": "test", "val": "val", "validation": "val"}
_FACTS_FILE = "tempo.json"


def read(request: Request) -> manifest.Scan:
    """Scans a tree of video files."""
    request.check_all_read()
    if os.path.isdir(os.path.join(request.root, ucf.LISTS_FOLDER)):
        return _with_facts(request.root, ucf.read_unlocated(request))
    return _read_tree(request, is_frames=False)


def read_frames(request: Request) -> manifest.Scan:
    """Scans a tree of class folders that hold a folder of numbered frames for each video."""
    request.check_all_read()
    return _read_tree(request, is_frames=True)


def _read_tree(request: Request, is_frames: bool) -> manifest.Scan:
    tree = _Tree(request.root, is_frames)
    split_folders = tree.split_folders()
    found = tree.of_splits(split_folders) if split_folders else tree.of_classes()
    names = {name for videos in found.values() for name in videos}
    if not names:
        raise tree.no_videos()
    table = request.class_list or alphabetical(names, request.root)
    _check_names(names, table)
    if not split_folders:
        found = _split_by_hash(found["all"])
    splits = {
        split: tuple(
            manifest.Source(path, path, row)
            for row, name in sorted((table.find(name), name) for name in videos)
            for path in videos[name]
        )
        for split, videos in sorted(
            found.items(), key=lambda kv: ("train", "val", "test").index(kv[0])
        )
    }
    scan = manifest.Scan(
        "split_folders" if split_folders else "class_folders",
        table.names,
        splits,
        tree.num_ignored,
        is_strict=request.class_list is None,
    )
    if scan.is_strict:
        manifest.check_classes(
            scan.class_names, {k: [v.label for v in s] for k, s in splits.items()}
        )
    return _with_facts(request.root, scan)


def _check_names(names: set[str], table: ClassTable) -> None:
    unknown = sorted(name for name in names if table.find(name) is None)
    if unknown:
        raise InputError(
            f"The folder {unknown[0]!r} is no class of {table.source}; add it there, or move it "
            "away."
        )


def _split_by_hash(classes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, list[str]]]:
    splits: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for name, videos in classes.items():
        if len(videos) < 2:
            raise InputError(
                f"Class {name!r} has no test video: it has 1 video and needs 2; add one, or remove "
                "the class."
            )
        test = manifest.split_class(videos)
        for path in videos:
            splits["test" if path in test else "train"].setdefault(name, []).append(path)
    return splits


class _Tree:
    """A folder whose folders are classes or splits.

    Attributes:
      num_ignored: files in class folders that are no video.
    """

    def __init__(self, root: str, is_frames: bool):
        self.root = root
        self.is_frames = is_frames
        self.num_ignored = 0

    def split_folders(self) -> dict[str, list[str]]:
        """The folders of each split, if the tree has no other folders."""
        names = self._folders("")
        if not names or any(name not in SPLIT_FOLDERS for name in names):
            return {}
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(SPLIT_FOLDERS[name], []).append(name)
        return found

    def of_splits(self, folders: Mapping[str, list[str]]) -> dict[str, dict[str, list[str]]]:
        """For each split the videos of each class that has any."""
        found: dict[str, dict[str, list[str]]] = {}
        for split, names in folders.items():
            found[split] = {}
            for folder in names:
                for name, videos in self._classes(folder).items():
                    found[split].setdefault(name, []).extend(videos)
        return found

    def of_classes(self) -> dict[str, dict[str, list[str]]]:
        """The videos of each class under `all`."""
        below = "videos" if self._folders("") == ["videos"] else ""
        return {"all": self._classes(below)}

    def _classes(self, below: str) -> dict[str, list[str]]:
        found = {}
        for name in self._folders(below):
            videos, num_other = inventory.walk(
                self.root,
                os.path.join(below, name),
                videos=not self.is_frames,
                frames=self.is_frames,
            )
            self.num_ignored += num_other
            if videos:
                found[name] = videos
        return found

    def _folders(self, below: str) -> list[str]:
        with os.scandir(os.path.join(self.root, below)) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))

    def no_videos(self) -> InputError:
        """What to say of a tree without videos."""
        if self.is_frames:
            return InputError(
                f"No frame folders below {self.root!r}; expected one folder per class, holding a "
                "folder of 00001.jpg, 00002.jpg, ... for each video."
            )
        hint = ""
        if inventory.walk(self.root, videos=False, frames=True)[0]:
            hint = " It holds folders of pictures: for these give --dataset frame_folders."
        return InputError(
            f"No videos below {self.root!r}; expected one folder per class holding files such as "
            f"{', '.join(inventory.VIDEO_SUFFIXES[:4])}.{hint}"
        )


def _with_facts(root: str, scan: manifest.Scan) -> manifest.Scan:
    """Adds what `DIR/tempo.json` knows about each video, if it exists."""
    path = os.path.join(root, _FACTS_FILE)
    if not os.path.isfile(path):
        return scan
    facts = text.read_json(path)
    if not isinstance(facts, dict):
        raise InputError(f"{path!r} must be a JSON object keyed by video.")
    splits = {
        split: tuple(
            dataclasses.replace(v, metadata=facts.get(v.id, facts.get(v.path, {}))) for v in videos
        )
        for split, videos in scan.splits.items()
    }
    return dataclasses.replace(scan, splits=splits)
