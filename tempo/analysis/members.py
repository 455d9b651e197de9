"""Which score files make an ensemble: a plan of members by name, and the files that are these."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tempo.analysis import ensembles, scores
from tempo.errors import InputError, check_keys, lookup, nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One score file of an ensemble.

    Attributes:
      weight: of its scores, at least 0.
      note: which network and views, for people.
      row: of the recipe whose network it is of; "" takes any. Scores of another one are combined
        all the same, and said to be: a study may put its own networks in a published ensemble.
      command: what writes it, for the message that it is not there; `{names}` in it stands for the
        names of all evaluators that the same command writes.
    """

    weight: float = 1.0
    note: str = ""
    row: str = ""
    command: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Which scores are combined, and how.

    Attributes:
      members: by the name of the evaluator that writes the file.
      name: of the ensemble.
      average: row of `ensembles.AVERAGES`.
      calibrate: row of `ensembles.CALIBRATIONS`.
      published: what a paper reports for it, percent, by the key of the result.
    """

    members: Mapping[str, Member]
    name: str = "ensemble"
    average: str = "logits"
    calibrate: str = "none"
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        lookup(ensembles.AVERAGES, self.average, "average of an ensemble")
        lookup(ensembles.CALIBRATIONS, self.calibrate, "calibration of an ensemble")
        if not self.members:
            raise InputError(f"The ensemble {self.name!r} has no members.")
        ensembles.check_weights(self.weights)

    @property
    def weights(self) -> dict[str, float]:
        """By member."""
        return {name: member.weight for name, member in self.members.items()}


def from_config(tree: Mapping[str, Any]) -> Plan:
    """The plan of a config: fields of `Plan`, with those of `Member` in `members.<name>`.

    A number in place of a member's fields is its weight.

    Raises:
      InputError: an unknown key, with the nearest known one, or a value out of range.
    """
    check_keys("The ensemble's config", tree, Plan)
    members = {}
    for name, given in dict(tree.get("members", {})).items():
        given = given if isinstance(given, Mapping) else {"weight": given}
        check_keys(f"config.members.{name}", given, Member)
        members[name] = Member(**given)
    return Plan(**{**tree, "members": members})


def of_files(paths: Sequence[str], weights: Sequence[float] = ()) -> tuple[Plan, dict[str, str]]:
    """The plan in which every file is a member, and the files by name.

    Members are called as their evaluators; `run/evaluator` if two of these are alike, or else by
    their paths.

    Args:
      paths: of score files, each once.
      weights: of each; empty for 1 each.
    """
    _check_once(paths)
    if weights and len(weights) != len(paths):
        raise InputError(
            f"--weights has {len(weights)} numbers for {len(paths)} score files; give one for each."
        )
    names = _names(paths)
    pairs = zip(names, weights or [1.0] * len(names), strict=True)
    plan = Plan(members={name: Member(weight=weight) for name, weight in pairs})
    return plan, dict(zip(names, paths, strict=True))


def _names(paths: Sequence[str]) -> list[str]:
    """The shortest names that tell the files apart."""
    evaluators = [scores.evaluator(path) for path in paths]
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
    runs = [os.path.dirname(f) if os.path.basename(f) == "scores" else f for f in folders]
    pairs = zip(runs, evaluators, strict=True)
    longer = [f"{os.path.basename(run)}/{evaluator}" for run, evaluator in pairs]
    for names in (evaluators, longer):
        if len(set(names)) == len(names):
            return names
    return list(paths)


def match(plan: Plan, paths: Sequence[str], *, allow_missing: bool = False) -> dict[str, str]:
    """The files of a plan's members, by name, in its order; other files are left out.

    Args:
      plan: what is wanted.
      paths: of score files, each once.
      allow_missing: some members may have no file.

    Raises:
      InputError: two files of one member; none of any member; or a member without one, with the
        command that writes it.
    """
    _check_once(paths)
    found: dict[str, str] = {}
    for path in paths:
        name = scores.evaluator(path)
        if name in plan.members and name in found:
            raise InputError(
                f"Two files are member {name!r} of {plan.name!r}: {found[name]!r} and {path!r}; "
                "give one of them."
            )
        found[name] = path
    there = {name: found[name] for name in plan.members if name in found}
    if not there:
        example = next(iter(found), "")
        raise InputError(
            f"None of {len(found)} score files, such as {example!r}, is a member of "
            f"{plan.name!r}.{nearest(example, plan.members)}"
        )
    missing = [name for name in plan.members if name not in found]
    if missing and not allow_missing:
        raise InputError(
            f"{plan.name!r} has {len(missing)} of {len(plan.members)} members without a score "
            f"file (--allow-missing goes on without): {_commands(plan, missing)}"
        )
    return there


def _commands(plan: Plan, names: Iterable[str]) -> str:
    """Members and what makes them."""
    made: dict[str, list[str]] = {}
    for name in names:
        made.setdefault(plan.members[name].command, []).append(name)
    return "; ".join(
        ", ".join(own) + (f" by {command.format(names=','.join(own))}" if command else "")
        for command, own in made.items()
    )


def _check_once(paths: Sequence[str]) -> None:
    seen = set()
    for path in paths:
        if os.path.realpath(path) in seen:
            raise InputError(f"The score file {path!r} is given twice; every file counts once.")
        seen.add(os.path.realpath(path))
