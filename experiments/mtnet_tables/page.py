"""The recorded ablations as Markdown tables.

Intervals are 95 % percentile bootstraps over seeds and test videos together, videos within their
class; with one seed, over videos alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import recorded
from experiments.mtnet_tables import studies
from tempo.papers.mtnet_results import ROWS

TITLES = {
    "ratio": "Ratio of local channels (table VI(a))",
    "pool": "Pooling of the prolonged branch (table VI(c))",
    "cell": "Recurrent cells (table VI(b))",
}


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """All tables that there are rows for, each under its heading.

    Raises:
      InputError: rows of different videos.
    """
    if not rows:
        return "The ablations have not been run."
    recorded.check_same_videos(rows)
    parts = {"What was run": recorded.facts(rows, "trainings")}
    for study, title in TITLES.items():
        names = {studies.variant_of(options) for options in studies.STUDIES[study].values()}
        # The default alone is no ablation.
        if names & {row["name"] for row in rows} - {studies.DEFAULT}:
            parts[title] = table(study, rows)
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts.items())


def table(study: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Top-1 of every variant of a study that was run, and what it gains over the default."""
    labels = np.array(rows[0]["videos"]["labels"])
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        by_name.setdefault(row["name"], []).append(row)
    hits = {name: _hits(mine, len(labels)) for name, mine in by_name.items()}
    lines = []
    for label, options in studies.STUDIES[study].items():
        name = studies.variant_of(options)
        if name not in hits:
            continue
        mine, default = by_name[name], hits.get(studies.DEFAULT)
        gained = ""
        if default is not None and name != studies.DEFAULT:
            gained = recorded.gain(labels, hits[name], default)
        lines.append(
            [
                label,
                f"{mine[0]['params'] / 1e3:.1f}",
                f"{mine[0]['macs'] / 1e6:.1f}",
                recorded.share(labels, hits[name]),
                ", ".join(f"{100 * own.mean():.1f}" for own in hits[name]),
                gained,
                _published(study, label),
            ]
        )
    head = [
        "variant", "k parameters", "M multiply-adds", "top-1", "of each seed",
        "against the default", "published, M on HACS",
    ]  # fmt: skip
    return recorded.table(head, lines)


def _hits(rows: Sequence[Mapping[str, Any]], num: int) -> np.ndarray:
    """Of every seed, bool [S,N]."""
    return np.stack([recorded.unpack(row["hits"][studies.EVALUATOR], num) for row in rows])


def _published(study: str, label: str) -> str:
    name = studies.PUBLISHED[study].get(label)
    if not name:
        return "not in the paper"
    row = ROWS["mtnet"][name]
    return f"{row.published['top1']:.1f}" if "top1" in row.published else row.note
