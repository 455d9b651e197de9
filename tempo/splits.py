"""One config on several splits of a dataset, and the mean over them: `--splits 1,2,3`.

    <workdir>/split1/       a run as any other, of the config with 1 wherever it says {split}
    <workdir>/splits.json   the results of each split, and their mean

UCF-101 and HMDB-51 have three splits, and what is published is the mean over them.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tempo import checkpoint, evaluate, experiment, files, sharding, staged, stages
from tempo.errors import InputError
from tempo.progress import say

PLACE = "{split}"
"""Stands for the split in a config's texts, above all in `data.dir`."""

RECORD = "splits.json"

METRICS = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_class": "class",
    "mean_average_precision": "mAP",
}
"""Of a row of `results.json`, those that have a mean over splits; with the name in the table."""


def run(config: Mapping[str, Any], workdir: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Trains (or goes on training) a config on every split, then averages what they found.

    Splits that have ended are not run again, but evaluated again where the config now asks for
    other views or evaluators; one that was cut goes on bit for bit.

    Args:
      config: see `tempo.recipe`, its `data.dir` with `{split}` in it.
      workdir: of the whole.
      names: of the splits.

    Returns:
      The mean rows, one per evaluator; empty if the run was told to stop before its end.

    Raises:
      InputError: before the first step on any split, as `staged.run`; a split that is named twice,
        a config that would read the same data for all, or that evaluates nothing.
      NonFiniteError: as `staged.run`.
    """
    configs = {name: of_split(config, name) for name in _checked(config, names)}
    folders = {name: os.path.join(workdir, f"split{name}") for name in configs}
    done = {
        name: rows
        for name, rows in _read(workdir).items()
        if name not in configs or checkpoint.exists(folders[name])
    }
    for name, own in configs.items():
        try:
            staged.check(own, folders[name])
            # Splits that were measured otherwise have no mean.
            if name in done and _measured(done[name]) != _to_measure(own, folders[name]):
                del done[name]
        except InputError as e:
            raise InputError(f"Split {name}: {e}") from None
    for number, (name, own) in enumerate(configs.items(), start=1):
        say(f"split     {name}, {number} of {len(configs)}, in {folders[name]}")
        if name in done:
            say("          has ended; it is not run again")
            continue
        ended = staged.finish(own, folders[name])
        if ended.end is None:
            return []
        done[name] = ended.rows
        _write(workdir, done, [])
        if ended.is_told_to_stop and number < len(configs):
            say("stopped between two splits; the same command goes on")
            return []
    rows = {name: done[name] for name in configs}
    means = mean(rows)
    _write(workdir, done, means)
    if len({own[0]["manifest_sha256"] for own in rows.values()}) < len(rows):
        say("warning   not every split has videos of its own: some read the same dataset")
    say(f"{table(rows, means)}\nresults are in {os.path.join(workdir, RECORD)}")
    return means


def of_split(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The config on one split, as a plain dict.

    `{split}` is replaced in every text; a text that is nothing else becomes a number if the split
    is one, such as the seed of videos that are made.

    Args:
      config: left as it is.
      name: of the split.
    """

    def replaced(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: replaced(own) for key, own in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(replaced, value))
        if value == PLACE and name.isdigit():
            return int(name)
        return value.replace(PLACE, name) if isinstance(value, str) else value

    return replaced(config.to_dict() if hasattr(config, "to_dict") else config)


def check_one(config: Mapping[str, Any]) -> None:
    """Raises `InputError` for a config of several splits, where one run is asked for."""
    where = str(config.get("data", {}).get("dir", ""))
    if PLACE in where:
        raise InputError(
            f"config.data.dir={where!r} is of several splits; say --splits 1,2,3 to train on "
            f"each, or --config.data.dir={where.replace(PLACE, '1')} for one."
        )


def mean(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row per evaluator: the mean over splits of every metric of `METRICS`.

    Args:
      rows: of `results.json`, by split; all splits have the same evaluators.
    """
    made = []
    by_name = [{row["name"]: row for row in own} for own in rows.values()]
    for name, first in by_name[0].items():
        same = [own[name] for own in by_name]
        known = [key for key in METRICS if all(key in row for row in same)]
        made.append(
            {
                "name": name,
                "protocol": first["protocol"],
                "splits": list(rows),
                "num_videos": sum(row["num_videos"] for row in same),
                **{key: sum(row[key] for row in same) / len(same) for key in known},
            }
        )
    return made


def table(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], means: Sequence[Mapping[str, Any]]
) -> str:
    """Each evaluator's metrics per split and their mean, as text.

    Args:
      rows: as of `mean`.
      means: of `mean`.
    """
    keys = [key for key in METRICS if any(key in row for row in means)]
    lines = [f"{'evaluator':16} {'split':>5} " + " ".join(f"{METRICS[k]:>6}" for k in keys)]
    lines[0] += "  videos"

    def line(name: str, split: str, row: Mapping[str, Any]) -> str:
        cells = " ".join(f"{row[k]:6.3f}" if k in row else " " * 6 for k in keys)
        return f"{name:16} {split:>5} {cells}  {row['num_videos']}: {row['protocol']}"

    for average in means:
        name = average["name"]
        lines += [
            line(name, k, row) for k, own in rows.items() for row in own if row["name"] == name
        ]
        lines.append(line(name, "mean", average))
    return "\n".join(lines)


def _checked(config: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    wrong = [name for name in names if not re.fullmatch(r"\w+", name)]
    if wrong or not names:
        raise InputError(f"--splits are names such as 1,2,3; got {','.join(names)!r}.")
    if len(set(names)) < len(names):
        raise InputError(f"--splits names a split twice: {','.join(names)!r}.")
    runs = stages.split(config) or {"": config}
    for stage, own in runs.items():
        where = str(own.get("data", {}).get("dir", ""))
        if PLACE not in where:
            stage = f" of stage {stage!r}" if stage else ""
            raise InputError(
                f"config.data.dir={where!r}{stage} has no {PLACE} in it, so --splits "
                f"{','.join(names)} would read the same data every time; write such as "
                f"'data/ucf101_split{PLACE}'."
            )
    if not stages.last(config).get("eval"):
        raise InputError("The config has no evaluator, so --splits has nothing to average.")
    return list(names)


def _measured(rows: Sequence[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    """What rows of `results.json` say of how they were found, comparable to `_to_measure`."""
    return {tuple(row.get(key) for key in ("name", "protocol", "split")) for row in rows}


def _to_measure(config: Mapping[str, Any], folder: str) -> set[tuple[Any, ...]]:
    """Name, protocol and split of every evaluator of a config, as its rows will have them."""
    exp = experiment.create(stages.last(config))
    made = evaluate.create_evaluators(exp, folder)
    return {(e.name, e.protocol, exp.recipe.eval[e.name].split) for e in made}


def _read(workdir: str) -> dict[str, list[dict[str, Any]]]:
    """Results of splits that have ended, by name."""
    path = os.path.join(workdir, RECORD)
    if not os.path.exists(path):
        return {}
    try:
        return {name: list(own["rows"]) for name, own in files.read_json(path)["splits"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise InputError(
            f"{path!r} is damaged ({e}); delete it: splits that have ended are then evaluated "
            "again."
        ) from None


def _write(
    workdir: str, done: Mapping[str, Sequence[Mapping[str, Any]]], means: Sequence[Any]
) -> None:
    if sharding.is_lead_process():
        splits = {name: {"workdir": f"split{name}", "rows": rows} for name, rows in done.items()}
        files.write_json(os.path.join(workdir, RECORD), {"splits": splits, "mean": means})
