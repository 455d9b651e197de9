"""Starting a run from other weights: which leaves are taken, inflated, replaced or left fresh.

`plan` decides from names and shapes alone, so that what does not fit is found before any data are
read; `begin` opens the weights that a config names, and `load` puts them on the devices.

| part            | what becomes of it                                                             |
|-----------------|--------------------------------------------------------------------------------|
| backbone        | taken whole, 2-D kernels inflated; it is an error if that cannot be, but for   |
|                 | leaves that `config.init_fresh` matches: those that do not fit are fresh       |
| neck            | taken whole if every leaf fits, else fresh                                     |
| auxiliary heads | their convolutions as the neck, their classifiers as the head                  |
| head            | taken if the classes are the same and it reads the same features, else fresh   |
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from tempo import checkpoint, pretrained, stages, trees
from tempo import recipe as recipes
from tempo.convert import inflate
from tempo.errors import InputError, lookup
from tempo.models import tracing
from tempo.types import Array

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Shapes by leaf name, such as `params/head/fc/bias`."""

# First match counts. What follows the collection, `params` or `batch_stats`, in a leaf's name.
_PARTS = (
    ("aux classifiers", r"^\w+/neck/aux_head_\d+/head/"),
    ("aux heads", r"^\w+/neck/aux_head_\d+/"),
    ("neck", r"^\w+/neck/"),
    ("head", r"^\w+/head/"),
    ("backbone", r"^"),
)

_IMAGENET = (
    "`python -m tempo.convert --source torchvision --input resnet50.pth --out "
    "weights/r50_imagenet` makes one of ImageNet weights (resnet101.pth, r101_imagenet for a "
    "ResNet-101)"
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
      report: the same in words, one line per part of the model.
    """

    taken: frozenset[str]
    inflated: frozenset[str]
    report: tuple[str, ...]


def plan(
    there: Shapes,
    here: Shapes,
    classes_there: Classes,
    classes_here: Classes,
    fresh_pattern: str = "",
) -> Plan:
    """Which leaves of the weights `there` the model `here` starts from.

    Args:
      there: leaves of the weights.
      here: leaves of the model.
      classes_there: that the weights score.
      classes_here: that the model scores.
      fresh_pattern: regular expression of leaves of the backbone that start fresh where the weights
        lack them or have them in another shape; "" is none.

    Raises:
      InputError: another leaf of the backbone is missing on one side or has another shape.
    """
    theirs, ours = _by_part(there), _by_part(here)
    fresh = _fresh(there, ours["backbone"], fresh_pattern)
    _check_backbone(theirs["backbone"], ours["backbone"], fresh)
    ours["backbone"] = {n: shape for n, shape in ours["backbone"].items() if n not in fresh}
    reasons = {part: _misfit(theirs[part], ours[part]) for part in ours}
    difference = classes_there.difference(classes_here)
    reads_other = reasons["neck"] or (theirs["neck"] and not ours["neck"])
    further = {
        "head": difference or (reads_other and "it reads other features"),
        "aux classifiers": difference or (reasons["aux heads"] and "its convolution is fresh"),
    }
    # Of what the weights lack, nothing else is worth saying.
    reasons |= {part: why for part, why in further.items() if theirs[part] and why}
    taken = [name for part, leaves in ours.items() if not reasons[part] for name in leaves]
    inflated = [name for name in taken if there[name] != here[name]]
    report = []
    if fresh:
        count = _leaves(len(fresh))
        report.append(f"backbone: {count} fresh, as config.init_fresh has it: {fresh[0]}, ...")
    for part in ("backbone", "neck", "aux heads", "aux classifiers", "head"):
        report += _describe(part, theirs[part], ours[part], reasons[part], inflated)
    return Plan(frozenset(taken), frozenset(inflated), tuple(report))


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights that a run may start from; no array is read yet.

    Attributes:
      path: a step folder.
      info: what is stored beside the arrays.
      shapes: of `{"params", "batch_stats"}`.
      method: row of `tempo.convert.inflate.INFLATIONS`.
      fresh_pattern: as of `plan`.
    """

    path: str
    info: Mapping[str, Any]
    shapes: Mapping[str, Any]
    method: str
    fresh_pattern: str = ""

    def plan(self, variables: Any, classes: Classes) -> Plan:
        """What a model takes of these weights.

        Args:
          variables: `{"params", "batch_stats"}` of arrays or shapes.
          classes: that the model scores.

        Raises:
          InputError: they are of another backbone.
        """
        own = Classes(self.info["num_classes"], self.info["class_names"])
        # A converter gives the parts that its source lacks the values of a new model.
        initial = set(_source(self.info).get("initial", ()))
        there = {
            name: shape
            for name, shape in trees.named_shapes(self.shapes).items()
            if name not in initial or _part(name) == "backbone"
        }
        try:
            return plan(there, trees.named_shapes(variables), own, classes, self.fresh_pattern)
        except InputError as e:
            raise InputError(f"config.init_from: the weights in {self.path!r} {e}") from None

    def load(self, plan: Plan, abstract_variables: Any) -> dict[str, Array]:
        """The arrays that a plan takes, by leaf name, on the devices of their shardings.

        Args:
          plan: of `plan`.
          abstract_variables: `{"params", "batch_stats"}` of `jax.ShapeDtypeStruct`s with shardings.
        """
        values = trees.named(checkpoint.load_variables(self.path, self.shapes))
        loaded = {}

        def place(name: str, target: jax.ShapeDtypeStruct) -> None:
            if name not in plan.taken:
                return
            value = values[name]
            if name in plan.inflated:
                value = inflate.inflate_kernel(value, target.shape[0], self.method)
            value = np.asarray(value, target.dtype)
            loaded[name] = jax.make_array_from_callback(
                target.shape, target.sharding, lambda index: value[index]
            )

        trees.map_with_names(place, abstract_variables)
        return loaded

    def report(self, plan: Plan) -> str:
        """The lines for the log."""
        known = _source(self.info).get("source") or self.info.get("dataset", "")
        about = f"step {self.info['step']}" + (f", {known}" if known else "")
        lines = [f"init      from {self.path} ({about})", *plan.report]
        return "\n          ".join(lines)


def begin(recipe: recipes.Recipe, folder: str = "") -> Weights | None:
    """The weights that a config names, checked against its backbone; None if it names none.

    Args:
      recipe: of the run.
      folder: of the weights, in place of `recipe.init_from`.

    Raises:
      InputError: no checkpoint there, a damaged one, or one of another backbone; or as
        `shapes_of`.
    """
    method = recipe.init_inflate
    lookup(inflate.INFLATIONS, method, "config.init_inflate")
    folder = folder or str(recipe.init_from)
    if not folder:
        return None
    if not os.path.isdir(folder) and stages.is_stage({"init_from": folder}):
        raise InputError(
            f"config.init_from: no folder {folder!r}: so the config of a run in stages names the "
            "stage before, below that run's own workdir. Start the config with stages, or set "
            f"config.init_from to WORKDIR/{folder}."
        )
    if not os.path.isdir(folder):
        raise InputError(
            f"config.init_from: no folder {folder!r}. {_IMAGENET}, and any run's "
            "workdir will do; init=scratch behind the colon of a TPN recipe starts without weights."
        )
    path = checkpoint.find(folder)
    stored = checkpoint.variable_shapes(path)
    weights = Weights(path, pretrained.load_info(path), stored, method, recipe.init_fresh)
    weights.plan(shapes_of(recipe), Classes(2))
    return weights


def shapes_of(recipe: recipes.Recipe) -> dict[str, Any]:
    """Shapes of `{"params", "batch_stats"}` of a config's model, for two classes.

    How many there are is known when the data are: till then any number will do.

    Raises:
      InputError: `init_fresh` is no regular expression, or matches nothing of the model.
    """
    size = recipe.input.size_px
    shapes = tracing.variable_shapes(2, recipe.model, (recipe.clip.num_frames, size, size, 3))
    try:
        pattern = re.compile(recipe.init_fresh)
    except (TypeError, re.error) as e:
        raise InputError(
            f"config.init_fresh: {recipe.init_fresh!r} is not a regular expression ({e})."
        ) from None
    if not any(pattern.search(name) for name in trees.named_shapes(shapes)):
        raise InputError(
            f"config.init_fresh={recipe.init_fresh!r} matches no leaf of the model; leaves are "
            "named such as 'params/backbone/stage1_block1/conv1/kernel'."
        )
    return shapes


def _source(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a converter wrote of where the weights come from; empty for those of a run."""
    source = info.get("source")
    return source if isinstance(source, Mapping) else {}


def _part(name: str) -> str:
    return next(part for part, pattern in _PARTS if re.match(pattern, name))


def _by_part(leaves: Shapes) -> dict[str, dict[str, Shape]]:
    parts: dict[str, dict[str, Shape]] = {part: {} for part, _ in _PARTS}
    for name, shape in leaves.items():
        parts[_part(name)][name] = shape
    return parts


def _fits(there: Shape, here: Shape) -> bool:
    """Whether a leaf can be taken: of the same shape, or a 2-D kernel for a 3-D one."""
    is_flat = len(there) == len(here) == 5 and there[0] == 1
    return there == here or (is_flat and there[1:] == here[1:])


def _misfit(there: Shapes, here: Shapes) -> str:
    """Why a part cannot be taken whole; "" if it can."""
    found = trees.differences(there, here, "weights", fits=_fits)
    bad = [text for name, text in found.items() if name in here]
    if bad and not there:
        return "the weights have none"
    return f"the weights have another ({bad[0]})" if bad else ""


def _fresh(there: Shapes, backbone: Shapes, pattern: str) -> list[str]:
    """Leaves of the backbone that match the pattern and have no fitting one in the weights."""
    unfit = trees.differences(there, backbone, "weights", fits=_fits) if pattern else {}
    return [name for name in unfit if name in backbone and re.search(pattern, name)]


def _check_backbone(there: Shapes, here: Shapes, fresh: Sequence[str]) -> None:
    found = trees.differences(there, here, "weights", fits=_fits)
    # Statistics of norms that the model keeps no statistics of are no sign of another network.
    bad = [
        text
        for name, text in found.items()
        if name not in fresh and (name in here or name.startswith("params/"))
    ]
    if not bad:
        return
    theirs, ours = _depths(there), _depths(here)
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
    part: str, there: Shapes, here: Shapes, reason: str, inflated: Sequence[str]
) -> list[str]:
    """Lines about one part: what it is made of, and what of the weights is not used."""
    lines = []
    if here and reason:
        lines.append(f"{part}: {_leaves(len(here))} fresh: {reason}")
    elif here:
        count = sum(name in here for name in inflated)
        how = f", {count} of them inflated" if count else ""
        lines.append(f"{part}: {_leaves(len(here))} taken{how}")
    unused = [name for name in there if name not in here]
    if unused and not (here and reason):
        lines.append(f"{part}: {_leaves(len(unused))} of the weights left over")
    return lines


def _leaves(count: int) -> str:
    return "1 leaf" if count == 1 else f"{count} leaves"
