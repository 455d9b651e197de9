"""Rows of a study's `results.jsonl`: hits of single videos in them, intervals, and the README."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tempo.analysis import statistics
from tempo.errors import InputError

NUM_RESAMPLES = 500
_BEGIN, _END = "<!-- tables: begin -->\n", "<!-- tables: end -->"


def read(results: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of the file; none if there is no file."""
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text().splitlines()]


def pack(hits: np.ndarray) -> str:
    """Booleans [N] as hexadecimal text, eight a byte."""
    return np.packbits(hits).tobytes().hex()


def unpack(text: str, num: int) -> np.ndarray:
    """The booleans [N] that `pack` was given."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=num).astype(bool)


def check_same_videos(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises `InputError` unless all rows are of the same videos."""
    first = rows[0]["videos"]
    if any(row["videos"] != first for row in rows):
        raise InputError(
            "The rows are not all of the same videos; start in another folder (--out)."
        )


def share(labels: np.ndarray, hits: np.ndarray) -> str:
    """Hits in percent and its interval, in words.

    Args:
      labels: of the videos, [N].
      hits: of every seed, bool [S,N].
    """
    return _percent(resampled(labels, lambda videos, own: own.mean(), hits), "")


def gain(labels: np.ndarray, hits: np.ndarray, base: np.ndarray) -> str:
    """Points by which hits are more than those of another, and their interval, in words.

    Args:
      labels: of the videos, [N].
      hits: of every seed, bool [S,N].
      base: the same of what it is compared with.
    """
    return _percent(resampled(labels, _difference, hits, base), "+")


def _difference(videos: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    return float((first - second).mean())


def _percent(found: statistics.Estimate, sign: str) -> str:
    value, low, high = (f"{100 * x:{sign}.1f}" for x in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def facts(rows: Sequence[Mapping[str, Any]], what: str, *, told: Sequence[str] = ()) -> str:
    """Seeds, videos, time, hardware, commits and dates of rows, as a list in Markdown.

    Args:
      rows: with `seed`, `videos` (the same of all), `wall_s`, `is_resumed`, and where and when each
        was made.
      what: what a row is one of, such as "trainings".
      told: further lines.
    """
    cut = sum(row["is_resumed"] for row in rows)
    dates = sorted(row["date"][:10] for row in rows)
    videos = rows[0]["videos"]
    lines = [
        f"seeds {', '.join(map(str, sorted({row['seed'] for row in rows})))}",
        f"{len(videos['labels'])} test videos of {len(videos['class_names'])} classes; chance is "
        f"{100 / len(videos['class_names']):.1f}",
        *told,
        f"{sum(row['wall_s'] for row in rows) / 60:.0f} minutes of {len(rows)} {what}, with "
        "compilation and evaluation"
        + (f" ({cut} went on after a stop: less than they took)" if cut else ""),
        "; ".join(sorted({hardware(row["hardware"]) for row in rows})),
        f"commit {', '.join(sorted({row['commit'] for row in rows}))}",
        dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
    ]
    return "\n".join(f"* {line}" for line in lines)


def hardware(found: Mapping[str, Any]) -> str:
    """What a row ran on, in words."""
    return f"{found['cpu']}, {found['cpu_cores']} cores, on {found.get('backend', 'cpu')}"


def resampled(
    labels: np.ndarray,
    statistic: Callable[..., float],
    *hits: np.ndarray,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> statistics.Estimate:
    """A statistic of the hits of several networks, with its interval over seeds and videos.

    Args:
      labels: class of each video, [N]; every resample keeps the number of videos of each.
      statistic: (videos [N], share of seeds that hit each drawn video [..., N] for each of `hits`)
        -> a number.
      *hits: bool [S,..., N] of each network; their seeds are drawn independently.
      seed: of the resampling.
      num_resamples: of the bootstrap.
    """
    num = len(labels)
    value = statistic(np.arange(num), *(h.mean(axis=0) for h in hits))
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(num_resamples):
        videos = statistics.grouped(labels, rng.uniform(size=num))
        drawn = [h[rng.integers(0, len(h), len(h))].mean(axis=0)[..., videos] for h in hits]
        values.append(statistic(videos, *drawn))
    return statistics.Estimate(float(value), *statistics.interval(np.array(values)), num)


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def with_tables(text: str, page: str) -> str:
    """A text with `page` in place of what stands between its two marks."""
    before, rest = text.split(_BEGIN)
    return f"{before}{_BEGIN}\n{page}\n\n{_END}{rest.split(_END)[1]}"


def seeds(text: str) -> list[int]:
    """Of a command line: whole numbers with commas.

    Raises:
      InputError: something else, or a number twice.
    """
    try:
        found = [int(seed) for seed in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds must be whole numbers with commas; got {text!r}.") from None
    if len(set(found)) < len(found):
        raise InputError(f"--seeds names a seed twice: {text!r}; every seed is one run.")
    return found
