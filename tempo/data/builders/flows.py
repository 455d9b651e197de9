"""Optical flow of a build: what was asked for, and that nothing of another making is there yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tempo import files
from tempo.data import flow, ops
from tempo.errors import InputError

_FILE = "flow.json"


def create(row: ops.Row | None, kind: str, min_frames: int) -> flow.FlowSettings | None:
    """The settings that a build was given; None for no flow.

    Args:
      row: a row of `tempo.data.flow.METHODS`: its name, or `{"name": ..., "bound": ..., **others}`.
      kind: of the records.
      min_frames: shortest video that is accepted.

    Raises:
      InputError: unknown settings, records that store no frames, or videos without a second frame.
    """
    if row is None:
        return None
    if kind != "frames":
        raise InputError(
            f"Optical flow is stored beside JPEG frames, of the same size, and --kind {kind} "
            "stores none; use --kind frames, or leave out --flow."
        )
    if min_frames < 2:
        raise InputError(f"Optical flow needs --min-frames of at least 2; got {min_frames}.")
    settings = {} if isinstance(row, str) else {k: v for k, v in row.items() if k != "name"}
    return flow.create(ops.name_of(row), **settings)


def check_made(
    made: Mapping[str, Any] | None, wanted: flow.FlowSettings | None, out_dir: Path
) -> None:
    """Raises `InputError` if a finished dataset has flow of another making than is wanted."""
    where = repr(str(out_dir))
    if (made is None) != (wanted is None):
        how = "without" if made is None else "with"
        raise InputError(
            f"{where} holds a dataset made {how} optical flow; choose another --out or delete it."
        )
    if wanted is not None:
        flow.check_same(made, wanted, where)


def claim(staging: Path, wanted: flow.FlowSettings | None, out_dir: Path) -> None:
    """Notes in the folder of an unfinished build how its flow is made.

    Raises:
      InputError: the build was begun with flow of another making.
    """
    path = staging / _FILE
    begun = files.read_json(str(path)) if path.exists() else None
    if wanted is not None:
        flow.check_same(begun, wanted, f"The unfinished build in {str(out_dir)!r}")
    files.write_json(str(path), wanted and wanted.metadata)
