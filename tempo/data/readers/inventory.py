"""What is on disk below a folder: videos and folders of numbered frames, found in one walk.

Folders of frames are recognised by their first entries and not read to the end: a dataset of
100,000 of them has millions of files.
"""

import bisect
import collections
import contextlib
import dataclasses
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from tempo.errors import InputError

VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts",
    ".mts", ".m2ts", ".ogv",
)  # fmt: skip
_VIDEO = frozenset(suffix[1:] for suffix in VIDEO_SUFFIXES)
_FRAME = re.compile(r".*\d\.(?:jpe?g|png)", re.IGNORECASE)
# Pictures that decide whether a folder is one of frames.
_NUM_PEEKED = 16
# What lies beside videos and is certainly none.
_DOCUMENTS = frozenset(
    ("csv", "htm", "html", "json", "log", "md", "pdf", "rst", "tsv", "txt", "xml", "yaml", "yml")
)


def is_video(name: str) -> bool:
    """Whether a file name has the suffix of a video."""
    return name.rpartition(".")[2].lower() in _VIDEO


@dataclasses.dataclass
class Walk:
    """What was met below a folder. All paths are relative to its root, with `/`.

    Attributes:
      paths: videos, or folders of frames, sorted part by part.
      broken: links of which any may have been one and that lead nowhere, sorted in the same way.
      repeated: folders that were met before under another path, and that path: one or the other
        is below a link.
      num_others: number of other files in each folder that has any.
      unknown: of each folder with other files that are not documents either, the first.
    """

    paths: list[str] = dataclasses.field(default_factory=list)
    broken: list[str] = dataclasses.field(default_factory=list)
    repeated: dict[str, str] = dataclasses.field(default_factory=dict)
    num_others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    unknown: dict[str, str] = dataclasses.field(default_factory=dict)

    def add_other(self, folder: str, name: str) -> None:
        """Counts a file that is no video."""
        self.num_others[folder] += 1
        if name.rpartition(".")[2].lower() not in _DOCUMENTS:
            self.unknown[folder] = min(name, self.unknown.get(folder, name))


def walk(root: str, *, videos: bool = True, frames: bool = False) -> Walk:
    """What there is below a folder.

    Hidden files and folders are left out. Links to folders are followed, but every folder is
    entered once: under its own path if it has one below `root`, or else by the first link.

    Args:
      root: a folder.
      videos: find video files.
      frames: find folders of numbered `.jpg` or `.png` frames.
    """
    found = Walk()
    seen: dict[tuple[int, int], str] = {}
    pending, links = [""], []  # links come last, so that no order on disk decides
    while pending or links:
        here = pending.pop() if pending else links.pop(0)
        folder = os.path.join(root, here)
        first = seen.setdefault(_identity(folder), here)
        if first != here:
            found.repeated[here] = first
            continue
        if here and frames and holds_frames(folder, beside_videos=not videos):
            found.paths.append(here)
            continue
        prefix = f"{here}/" if here else ""
        for entry in _entries(folder):
            name = entry.name
            if name.startswith("."):
                continue
            mode = _mode(entry)
            if stat.S_ISDIR(mode):
                if entry.is_symlink():
                    bisect.insort(links, prefix + name)
                else:
                    pending.append(prefix + name)
            elif not mode and (is_video(name) or "." not in name):
                found.broken.append(prefix + name)
            elif videos and is_video(name) and stat.S_ISREG(mode):
                found.paths.append(prefix + name)
            else:
                found.add_other(here, name)
    for paths in (found.paths, found.broken):
        paths.sort(key=parts)
    return found


def parts(path: str) -> list[str]:
    """The parts of a path; the key by which paths are sorted."""
    return path.split("/")


def holds_frames(folder: str, *, beside_videos: bool = False) -> bool:
    """Whether a folder is one of numbered pictures, by its own.

    One picture may be the cover of what lies beside it, two or more are frames: folders beside them
    (`thumbs/`, `flow/`) do not matter. No more than the first pictures are read.

    Args:
      folder: the folder.
      beside_videos: whether videos beside them do not matter either.
    """
    num_frames, has_video, has_folder = 0, False, False
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        if _FRAME.fullmatch(entry.name):
            num_frames += 1
            if num_frames == _NUM_PEEKED:
                break
        elif is_video(entry.name):
            has_video = True
        else:
            has_folder = has_folder or entry.is_dir()
    if has_video and not beside_videos:
        return False
    return num_frames >= (2 if has_folder or has_video else 1)


def _identity(folder: str) -> tuple[int, int]:
    """What tells a folder from all others, by whatever path it is reached."""
    with _readable(folder):
        found = os.stat(folder)
    return found.st_dev, found.st_ino


def _mode(entry: os.DirEntry) -> int:
    """The kind of an entry or of what a link leads to; 0 if it leads nowhere."""
    if not entry.is_symlink():
        return stat.S_IFDIR if entry.is_dir() else stat.S_IFREG if entry.is_file() else stat.S_IFIFO
    try:
        return entry.stat().st_mode
    except OSError:  # also a link to itself
        return 0


def _entries(folder: str) -> Iterator[os.DirEntry]:
    with _readable(folder), os.scandir(folder) as entries:
        yield from entries


@contextlib.contextmanager
def _readable(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"Cannot read the folder {folder!r}: {error.strerror}.") from None


class Inventory:
    """Where the videos below a folder are, by path, by the end of a path, or by file name.

    Attributes:
      root: the folder.
      num_videos: videos (or folders of frames) found.
    """

    def __init__(self, root: str, *, videos: bool = True, frames: bool = False):
        """Walks through `root` and looks for what `walk` is told."""
        self.root = root
        found = walk(root, videos=videos, frames=frames)
        paths = found.paths
        self.num_videos = len(paths)
        self._repeated: Mapping[str, str] = found.repeated
        self._paths = frozenset(paths)
        self._by_name: dict[str, str | list[str]] = {}
        self._folded: dict[str, str | list[str]] | None = None
        for path in paths:
            _add(self._by_name, _stem(path), path)

    def find(self, name: str) -> list[str]:
        """Paths that `name` may mean: a path below `root`, the end of one, or a file name.

        A name without the suffix of a video stands for a file with any. If nothing is found the
        case of letters is ignored, and how accents are composed. One path is certain; several are
        in no order of preference.
        """
        for link, folder in self._repeated.items():
            if name.startswith(f"{link}/"):
                name = f"{folder}{name[len(link) :]}".lstrip("/")
        if name in self._paths:
            return [name]
        found = self._by_name.get(name)
        if isinstance(found, str):  # a file name without a suffix, and one file
            return [found]
        found = _listed(self._by_name.get(_stem(name), ()))
        found = [path for path in found if _ends(path, name)]
        if found:
            return found
        if self._folded is None:
            self._folded = {}
            for stem, paths in self._by_name.items():
                for path in _listed(paths):
                    _add(self._folded, _fold(stem), path)
        name = _fold(name)
        found = _listed(self._folded.get(_stem(name), ()))
        return [path for path in found if _ends(_fold(path), name)]


def _fold(name: str) -> str:
    """A name as it is compared: in lower case, with composed letters (some disks split them)."""
    return unicodedata.normalize("NFC", name).lower()


def _add(table: dict[str, str | list[str]], key: str, path: str) -> None:
    """Adds a path; the usual case of one per key has no list, which halves the table's size."""
    known = table.setdefault(key, path)
    if known is path:
        return
    if isinstance(known, str):
        known = table[key] = [known]
    known.append(path)


def _listed(paths: str | Sequence[str]) -> Sequence[str]:
    return [paths] if isinstance(paths, str) else paths


def _stem(path: str) -> str:
    """The last part of a path, without the suffix of a video."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] if is_video(name) else name


def _ends(path: str, name: str) -> bool:
    """Whether a path ends with `name`, whole parts only and with any suffix if `name` has none."""
    if is_video(path) and not is_video(name):
        path = path.rpartition(".")[0]
    return path == name or path.endswith("/" + name)
