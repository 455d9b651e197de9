"""Videos in folders that are named as their classes.

Three layouts are understood:

* UCF-101: split files in `DIR/ucfTrainTestlist/` (see `readers.ucf`);
* split folders: `DIR/train/<class>/*`, `DIR/test/<class>/*` and/or `DIR/val/<class>/*`, in any case
  and in any word of `text.SPLIT_WORDS`;
* class folders: `DIR/<class>/*`, split here (`manifest.TEST_FRACTION` of each class, by hash).

Folders without videos are no classes. A link that leads nowhere is a video that is refused.
Facts about videos are taken from `DIR/tempo.json` (`{id: {...}}`) if it exists.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from tempo.data import manifest
from tempo.data.readers import inventory, text, ucf
from tempo.data.readers.classes import ClassTable, alphabetical
from tempo.data.readers.listing import MISSING, Request
from tempo.errors import InputError

_FACTS_FILE = "tempo.json"

# The videos of each class of each split; `""` is the split of class folders.
_Found = dict[str, dict[str, list[str]]]


def read(request: Request) -> manifest.Scan:
    """Scans a tree of video files."""
    request.check_all_read()
    if os.path.isdir(os.path.join(request.root, ucf.LISTS_FOLDER)):
        return _with_facts(request.root, ucf.read(request))
    return _read_tree(request, is_frames=False)


def read_frames(request: Request) -> manifest.Scan:
    """Scans a tree of class folders that hold a folder of numbered frames for each video."""
    request.check_all_read()
    return _read_tree(request, is_frames=True)


def _read_tree(request: Request, is_frames: bool) -> manifest.Scan:
    tree = _Tree(request.root, is_frames, request.class_list)
    found = tree.found
    names = {name for videos in found.values() for name in videos}
    table = request.class_list or alphabetical(names, request.root)
    _check_names(names, table)
    if not tree.is_split:
        found = _split_by_hash(found[""])
    splits, refused = {}, []
    for split in sorted(found, key=text.SPLITS.index):
        splits[split] = []
        for row, name in sorted((table.find(name), name) for name in found[split]):
            for path in found[split][name]:
                if path in tree.broken:
                    told = {"id": path, "source": path, "split": split, "reason": MISSING}
                    refused.append(told)
                else:
                    splits[split].append(manifest.Source(path, path, row))
    scan = manifest.Scan(
        table.names,
        {split: tuple(videos) for split, videos in splits.items()},
        num_ignored=tree.num_ignored,
        refused=tuple(refused),
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


def _split_by_hash(classes: Mapping[str, Sequence[str]]) -> _Found:
    splits: _Found = {"train": {}, "test": {}}
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
    """A folder whose folders are classes, or splits that hold classes.

    Attributes:
      found: the videos of each class of each split.
      is_split: whether there are folders of splits.
      broken: those of the videos that are links to nowhere.
      num_ignored: files in its folders that are no video.
    """

    def __init__(self, root: str, is_frames: bool, class_list: ClassTable | None):
        self.root = root
        self.is_frames = is_frames
        self._walk = inventory.walk(root, videos=not is_frames, frames=is_frames)
        self.broken = frozenset(self._walk.broken)
        self.num_ignored = sum(n for folder, n in self._walk.num_others.items() if folder)
        paths = sorted((*self._walk.paths, *self._walk.broken), key=inventory.parts)
        if not self._walk.paths:
            raise self._no_videos()
        self._check_loose(paths, 1)
        tops = {inventory.parts(path)[0] for path in paths}
        self._below = 0
        if tops == {"videos"}:
            self._below = 1
            self._check_loose(paths, 2)
            tops = {inventory.parts(path)[1] for path in paths}
        self.is_split = self._are_splits(sorted(tops), class_list)
        # The number of folders that lead to a class, and its own.
        self._depth = self._below + 1 + self.is_split
        self._check_loose(paths, self._depth)
        self.found: _Found = {}
        for path in paths:
            names = inventory.parts(path)
            split = text.SPLIT_WORDS[names[self._below].lower()] if self.is_split else ""
            classes = self.found.setdefault(split, {})
            classes.setdefault(names[self._depth - 1], []).append(path)
        self._check_unknown(paths)
        self._check_repeated(paths)

    def _are_splits(self, names: Sequence[str], class_list: ClassTable | None) -> bool:
        """Whether folders are splits; `InputError` if only some are."""
        if class_list is not None and all(class_list.find(n) is not None for n in names):
            return False
        splits = [name for name in names if name.lower() in text.SPLIT_WORDS]
        others = [name for name in names if name not in splits]
        if splits and others:
            raise InputError(
                f"{self.root!r} has a folder {splits[0]!r}, which is a split, and a folder "
                f"{others[0]!r} with videos, which is none; move {others[0]!r} away or, if both "
                "are classes, list all of them in a file for --classes."
            )
        return bool(splits)

    def _class_of(self, folder: str) -> tuple[str, ...]:
        """The folders that lead to a class, and its own; fewer if a folder is in no class."""
        return tuple(inventory.parts(folder)[: self._depth]) if folder else ()

    def _check_loose(self, paths: Sequence[str], depth: int) -> None:
        """Raises `InputError` if a video is not in as many folders as lead to a class."""
        loose = [path for path in paths if path.count("/") < depth]
        if not loose:
            return
        if loose[0] in self.broken:
            raise InputError(f"The link {loose[0]!r} leads nowhere; repair it, or remove it.")
        told = ", ".join(map(repr, loose[:5])) + (", ..." if len(loose) > 5 else "")
        raise InputError(
            f"Videos in no class folder: {len(loose)} ({told}); move each into the folder of its "
            "class, or away."
        )

    def _check_unknown(self, paths: Sequence[str]) -> None:
        """Raises `InputError` if a class has files, none of them a video, and not all documents."""
        known = {self._class_of(path) for path in paths}
        for folder, name in sorted(self._walk.unknown.items()):
            names = self._class_of(folder)
            if len(names) < self._depth or names in known:
                continue
            if self.is_split and names[self._below].lower() not in text.SPLIT_WORDS:
                continue
            what = "folder of numbered frames" if self.is_frames else "video"
            raise InputError(
                f"The class folder {'/'.join(names)!r} holds files such as {name!r} and no {what}; "
                "convert them, or move the folder away."
            )

    def _check_repeated(self, paths: Sequence[str]) -> None:
        """Raises `InputError` if videos of one class are, by a link, those of another too."""
        for folder, first in sorted(self._walk.repeated.items()):
            if not first or f"{folder}/".startswith(f"{first}/"):
                continue  # a loop
            here, there = self._class_of(folder), self._class_of(first)
            if here == there and len(here) == self._depth:
                continue
            if any(path == first or path.startswith(f"{first}/") for path in paths):
                raise InputError(
                    f"{folder!r} and {first!r} are one folder; a video can be in one class and "
                    "one split only: remove the link."
                )

    def _no_videos(self) -> InputError:
        """What to say of a tree without videos."""
        if self.is_frames:
            return InputError(
                f"No frame folders below {self.root!r}; expected one folder per class, holding a "
                "folder of 00001.jpg, 00002.jpg, ... for each video."
            )
        hint = ""
        if inventory.walk(self.root, videos=False, frames=True).paths:
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
