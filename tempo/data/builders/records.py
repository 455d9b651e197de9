"""Builds a record dataset from videos: parallel, resumable, and whole or not there.

Finished shards wait in `OUT/.build`; a build that was killed starts again with the first shard that
is not there. When all are done they move to their final names, then the TFDS metadata and the index
are written, then `rejected.json`, and last of all `manifest.json`: a dataset without it is not one.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import tqdm

from tempo import files
from tempo.data import manifest, ops, records
from tempo.data.builders import (
    checks,
    disk,
    examples,
    features,
    finished,
    flows,
    ordered,
    selection,
    shards,
    tidy,
)
from tempo.data.builders.finished import BuildReport
from tempo.data.builders.originals import Originals
from tempo.data.store import index
from tempo.data.video import decode, jpeg
from tempo.errors import InputError, check_keys, lookup


def build(
    videos_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    kind: str = "frames",
    short_side_px: int = 256,
    jpeg_quality: int = jpeg.QUALITY,
    min_frames: int = decode.MIN_FRAMES,
    max_frames: int = decode.MAX_FRAMES,
    flow: ops.Row | None = None,
    num_shards: int | None = None,
    num_workers: int | None = None,
    strict: bool = False,
    check_only: bool = False,
    update: bool = False,
    progress: bool = True,
    **request: Any,
) -> BuildReport:
    """Decodes and validates every video once and writes a TFDS dataset of array_record files.

    A dataset that is already there, made with the same settings from the same files, is left as it
    is. The records do not depend on `num_workers`.

    Args:
      videos_dir: the downloaded videos.
      out_dir: where the dataset goes; made if missing.
      kind: `frames` (JPEG frames: fast random access) or `encoded` (untouched files: small).
      short_side_px: longest short side of stored frames; 0 keeps their size; never enlarged.
      jpeg_quality: of stored frames, 1 to 100.
      min_frames: a video with fewer frames is refused.
      max_frames: a video with more frames is refused (a record is held in memory).
      flow: a row of `tempo.data.flow.METHODS`, to store optical flow beside the frames.
      num_shards: files per split; by default one per 128 videos, but 16 if there are enough.
      num_workers: threads; one per core by default.
      strict: stop at the first video that is refused.
      check_only: decode and validate, write `check.json` and `check.jsonl` and no records.
      update: if `out_dir` holds the dataset of other files (mended ones, new ones), make it that of
        these; shards whose files are the same are kept.
      progress: show a progress bar on stderr.
      **request: which videos, as `selection.Request` has it: dataset, annotations, classes, ...

    Raises:
      InputError: nothing to read, settings out of range, an `out_dir` that holds other things or a
        damaged dataset, a class left without videos, or a refused video where `strict`.
      RunError: the disk is full, or fails. The next build goes on from there.
    """
    lookup(dict.fromkeys(examples.KINDS), kind, "kind")
    _check_numbers(short_side_px, jpeg_quality, min_frames, max_frames, num_shards, num_workers)
    check_keys("A build", request, selection.Request)
    asked = selection.Request(**request)
    flow_settings = flows.create(flow, kind, min_frames)
    with disk.told(out_dir):
        if not records.is_complete(out_dir):
            disk.check_place(out_dir)
        scan = selection.find(videos_dir, asked)
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
        job = _Build(Path(videos_dir), Path(out_dir), settings, scan, asked, num_shards)
        report = job.run(num_workers or os.cpu_count() or 1, strict, progress, update)
    return dataclasses.replace(report, notes=scan.notes)


def _check_numbers(
    short_side_px: int,
    jpeg_quality: int,
    min_frames: int,
    max_frames: int,
    num_shards: int | None,
    num_workers: int | None,
) -> None:
    """Raises `InputError` if a number is out of its range."""
    if short_side_px < 0 or not 1 <= jpeg_quality <= 100 or min_frames < 1:
        raise InputError(
            f"Need short_side_px >= 0, jpeg_quality 1 to 100 and min_frames >= 1; got "
            f"{short_side_px}, {jpeg_quality} and {min_frames}."
        )
    if max_frames < min_frames:
        raise InputError(
            f"No video has at least {min_frames} and at most {max_frames} frames; raise "
            "--max-frames or lower --min-frames."
        )
    for name, count in (("num_shards", num_shards), ("num_workers", num_workers)):
        if count is not None and count < 1:
            raise InputError(
                f"{name} must be at least 1; got {count}. Leave it out to have it set."
            )


class _Build:
    """One build: what is wanted, and its steps."""

    def __init__(
        self,
        videos_dir: Path,
        out_dir: Path,
        settings: examples.ExampleSettings,
        scan: manifest.Scan,
        request: selection.Request,
        num_shards: int | None,
    ):
        self.out_dir = out_dir
        self.settings = settings
        self.scan = scan
        self.request = request
        self.originals = Originals(videos_dir)
        self._check_folders()
        described = settings.described()
        self.shards = shards.plan(self.originals, scan, described, num_shards)
        is_check = settings.is_check
        staging = out_dir / (tidy.CHECK_STAGING if is_check else tidy.STAGING)
        self.staging = shards.Staging(out_dir, staging, has_records=not is_check)

    def run(self, num_workers: int, strict: bool, progress: bool, update: bool) -> BuildReport:
        """All of it."""
        is_check, num_videos = self.settings.is_check, self.scan.num_videos
        if is_check and not records.is_complete(self.out_dir):
            self._check_place()
        is_update = update and not is_check and self.is_complete(but="sources_sha256")
        if (
            not is_check
            and not is_update
            and self.is_complete()
            and not tidy.is_staging(self.staging.folder)
        ):
            return finished.report(self.out_dir, num_reused=num_videos)
        with self.staging.locked():
            if is_update and records.is_complete(self.out_dir):
                self._check_strict(self.scan.refused, strict)
                self.staging.adopt(self.shards, records.read_header(self.out_dir))
            # Another process may have made it meanwhile, or was killed just when it had.
            if not is_check and self.is_complete():
                self.staging.remove()
                return finished.report(self.out_dir, num_reused=num_videos)
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
            **self.request.described(),
            "class_names": list(self.scan.class_names),
            "sources_sha256": manifest.hash_entries(sources),
        }

    def is_complete(self, but: str = "") -> bool:
        """Whether `out_dir` holds this dataset; `InputError` if it holds something else.

        It may differ in what `described` names `but`.
        """
        if not records.is_complete(self.out_dir):
            self._check_place()
            return False
        header = records.read_header(self.out_dir)
        flows.check_made(header["flow"], self.settings.flow, self.out_dir)
        wanted = {key: value for key, value in self.described().items() if key != but}
        finished.check_same(self.out_dir, header["build"], wanted)
        finished.check_whole(self.out_dir, header)
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
            encoded = ordered.map_in_order(
                pool, self._encode, wanted, window=2 * num_workers, size_of=_num_bytes
            )
            with contextlib.closing(encoded) as outcomes:
                for refusal in self._written(pending, outcomes):
                    if refusal is not None:
                        self._check_strict([refusal], strict)
                        num_refused += 1
                        bar.set_postfix(refused=num_refused, refresh=False)
                    bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
            bar.close()
        return num_reused

    def _written(self, pending: Iterable[shards.Shard], outcomes) -> Iterator[dict | None]:
        for shard in pending:
            yield from self.staging.write(shard, outcomes)

    def _encode(self, wanted: tuple[str, manifest.Source]) -> examples.Outcome:
        return examples.encode_video(self.originals, *wanted, self.settings)

    def finish(self, num_reused: int) -> BuildReport:
        """Moves the shards to their final names and writes what describes them."""
        rejected = self._rejected()
        files.write_json(str(self.out_dir / records.REJECTED_FILE), rejected)
        self._check_accepted(len(rejected), str(self.out_dir / records.REJECTED_FILE))
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
        about = {"num_rejected": len(rejected), "build": self.described()}
        finished.write_header(self.out_dir, settings, scan, splits, about)
        return finished.report(self.out_dir, num_reused)

    def finish_check(self, num_reused: int) -> BuildReport:
        """Writes the report of a check."""
        rejected = self._rejected()
        summary = checks.write(
            str(self.out_dir), self.described(), self._rows(*self.scan.splits), rejected
        )
        details = str(self.out_dir / checks.VERDICTS_FILE)
        self._check_accepted(len(rejected), details)
        return BuildReport(
            out_dir=str(self.out_dir),
            num_accepted=summary["num_accepted"],
            num_rejected=summary["num_refused"],
            rejected=tuple(rejected),
            num_reused=num_reused,
            splits={split: counts["accepted"] for split, counts in summary["splits"].items()},
            manifest_sha256="",
            details=details,
        )

    def _rows(self, *splits: str) -> Iterator[dict[str, Any]]:
        """What the manifest says of the accepted videos; one shard at a time is in memory."""
        for shard in self.shards:
            if shard.split in splits:
                yield from self.staging.read(shard)["rows"]

    def _rejected(self) -> list[Mapping[str, str]]:
        sidecars = map(self.staging.read, self.shards)
        return [*self.scan.refused, *(row for s in sidecars for row in s["rejected"])]

    def _check_accepted(self, num_rejected: int, path: str) -> None:
        """Raises `InputError` if what was accepted makes no dataset; `path` names the refused."""
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


def _num_bytes(outcome: examples.Outcome) -> int:
    return len(outcome.example or b"")
