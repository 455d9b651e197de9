"""Finished shards of a build that is under way: written, found again, and moved to their place.

They wait in one folder under provisional names, each beside a JSON file (the sidecar, written
after it) that says what went into it.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from array_record.python import array_record_module

from tempo import files
from tempo.data import manifest
from tempo.data.builders import examples

# Stored as they are: JPEG and video bytes do not compress, and reading is 15 % faster.
_WRITER_OPTIONS = "group_size:1,uncompressed"
_VIDEOS_PER_SHARD = 128
_MIN_SHARDS = 16
_MOVES_FILE = "moves.json"


@dataclasses.dataclass(frozen=True)
class Shard:
    """Consecutive videos of one split.

    Attributes:
      split: the split.
      number: of the shard in its split.
      sources: the videos.
      fingerprint: hash of the settings and of the files' names, sizes and times.
    """

    split: str
    number: int
    sources: tuple[manifest.Source, ...]
    fingerprint: str

    @property
    def name(self) -> str:
        """Provisional name."""
        return f"{self.split}-{self.number:05d}"


def plan(
    videos_dir: Path, scan: manifest.Scan, settings: Mapping[str, Any], num_shards: int | None
) -> list[Shard]:
    """The shards of a dataset: `num_shards` per split, or by their number of videos."""
    shards = []
    for split, sources in scan.splits.items():
        for number, part in enumerate(_parts(sources, num_shards)):
            facts = [[v.id, v.path, v.label, dict(v.metadata)] for v in part]
            on_disk = [file_facts(videos_dir / v.path) for v in part]
            fingerprint = manifest.hash_entries([settings, facts, on_disk])
            shards.append(Shard(split, number, part, fingerprint))
    return shards


def file_facts(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns; (-1, -1) if there is no such file."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


class Staging:
    """The folder where finished shards wait, inside the dataset's own folder."""

    def __init__(self, out_dir: Path, folder: Path):
        self.out_dir = out_dir
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it, so that two processes never build one dataset at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # pragma: no cover - not a POSIX system
            yield
            return
        with open(self.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def read(self, shard: Shard) -> dict[str, Any] | None:
        """The sidecar of a finished shard; None if it is not finished or made of something else."""
        path = self._sidecar(shard)
        if not path.exists():
            return None
        sidecar = files.read_json(str(path))
        if sidecar["fingerprint"] != shard.fingerprint:
            return None
        places = [self._staged(shard)]
        if shard.name in (moves := self._moves()):
            places.append(self.out_dir / moves[shard.name])
        sizes = [place.stat().st_size for place in places if place.is_file()]
        return sidecar if sidecar["file_bytes"] in sizes else None

    def write(self, shard: Shard, outcomes: Iterator[examples.Outcome]) -> Iterator[bool]:
        """Writes a shard from the outcomes of its videos; says of each whether it was accepted."""
        entries, rejected, num_bytes = [], [], 0
        staged = self._staged(shard)
        temporary = staged.with_suffix(".tmp")
        writer = array_record_module.ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)
        with contextlib.closing(writer):
            for outcome in itertools.islice(outcomes, len(shard.sources)):
                source = outcome.source
                if outcome.example is None:
                    refusal = {"id": source.id, "source": source.path, "split": shard.split}
                    rejected.append({**refusal, "reason": outcome.reason})
                else:
                    writer.write(outcome.example)
                    num_bytes += len(outcome.example)
                    entries.append(outcome.entry)
                yield outcome.example is not None
        os.replace(temporary, staged)
        sidecar = {
            "fingerprint": shard.fingerprint,
            "entries": entries,
            "rejected": rejected,
            "num_bytes": num_bytes,
            "file_bytes": staged.stat().st_size,
        }
        files.write_json(str(self._sidecar(shard)), sidecar)

    def move(self, shards: Sequence[Shard]) -> dict[str, list[dict[str, Any]]]:
        """Gives finished shards their final names; per split, what the manifest says of its files.

        Shards without records get none; files of an unfinished build with other shards go. May be
        repeated after it was cut short.
        """
        sidecars = {shard.name: self.read(shard) for shard in shards}
        full = [s for s in shards if sidecars[s.name]["entries"]]
        moves, places = {}, {}
        for split in dict.fromkeys(s.split for s in full):
            own = [s for s in full if s.split == split]
            for i, shard in enumerate(own):
                moves[shard.name] = examples.shard_file(split, i, len(own))
        files.write_json(str(self.folder / _MOVES_FILE), moves)
        for shard in full:
            sidecar = sidecars[shard.name]
            if self._staged(shard).exists():
                os.replace(self._staged(shard), self.out_dir / moves[shard.name])
            facts = {k: sidecar[k] for k in ("num_bytes", "file_bytes")}
            row = {"file": moves[shard.name], "num_records": len(sidecar["entries"]), **facts}
            places.setdefault(shard.split, []).append(row)
        for path in self.out_dir.glob(examples.SHARD_GLOB):
            if path.name not in moves.values():
                path.unlink()
        return places

    def _moves(self) -> dict[str, str]:
        path = self.folder / _MOVES_FILE
        return files.read_json(str(path)) if path.exists() else {}

    def _staged(self, shard: Shard) -> Path:
        return self.folder / f"{shard.name}.array_record"

    def _sidecar(self, shard: Shard) -> Path:
        return self.folder / f"{shard.name}.json"


def _parts(
    sources: Sequence[manifest.Source], num_shards: int | None
) -> list[tuple[manifest.Source, ...]]:
    """Consecutive parts of nearly equal size, none empty."""
    if not sources:
        return []
    by_size = max(-(-len(sources) // _VIDEOS_PER_SHARD), min(_MIN_SHARDS, len(sources) // 8))
    count = max(1, min(num_shards or by_size, len(sources)))
    ends = [len(sources) * i // count for i in range(count + 1)]
    return [tuple(sources[a:b]) for a, b in itertools.pairwise(ends)]
