"""A dataset that a build has finished: its header, what it reports, and what does not fit it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tempo import files
from tempo.data import manifest, records
from tempo.data.builders import checks, examples, features
from tempo.errors import InputError


@dataclasses.dataclass(frozen=True)
class BuildReport:
    """The result of a build, or of a check.

    Attributes:
      out_dir: the dataset.
      num_accepted: videos that became records.
      num_rejected: videos that were refused.
      rejected: `{"id", "source", "split", "reason"}` of each refused video.
      num_reused: videos of finished shards that an earlier run had left.
      splits: accepted videos of each split.
      manifest_sha256: identity of the data; empty after a check, which makes none.
      details: the file that names every refused video.
      notes: `manifest.Scan.notes`, what was left out besides.
    """

    out_dir: str
    num_accepted: int
    num_rejected: int
    rejected: tuple[Mapping[str, str], ...]
    num_reused: int
    splits: Mapping[str, int]
    manifest_sha256: str
    details: str
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """How many videos were refused for each reason, without places and numbers."""
        return checks.count_reasons(self.rejected)


def check_same(out_dir: Path, made: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises `InputError` if a dataset was made otherwise than is wanted; names what differs.

    Args:
      out_dir: the dataset.
      made: what its header says of its making.
      wanted: the same of a build that is asked for.
    """
    for key, value in wanted.items():
        if made.get(key) == value:
            continue
        told = _TOLD.get(key) or f"with {key}={made.get(key)}"
        raise InputError(
            f"{str(out_dir)!r} holds a dataset made {told}; {_REMEDIES.get(key, '')}choose another "
            "--out or delete it."
        )


# How to say that a setting differs, where its value would say little.
_TOLD = {"sources_sha256": "from other videos", "class_names": "with other class names"}
_REMEDIES = {"sources_sha256": "give --update to take these, "}


def check_whole(out_dir: Path, header: Mapping[str, Any]) -> None:
    """Raises `InputError` if a file of a dataset is missing or of another size than was written."""
    records.check_files(out_dir, header)
    for name in (*features.METADATA_FILES, records.REJECTED_FILE):
        records.check_size(out_dir / name)


def write_header(
    out_dir: Path,
    settings: examples.ExampleSettings,
    scan: manifest.Scan,
    splits: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Writes `manifest.json`, which makes a dataset of what is in `out_dir`.

    Args:
      out_dir: the dataset.
      settings: how its records were made.
      scan: what they were made from.
      splits: of each split, what `index.write` gave, and its shards.
      about: what is said besides, and does not count for the identity.
    """
    mirrored = scan.mirror_labels
    content = {
        "format": records.MANIFEST_FORMAT,
        "kind": settings.kind,
        "short_side_px": settings.short_side_px,
        "jpeg_quality": settings.jpeg_quality,
        "pictures": settings.pictures,
        "class_names": list(scan.class_names),
        "label_kind": scan.label_kind,
        "label_groups": dict(scan.label_groups),
        "mirror_labels": None if mirrored is None else list(mirrored),
        "flow": settings.flow and settings.flow.identity,
    }
    hashes = {split: facts["rows_sha256"] for split, facts in splits.items()}
    header = {
        "sha256": manifest.hash_entries(content | {"rows": hashes}),
        **about,
        **content,
        "flow": settings.flow and settings.flow.metadata,
        "splits": splits,
    }
    header["checksum"] = records.checksum(header)
    files.write_json(str(out_dir / records.MANIFEST_FILE), header)


def report(out_dir: Path, num_reused: int) -> BuildReport:
    """What a finished dataset holds."""
    header = records.read_header(out_dir)
    details = str(out_dir / records.REJECTED_FILE)
    rejected = files.read_json(details)
    splits = {split: facts["num_videos"] for split, facts in header["splits"].items()}
    return BuildReport(
        out_dir=str(out_dir),
        num_accepted=sum(splits.values()),
        num_rejected=len(rejected),
        rejected=tuple(rejected),
        num_reused=num_reused,
        splits=splits,
        manifest_sha256=header["sha256"],
        details=details,
    )
