"""The videos that a command line names: files, folders of them, and `-` for a list on stdin."""

import os
from collections.abc import Iterable, Sequence

from tempo.data.readers import inventory
from tempo.errors import InputError

STDIN = "-"


def find(names: Sequence[str], lines: Iterable[str] = ()) -> list[str]:
    """The files to predict on, in the order in which they are named; those of a folder sorted.

    Args:
      names: paths, or `-` once.
      lines: of the list that `-` stands for, a path each. What is not there stays in the result:
        one file that is gone should not stop a list of thousands.

    Raises:
      InputError: nothing named, a named path that is not there, or a folder without videos.
    """
    if names.count(STDIN) > 1:
        raise InputError("'-' is the list on stdin, which can be read once; name it once.")
    found = []
    for name in names:
        if name == STDIN:
            listed = [line for line in (line.rstrip("\r\n") for line in lines) if line.strip()]
            if not listed:
                raise InputError("The list of videos on stdin is empty; write one path a line.")
            for path in listed:
                found.extend((_videos(path) if os.path.isdir(path) else []) or [path])
        elif os.path.isdir(name):
            videos = _videos(name)
            if not videos:
                raise InputError(
                    f"The folder {name!r} holds no videos; their names end with "
                    f"{' '.join(inventory.VIDEO_SUFFIXES)}."
                )
            found.extend(videos)
        elif os.path.exists(name):
            found.append(name)
        else:
            raise InputError(f"No video at {name!r}: no such file or folder.")
    if not found:
        raise InputError("No video given; name files, folders, or - for a list on stdin.")
    return found


def _videos(folder: str) -> list[str]:
    """All video files below a folder, sorted part by part; hidden ones are left out."""
    return [os.path.join(folder, path) for path in inventory.walk(folder).paths]
