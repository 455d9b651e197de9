"""Which files in a folder are those of a dataset, and which a build may take away.

Only names that a build gives, whole, are its own: what merely looks like one is the user's.
"""

import re
from collections.abc import Collection
from pathlib import Path

from tempo.data import records
from tempo.data.builders import checks
from tempo.data.store import index

STAGING, CHECK_STAGING = ".build", ".check"
LOCK_FILE = "lock"
"""Made first and removed last in a folder of unfinished work: the sign that it is a build's."""

_SPLIT = r"\w+"
# Of the records and their index; others may lie there from a build of other splits or shards.
_DATA = (
    rf"{index.DATASET_NAME}-{_SPLIT}"
    r"\.(?:array_record-\d{5}-of-\d{5}|jsonl|(?:offsets|ids|labels)\.npy)"
)
_REPORTS = "|".join(
    re.escape(name)
    for name in (
        records.MANIFEST_FILE,
        records.REJECTED_FILE,
        checks.SUMMARY_FILE,
        checks.VERDICTS_FILE,
    )
)
_TFDS = r"dataset_info\.json|features\.json|labels?\.labels\.txt"
# What `files.replacing` leaves of such a file when it is killed.
_HALF_WRITTEN = rf"\.(?:{_DATA}|{_REPORTS})\.[a-z0-9_]{{8}}"
_STAGED = rf"{_SPLIT}-\d{{5}}\.(?:array_record|tmp|json)|(?:moves|flow)\.json"

_OWN = re.compile(rf"{_DATA}|{_REPORTS}|{_TFDS}|{_HALF_WRITTEN}")
_REMOVABLE = re.compile(rf"{_DATA}|{_HALF_WRITTEN}")
_OWN_STAGED = re.compile(rf"{_STAGED}|\.(?:{_STAGED})\.[a-z0-9_]{{8}}")


def foreign_file(out_dir: Path) -> str:
    """The name of a file or folder that no build has made; empty if there is none."""
    return next((path.name for path in _paths(out_dir) if not _is_own(path)), "")


def is_staging(folder: Path) -> bool:
    """Whether a folder of unfinished work is a build's: it has the lock, or nothing at all."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return (folder / LOCK_FILE).is_file() or not any(folder.iterdir())


def remove_strangers(out_dir: Path, own: Collection[str]) -> None:
    """Removes what an unfinished build has left: other splits or shards, half-written files.

    Args:
      out_dir: the dataset.
      own: names of its records and of the files of its index.
    """
    for path in _paths(out_dir):
        is_stranger = _REMOVABLE.fullmatch(path.name) and path.name not in own
        if is_stranger and _is_file(path):
            path.unlink()


def remove_staging(folder: Path) -> None:
    """Removes a build's own files, and the folder unless it holds others too."""
    if not is_staging(folder):
        return
    for path in _paths(folder):
        if _OWN_STAGED.fullmatch(path.name) and _is_file(path):
            path.unlink()
    if [path.name for path in _paths(folder)] in ([], [LOCK_FILE]):
        (folder / LOCK_FILE).unlink(missing_ok=True)
        folder.rmdir()


def _is_own(path: Path) -> bool:
    if path.name in (STAGING, CHECK_STAGING):
        return is_staging(path)
    return _is_file(path) and _OWN.fullmatch(path.name) is not None


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
