"""The recorded chain as Markdown tables: stages, entries of table 3, ensembles of table 4.

Intervals are 95 % percentile bootstraps over seeds and test videos together, videos within their
class; with one seed, over videos alone.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import recorded
from experiments.vipriors_tables.tables import views
from tempo.analysis import statistics
from tempo.errors import InputError
from tempo.papers.vipriors_results import ENSEMBLES, ENTRIES

TEMPI = ("Slow", "Fast")
"""How the names of classes end: each motion is a class at either tempo."""


@dataclasses.dataclass(frozen=True)
class Chain:
    """The recorded steps; S seeds, N test videos. All hits are bool [S,N].

    Attributes:
      class_names: in label order.
      labels: class of each video, [N].
      stages: hits after each stage, by network and stage.
      entries: hits by network and number of the entry of table 3.
      ensembles: hits by name, `<variant>_<row of table 4>`.
      best: hits of the best member of each ensemble, likewise.
      results: what `tempo.ensemble` said, by name: one for each seed.
      rows: as recorded.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    stages: Mapping[str, Mapping[str, np.ndarray]]
    entries: Mapping[str, Mapping[int, np.ndarray]]
    ensembles: Mapping[str, np.ndarray]
    best: Mapping[str, np.ndarray]
    results: Mapping[str, Sequence[Mapping[str, Any]]]
    rows: Sequence[Mapping[str, Any]]

    def is_of(self, tempo: str) -> np.ndarray:
        """Whether a video's class is of this tempo, [N]."""
        return np.array([name.endswith(tempo) for name in self.class_names])[self.labels]


def gather(rows: Sequence[Mapping[str, Any]]) -> Chain:
    """The chain that rows of `results.jsonl`, one at least, tell of.

    Raises:
      InputError: rows of different videos.
    """
    first, *others = (row["videos"] for row in rows)
    if any(videos != first for videos in others):
        raise InputError(
            "The rows are not all of the same videos; start in another folder (--out)."
        )
    labels = np.array(first["labels"])
    by_step: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        by_step.setdefault(row["step"], {}).setdefault(row["name"], []).append(row)

    def hits(mine: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
        return np.stack([recorded.unpack(row["hits"][key], len(labels)) for row in mine])

    def all_hits(step: str) -> dict[str, dict[str, np.ndarray]]:
        found = by_step.get(step, {})
        return {name: {k: hits(mine, k) for k in mine[0]["hits"]} for name, mine in found.items()}

    combined = all_hits("ensemble")
    return Chain(
        class_names=tuple(first["class_names"]),
        labels=labels,
        stages=all_hits("train"),
        entries={
            name: {int(key.removeprefix("tta")): x for key, x in found.items()}
            for name, found in all_hits("evaluate").items()
        },
        ensembles={name: found["ensemble"] for name, found in combined.items()},
        best={name: found["best"] for name, found in combined.items()},
        results={
            name: [row["result"] for row in mine]
            for name, mine in by_step.get("ensemble", {}).items()
        },
        rows=rows,
    )


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """All tables that there are rows for, each under its heading."""
    if not rows:
        return "The chain has not been run."
    c = gather(rows)
    parts = {
        "What was run": runs(c),
        "After each stage": stages(c) if c.stages else "",
        "Entries of table 3": entries(c) if c.entries else "",
        "The modules": variants(c) if c.entries else "",
        "Ensembles of table 4": ensembles(c) if c.ensembles else "",
    }
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts.items() if table)


def runs(c: Chain) -> str:
    """Seeds, videos, hardware and time."""
    seeds = sorted({row["seed"] for row in c.rows})
    cut = sum(row["is_resumed"] for row in c.rows)
    hardware = sorted({_hardware(row["hardware"]) for row in c.rows})
    minutes = sum(row["wall_s"] for row in c.rows) / 60
    dates = sorted(row["date"][:10] for row in c.rows)
    facts = [
        f"seeds {', '.join(map(str, seeds))}",
        f"{len(c.labels)} test videos of {len(c.class_names)} classes",
        f"{minutes:.0f} minutes of {len(c.rows)} steps"
        + (f" ({cut} went on after a stop: less than they took)" if cut else ""),
        "; ".join(hardware),
        f"commit {', '.join(sorted({row['commit'] for row in c.rows}))}",
        dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
    ]
    return "\n".join(f"* {fact}" for fact in facts)


def stages(c: Chain) -> str:
    """Top-1 of every network after each of its stages, and what a stage adds to the one before."""
    rows = []
    for name, found in c.stages.items():
        before = None
        for stage, hits in found.items():
            gained = "" if before is None else _gain(c, hits, before)
            rows.append([name, stage, *_split(c, hits), gained])
            before = hits
    return recorded.table(["network", "stage", *_HEADS, "against the one before"], rows)


def entries(c: Chain) -> str:
    """Top-1 of every entry, beside the published one; what it gains over the network's first."""
    rows = []
    for name, found in c.entries.items():
        plain = next(iter(found))
        for number, hits in found.items():
            gained = "" if number == plain else _gain(c, hits, found[plain])
            theirs = "" if name.startswith("base") else f"{ENTRIES[number].published:.1f}"
            rows.append([name, number, views(ENTRIES[number]), *_split(c, hits), gained, theirs])
    head = ["network", "ID", "views", *_HEADS, "against its first", "published"]
    return recorded.table(head, rows)


def variants(c: Chain) -> str:
    """What ELU, POOL and the three-branch convolution gain over the base, entry by entry."""
    rows = []
    for kind in ("rgb", "diff"):
        own, base = (c.entries.get(f"{variant}_{kind}", {}) for variant in ("acb", "base"))
        for number in own:
            if number in base:
                gained = recorded.resampled(c.labels, _difference, own[number], base[number])
                rows.append([kind, number, views(ENTRIES[number]), _signed(gained)])
    return recorded.table(["input", "ID", "views", "acb against base"], rows) if rows else ""


def ensembles(c: Chain) -> str:
    """Top-1 of every ensemble, and what it gains over the best of its members."""
    rows = []
    for name, hits in c.ensembles.items():
        variant, row = name.split("_")
        said = [result["difference"] for result in c.results[name]]
        best = sorted({f"{_network(one['path'])} {_number(one['against'])}" for one in said})
        tests = ", ".join(f"{one['mcnemar_p']:.2g}" for one in said)
        rows.append(
            [
                variant,
                ENSEMBLES[row].title,
                len(c.results[name][0]["members"]),
                *_split(c, hits),
                _gain(c, hits, c.best[name]),
                f"{', '.join(best)} (p = {tests})",
                f"{ENSEMBLES[row].published:.1f}",
            ]
        )
    head = [
        "SlowFast", "ensemble", "members", *_HEADS, "against its best member",
        "that is (network, ID; McNemar)", "published",
    ]  # fmt: skip
    return recorded.table(head, rows)


_HEADS = ("top-1", "slow classes", "fast classes")


def _split(c: Chain, hits: np.ndarray) -> list[str]:
    """Percent of all videos with its interval, and of the two kinds of classes."""
    whole = recorded.resampled(c.labels, lambda videos, own: own.mean(), hits)
    value, low, high = (f"{100 * x:.1f}" for x in (whole.value, whole.low, whole.high))
    parts = (hits[:, c.is_of(tempo)] for tempo in TEMPI)
    return [f"{value} ({low} to {high})", *(f"{100 * part.mean():.1f}" for part in parts)]


def _gain(c: Chain, own: np.ndarray, other: np.ndarray) -> str:
    """Points that `own` has more, of the same seeds."""
    pairs = np.stack([own, other], axis=1)
    return _signed(recorded.resampled(c.labels, lambda videos, two: _difference(0, *two), pairs))


def _difference(videos: np.ndarray, own: np.ndarray, other: np.ndarray) -> float:
    return own.mean() - other.mean()


def _signed(e: statistics.Estimate) -> str:
    value, low, high = (f"{100 * x:+.1f}" for x in (e.value, e.low, e.high))
    return f"{value} ({low} to {high})"


def _network(path: str) -> str:
    """Of a score file `.../<network>/scores/<evaluator>.npz`."""
    return pathlib.PurePath(path).parts[-3]


def _number(evaluator: str) -> int:
    return int(evaluator.removeprefix("tta"))


def _hardware(found: Mapping[str, Any]) -> str:
    devices = ", ".join(found.get("devices", []))
    return f"{found['cpu']}, {found['cpu_cores']} cores" + (f", on {devices}" if devices else "")
