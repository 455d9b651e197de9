"""Which videos a dataset has: one reader per published source, all giving the same `Scan`.

`read` opens no video. A new source is a function `(Request) -> manifest.Scan` in a file of its own,
a row of `READERS`, and a row of `tempo.data.specs.DATASETS`.
"""

import contextlib
import dataclasses
import gc
import os
from collections.abc import Callable, Iterator, Sequence

from tempo import errors
from tempo.data import manifest, specs
from tempo.data.readers import (
    charades,
    epic,
    folders,
    hacs,
    hmdb,
    kinetics,
    lists,
    moments,
    something,
    ucf,
)
from tempo.data.readers.classes import mirror_labels
from tempo.data.readers.listing import Request
from tempo.errors import InputError

READERS: dict[str, Callable[[Request], manifest.Scan]] = {
    "folder": folders.read,
    "frame_folders": folders.read_frames,
    "ucf101": ucf.read,
    "mod_ucf101": ucf.read_mod,
    "hmdb51": hmdb.read,
    "kinetics": kinetics.read,
    "ssv1": something.read_v1,
    "ssv2": something.read_v2,
    "moments": moments.read,
    "hacs": hacs.read,
    "epic55": epic.read,
    "charades": charades.read,
    "mmaction_videos": lists.read_videos,
    "mmaction_frames": lists.read_frames,
    "mmaction_multilabel": lists.read_multilabel,
    "slowfast": lists.read_slowfast,
}


def read(
    videos_dir: str | os.PathLike,
    *,
    dataset: str = "folder",
    annotations: Sequence[str | os.PathLike] = (),
    classes: str | os.PathLike | None = None,
    split_number: int = 1,
    allow_missing: bool = False,
) -> manifest.Scan:
    """Finds the videos of a dataset, their labels and splits; opens none of them.

    Args:
      videos_dir: the folder that holds the videos, in class folders or as they were published.
      dataset: a row of `tempo.data.specs.DATASETS`, whose `source` says what else it needs.
      annotations: files, or folders of them. The split of a list is told by its name, or given as
        `SPLIT=PATH`.
      classes: a file with the classes in the order of the head, in a form of `readers.classes`.
        Classes of it that have no video are fine.
      split_number: which of several published splits (UCF-101, HMDB-51).
      allow_missing: leave listed videos that are not on disk out; they are in `Scan.refused`.

    Raises:
      InputError: one line with file and line number where an annotation is wrong; what is missing
        or too much; no such dataset, folder or file; a video that is there twice.
    """
    spec = errors.lookup(specs.DATASETS, dataset, "dataset (--dataset)")
    root = os.fspath(videos_dir)
    if not os.path.isdir(root):
        raise InputError(f"No folder {root!r}; give --videos a folder of videos.")
    request = Request(
        root=root,
        dataset=dataset,
        needs=spec.source,
        annotations=[os.fspath(path) for path in annotations],
        classes=os.fspath(classes) if classes is not None else None,
        split_number=split_number,
        allow_missing=allow_missing,
    )
    with _no_collection():
        scan = READERS[spec.reader](request)
    request.check_all_read()
    request.check_all_used()
    manifest.check_scan(scan)
    return dataclasses.replace(
        scan,
        fps=spec.fps,
        mirror_labels=mirror_labels(scan.class_names) if spec.mirroring == "swap" else None,
    )


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection: looking through a million new tuples again and again is half the time.

    None of them is garbage.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
