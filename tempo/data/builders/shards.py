"""Finished shards of a build that is under way: written, found again, and moved to their place.

They wait in one folder under provisional names, each beside a JSON file (the sidecar, written
after it) that says what went into it.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from array_record.python import array_record_module

from tempo import files
from tempo.data import manifest, records
from tempo.data.builders import examples, features, tidy
from tempo.data.builders.originals import Originals
from tempo.data.store import index
from tempo.errors import InputError

# Stored as they are: JPEG and video bytes do not compress, and reading is 15 % faster.
_WRITER_OPTIONS = "group_size:1,uncompressed"
_VIDEOS_PER_SHARD = 128
_MIN_SHARDS = 16
_MOVES_FILE = "moves.json"
_STAGED_SUFFIX = ".array_record"


@dataclasses.dataclass(frozen=True)
class Shard:
    """Consecutive videos of one split.

    Attributes:
      split: the split.
      number: of the shard in its split.
      sources: the videos.
      fingerprint: hash of the format, the settings and the files' names, sizes and times.
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
    originals: Originals, scan: manifest.Scan, settings: Mapping[str, Any], num_shards: int | None
) -> list[Shard]:
    """The shards of a dataset: `num_shards` per split, or by their number of videos."""
    shards = []
    for split, sources in scan.splits.items():
        for number, part in enumerate(_parts(sources, num_shards)):
            facts = [[*facts_of(v), *originals.facts(v)] for v in part]
            fingerprint = manifest.hash_entries([records.MANIFEST_FORMAT, settings, facts])
            shards.append(Shard(split, number, part, fingerprint))
    return shards


def facts_of(source: manifest.Source) -> list[Any]:
    """What a source says, as JSON."""
    label = source.label if isinstance(source.label, int) else list(source.label)
    return [source.id, source.path, label, source.start_s, source.end_s, dict(source.metadata)]


class Staging:
    """The folder where finished shards wait, inside the dataset's own folder.

    Args:
      out_dir: the dataset.
      folder: where shards wait.
      has_records: whether shards are files; those of a check have only their sidecars.
    """

    def __init__(self, out_dir: Path, folder: Path, has_records: bool = True):
        self.out_dir = out_dir
        self.folder = folder
        self._has_records = has_records
        self._moved: dict[str, str] | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it, so that two processes never build one dataset at once.

        Raises:
          InputError: a folder of this name is there that no build has made.
        """
        if os.path.lexists(self.folder) and not tidy.is_staging(self.folder):
            raise InputError(
                f"{str(self.folder)!r} is not of an unfinished build; rename it, or choose another "
                "--out."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / tidy.LOCK_FILE, "w") as lock:
            with contextlib.suppress(ImportError):  # not a POSIX system
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def remove(self) -> None:
        """Removes what builds have put into the folder, and the folder if nothing else is there."""
        tidy.remove_staging(self.folder)

    def read(self, shard: Shard) -> dict[str, Any] | None:
        """The sidecar of a finished shard; None if it is not finished or made of something else."""
        path = self._sidecar(shard)
        if not path.exists():
            return None
        sidecar = files.read_json(str(path))
        if sidecar["fingerprint"] != shard.fingerprint:
            return None
        if not self._has_records:
            return sidecar
        places = [self._staged(shard)]
        if shard.name in (moves := self._moves()):
            places.append(self.out_dir / moves[shard.name])
        sizes = [place.stat().st_size for place in places if place.is_file()]
        return sidecar if sidecar["file_bytes"] in sizes else None

    def write(self, shard: Shard, outcomes: Iterator[examples.Outcome]) -> Iterator[dict | None]:
        """Writes a shard from the outcomes of its videos; yields what was refused, else None."""
        rows, rejected, sizes = [], [], []
        with self._records_of(shard) as add:
            for outcome in itertools.islice(outcomes, len(shard.sources)):
                refusal = None
                if outcome.row is None:
                    source = outcome.source
                    refusal = {"id": source.id, "source": source.path, "split": shard.split}
                    refusal["reason"] = outcome.reason
                    rejected.append(refusal)
                else:
                    if outcome.example is not None:
                        add(outcome.example)
                        sizes.append(len(outcome.example))
                    rows.append(outcome.row)
                yield refusal
        sidecar = {
            "fingerprint": shard.fingerprint,
            "rows": rows,
            "rejected": rejected,
            "num_bytes": sum(sizes),
            "file_bytes": self._staged(shard).stat().st_size if self._has_records else 0,
        }
        files.write_json(str(self._sidecar(shard)), sidecar)

    @contextlib.contextmanager
    def _records_of(self, shard: Shard) -> Iterator[Callable[[bytes], None]]:
        """A function that adds a record; the shard is in its place when the block has ended well.

        Raises:
          RuntimeError: the records cannot be written; its text says why.
        """
        if not self._has_records:
            yield lambda record: None
            return
        temporary = self._staged(shard).with_suffix(".tmp")
        writer = array_record_module.ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)

        def add(record: bytes) -> None:
            writer.write(record)
            if not writer.ok():
                writer.close()  # says what the matter is

        try:
            with contextlib.closing(writer):
                yield add
            os.replace(temporary, self._staged(shard))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def move(self, shards: Sequence[Shard]) -> dict[str, list[dict[str, Any]]]:
        """Gives finished shards their final names; per split, what the manifest says of its files.

        Shards without records get none. May be repeated after it was cut short.
        """
        facts = {shard.name: _file_facts(self.read(shard)) for shard in shards}
        full = [s for s in shards if facts[s.name]["num_records"]]
        moves = {}
        for split in dict.fromkeys(s.split for s in full):
            own = [s for s in full if s.split == split]
            for i, shard in enumerate(own):
                moves[shard.name] = features.shard_file(split, i, len(own))
        for shard in full:  # those that an earlier run has moved to where they no longer belong
            old = self._moves().get(shard.name)
            if old not in (None, moves[shard.name]) and not self._staged(shard).exists():
                os.replace(self.out_dir / old, self._staged(shard))
        files.write_json(str(self.folder / _MOVES_FILE), moves)
        self._moved = moves
        places = {}
        for shard in full:
            if self._staged(shard).exists():
                os.replace(self._staged(shard), self.out_dir / moves[shard.name])
            row = {"file": moves[shard.name], **facts[shard.name]}
            row["fingerprint"] = shard.fingerprint
            places.setdefault(shard.split, []).append(row)
        return places

    def adopt(self, shards: Sequence[Shard], header: Mapping[str, Any]) -> None:
        """Takes back the shards of a finished dataset that are made of the same.

        From then on the dataset is an unfinished one.
        """
        rejected = files.read_json(str(self.out_dir / records.REJECTED_FILE))
        found, moves = {}, {}
        for split, facts in header["splits"].items():
            rows, start = index.open_index(str(self.out_dir), split).rows, 0
            for place in facts["shards"]:
                found[place.get("fingerprint")] = (place, rows, start)
                start += place["num_records"]
        for shard in shards:
            if shard.fingerprint not in found:
                continue
            place, rows, start = found[shard.fingerprint]
            ids = {source.id for source in shard.sources}
            sidecar = {
                "fingerprint": shard.fingerprint,
                "rows": rows[start : start + place["num_records"]],
                "rejected": [r for r in rejected if r["split"] == shard.split and r["id"] in ids],
                "num_bytes": place["num_bytes"],
                "file_bytes": place["file_bytes"],
            }
            files.write_json(str(self._sidecar(shard)), sidecar)
            moves[shard.name] = place["file"]
        files.write_json(str(self.folder / _MOVES_FILE), moves)
        self._moved = moves
        (self.out_dir / records.MANIFEST_FILE).unlink()

    def _moves(self) -> dict[str, str]:
        """Final names of shards by their provisional ones, also those an earlier run gave."""
        if self._moved is None:
            path = self.folder / _MOVES_FILE
            self._moved = files.read_json(str(path)) if path.exists() else {}
        return self._moved

    def _staged(self, shard: Shard) -> Path:
        return self.folder / f"{shard.name}{_STAGED_SUFFIX}"

    def _sidecar(self, shard: Shard) -> Path:
        return self.folder / f"{shard.name}.json"


def _file_facts(sidecar: Mapping[str, Any]) -> dict[str, int]:
    """What the manifest says of a shard's file."""
    sizes = {key: sidecar[key] for key in ("num_bytes", "file_bytes")}
    return {"num_records": len(sidecar["rows"]), **sizes}


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
