"""The committed results as the tables of the README's section on speed.

    python -m experiments.benchmarks.table            print them
    python -m experiments.benchmarks.table --write    into README.md, between the two comments
    python -m experiments.benchmarks.table --check    status 1 if README.md has others

Every hardware's folder below `results` is a heading, every benchmark of `TABLES` with rows there a
table. Of rows that agree in a table's keys the newest counts, by its date.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.benchmarks import report

README = pathlib.Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- performance: begin -->", "<!-- performance: end -->"
ABSENT = "-"

Row = Mapping[str, Any]


class Table(NamedTuple):
    """How rows of one kind are shown.

    Attributes:
      title: above the table.
      benchmarks: whose rows it has: names of files in a hardware's folder.
      keys: of rows of a benchmark that agree in all of these the newest counts; paths as of `at`.
      columns: heading to what a cell says of a row.
      keep: whether a row is shown at all.
    """

    title: str
    benchmarks: tuple[str, ...]
    keys: tuple[str, ...]
    columns: Mapping[str, Callable[[Row], str]]
    keep: Callable[[Row], bool] = lambda row: True


def at(row: Row, paths: str) -> Any:
    """What the row has at the first of these paths that it has; None for none of them.

    Args:
      row: of JSON.
      paths: `a.b|c`: key b in key a, or else key c.
    """
    for path in paths.split("|"):
        value = row
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None and not isinstance(value, Mapping):
            return value
    return None


def text(paths: str, form: str = "{}", scale: float = 1.0) -> Callable[[Row], str]:
    """A cell of what is `at` the paths, times `scale` unless that is 1, in the given form."""

    def cell(row: Row) -> str:
        value = at(row, paths)
        if value is None:
            return ABSENT
        return form.format(value if scale == 1.0 else value * scale)

    return cell


def ratio(row: Row) -> str:
    """Of medians, with the least and the largest of the turns where the row has them."""
    median = at(row, "ratio.median|ratio.step.median")
    if median is None:
        return ABSENT
    least, most = (at(row, f"ratio.{end}") for end in ("min", "max"))
    return f"**{median:.2f}**" + (f" ({least:.2f} to {most:.2f})" if least else "")


def peer_rate(row: Row) -> str:
    """A peer's clips per second, and how it ran if not operation by operation."""
    ms = at(row, "peer.ms.median|peer.step_ms.median")
    if ms is None:
        return ABSENT
    mode = at(row, "peer.mode") or "eager"
    return f"{1e3 * row['batch'] / ms:.3g}" + (f" ({mode})" if mode != "eager" else "")


def measured(row: Row) -> str:
    """Commit and day."""
    return f"`{row['commit']}` {row['date'][:10]}"


def best_of(path: str) -> Callable[[Row], str]:
    """A cell of the largest of the numbers in the mapping at `path`, over numbers of threads."""

    def cell(row: Row) -> str:
        numbers = row.get(path) or {}
        return f"{max(numbers.values()):.4g}" if numbers else ABSENT

    return cell


def decoder_share(row: Row) -> str:
    """Clips per second of one thread by those of the JPEG decoder alone on one."""
    own, alone = (at(row, path) for path in (_ONE_THREAD, _DECODER))
    return f"{own / alone:.2f}" if own and alone else ABSENT


def starts(stages: str) -> Callable[[Row], str]:
    """A cell of seconds by the wall clock of these stages together, first start and second."""

    def cell(row: Row) -> str:
        seconds = (
            sum(row[start][stage]["wall_s"] for stage in stages.split(","))
            for start in ("first_start", "second_start")
        )
        return " / ".join(f"{s:.1f}" for s in seconds)

    return cell


# 0 threads make batches in the caller, on one core; 1 is for rows in which 0 was not tried.
_ONE_THREAD, _DECODER = "clips_per_s.0|clips_per_s.1", "ceiling_clips_per_s.1"
_NETWORK = {
    "model": text("model", "`{}`"),
    "clip": text("clip"),
    "batch": text("batch"),
    "dtype": text("dtype"),
}
_WORK = {"train_step": "train step", "inference": "inference"}

TABLES: dict[str, Table] = {
    "networks": Table(
        "Networks, data already on the device",
        ("train_step", "inference"),
        ("model", "clip", "batch", "dtype"),
        {
            "model": _NETWORK["model"],
            "of": lambda row: _WORK[row["benchmark"]],
            **{name: _NETWORK[name] for name in ("clip", "batch", "dtype")},
            "tempo clips/s": text("clips_per_s.median|clips_per_s", "{:.3g}"),
            "PyTorch clips/s": peer_rate,
            "ratio": ratio,
            "share of matmul peak": text("share_of_matmul", "{:.0%}"),
            "measured": measured,
        },
        lambda row: (
            row.get("lowering") == "auto"
            and row.get("remat", "none") in (False, "none")
            and row.get("classes", 400) == 400
        ),
    ),
    "end_to_end": Table(
        "Records to trained step",
        ("end_to_end",),
        ("model", "clip", "batch", "dtype", "video", "workers"),
        {
            **_NETWORK,
            "video": text("video"),
            "workers": text("workers"),
            "clips/s": text("clips_per_s.end_to_end.median", "{:.3g}"),
            "bare step": text("clips_per_s.bare.median", "{:.3g}"),
            "input alone": text("clips_per_s.input.median", "{:.3g}"),
            "of the bare step": ratio,
            "measured": measured,
        },
    ),
    "input": Table(
        "Input, clips/s; the JPEG decoder's are of as many frames of records of frames",
        ("input",),
        ("kind", "clip", "video", "size_px", "batch", "kbps"),
        {
            "records of": text("kind"),
            "clip": text("clip"),
            "video": text("video"),
            "kb/s": lambda row: str(row["kbps"] or "any"),
            "crop": text("size_px"),
            "batch": text("batch"),
            "one thread": text(_ONE_THREAD, "{:.4g}"),
            "JPEG decoder alone, one thread": text(_DECODER, "{:.4g}"),
            "share of it": decoder_share,
            "best number of threads": best_of("clips_per_s"),
            "measured": measured,
        },
        lambda row: row["workers"] == "thread",
    ),
    "compile": Table(
        "Before the first step, seconds: first start / second, with the cache of programs",
        ("compile",),
        ("model", "clip", "batch"),
        {
            **{name: _NETWORK[name] for name in ("model", "clip", "batch")},
            "initial values": starts("shapes,initial_values"),
            "step traced": starts("trace_and_lower"),
            "step compiled": starts("compile"),
            "in all": starts("shapes,initial_values,trace_and_lower,compile"),
            "measured": measured,
        },
    ),
    "memory": Table(
        "Rematerialisation: a training step as it is compiled, and its rate",
        ("memory",),
        ("model", "clip", "batch", "dtype", "remat"),
        {
            **_NETWORK,
            "policy": text("remat", "`{}`"),
            "temporaries, MiB": text("temporaries_mib", "{:.0f}"),
            "arguments, MiB": text("arguments_mib", "{:.0f}"),
            "GFLOP": text("gflop", "{:.0f}"),
            "clips/s": text("clips_per_s", "{:.3g}"),
            "measured": measured,
        },
    ),
    "scaling": Table(
        "Exchanged and held on fake devices, MB of each device",
        ("scaling",),
        (
            "model", "clip", "batch", "processes", "devices", "mesh.model", "rules", "norm_groups",
            "accumulate_steps",
        ),
        {
            "model": _NETWORK["model"],
            "clips": lambda row: f"{row['batch']} of {row['clip']}",
            "processes x devices": lambda row: f"{row['processes']} x {row['devices']}",
            "data x model": lambda row: f"{row['mesh']['data']} x {row['mesh']['model']}",
            "split": text("rules"),
            "norm groups": text("norm_groups"),
            "micro-batches": text("accumulate_steps"),
            "collectives": lambda row: ", ".join(
                f"{of['count']} {kind}" for kind, of in row["collectives"].items()
            ),
            "exchanged": lambda row: (
                f"{sum(of['bytes'] for of in row['collectives'].values()) / 1e6:.3g}"
            ),
            "at least": lambda row: (
                f"{row['minimum_bytes']['total'] / 1e6:.3g}" if row["collectives"] else "0"
            ),
            "parameters": text("device_bytes.params", "{:.3g}", 1e-6),
            "optimizer": text("device_bytes.opt_state", "{:.3g}", 1e-6),
            "off one device": text("difference.params", "{:.1g}"),
            "measured": measured,
        },
    ),
}  # fmt: skip
"""What the README shows, in order. A benchmark is shown by a row here."""


def main(argv=None) -> int:
    """Prints, writes or compares the tables; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.table", description=__doc__.split("\n")[0]
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="into README.md")
    what.add_argument("--check", action="store_true", help="fail if README.md differs")
    args = parser.parse_args(argv)
    if not args.write and not args.check:
        print(rendered())
        return 0
    before = README.read_text()
    after = replaced(before, rendered())
    if args.write:
        README.write_text(after)
    elif before != after:
        print(
            "error: README.md has other figures than the results; run "
            "python -m experiments.benchmarks.table --write",
            file=sys.stderr,
        )
        return 1
    return 0


def replaced(readme: str, tables: str) -> str:
    """The README's text with these tables between its two comments."""
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"error: README.md has no {BEGIN} with {END} below it.")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def rendered(results: pathlib.Path = report.RESULTS) -> str:
    """All tables of all hardware as Markdown; that with the newest row comes first."""
    found = []
    for folder in results.iterdir():
        rows = [
            json.loads(line)
            for path in sorted(folder.glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        tables = {name: chosen(table, rows) for name, table in TABLES.items()}
        shown = [row for of_table in tables.values() for row in of_table]
        if shown:
            newest = max(shown, key=lambda row: row["date"])
            found.append((newest["date"], folder.name, _section(folder.name, newest, tables)))
    return "\n".join(section for *_, section in sorted(found, reverse=True))


def chosen(table: Table, rows: list[Row]) -> list[Row]:
    """Rows that a table shows, of those of all benchmarks: the newest of each key, in order."""
    newest: dict[tuple, Row] = {}
    for row in sorted(rows, key=lambda row: row["date"]):
        if row.get("benchmark") in table.benchmarks and table.keep(row):
            last = table.benchmarks.index(row["benchmark"])
            newest[(*(at(row, key) for key in table.keys), last)] = row

    def order(item: tuple[tuple, Row]) -> list[tuple[str, Any]]:
        # Keys of a column may be of several types, or not there.
        return [(type(part).__name__, part if part is not None else 0) for part in item[0]]

    return [row for _, row in sorted(newest.items(), key=order)]


def _section(folder: str, newest: Row, tables: Mapping[str, list[Row]]) -> str:
    """Heading and tables of one hardware."""
    lines = [f"### {_hardware(newest['hardware'])}", "", f"`results/{folder}`", ""]
    for name, rows in tables.items():
        if rows:
            table = TABLES[name]
            lines += [f"{table.title}:", "", *markdown(table, rows), ""]
    return "\n".join(lines)


def markdown(table: Table, rows: list[Row]) -> list[str]:
    """Lines of one table."""
    lines = [f"| {' | '.join(table.columns)} |", "|" + "---|" * len(table.columns)]
    for row in rows:
        cells = (cell(row) or ABSENT for cell in table.columns.values())
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _hardware(hardware: Row) -> str:
    """In words, as a row has it."""
    cpu = f"{hardware['cpu']}, {hardware['cpu_cores']} cores"
    if hardware.get("backend", "cpu") == "cpu":
        return cpu
    return f"{len(hardware['devices'])} x {hardware['devices'][0]} ({cpu})"


if __name__ == "__main__":
    sys.exit(main())
