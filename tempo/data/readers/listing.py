"""From the rows of annotation files to a scan: finds each video on disk and checks the whole.

A reader of one dataset makes `Row`s; `resolve` does what is the same for all of them.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tempo.data import manifest
from tempo.data.readers import inventory, text
from tempo.data.readers.classes import ClassTable, fold, read_list
from tempo.errors import InputError, nearest

MISSING = "missing_file"
NO_FACTS: Mapping[str, Any] = {}


class Place(NamedTuple):
    """Where a video may be: a name for `Inventory.find`, and which part of the file it is."""

    name: str
    start_s: float = 0.0
    end_s: float | None = None


class Row(NamedTuple):
    """One listed video.

    Attributes:
      id: unique name.
      split: a split.
      label: as in `manifest.Source`.
      places: where it may be, the first choice first.
      where: file and line that list it.
      class_name: what its folder may be called; decides between two files of one name.
      metadata: as in `manifest.Source`.
    """

    id: str
    split: str
    label: int | tuple[int, ...]
    places: tuple[Place, ...]
    where: text.Where
    class_name: str = ""
    metadata: Mapping[str, Any] = NO_FACTS


@dataclasses.dataclass(frozen=True)
class Annotation:
    """An annotation file.

    Attributes:
      path: the file.
      split: what the user, or the file's name, says that it lists; empty if they do not.
      given: what the user gave: the file, or the folder that holds it.
    """

    path: str
    split: str
    given: str

    @property
    def is_named(self) -> bool:
        """Whether the user named this very file."""
        return self.path == self.given


class Request:
    """What `readers.read` was asked.

    Attributes:
      root: the folder of videos.
      dataset: a row of `specs.DATASETS`.
      needs: which files that dataset needs, for errors.
      class_list: the classes in the order that the user fixed, or None.
    """

    def __init__(
        self,
        root: str,
        dataset: str,
        needs: str,
        annotations: Sequence[str],
        classes: str | None,
        split_number: int,
        allow_missing: bool,
    ):
        self.root = root
        self.dataset = dataset
        self.needs = needs
        self.class_list: ClassTable | None = read_list(classes) if classes else None
        self._split_number = split_number
        self._allow_missing = allow_missing
        # What was asked and no reader has looked at, by flag; the defaults ask for nothing.
        self._unused = dict.fromkeys(
            [f"--split-number {split_number}"] * (split_number != 1)
            + ["--allow-missing"] * allow_missing
        )
        self._files: list[Annotation] = []
        self._unread: set[str] = set()
        for item in annotations:
            self._expand(item)

    @property
    def split_number(self) -> int:
        """Which of several published splits."""
        self._unused.pop(f"--split-number {self._split_number}", None)
        return self._split_number

    @property
    def allow_missing(self) -> bool:
        """Whether listed videos may be missing."""
        self._unused.pop("--allow-missing", None)
        return self._allow_missing

    def _expand(self, item: str) -> None:
        """A file, `SPLIT=FILE`, or a folder of files."""
        split, equals, path = item.partition("=")
        if not equals or os.path.exists(item):
            split, path = "", item
        elif split not in text.SPLIT_WORDS:
            raise InputError(
                f"--annotations {item!r}: {split!r} is no split.{nearest(split, text.SPLITS)}"
            )
        else:
            split = text.SPLIT_WORDS[split]
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if not name.startswith("."))
            files = [os.path.join(path, name) for name in names]
            self._files.extend(Annotation(f, split, path) for f in files if os.path.isfile(f))
        elif os.path.isfile(path):
            self._files.append(Annotation(path, split, path))
        else:
            raise InputError(
                f"No annotation file {path!r}; dataset {self.dataset!r} reads {self.needs}."
            )
        self._unread.add(path)

    def add_folder(self, folder: str) -> None:
        """Takes the files of a folder if none were given."""
        if not self._files and os.path.isdir(folder):
            self._expand(folder)

    def files(self, pattern: str, *, what: str = "") -> list[Annotation]:
        """The annotation files whose name the pattern matches from its start, in any case.

        Raises:
          InputError: there is none, and `what` (what it is called in an error) is given.
        """
        named = re.compile(pattern, re.IGNORECASE)
        found = [f for f in self._files if named.match(os.path.basename(f.path))]
        if what and not found:
            raise InputError(
                f"Dataset {self.dataset!r} needs {what}; give --annotations {self.needs}."
            )
        self._unread -= {f.given for f in found}
        return found

    def file(self, pattern: str, *, what: str = "") -> str | None:
        """The path of the one annotation file whose name the pattern matches, or None."""
        found = self.files(pattern, what=what)
        if len(found) > 1:
            raise InputError(
                f"{found[0].path!r} and {found[1].path!r} are both {what or 'of one kind'}; "
                "give one of them."
            )
        return found[0].path if found else None

    def lists(self, pattern: str = r".*", *, what: str = "a list of videos") -> list[Annotation]:
        """The files whose name the pattern matches, each with its split."""
        found = []
        for file in self.files(pattern, what=what):
            split = file.split or text.split_of(file.path)
            if not split:
                raise InputError(
                    f"{file.path!r}: the name does not tell the split; give it as "
                    f"--annotations train={file.path} (or val=, test=)."
                )
            found.append(dataclasses.replace(file, split=split))
        return found

    def check_all_read(self) -> None:
        """Raises `InputError` if a file or folder that was given was of no use."""
        if self._unread:
            raise InputError(
                f"--annotations {min(self._unread)!r}: dataset {self.dataset!r} does not read it; "
                f"it reads {self.needs}."
            )

    def check_all_used(self) -> None:
        """Raises `InputError` if a flag was given that means nothing to the dataset."""
        for flag in self._unused:
            raise InputError(
                f"{flag} means nothing to dataset {self.dataset!r} as it is here; leave it out."
            )


def split_named(word: str, where: text.Where) -> str:
    """The split that a cell names, in any of the usual words."""
    split = text.SPLIT_WORDS.get(word.lower())
    if split is None:
        text.fail(where, f"expected a split (train, val or test); found {word!r}.")
    return split


def resolve(
    request: Request,
    class_names: Sequence[str],
    rows: Iterable[Row],
    *,
    frames: bool | None = False,
    is_strict: bool = False,
    label_kind: str = "single",
    label_groups: Mapping[str, int] = NO_FACTS,
) -> manifest.Scan:
    """The scan of listed videos.

    Args:
      request: what was asked.
      class_names: in label order.
      rows: the listed videos, in record order.
      frames: whether they are folders of numbered frames (None: or files).
      is_strict: whether every class must have a video to train and to test on.
      label_kind: as in `manifest.Scan`.
      label_groups: as in `manifest.Scan`.

    Raises:
      InputError: no rows, one listed twice or in two splits, or videos that are not on disk.
    """
    rows = list(rows)
    if not rows:
        raise InputError(f"The annotations of {request.dataset!r} list no video; check the files.")
    num_listed = len(rows)
    rows = _distinct(rows)
    allow_missing = request.allow_missing
    if is_strict and request.class_list is None:
        labels = {row.split: set() for row in rows}
        for row in rows:
            labels[row.split].add(row.label)
        manifest.check_classes(class_names, labels)
    disk = inventory.Inventory(request.root, videos=frames is not True, frames=frames is not False)
    sources: dict[str, list[manifest.Source]] = {}
    missing = []
    for row in rows:
        found = _locate(disk, row)
        if found is None:
            missing.append(row)
            continue
        path, place = found
        sources.setdefault(row.split, []).append(
            manifest.Source(row.id, path, row.label, place.start_s, place.end_s, row.metadata)
        )
    if missing:
        _check_missing(missing, len(rows), request.root, allow_missing)
    _check_overlap(sources)
    return manifest.Scan(
        tuple(class_names),
        {split: tuple(sources[split]) for split in text.SPLITS if split in sources},
        label_kind=label_kind,
        label_groups=dict(label_groups),
        refused=tuple(
            {"id": r.id, "source": r.places[0].name, "split": r.split, "reason": MISSING}
            for r in missing
        ),
        is_strict=is_strict and request.class_list is None,
        num_repeated=num_listed - len(rows),
    )


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """The rows without those that say again what another says.

    Raises:
      InputError: rows of one id that do not agree, with the places of the first five.
    """
    firsts: dict[str, Row] = {}
    wrong = []
    for row in rows:
        first = firsts.setdefault(row.id, row)
        if first is not row and first._replace(where=row.where) != row:
            wrong.append((row, first))
    if not wrong:
        return list(firsts.values())
    row, first = wrong[0]
    more = ""
    if len(wrong) > 1:
        told = ", ".join(f"{r.id!r} (line {r.where[1]})" for r, _ in wrong[1:5])
        more = f" So are {len(wrong) - 1} more: {told}{', ...' if len(wrong) > 5 else ''}."
    at = f"{first.where[0]}:{first.where[1]}"
    if first.split == row.split:
        problem = f"{row.id!r} is listed twice, first at {at}; remove one line."
    else:
        problem = (
            f"{row.id!r} is in the {row.split} split and, at {at}, in the {first.split} split; "
            "a video can be in one only."
        )
    text.fail(row.where, problem + more)


def _locate(disk: inventory.Inventory, row: Row) -> tuple[str, Place] | None:
    for place in row.places:
        paths = disk.find(place.name)
        if len(paths) > 1:
            paths = _preferred(paths, row)
        if len(paths) > 1:
            text.fail(
                row.where,
                f"{place.name!r} may be {paths[0]!r} or {paths[1]!r} below --videos; keep one of "
                "them.",
            )
        if paths:
            return paths[0], place
    return None


def _preferred(paths: Sequence[str], row: Row) -> list[str]:
    """The paths with the most folders that are named as the row's class or split."""

    def agreement(path: str) -> int:
        folders = path.split("/")[:-1]
        return sum(
            text.SPLIT_WORDS.get(name.lower()) == row.split or fold(name) == fold(row.class_name)
            for name in folders
        )

    best = max(map(agreement, paths))
    return sorted(path for path in paths if agreement(path) == best)


def _check_missing(missing: Sequence[Row], num_rows: int, root: str, allow: bool) -> None:
    first = ", ".join(row.places[0].name for row in missing[:5])
    if len(missing) == num_rows:
        raise InputError(
            f"None of the {num_rows} listed videos is below {root!r} (looked for {first}); "
            "give --videos the folder that holds them."
        )
    if not allow:
        more = ", ..." if len(missing) > 5 else ""
        raise InputError(
            f"{len(missing)} of {num_rows} listed videos are not below {root!r}: {first}"
            f"{more}; add them, or leave them out with --allow-missing."
        )


def _check_overlap(sources: Mapping[str, Sequence[manifest.Source]]) -> None:
    """Raises `InputError` if two splits have a video, or a part of one, in common."""
    split_of: dict[str, str] = {}
    shared = set()
    for split, videos in sources.items():
        for video in videos:
            if split_of.setdefault(video.path, split) != split:
                shared.add(video.path)
    if not shared:
        return
    parts: dict[str, list[tuple[float, float, str, str]]] = {}
    for split, videos in sources.items():
        for v in videos:
            if v.path in shared:
                end_s = float("inf") if v.end_s is None else v.end_s
                parts.setdefault(v.path, []).append((v.start_s, end_s, split, v.id))
    for path, found in parts.items():
        last: dict[str, tuple[float, str]] = {}  # the latest end in each split so far
        for start_s, end_s, split, name in sorted(found):
            for other, (until_s, other_name) in last.items():
                if other != split and start_s < until_s:
                    raise InputError(
                        f"Splits overlap: {path!r} is {other_name!r} in {other} and {name!r} in "
                        f"{split}; a video can be in one only."
                    )
            last[split] = max(last.get(split, (0.0, "")), (end_s, name))
