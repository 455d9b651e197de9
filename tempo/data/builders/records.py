"""Builds a record dataset from a folder of videos: parallel, resumable, and whole or not there.

Finished shards wait in `OUT/.build`; a build that was killed starts again with the first shard that
is not there. When all are done they move to their final names, then the TFDS metadata is written,
then `rejected.json`, and last of all `manifest.json`: a dataset without it is not one.
"""

import collections
import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import tqdm

from tempo import files
from tempo.data import decode, jpeg, manifest, records
from tempo.data.builders import examples, shards
from tempo.errors import InputError, lookup

_STAGING = ".build"


@dataclasses.dataclass(frozen=True)
class BuildReport:
    """The result of a build.

    Attributes:
      out_dir: the dataset.
      num_accepted: videos that became records.
      num_rejected: videos that were refused.
      rejected: `{"id", "source", "split", "reason"}` of each refused video.
      num_reused: videos of finished shards that an earlier run had left.
      splits: accepted videos of each split.
      manifest_sha256: identity of the data.
    """

    out_dir: str
    num_accepted: int
    num_rejected: int
    rejected: tuple[Mapping[str, str], ...]
    num_reused: int
    splits: Mapping[str, int]
    manifest_sha256: str


def build(
    videos_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    kind: str = "frames",
    short_side_px: int = 256,
    jpeg_quality: int = jpeg.QUALITY,
    min_frames: int = decode.MIN_FRAMES,
    max_frames: int = decode.MAX_FRAMES,
    split_number: int = 1,
    num_shards: int | None = None,
    num_workers: int | None = None,
    strict: bool = False,
    progress: bool = True,
) -> BuildReport:
    """Decodes and validates every video once and writes a TFDS dataset of array_record files.

    A dataset that is already there, made with the same settings from the same files, is left as it
    is. The records do not depend on `num_workers`.

    Args:
      videos_dir: a folder tree in one of the layouts of `tempo.data.manifest`.
      out_dir: where the dataset goes; made if missing.
      kind: `frames` (JPEG frames: fast random access) or `encoded` (untouched files: small).
      short_side_px: longest short side of stored frames; 0 keeps their size; never enlarged.
      jpeg_quality: of stored frames, 1 to 100.
      min_frames: a video with fewer frames is refused.
      max_frames: a video with more frames is refused (a record is held in memory).
      split_number: published split of a UCF-style tree.
      num_shards: files per split; by default one per 128 videos, but 16 if there are enough.
      num_workers: threads; one per core by default.
      strict: make no dataset if any video is refused.
      progress: show a progress bar on stderr.

    Raises:
      InputError: nothing to read, settings out of range, another dataset in `out_dir`, a class left
        without videos, or a refused video where `strict`.
    """
    lookup(dict.fromkeys(examples.KINDS), kind, "kind")
    if short_side_px < 0 or not 1 <= jpeg_quality <= 100 or min_frames < 1:
        raise InputError(
            f"Need short_side_px >= 0, jpeg_quality 1 to 100 and min_frames >= 1; got "
            f"{short_side_px}, {jpeg_quality} and {min_frames}."
        )
    settings = examples.ExampleSettings(
        kind=kind,
        short_side_px=short_side_px if kind == "frames" else 0,
        jpeg_quality=jpeg_quality if kind == "frames" else 0,
        min_frames=min_frames,
        max_frames=max_frames,
    )
    scan = manifest.scan(videos_dir, split_number=split_number)
    job = _Build(Path(videos_dir), Path(out_dir), settings, scan, num_shards)
    if job.is_complete():
        return job.report(num_reused=scan.num_videos)
    with job.staging.locked():
        if job.is_complete():  # another process may have made it meanwhile
            return job.report(num_reused=scan.num_videos)
        num_reused = job.write_shards(num_workers or os.cpu_count() or 1, progress)
        job.finish(strict)
        shutil.rmtree(job.staging.folder, ignore_errors=True)
    return job.report(num_reused)


class _Build:
    """One build: what is wanted, and its steps."""

    def __init__(self, videos_dir: Path, out_dir: Path, settings, scan, num_shards: int | None):
        self.videos_dir = videos_dir
        self.out_dir = out_dir
        self.settings = settings
        self.scan = scan
        self.shards = shards.plan(videos_dir, scan, dataclasses.asdict(settings), num_shards)
        self.staging = shards.Staging(out_dir, out_dir / _STAGING)

    def described(self) -> dict[str, Any]:
        """What makes two builds the same; copied files with new times are still the same."""
        sources = {
            split: [
                [v.id, v.label, dict(v.metadata), shards.file_facts(self.videos_dir / v.path)[0]]
                for v in videos
            ]
            for split, videos in self.scan.splits.items()
        }
        return {
            **dataclasses.asdict(self.settings),
            "class_names": list(self.scan.class_names),
            "sources_sha256": manifest.hash_entries(sources),
        }

    def is_complete(self) -> bool:
        """Whether `out_dir` holds this dataset; `InputError` if it holds something else."""
        if not records.is_complete(self.out_dir):
            foreign = [p.name for p in _children(self.out_dir) if not _OWN_FILES.fullmatch(p.name)]
            if foreign:
                raise InputError(
                    f"{str(self.out_dir)!r} holds {foreign[0]!r} and no dataset; choose another "
                    "--out."
                )
            return False
        made = files.read_json(str(self.out_dir / records.MANIFEST_FILE))["build"]
        for key, value in self.described().items():
            if made.get(key) == value:
                continue
            told = "from other videos" if key == "sources_sha256" else f"with {key}={made.get(key)}"
            raise InputError(
                f"{str(self.out_dir)!r} holds a dataset made {told}; choose another --out or "
                "delete it."
            )
        return True

    def write_shards(self, num_workers: int, progress: bool) -> int:
        """Writes the shards that are not there yet; the number of videos in those that were."""
        pending = [s for s in self.shards if self.staging.read(s) is None]
        sources = [v for s in pending for v in s.sources]
        num_reused = self.scan.num_videos - len(sources)
        num_refused = 0
        pool = futures.ThreadPoolExecutor(num_workers, "tempo-prepare")
        bar = tqdm.tqdm(
            total=self.scan.num_videos, initial=num_reused, unit="video", disable=not progress
        )
        try:
            outcomes = _in_order(pool, self._encode, sources, window=2 * num_workers)
            for shard in pending:
                for accepted in self.staging.write(shard, outcomes):
                    num_refused += not accepted
                    bar.set_postfix(refused=num_refused, refresh=False)
                    bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
            bar.close()
        return num_reused

    def _encode(self, source: manifest.Source) -> examples.Outcome:
        return examples.encode_video(str(self.videos_dir), source, self.settings)

    def finish(self, strict: bool) -> None:
        """Moves the shards to their final names and writes what describes them."""
        sidecars = [(s.split, self.staging.read(s)) for s in self.shards]
        rejected = [row for _, sidecar in sidecars for row in sidecar["rejected"]]
        files.write_json(str(self.out_dir / records.REJECTED_FILE), rejected)
        entries = {
            split: [row for s, sidecar in sidecars if s == split for row in sidecar["entries"]]
            for split in self.scan.splits
        }
        self._check(entries, rejected, strict)
        moved = self.staging.move(self.shards)
        examples.write_metadata(str(self.out_dir), self.settings.kind, self.scan.class_names, moved)
        content = {
            "kind": self.settings.kind,
            "short_side_px": self.settings.short_side_px,
            "jpeg_quality": self.settings.jpeg_quality,
            "class_names": list(self.scan.class_names),
            "splits": {split: rows for split, rows in entries.items() if rows},
        }
        about = {
            "format": records.MANIFEST_FORMAT,
            "sha256": manifest.hash_entries(content),
            "num_rejected": len(rejected),
            "build": self.described(),
            "shards": moved,
        }
        files.write_json(str(self.out_dir / records.MANIFEST_FILE), about | content)

    def _check(self, entries, rejected, strict: bool) -> None:
        """Raises `InputError` if what was accepted makes no dataset."""
        path = str(self.out_dir / records.REJECTED_FILE)
        if rejected and strict:
            raise InputError(
                f"{len(rejected)} of {self.scan.num_videos} videos were refused and --strict makes "
                f"no dataset then; see {path!r}."
            )
        if not any(entries.values()):
            raise InputError(f"All {len(rejected)} videos were refused; see {path!r}.")
        try:
            labels = {split: [row["label"] for row in rows] for split, rows in entries.items()}
            manifest.check_classes(self.scan.class_names, labels)
        except InputError as error:
            raise InputError(f"{error} {len(rejected)} were refused; see {path!r}.") from None

    def report(self, num_reused: int) -> BuildReport:
        """What the finished dataset holds."""
        made = files.read_json(str(self.out_dir / records.MANIFEST_FILE))
        rejected = files.read_json(str(self.out_dir / records.REJECTED_FILE))
        splits = {split: len(rows) for split, rows in made["splits"].items()}
        return BuildReport(
            out_dir=str(self.out_dir),
            num_accepted=sum(splits.values()),
            num_rejected=len(rejected),
            rejected=tuple(rejected),
            num_reused=num_reused,
            splits=splits,
            manifest_sha256=made["sha256"],
        )


# What a build that was cut short may have left.
_OWN_FILES = re.compile(
    rf"\..*|{examples.DATASET_NAME}-.*|dataset_info.json|features.json|.*labels.txt|rejected.json"
)


def _in_order(
    pool: futures.Executor, function: Callable, items: Iterable, window: int
) -> Iterator[Any]:
    """`map(function, items)` on a pool with at most `window` items ahead of the consumer."""
    waiting = collections.deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
