"""The recorded ablations as Markdown tables.

Intervals are 95 % percentile bootstraps over seeds and test videos together, videos within their
class; with one seed, over videos alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import recorded
from experiments.stpn_tables import runs
from tempo.papers.stpn_results import ROWS

TITLES = {
    "t4": "The parts one after the other",
    "t2": "Fusion of several snippets, flow alone",
}
AGAINST = {"t4": "t4.A", "t2": "temporal"}
"""What the others of a table are compared with."""


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """All tables that there are rows for, each under its heading.

    Raises:
      InputError: rows of different videos.
    """
    if not rows:
        return "The ablations have not been run."
    recorded.check_same_videos(rows)
    protocols = sorted({own["protocol"] for row in rows for own in row["results"]})
    parts = {"What was run": recorded.facts(rows, "runs", told=protocols)}
    names = {row["name"] for row in rows} - {runs.FIRST}
    for name, title in TITLES.items():
        if names & set(runs.TABLES[name]):
            parts[title] = table(name, rows)
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts.items())


def table(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Top-1 of everything in a table that was run, and what it gains over what it is built on."""
    labels = np.array(rows[0]["videos"]["labels"])
    hits: dict[str, list[np.ndarray]] = {}
    same_class: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        for own, packed in row["hits"].items():
            hits.setdefault(own, []).append(recorded.unpack(packed, len(labels)))
        if "same_class" in row:
            same_class.setdefault(row["name"], []).append(row["same_class"])
    lines = []
    for own, title in runs.TABLES[name].items():
        if own not in hits:
            continue
        mine, base, gained = np.stack(hits[own]), AGAINST[name], ""
        if base in hits and own != base:
            gained = recorded.gain(labels, mine, np.stack(hits[base]))
        shares = same_class.get(own)
        published = ROWS["stpn"][runs.PUBLISHED[own]].published["mean_class"]
        lines.append(
            [
                title,
                recorded.share(labels, mine),
                ", ".join(f"{100 * one.mean():.1f}" for one in mine),
                gained,
                f"{100 * np.mean(shares):.1f}" if shares else "",
                f"{published:.1f}",
            ]
        )
    against = runs.TABLES[name][AGAINST[name]].split(":")[0]
    head = [
        "network", "top-1", "of each seed", f"against {against}", "nearest of the same class",
        "published, UCF-101",
    ]  # fmt: skip
    return recorded.table(head, lines)
