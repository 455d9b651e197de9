"""Which videos a build takes: those that a dataset's lists name, or some of them."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Sequence

from tempo.data import manifest, readers
from tempo.errors import InputError


def find(
    videos_dir: str | os.PathLike,
    *,
    dataset: str,
    annotations: Sequence[str],
    classes: str | None,
    split_number: int,
    allow_missing: bool,
    limit: int | None,
) -> manifest.Scan:
    """The videos of a build; for the arguments see `records.build`. Opens none of them.

    Raises:
      InputError: lists that cannot be read, videos that are not there, names that are not text.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1 video of each split; got {limit}.")
    scan = readers.read(
        videos_dir,
        dataset=dataset,
        annotations=annotations,
        classes=classes,
        split_number=split_number,
        allow_missing=allow_missing,
    )
    for source in itertools.chain(*scan.splits.values()):
        try:
            source.id.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"The file name {source.id!r} is not UTF-8; rename the file (convmv does many)."
            ) from None
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
