"""Which videos a build takes: those that a dataset's lists name, or some of them."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Sequence
from typing import Any

from tempo.data import manifest, readers
from tempo.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Which videos are asked for.

    Attributes:
      dataset: a row of `tempo.data.specs.DATASETS`: how videos and labels are found.
      annotations: the dataset's published lists, `PATH` or `SPLIT=PATH`.
      classes: a file of class names that fixes the order of the labels.
      split_number: of datasets that have several published splits.
      allow_missing: leave out listed videos that are not there.
      limit: at most this many videos of each split, spread over the classes.
    """

    dataset: str = "folder"
    annotations: Sequence[str] = ()
    classes: str | None = None
    split_number: int = 1
    allow_missing: bool = False
    limit: int | None = None

    def __post_init__(self):
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit must be at least 1 video of each split; got {self.limit}.")

    def described(self) -> dict[str, Any]:
        """As JSON: what makes two requests the same, besides the videos that were found."""
        return {name: getattr(self, name) for name in ("dataset", "split_number", "limit")}


def find(videos_dir: str | os.PathLike, request: Request) -> manifest.Scan:
    """The videos of a build. Opens none of them.

    Raises:
      InputError: lists that cannot be read, videos that are not there, names that are not text.
    """
    lists = {f.name: getattr(request, f.name) for f in dataclasses.fields(request)}
    limit = lists.pop("limit")
    scan = readers.read(videos_dir, **lists)
    return scan if limit is None else limited(scan, limit)


def limited(scan: manifest.Scan, limit: int) -> manifest.Scan:
    """The scan with at most `limit` videos of each split, in the same order.

    Classes take turns, so that as many as possible are there, as evenly as possible. Where the
    limit is below their number, they are those at equal distances. The label that counts for a
    video with several is the first.
    """
    splits = {split: _spread(videos, limit) for split, videos in scan.splits.items()}
    return dataclasses.replace(scan, splits=splits, is_strict=False)


def _spread(sources: Sequence[manifest.Source], limit: int) -> tuple[manifest.Source, ...]:
    by_class = collections.defaultdict(list)
    for row, source in enumerate(sources):
        label = source.label if isinstance(source.label, int) else (*source.label, -1)[0]
        by_class[label].append(row)
    classes = [by_class[label] for label in sorted(by_class)]
    if limit < len(classes):
        classes = [classes[i * len(classes) // limit] for i in range(limit)]
    turns = itertools.chain(*itertools.zip_longest(*classes))
    chosen = itertools.islice((row for row in turns if row is not None), limit)
    return tuple(sources[row] for row in sorted(chosen))
