"""Builds a record dataset from videos: parallel, resumable, and whole or not there.

Finished shards wait in `OUT/.build`; a build that was killed starts again with the first shard that
is not there. When all are done they move to their final names, then the TFDS metadata and the index
are written, then `rejected.json`, and last of all `manifest.json`: a dataset without it is not one.
"""

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import tqdm

from tempo import files
from tempo.data import manifest, ops, records
from tempo.data.builders import checks, disk, examples, features, flows, selection, shards, tidy
from tempo.data.builders.originals import Originals
from tempo.data.store import index
from tempo.data.video import decode, jpeg
from tempo.errors import InputError, lookup


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
    """

    out_dir: str
    num_accepted: int
    num_rejected: int
    rejected: tuple[Mapping[str, str], ...]
    num_reused: int
    splits: Mapping[str, int]
    manifest_sha256: str
    details: str

    @property
    def reasons(self) -> dict[str, int]:
        """How many videos were refused for each reason, without places and numbers."""
        return checks.count_reasons(self.rejected)


def build(
    videos_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    dataset: str = "folder",
    annotations: Sequence[str] = (),
    classes: str | None = None,
    split_number: int = 1,
    kind: str = "frames",
    short_side_px: int = 256,
    jpeg_quality: int = jpeg.QUALITY,
    min_frames: int = decode.MIN_FRAMES,
    max_frames: int = decode.MAX_FRAMES,
    flow: ops.Row | None = None,
    num_shards: int | None = None,
    num_workers: int | None = None,
    limit: int | None = None,
    allow_missing: bool = False,
    strict: bool = False,
    check_only: bool = False,
    progress: bool = True,
) -> BuildReport:
    """Decodes and validates every video once and writes a TFDS dataset of array_record files.

    A dataset that is already there, made with the same settings from the same files, is left as it
    is. The records do not depend on `num_workers`.

    Args:
      videos_dir: the downloaded videos.
      out_dir: where the dataset goes; made if missing.
      dataset: a row of `tempo.data.specs.DATASETS`: how videos and labels are found.
      annotations: the dataset's published lists, `PATH` or `SPLIT=PATH`.
      classes: a file of class names that fixes the order of the labels.
      split_number: of datasets that have several published splits.
      kind: `frames` (JPEG frames: fast random access) or `encoded` (untouched files: small).
      short_side_px: longest short side of stored frames; 0 keeps their size; never enlarged.
      jpeg_quality: of stored frames, 1 to 100.
      min_frames: a video with fewer frames is refused.
      max_frames: a video with more frames is refused (a record is held in memory).
      flow: a row of `tempo.data.flow.METHODS`, to store optical flow beside the frames.
      num_shards: files per split; by default one per 128 videos, but 16 if there are enough.
      num_workers: threads; one per core by default.
      limit: at most this many videos of each split, spread over the classes.
      allow_missing: leave out listed videos that are not there.
      strict: stop at the first video that is refused.
      check_only: decode and validate, write `check.json` and `check.jsonl` and no records.
      progress: show a progress bar on stderr.

    Raises:
      InputError: nothing to read, settings out of range, another dataset in `out_dir`, a class left
        without videos, or a refused video where `strict`.
      RunError: the disk is full. The next build goes on from there.
    """
    lookup(dict.fromkeys(examples.KINDS), kind, "kind")
    if short_side_px < 0 or not 1 <= jpeg_quality <= 100 or min_frames < 1:
        raise InputError(
            f"Need short_side_px >= 0, jpeg_quality 1 to 100 and min_frames >= 1; got "
            f"{short_side_px}, {jpeg_quality} and {min_frames}."
        )
    flow_settings = flows.create(flow, kind, min_frames)
    scan = selection.find(
        videos_dir,
        dataset=dataset,
        annotations=annotations,
        classes=classes,
        split_number=split_number,
        allow_missing=allow_missing,
        limit=limit,
    )
    settings = examples.ExampleSettings(
        kind=kind,
        short_side_px=short_side_px if kind == "frames" else 0,
        jpeg_quality=jpeg_quality if kind == "frames" else 0,
        min_frames=min_frames,
        max_frames=max_frames,
        folder_fps=scan.fps,
        label_kind=scan.label_kind,
        is_check=check_only,
        flow=flow_settings,
    )
    named = {"dataset": dataset, "split_number": split_number, "limit": limit}
    job = _Build(Path(videos_dir), Path(out_dir), settings, scan, named, num_shards)
    with disk.told_when_full(out_dir):
        return job.run(num_workers or os.cpu_count() or 1, strict, progress)


class _Build:
    """One build: what is wanted, and its steps."""

    def __init__(
        self,
        videos_dir: Path,
        out_dir: Path,
        settings: examples.ExampleSettings,
        scan: manifest.Scan,
        named: Mapping[str, Any],
        num_shards: int | None,
    ):
        self.out_dir = out_dir
        self.settings = settings
        self.scan = scan
        self.named = named
        self.originals = Originals(videos_dir)
        self._check_folders()
        described = settings.described()
        self.shards = shards.plan(self.originals, scan, described, num_shards)
        is_check = settings.is_check
        staging = out_dir / (tidy.CHECK_STAGING if is_check else tidy.STAGING)
        self.staging = shards.Staging(out_dir, staging, has_records=not is_check)

    def run(self, num_workers: int, strict: bool, progress: bool) -> BuildReport:
        """All of it."""
        is_check = self.settings.is_check
        if is_check and not records.is_complete(self.out_dir):
            self._check_place()
        if not is_check and self.is_complete() and not self.staging.folder.exists():
            return self.report(num_reused=self.scan.num_videos)
        with self.staging.locked():
            # Another process may have made it meanwhile, or was killed just when it had.
            if not is_check and self.is_complete():
                self.staging.remove()
                return self.report(num_reused=self.scan.num_videos)
            self._check_strict(self.scan.refused, strict)
            flows.claim(self.staging.folder, self.settings.flow, self.out_dir)
            num_reused = self.write_shards(num_workers, strict, progress)
            report = self.finish_check(num_reused) if is_check else self.finish(num_reused)
            self.staging.remove()
        return report

    def described(self) -> dict[str, Any]:
        """What makes two builds the same; copied files with new times are still the same."""
        sources = {
            split: [[*shards.facts_of(v), self.originals.facts(v)[0]] for v in videos]
            for split, videos in self.scan.splits.items()
        }
        return {
            **self.settings.described(),
            **self.named,
            "class_names": list(self.scan.class_names),
            "sources_sha256": manifest.hash_entries(sources),
        }

    def is_complete(self) -> bool:
        """Whether `out_dir` holds this dataset; `InputError` if it holds something else."""
        if not records.is_complete(self.out_dir):
            self._check_place()
            return False
        header = records.read_header(self.out_dir)
        made = header["build"]
        flows.check_made(header["flow"], self.settings.flow, self.out_dir)
        for key, value in self.described().items():
            if made.get(key) == value:
                continue
            told = _TOLD.get(key) or f"with {key}={made.get(key)}"
            raise InputError(
                f"{str(self.out_dir)!r} holds a dataset made {told}; choose another --out or "
                "delete it."
            )
        return True

    def _check_place(self) -> None:
        """Raises `InputError` if `out_dir` holds what no build has made."""
        if foreign := tidy.foreign_file(self.out_dir):
            raise InputError(
                f"{str(self.out_dir)!r} holds {foreign!r} and no dataset; choose another --out."
            )

    def _check_folders(self) -> None:
        """Raises `InputError` if untouched files are to be stored, and there are none."""
        if self.settings.kind != "encoded":
            return
        for source in itertools.chain(*self.scan.splits.values()):
            if self.originals.is_folder(source):
                raise InputError(
                    f"--kind encoded stores video files, but {source.path!r} is a folder of "
                    "frames; use --kind frames."
                )

    def _check_strict(self, refused: Iterable[Mapping[str, str]], strict: bool) -> None:
        for row in refused if strict else ():
            raise InputError(
                f"{row['source']!r} was refused ({row['reason']}) and --strict stops there; mend "
                "it, or build without --strict to leave it out."
            )

    def write_shards(self, num_workers: int, strict: bool, progress: bool) -> int:
        """Writes the shards that are not there yet; the number of videos in those that were."""
        pending = []
        for shard in self.shards:
            sidecar = self.staging.read(shard)
            if sidecar is None:
                pending.append(shard)
            else:
                self._check_strict(sidecar["rejected"], strict)
        wanted = [(s.split, v) for s in pending for v in s.sources]
        num_reused = self.scan.num_videos - len(wanted)
        num_refused = 0
        pool = futures.ThreadPoolExecutor(num_workers, "tempo-prepare")
        bar = tqdm.tqdm(
            total=self.scan.num_videos, initial=num_reused, unit="video", disable=not progress
        )
        try:
            outcomes = _in_order(pool, self._encode, wanted, window=2 * num_workers)
            for shard in pending:
                for refusal in self.staging.write(shard, outcomes):
                    if refusal is not None:
                        self._check_strict([refusal], strict)
                        num_refused += 1
                        bar.set_postfix(refused=num_refused, refresh=False)
                    bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
            bar.close()
        return num_reused

    def _encode(self, wanted: tuple[str, manifest.Source]) -> examples.Outcome:
        return examples.encode_video(self.originals, *wanted, self.settings)

    def finish(self, num_reused: int) -> BuildReport:
        """Moves the shards to their final names and writes what describes them."""
        rejected = self._rejected()
        files.write_json(str(self.out_dir / records.REJECTED_FILE), rejected)
        self._check_accepted(len(rejected))
        moved = self.staging.move(self.shards)
        own = {place["file"] for places in moved.values() for place in places}
        own.update(name for split in moved for name in index.file_names(split).values())
        tidy.remove_strangers(self.out_dir, own)  # TFDS would take them for splits
        scan, settings, out_dir = self.scan, self.settings, str(self.out_dir)
        features.write(
            out_dir,
            features.create(
                settings.kind, scan.label_kind, scan.class_names, has_flow=settings.flow is not None
            ),
            moved,
            description=f"Videos prepared by tempo, as {settings.kind} records.",
        )
        kinds = {"label_kind": scan.label_kind, "num_classes": len(scan.class_names)}
        splits = {
            split: index.write(out_dir, split, self._rows(split), **kinds) | {"shards": places}
            for split, places in moved.items()
        }
        mirrored = scan.mirror_labels
        content = {
            "kind": settings.kind,
            "short_side_px": settings.short_side_px,
            "jpeg_quality": settings.jpeg_quality,
            "class_names": list(scan.class_names),
            "label_kind": scan.label_kind,
            "label_groups": dict(scan.label_groups),
            "mirror_labels": None if mirrored is None else list(mirrored),
            "flow": settings.flow and settings.flow.metadata,
        }
        hashes = {split: facts["rows_sha256"] for split, facts in splits.items()}
        about = {
            "format": records.MANIFEST_FORMAT,
            "sha256": manifest.hash_entries(content | {"rows": hashes}),
            "num_rejected": len(rejected),
            "build": self.described(),
        }
        header = about | content | {"splits": splits}
        files.write_json(str(self.out_dir / records.MANIFEST_FILE), header)
        return self.report(num_reused)

    def finish_check(self, num_reused: int) -> BuildReport:
        """Writes the report of a check."""
        rejected = self._rejected()
        summary = checks.write(
            str(self.out_dir), self.described(), self._rows(*self.scan.splits), rejected
        )
        return BuildReport(
            out_dir=str(self.out_dir),
            num_accepted=summary["num_accepted"],
            num_rejected=summary["num_refused"],
            rejected=tuple(rejected),
            num_reused=num_reused,
            splits={split: counts["accepted"] for split, counts in summary["splits"].items()},
            manifest_sha256="",
            details=str(self.out_dir / checks.VERDICTS_FILE),
        )

    def _rows(self, *splits: str) -> Iterator[dict[str, Any]]:
        """What the manifest says of the accepted videos; one shard at a time is in memory."""
        for shard in self.shards:
            if shard.split in splits:
                yield from self.staging.read(shard)["rows"]

    def _rejected(self) -> list[Mapping[str, str]]:
        sidecars = map(self.staging.read, self.shards)
        return [*self.scan.refused, *(row for s in sidecars for row in s["rejected"])]

    def _check_accepted(self, num_rejected: int) -> None:
        """Raises `InputError` if what was accepted makes no dataset."""
        path = str(self.out_dir / records.REJECTED_FILE)
        key = "label" if self.scan.label_kind == "single" else "labels"
        labels = {s: [row[key] for row in self._rows(s)] for s in self.scan.splits}
        if not any(labels.values()):
            raise InputError(f"All {num_rejected} videos were refused; see {path!r}.")
        if not self.scan.is_strict:
            return
        try:
            manifest.check_classes(self.scan.class_names, labels)
        except InputError as error:
            raise InputError(f"{error} {num_rejected} were refused; see {path!r}.") from None

    def report(self, num_reused: int) -> BuildReport:
        """What the finished dataset holds."""
        header = records.read_header(self.out_dir)
        details = str(self.out_dir / records.REJECTED_FILE)
        rejected = files.read_json(details)
        splits = {split: facts["num_videos"] for split, facts in header["splits"].items()}
        return BuildReport(
            out_dir=str(self.out_dir),
            num_accepted=sum(splits.values()),
            num_rejected=len(rejected),
            rejected=tuple(rejected),
            num_reused=num_reused,
            splits=splits,
            manifest_sha256=header["sha256"],
            details=details,
        )


# How to say that a setting differs, where its value would say little.
_TOLD = {"sources_sha256": "from other videos", "class_names": "with other class names"}


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
