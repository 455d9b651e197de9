"""Which leaves of a model come from other weights: decided by names and shapes alone.

| part            | what becomes of it                                                             |
|-----------------|--------------------------------------------------------------------------------|
| backbone        | taken whole, 2-D kernels inflated; it is an error if that cannot be, but for   |
|                 | leaves that `config.init_fresh` matches: those that do not fit are fresh       |
| neck            | taken whole if every leaf fits, else fresh                                     |
| auxiliary heads | their convolutions as the neck, their classifiers as the head                  |
| head            | taken if the classes are the same and it reads the same features, else fresh   |
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from tempo import trees
from tempo.errors import InputError, nearest

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Shapes by leaf name, such as `params/head/fc/bias`."""

Fits = Callable[[Shape, Shape], bool]
"""Whether a leaf of one shape (first) will do for one of another."""

# First match counts. What follows the collection, `params` or `batch_stats`, in a leaf's name.
_PARTS = (
    ("aux classifiers", r"^\w+/neck/aux_head_\d+/head/"),
    ("aux heads", r"^\w+/neck/aux_head_\d+/"),
    ("neck", r"^\w+/neck/"),
    ("head", r"^\w+/head/"),
    ("backbone", r"^"),
)


@dataclasses.dataclass(frozen=True)
class Classes:
    """What is known of the classes that a head scores.

    Attributes:
      count: how many.
      names: in order; empty if unknown.
    """

    count: int
    names: Sequence[str] = ()

    def difference(self, here: "Classes") -> str:
        """In words, what keeps a head for these classes from scoring those of `here`; "" if none.

        Weights that do not name their classes are taken to have the same ones if as many.
        """
        if self.count != here.count:
            return f"{self.count} classes there, {here.count} here"
        if not self.names or not here.names or list(self.names) == list(here.names):
            return ""
        if sorted(self.names) == sorted(here.names):
            return "the same classes there in another order"
        pairs = zip(self.names, here.names, strict=True)
        theirs, ours = next((a, b) for a, b in pairs if a != b)
        return f"other classes there ({theirs!r} where {ours!r} is here)"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where every leaf of a model comes from.

    Attributes:
      taken: leaves that come from the weights; each has the same name in both.
      inflated: those of them whose kernels gain an extent in time.
      crossed: those of them whose kernels read colours there and flow here.
      report: the same in words, one line per part of the model.
    """

    taken: frozenset[str]
    inflated: frozenset[str]
    crossed: frozenset[str]
    report: tuple[str, ...]


def plan(
    there: Shapes,
    here: Shapes,
    classes_there: Classes,
    classes_here: Classes,
    fresh_pattern: str = "",
    *,
    is_crossing: bool = False,
) -> Plan:
    """Which leaves of the weights `there` the model `here` starts from.

    Args:
      there: leaves of the weights.
      here: leaves of the model.
      classes_there: that the weights score.
      classes_here: that the model scores.
      fresh_pattern: regular expression of leaves of the backbone that start fresh where the weights
        lack them or have them in another shape; "" is none.
      is_crossing: whether kernels of the backbone that read 3 colours become those of as many
        channels of flow as the model has there.

    Raises:
      InputError: another leaf of the backbone is missing on one side or has another shape.
    """
    theirs, ours = _by_part(there), _by_part(here)
    fits = {part: _fits for part in ours}
    if is_crossing:
        fits["backbone"] = lambda stored, wanted: _fits(stored, wanted) or _crosses(stored, wanted)
    fresh = _fresh(there, ours["backbone"], fresh_pattern, fits["backbone"])
    _check_backbone(theirs["backbone"], ours["backbone"], fresh, fits["backbone"])
    ours["backbone"] = {n: shape for n, shape in ours["backbone"].items() if n not in fresh}
    reasons = {part: _misfit(theirs[part], ours[part], fits[part]) for part in ours}
    difference = classes_there.difference(classes_here)
    reads_other = reasons["neck"] or (theirs["neck"] and not ours["neck"])
    further = {
        "head": difference or (reads_other and "it reads other features"),
        "aux classifiers": difference or (reasons["aux heads"] and "its convolution is fresh"),
    }
    # Of what the weights lack, nothing else is worth saying.
    reasons |= {part: why for part, why in further.items() if theirs[part] and why}
    taken = [name for part, leaves in ours.items() if not reasons[part] for name in leaves]
    changed = [name for name in taken if there[name] != here[name]]
    crossed = [name for name in changed if not _fits(there[name], here[name])]
    inflated = [name for name in changed if name not in crossed]
    report = []
    if fresh:
        count = _leaves(len(fresh))
        report.append(f"backbone: {count} fresh, as config.init_fresh has it: {fresh[0]}, ...")
    for part in ("backbone", "neck", "aux heads", "aux classifiers", "head"):
        report += _describe(part, theirs[part], ours[part], reasons[part], inflated, crossed)
    return Plan(frozenset(taken), frozenset(inflated), frozenset(crossed), tuple(report))


def origins(there: Mapping[str, Shapes], here: Shapes) -> dict[str, tuple[str, str]]:
    """Where the leaves of several networks lie in one that has each of them as a pathway.

    Of a pathway `temporal`, `params/backbone/stem_conv/kernel` is
    `params/backbone/temporal/stem_conv/kernel` here, and the head's leaves likewise. The pathway ""
    is a network of all pathways, whose leaves have the same names.

    Args:
      there: leaves of each network, by pathway.
      here: leaves of the model.

    Returns:
      (pathway, its leaf's name) by the leaf's name here, of every backbone and head.

    Raises:
      InputError: a pathway that the model has not.
    """
    found = {}
    known = {name.split("/")[2] for name in here if re.match(r"params/backbone/\w+/", name)}
    for pathway, leaves in there.items():
        if pathway and pathway not in known:
            raise InputError(
                f"config.init_from: the model's backbone has no part {pathway!r}."
                f"{nearest(pathway, known)}"
            )
        for name in leaves:
            if not pathway:
                found[name] = (pathway, name)
            elif re.match(r"\w+/(backbone|head)/", name):
                collection, part, rest = name.split("/", 2)
                found[f"{collection}/{part}/{pathway}/{rest}"] = (pathway, name)
    return found


def part_of(name: str) -> str:
    """The part of a model that a leaf belongs to: a row of the table above, such as `backbone`."""
    return next(part for part, pattern in _PARTS if re.match(pattern, name))


def _by_part(leaves: Shapes) -> dict[str, dict[str, Shape]]:
    parts: dict[str, dict[str, Shape]] = {part: {} for part, _ in _PARTS}
    for name, shape in leaves.items():
        parts[part_of(name)][name] = shape
    return parts


def _fits(there: Shape, here: Shape) -> bool:
    """Whether a leaf can be taken: of the same shape, or a 2-D kernel for a 3-D one."""
    is_flat = len(there) == len(here) == 5 and there[0] == 1
    return there == here or (is_flat and there[1:] == here[1:])


def _crosses(there: Shape, here: Shape) -> bool:
    """Whether a leaf is a kernel `[...,C,F]` of 3 colours there, of other channels here."""
    if len(there) != 5 or len(here) != 5:
        return False
    return there[3] == 3 != here[3] and there[:3] == here[:3] and there[4] == here[4]


def _misfit(there: Shapes, here: Shapes, fits: Fits) -> str:
    """Why a part cannot be taken whole; "" if it can."""
    found = trees.differences(there, here, "weights", fits=fits)
    bad = [text for name, text in found.items() if name in here]
    if bad and not there:
        return "the weights have none"
    return f"the weights have another ({bad[0]})" if bad else ""


def _fresh(there: Shapes, backbone: Shapes, pattern: str, fits: Fits) -> list[str]:
    """Leaves of the backbone that match the pattern and have no fitting one in the weights."""
    unfit = trees.differences(there, backbone, "weights", fits=fits) if pattern else {}
    return [name for name in unfit if name in backbone and re.search(pattern, name)]


def _check_backbone(there: Shapes, here: Shapes, fresh: Sequence[str], fits: Fits) -> None:
    found = trees.differences(there, here, "weights", fits=fits)
    # Statistics of norms that the model keeps no statistics of are no sign of another network.
    bad = [
        text
        for name, text in found.items()
        if name not in fresh and (name in here or name.startswith("params/"))
    ]
    if not bad:
        return
    theirs, ours = _depths(there), _depths(here)
    crossing = [n for n in here if n in there and _crosses(there[n], here[n]) and n not in fresh]
    if len(bad) == len(crossing) and not fits(there[crossing[0]], here[crossing[0]]):
        raise InputError(
            f"are of colours, but {crossing[0]} reads {here[crossing[0]][3]} channels here; "
            "config.init_modality='mean' makes one of the other, as TSN does."
        )
    if theirs != ours:
        what = f"stages of {theirs} blocks in the weights, {ours} in the model"
    else:
        what = "; ".join(bad[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")
    raise InputError(
        f"are of another backbone: {what}. Give weights of the same depth and width, or the "
        "config's model those of the weights."
    )


def _depths(backbone: Shapes) -> str:
    """Blocks per stage, such as "3, 4, 6, 3", of each pathway if there are several."""
    paths: dict[str, dict[int, int]] = {}
    for name in backbone:
        match = re.match(r"params/backbone/(?:(\w+)/)?stage(\d+)_block(\d+)/", name)
        if match:
            stages = paths.setdefault(match[1] or "", {})
            stages[int(match[2])] = max(stages.get(int(match[2]), 0), int(match[3]))
    counts = {path: ", ".join(str(n) for _, n in sorted(s.items())) for path, s in paths.items()}
    return " and ".join(f"{n} ({path})" if path else n for path, n in sorted(counts.items()))


def _describe(
    part: str,
    there: Shapes,
    here: Shapes,
    reason: str,
    inflated: Sequence[str],
    crossed: Sequence[str],
) -> list[str]:
    """Lines about one part: what it is made of, and what of the weights is not used."""
    lines = []
    if here and reason:
        lines.append(f"{part}: {_leaves(len(here))} fresh: {reason}")
    elif here:
        count = sum(name in here for name in inflated)
        how = f", {count} of them inflated" if count else ""
        names = [name for name in here if name in crossed]
        how += f", {' and '.join(names)} from colours to flow" if names else ""
        lines.append(f"{part}: {_leaves(len(here))} taken{how}")
    unused = [name for name in there if name not in here]
    if unused and not (here and reason):
        lines.append(f"{part}: {_leaves(len(unused))} of the weights left over")
    return lines


def _leaves(count: int) -> str:
    return "1 leaf" if count == 1 else f"{count} leaves"
