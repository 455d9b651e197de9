"""What is on disk below a folder: videos and folders of numbered frames, found in one walk.

Folders of frames are recognised by their first entries and not read to the end: a dataset of
100,000 of them has millions of files.
"""

import itertools
import os
import re
from collections.abc import Sequence

from tempo.errors import InputError

VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts",
)  # fmt: skip
_VIDEO = frozenset(suffix[1:] for suffix in VIDEO_SUFFIXES)
_FRAME = re.compile(r".*\d\.(?:jpe?g|png)", re.IGNORECASE)
# Entries that decide whether a folder is one of frames.
_NUM_PEEKED = 16


def is_video(name: str) -> bool:
    """Whether a file name has the suffix of a video."""
    return name.rpartition(".")[2].lower() in _VIDEO


def walk(
    root: str, below: str = "", *, videos: bool = True, frames: bool = False
) -> tuple[list[str], int]:
    """What there is below a folder: paths relative to `root`, with `/`, sorted part by part.

    Hidden files and folders are left out. Links to folders are followed, each target once.

    Args:
      root: a folder.
      below: the part of it that is searched.
      videos: find video files.
      frames: find folders of numbered `.jpg` or `.png` frames.

    Returns:
      the paths, and the number of other files that were met.
    """
    found: list[str] = []
    num_other = 0
    linked = {os.path.realpath(root)}
    pending = [below]
    while pending:
        here = pending.pop()
        prefix = f"{here}/" if here else ""
        for entry in _entries(os.path.join(root, here)):
            name = entry.name
            if name.startswith("."):
                continue
            if entry.is_dir():
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if target in linked:
                        continue
                    linked.add(target)
                if frames and holds_frames(entry.path):
                    found.append(prefix + name)
                else:
                    pending.append(prefix + name)
            elif entry.is_file():
                if videos and is_video(name):
                    found.append(prefix + name)
                else:
                    num_other += 1
    found.sort(key=lambda path: path.split("/"))
    return found, num_other


def holds_frames(folder: str) -> bool:
    """Whether a folder begins with numbered pictures and no video or folder among them."""
    has_frame = False
    for entry in _entries(folder, _NUM_PEEKED):
        if entry.is_dir() or is_video(entry.name):
            return False
        has_frame = has_frame or _FRAME.fullmatch(entry.name) is not None
    return has_frame


def _entries(folder: str, limit: int | None = None) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(itertools.islice(entries, limit))
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
        paths, _ = walk(root, videos=videos, frames=frames)
        self.num_videos = len(paths)
        self._paths = frozenset(paths)
        self._by_name: dict[str, str | list[str]] = {}
        self._folded: dict[str, str | list[str]] | None = None
        for path in paths:
            _add(self._by_name, _stem(path), path)

    def find(self, name: str) -> list[str]:
        """Paths that `name` may mean: a path below `root`, the end of one, or a file name.

        A name without the suffix of a video stands for a file with any. If nothing is found the
        case of letters is ignored. One path is certain; several are in no order of preference.
        """
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
                    _add(self._folded, stem.lower(), path)
        name = name.lower()
        found = _listed(self._folded.get(_stem(name), ()))
        return [path for path in found if _ends(path.lower(), name)]


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
