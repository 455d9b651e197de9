"""Which files in a folder are those of a dataset, and which a build may take away."""

import re
from collections.abc import Collection
from pathlib import Path

from tempo.data import records
from tempo.data.builders import checks
from tempo.data.store import index

# What a finished or unfinished build or check has made.
_OWN = re.compile(
    rf"\..*|{index.DATASET_NAME}-.*|dataset_info.json|features.json|.*labels.txt"
    rf"|{records.REJECTED_FILE}|{checks.SUMMARY_FILE}|{checks.VERDICTS_FILE}"
)
# What `files.replacing` leaves of such a file when it is killed.
_HALF_WRITTEN = re.compile(
    rf"\.({index.DATASET_NAME}-.*|{records.MANIFEST_FILE}|{records.REJECTED_FILE}"
    rf"|{checks.SUMMARY_FILE}|{checks.VERDICTS_FILE})\.\w{{8}}"
)


def foreign_file(out_dir: Path) -> str:
    """The name of a file that no build has made; empty if there is none."""
    return next((name for name in _names(out_dir) if not _OWN.fullmatch(name)), "")


def remove_strangers(out_dir: Path, own: Collection[str]) -> None:
    """Removes what an unfinished build has left: other splits or shards, half-written files.

    Args:
      out_dir: the dataset.
      own: names of its records and of the files of its index.
    """
    for name in _names(out_dir):
        is_stranger = name.startswith(f"{index.DATASET_NAME}-") and name not in own
        if is_stranger or _HALF_WRITTEN.fullmatch(name):
            (out_dir / name).unlink()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
