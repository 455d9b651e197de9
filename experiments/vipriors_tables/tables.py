"""Tables 1 to 4 of the VIPriors solution (arXiv 2007.08180): commands, and results beside theirs.

    python -m experiments.vipriors_tables.tables list
    python -m experiments.vipriors_tables.tables show runs/vipriors/*/results.json \
        runs/vipriors/*.json

`list` prints every cell of the tables with the command that trains, evaluates or combines it.
`show` prints the tables as Markdown: tables 1 to 3 from any number of `results.json` files, each
beside the `config.json` of its run, and table 4 from the JSON files of `tempo.ensemble`; a cell
without a run says so. Run it from the root of the repository.

Which cell a run belongs to is decided by its config, see `experiments.paper_tables`. Table 3 has
several rows for one run: its networks are `t2.sf50.rgb`, `t2.sf50.diff` and `t2.tsm50.shift`.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import paper_tables
from experiments.paper_tables import line, measured, percent
from tempo import files
from tempo.errors import InputError
from tempo.papers.results import Row, Table
from tempo.papers.vipriors_results import ENSEMBLES, ENTRIES, NETWORKS, ROWS, TABLES, Entry

RECIPE = "vipriors"
ENTRIES_TABLE = Table(
    title="Table 3: test-time augmentation (mod-UCF101)",
    protocol="10 random clips, mean of logits; presumably on the hidden test set",
    metrics=("top1",),
    configs=(RECIPE,),
)
DATASET = "mod_ucf101"


def views(entry: Entry) -> str:
    """What an entry shows its network, in words."""
    parts = [f"interval {entry.interval}", f"{entry.crop} crop", entry.order]
    return ", ".join([*parts, "mirrored"] if entry.is_flipped else parts)


def _entries() -> dict[str, Row]:
    return {
        f"t3.{number:02d} ({entry.model} {entry.input}, {views(entry)})": Row(
            arg=NETWORKS[entry.model, entry.input],
            published={"top1": entry.published},
            evaluator=f"tta{number:02d}",
            note=entry.note,
        )
        for number, entry in ENTRIES.items()
    }


PAPER = paper_tables.Paper(
    tables={**TABLES, "t3": ENTRIES_TABLE},
    rows={RECIPE: {**ROWS[RECIPE], **_entries()}},
    arguments={name: f"{row.arg},tta=on" for name, row in _entries().items()},
)
TITLE = "Table 4: ensembles of entries of table 3 (mod-UCF101)"
PROTOCOL = (
    "weighted mean of the entries' logits; which entries, and what *k stands for, is inferred"
)
READINGS = {"": "*k is a weight", ",star=repeat": "*k is a number of repetitions, of tta=repeat"}
"""What to append to the argument of the ensemble's config."""


def ensemble_command(argument: str) -> str:
    """Combines what the networks of table 3 left."""
    names = ",".join(dict.fromkeys(NETWORKS.values()))
    return (
        f"python -m tempo.ensemble --config configs/vipriors_ensemble.py:{argument} "
        f"--scores runs/{RECIPE}/{{{names}}}/scores/tta*.npz "
        f"--out runs/{RECIPE}/{argument.replace(',star=', '_')}.json"
    )


def commands() -> str:
    """Every cell with its command, as text."""
    lines = [PAPER.commands(), "", TITLE, f"published with: {PROTOCOL}"]
    for name, row in ENSEMBLES.items():
        lines.append(f"  {name}: top-1 {percent(row.published)} ({row.title})")
        for ending, reading in _readings(name).items():
            lines += [f"    {reading}:", f"    {ensemble_command(name + ending)}"]
    return "\n".join(lines)


def show(paths: Sequence[str]) -> str:
    """The tables as Markdown.

    Args:
      paths: `results.json` of runs, and JSON files of `tempo.ensemble`.

    Raises:
      InputError: a file that is not there or holds something else.
    """
    runs = [path for path in paths if pathlib.Path(path).name == "results.json"]
    combined = {path: _read(path) for path in paths if path not in runs}
    return f"{PAPER.show(runs)}\n\n{_table(combined)}"


def _read(path: str) -> Mapping[str, Any]:
    try:
        found = files.read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path!r} is no file; give what tempo.ensemble --out wrote.") from None
    except (OSError, ValueError) as e:
        raise InputError(f"{path!r} is no JSON: {e}.") from None
    needed = ("name", "members", "ensemble", "difference", "dataset", "num_videos")
    is_whole = isinstance(found, dict) and all(key in found for key in needed)
    if not is_whole or any(not {"name", "weight"} <= set(row) for row in found["members"]):
        raise InputError(
            f"{path!r} is neither the results.json of a run nor the JSON of tempo.ensemble --out."
        )
    return found


def _table(combined: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ["row", "top-1 theirs", "top-1 ours", "against its best member", "members",
               "videos", "dataset copy", "file"]  # fmt: skip
    lines = [
        f"### {TITLE}",
        "",
        f"Theirs (published, on their copy of the dataset): {PROTOCOL}.",
        "",
        line(columns),
        f"|{'---|' * len(columns)}",
    ]
    used, missing = set(), []
    for name, row in ENSEMBLES.items():
        for ending, reading in _readings(name).items():
            label, theirs = f"{name} ({row.title}; {reading})", percent(row.published)
            own = name + ending.replace(",star=", "_")
            found = [path for path, one in combined.items() if _is_of(one, own)]
            used.update(found)
            lines += [_line(label, theirs, path, combined[path]) for path in found]
            if not found:
                missing.append(name + ending)
                command = f"`{ensemble_command(name + ending)}`"
                lines.append(line([label, theirs, "not run", "", "", "", "", command]))
    lines += ["", f"* Not run: {'; '.join(missing)}." if missing else "* Every row has been run."]
    unused = [path for path in combined if path not in used]
    if unused:
        lines.append(f"* Ensembles of no cell of this table: {', '.join(unused)}.")
    return "\n".join(lines)


def _line(label: str, theirs: str, path: str, found: Mapping[str, Any]) -> str:
    """An ensemble's result beside the published number."""
    changed = _members_changed(found)
    for key, value in (("average", "logits"), ("calibrate", "none")):
        if found[key] != value:
            changed.append(f"{key}: {found[key]!r}, the row has {value!r}")
    gain = found["difference"]
    low, high = (100 * x for x in gain["ci95"])
    return line(
        [
            label,
            theirs,
            measured(found["ensemble"], "top1") + (" DEVIATES" if changed else ""),
            f"{100 * gain['top1']:+.2f} ({low:+.2f} to {high:+.2f}), p = {gain['mcnemar_p']:.2g}, "
            f"{gain['against']}",
            str(len(found["members"])),
            str(found["num_videos"]),
            f"{found['dataset']} {found['manifest_sha256'][:12]}, {found['split']}",
            path + (f"; DEVIATES: {'; '.join(changed)}" if changed else ""),
        ]
    )


def _members_changed(found: Mapping[str, Any]) -> list[str]:
    """In what the members of an ensemble are not those of its name."""
    name, _, repeated = found["name"].partition("_")
    wanted = ENSEMBLES[name].weights(repeated or "weight")
    own = {row["name"]: row["weight"] for row in found["members"]}
    changed = [f"without {member}" for member in wanted if member not in own]
    changed += [f"with {member}" for member in own if member not in wanted]
    changed += [
        f"weight of {member}: {own[member]:g}, the row has {weight:g}"
        for member, weight in wanted.items()
        if own.get(member, weight) != weight
    ]
    for row in found["members"]:
        pair = row.get("row", ""), row.get("wanted_row", "")  # older files say nothing
        if all(pair) and len({getattr(ROWS[RECIPE].get(x), "arg", x) for x in pair}) > 1:
            changed.append(f"{row['name']}: made by row {pair[0]}, not {pair[1]}")
    return changed


def _is_of(found: Mapping[str, Any], name: str) -> bool:
    """Whether it is the ensemble of this name, on this dataset or a copy of any."""
    return found["name"] == name and found["dataset"] in (DATASET, "folder")


def _readings(name: str) -> dict[str, str]:
    """Of the factors of an ensemble; one if it has none."""
    if max(ENSEMBLES[name].stars.values()) == 1:
        return {"": "no factors"}
    return READINGS


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    return paper_tables.main(sys.modules[__name__], __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    sys.exit(main())
