"""The report of a check: a verdict and, where it is a refusal, a reason for every video."""

import collections
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from tempo import files

SUMMARY_FILE = "check.json"
VERDICTS_FILE = "check.jsonl"


def write(
    out_dir: str,
    about: Mapping[str, Any],
    accepted: Iterable[Mapping[str, Any]],
    refused: Iterable[Mapping[str, str]],
) -> dict[str, Any]:
    """Writes `check.json` (counts) and `check.jsonl` (a row per video) into `out_dir`.

    Args:
      out_dir: made if missing.
      about: what was checked.
      accepted: rows as in a manifest.
      refused: `{"id", "source", "split", "reason"}` of each refused video.

    Returns:
      the content of `check.json`.
    """
    splits: dict[str, collections.Counter] = {}
    refused = list(refused)
    with files.replacing(os.path.join(out_dir, VERDICTS_FILE), "wb") as f:
        for row in accepted:
            splits.setdefault(row["split"], collections.Counter())["accepted"] += 1
            _write_row(f, {"verdict": "accepted", "reason": "", **row})
        for row in refused:
            splits.setdefault(row["split"], collections.Counter())["refused"] += 1
            place = {"id": row["id"], "split": row["split"], "path": row["source"]}
            _write_row(f, {"verdict": "refused", "reason": row["reason"], **place})
    summary = {
        **about,
        "num_accepted": sum(s["accepted"] for s in splits.values()),
        "num_refused": sum(s["refused"] for s in splits.values()),
        "reasons": count_reasons(refused),
        "splits": {k: {v: s[v] for v in ("accepted", "refused")} for k, s in splits.items()},
    }
    files.write_json(os.path.join(out_dir, SUMMARY_FILE), summary)
    return summary


def count_reasons(refused: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """How many were refused for each reason, most frequent first; `truncated:35/90` is one of
    `truncated`.
    """
    words = (row["reason"].split(":")[0].split("@")[0] for row in refused)
    return dict(collections.Counter(words).most_common())


def _write_row(f, row: Mapping[str, Any]) -> None:
    f.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
