"""`python -m tempo.ensemble --scores A.npz B.npz ...`: score files combined, and what it gains.

The weighted mean of the members' logits (or probabilities), its top-1 beside that of each member
with bootstrap intervals, and McNemar's exact test against the best of them. Reads score files that
evaluation left in `<workdir>/scores`, of the same videos; runs no network. Exit status: 0 done, 2
bad input, 141 nobody reads the output any more.
"""

import argparse
import dataclasses
import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tempo import command_line, files
from tempo.errors import InputError
from tempo.version import __version__

if TYPE_CHECKING:
    from tempo.analysis.ensembles import Result
    from tempo.analysis.members import Plan


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    given = _parser().parse_args(argv)
    line = f"python -m tempo.ensemble {shlex.join(argv)}"
    return command_line.run(lambda: _run(given, line), stopped="stopped; nothing was written.")


def ensemble(
    paths: Sequence[str],
    plan: "Plan | None" = None,
    *,
    weights: Sequence[float] = (),
    against: str = "",
    allow_missing: bool = False,
    **how: Any,
) -> "Result":
    """Combines score files; writes nothing.

    Args:
      paths: of the score files.
      plan: which of them are members, by evaluator's name, and with which weights; files that are
        no members are left out. None takes all.
      weights: of the files, in their order, where there is no plan; empty for 1 each.
      against: path of the scores to compare with; "" takes the best single member.
      allow_missing: combine the members of the plan that are there.
      **how: fields of `tempo.analysis.members.Plan` that win over the plan's: `average`,
        `calibrate`.

    Raises:
      InputError: scores that are not there or do not fit each other.
    """
    from tempo.analysis import ensembles, members, scores

    if plan is None:
        plan, files_of = members.of_files(paths, weights)
    else:
        files_of = members.match(plan, paths, allow_missing=allow_missing)
    plan = dataclasses.replace(plan, **how)
    loaded = {name: scores.load(path, "multi_view") for name, path in files_of.items()}
    result = ensembles.measure(
        loaded,
        plan.weights,
        against=scores.load(against, "multi_view") if against else None,
        name=plan.name,
        average=plan.average,
        calibrate=plan.calibrate,
    )
    for row in result.numbers["members"]:
        member = plan.members[row["name"]]
        row |= {"note": member.note, "wanted_row": member.row}
    used = set(files_of.values())
    more = {
        "name": plan.name,
        "average": plan.average,
        "calibrate": plan.calibrate,
        "published": dict(plan.published),
        "missing": [
            {"name": name, "weight": float(member.weight), "note": member.note}
            for name, member in plan.members.items()
            if name not in files_of
        ],
        "left_out": [path for path in paths if path not in used],
    }
    return ensembles.Result(result.scores, {**more, **result.numbers})


def _run(given: argparse.Namespace, command: str) -> None:
    _check_outputs(given)
    if given.weights and given.config:
        raise InputError("--weights and --config both say weights; give one of them.")
    if given.allow_missing and not given.config:
        raise InputError("--allow-missing needs --config: without it no member can be missing.")
    plan = _load_plan(given.config) if given.config else None
    how = {key: getattr(given, key) for key in ("average", "calibrate") if getattr(given, key)}
    result = ensemble(
        given.scores,
        plan,
        weights=given.weights or (),
        against=given.against,
        allow_missing=given.allow_missing,
        **how,
    )
    numbers = {
        "command": command,
        "config": given.config or None,
        "tempo_version": __version__,
        **result.numbers,
    }
    # Before the table, whose reader may stop reading.
    try:
        if given.out_scores:
            from tempo.analysis import scores

            scores.save(result.scores, given.out_scores)
        if given.out:
            files.write_json(given.out, numbers)
    except OSError as error:
        raise InputError(f"{error.filename!r} cannot be written: {error.strerror}.") from None
    written = [f"written: {path}" for path in (given.out_scores, given.out) if path]
    print("\n".join([table(numbers), *written]), flush=True)


def table(numbers: Mapping[str, Any]) -> str:
    """What the ensemble's numbers say, as text."""
    rows = [*numbers["members"], {**numbers["ensemble"], "name": numbers["name"]}]
    wide = max(len("member"), *(len(row["name"]) for row in rows))
    lines = [f"{'member':{wide}}  weight  top-1   95 % interval  top-5"]
    for row in rows:
        low, high = row["ci95"]
        weight = f"{row['weight']:6g}" if "weight" in row else " " * 6
        cells = f"{row['top1']:6.3f}  {low:.3f} to {high:.3f}  {row['top5']:.3f}"
        lines.append(f"{row['name']:{wide}}  {weight} {cells}  {row.get('note', '')}".rstrip())
    lines += ["", f"{numbers['name']}: {numbers['ensemble']['protocol']}", _compared(numbers)]
    if numbers["published"]:
        said = ", ".join(f"{key} {value:g}" for key, value in numbers["published"].items())
        lines.append(f"Published, on their videos: {said}.")
    lines += _notes(numbers)
    data = numbers["dataset"] or "dataset", numbers["split"] or "split not said"
    lines.append(f"{numbers['num_videos']} videos of {data[0]} ({data[1]}). Members' protocols:")
    protocols: dict[str, list[str]] = {}
    for row in numbers["members"]:
        protocols.setdefault(row["protocol"], []).append(row["name"])
    lines += [f"  {', '.join(names)}: {protocol}" for protocol, names in protocols.items()]
    return "\n".join(lines)


def _compared(numbers: Mapping[str, Any]) -> str:
    found = numbers["difference"]
    low, high = (100 * end for end in found["ci95"])
    which = "the best member, chosen on these videos" if found["is_best_member"] else found["path"]
    return (
        f"{numbers['name']} minus {found['against']} ({which}): {100 * found['top1']:+.1f} points "
        f"(95 % interval {low:+.1f} to {high:+.1f}); {found['only_ensemble_right']} videos are "
        f"right in the ensemble only and {found['only_other_right']} in the other only (exact "
        f"McNemar test: p = {found['mcnemar_p']:.2g})."
    )


def _notes(numbers: Mapping[str, Any]) -> list[str]:
    lines = []
    if numbers["missing"]:
        names = ", ".join(row["name"] for row in numbers["missing"])
        lines.append(f"Incomplete: without {names}.")
    others: dict[tuple[str, str], list[str]] = {}
    for row in numbers["members"]:
        if row["row"] and row["wanted_row"] not in ("", row["row"]):
            others.setdefault((row["row"], row["wanted_row"]), []).append(row["name"])
    for (made, wanted), names in others.items():
        lines.append(f"DEVIATION: {', '.join(names)}: made by row {made}, not {wanted}.")
    if numbers["left_out"]:
        lines.append(f"{len(numbers['left_out'])} score files are no members and were left out.")
    for first, second in numbers["same_scores"]:
        lines.append(f"{second} has the very scores of {first}: a copy, or drawn with one seed.")
    return lines


def _load_plan(text: str) -> "Plan":
    """The plan of `FILE` or `FILE:ARGUMENT`."""
    from tempo.analysis import members

    path, _, argument = text.partition(":")
    if not os.path.isfile(path):
        raise InputError(f"There is no config {path!r}, as in --config FILE.py:ARGUMENT.")
    spec = importlib.util.spec_from_file_location("ensemble_config", path)
    if spec is None:
        raise InputError(f"--config {path!r} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(argument)
    except InputError:
        raise
    except Exception as error:  # of any kind: the file is the user's
        said = " ".join(str(error).split())
        raise InputError(f"--config {path!r}: {type(error).__name__}: {said}") from None
    return members.from_config(config.to_dict() if hasattr(config, "to_dict") else config)


def _check_outputs(given: argparse.Namespace) -> None:
    """Before the work: files that can be written, and are none of the scores."""
    for flag, path, suffix in (
        ("--out", given.out, ".json"),
        ("--out-scores", given.out_scores, ".npz"),
    ):
        if not path:
            continue
        if not path.endswith(suffix) or os.path.isdir(path):
            raise InputError(f"{flag} must be a file FILE{suffix}; got {path!r}.")
        if os.path.realpath(path) in map(os.path.realpath, given.scores):
            raise InputError(f"{flag} {path!r} is one of --scores; it would be overwritten.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tempo.ensemble",
        description="Combines score files of the same videos and says what it gains.",
    )
    add = parser.add_argument
    add("--scores", nargs="+", required=True, metavar="NPZ", help="score files, as W/scores/*.npz")
    add(
        "--config",
        default="",
        metavar="FILE:ARG",
        help="which files are members, by evaluator's name, and their weights, such as "
        "configs/vipriors_ensemble.py:ens3",
    )
    add(
        "--weights",
        nargs="+",
        type=float,
        metavar="W",
        help="one for each score file, in their order (default: 1 each)",
    )
    add(
        "--average",
        metavar="WHAT",
        help="logits or probs: what is averaged (default: the config's, or logits)",
    )
    add(
        "--calibrate",
        metavar="HOW",
        help="none, or zscore: each member's scores to mean 0 and standard deviation 1, over all "
        "of its videos and classes (default: the config's, or none)",
    )
    add(
        "--against",
        default="",
        metavar="NPZ",
        help="scores to compare with (default: those of the best member)",
    )
    add(
        "--allow-missing",
        action="store_true",
        help="combine the members of --config that are there",
    )
    add("--out", default="", metavar="JSON", help="write all numbers here")
    add(
        "--out-scores",
        default="",
        metavar="NPZ",
        help="write the ensemble's scores here; as W/scores/NAME.npz `tempo.report` reads them",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
