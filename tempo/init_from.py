"""Starting a run from other weights: of one network, or of one for each pathway of the model.

`begin` opens the weights that a config names, so that what does not fit is found before any data
are read; `tempo.init_plan` decides what is taken, and `load` puts it on the devices.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from tempo import checkpoint, init_plan, pretrained, stages, streams, trees
from tempo import recipe as recipes
from tempo.convert import inflate
from tempo.errors import InputError, lookup
from tempo.init_plan import Classes, Plan, Shapes
from tempo.layers import sketch
from tempo.models import tracing
from tempo.types import Array

# The leaf of a sketch that says how many dimensions it is for; see `tempo.layers.sketch`.
_DIM = "/dim"

Sources = str | Mapping[str, str]
"""Of weights: a folder, or folders by pathway."""

# Source of `tempo.convert` and file of ImageNet weights, by the folder that recipes name.
_IMAGENET = {
    "bninception_imagenet": ("bninception", "bn_inception.pth"),
    "r50_imagenet": ("torchvision", "resnet50.pth"),
    "r101_imagenet": ("torchvision", "resnet101.pth"),
    "resnet50_imagenet": ("torchvision", "resnet50.pth"),
    "resnet152_imagenet": ("torchvision", "resnet152.pth"),
    "vgg16_imagenet": ("torchvision", "vgg16.pth"),
}


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of one network; no array is read yet.

    Attributes:
      path: a step folder.
      info: what is stored beside the arrays.
      shapes: of its variables, by collection; the `dim`s of its sketch are numbers.
      pathway: part of the model's backbone and head that they are for; "" is all of it.
    """

    path: str
    info: Mapping[str, Any]
    shapes: Mapping[str, Any]
    pathway: str = ""

    @property
    def classes(self) -> Classes:
        """That they score."""
        return Classes(self.info["num_classes"], self.info["class_names"])

    @property
    def leaves(self) -> Shapes:
        """Shapes by leaf name, without what a converter made up.

        It gives the parts that its source lacks the values of a new model.
        """
        initial = set(_source(self.info).get("initial", ()))
        return {
            name: shape
            for name, shape in _shapes(self.shapes).items()
            if name not in initial or init_plan.part_of(name) == "backbone"
        }


@dataclasses.dataclass(frozen=True)
class Start:
    """All weights that a run starts from.

    Attributes:
      weights: of one network, or one for each pathway.
      inflation: row of `tempo.convert.inflate.INFLATIONS`.
      modality: row of `tempo.convert.inflate.CROSS_MODALITY`; "" refuses other channels.
      fresh_pattern: as of `init_plan.plan`.
    """

    weights: tuple[Weights, ...]
    inflation: str
    modality: str = ""
    fresh_pattern: str = ""

    def plan(self, variables: Any, classes: Classes) -> Plan:
        """What a model takes of these weights.

        Args:
          variables: of `shapes_of`.
          classes: that the model scores.

        Raises:
          InputError: they are of another backbone.
        """
        here = _shapes(variables)
        there = {w.pathway: w.leaves for w in self.weights}
        merged = {
            name: there[pathway][own]
            for name, (pathway, own) in init_plan.origins(there, here).items()
        }
        every = [w.classes for w in self.weights]
        own = next((c for c in every if c.difference(classes)), every[0])
        try:
            return init_plan.plan(
                merged, here, own, classes, self.fresh_pattern, is_crossing=bool(self.modality)
            )
        except InputError as e:
            where = " and ".join(repr(w.path) for w in self.weights)
            raise InputError(f"config.init_from: the weights in {where} {e}") from None

    def load(self, plan: Plan, abstract_variables: Any) -> dict[str, Array]:
        """The arrays that a plan takes, by leaf name, on the devices of their shardings.

        Args:
          plan: of `plan`.
          abstract_variables: `jax.ShapeDtypeStruct`s with shardings, by collection.
        """
        here = trees.named(abstract_variables)
        origins = init_plan.origins(
            {w.pathway: w.leaves for w in self.weights}, trees.named_shapes(abstract_variables)
        )
        loaded = {}
        for weights in self.weights:
            values = trees.named(checkpoint.load_variables(weights.path, weights.shapes))
            for name, (pathway, own) in origins.items():
                if pathway == weights.pathway and name in plan.taken:
                    value = self._changed(name, values[own], plan, here[name].shape)
                    loaded[name] = _placed(value, here[name])
        return loaded

    def report(self, plan: Plan) -> str:
        """The lines for the log."""
        lines = []
        for own in self.weights:
            known = _source(own.info).get("source") or own.info.get("dataset", "")
            about = f"step {own.info['step']}" + (f", {known}" if known else "")
            what = f"{own.pathway} from" if own.pathway else "from"
            lines.append(f"{what} {own.path} ({about})")
        return "init      " + "\n          ".join([*lines, *plan.report])

    def _changed(self, name: str, value: Any, plan: Plan, shape: tuple[int, ...]) -> Any:
        """A stored array as the model has it."""
        if name in plan.inflated:
            return inflate.inflate_kernel(value, shape[0], self.inflation)
        if name in plan.crossed:
            return inflate.cross_modality(value, shape[3], self.modality)
        return value


def _placed(value: Any, target: jax.ShapeDtypeStruct) -> Array:
    value = np.asarray(value, target.dtype)
    return jax.make_array_from_callback(target.shape, target.sharding, lambda index: value[index])


def begin(recipe: recipes.Recipe, folders: Sources = "") -> Start | None:
    """The weights that a config names, checked against its backbone; None if it names none.

    Args:
      recipe: of the run.
      folders: of the weights, in place of `recipe.init_from`.

    Raises:
      InputError: no checkpoint there, a damaged one, or one of another backbone; a pathway that the
        model has not; or as `shapes_of`.
    """
    check_methods(recipe)
    sources = by_pathway(folders or recipe.init_from)
    if not sources:
        if recipe.is_untrained:
            raise InputError(
                "config.total_epochs=0 trains nothing, and there is no config.init_from to take "
                "weights from; name some, or raise total_epochs."
            )
        return None
    start = start_of(recipe, [open_weights(folder, part) for part, folder in sources.items()])
    check_start(recipe, start)
    return start


def check_start(recipe: recipes.Recipe, start: Start) -> None:
    """Raises `InputError` if a config's model cannot start from weights, whatever its classes.

    Args:
      recipe: of the run.
      start: of `start_of`.
    """
    # How many classes there are is known when the data are; a run without steps keeps its head.
    counts = {own.classes.count for own in start.weights}
    is_known = recipe.is_untrained and len(counts) == 1
    classes = start.weights[0].classes if is_known else Classes(2)
    shapes = shapes_of(recipe, classes.count)
    plan = start.plan(shapes, classes)
    if is_known:
        check_whole(recipe, plan, shapes)


def start_of(recipe: recipes.Recipe, weights: Sequence[Weights]) -> Start:
    """Weights, and what a config says is to become of them."""
    how = recipe.init_inflate, recipe.init_modality, recipe.init_fresh
    return Start(tuple(weights), *how)


def by_pathway(sources: Sources) -> dict[str, str]:
    """Folders by pathway, "" for all of the model; `{}` for no weights.

    Raises:
      InputError: neither a folder nor folders by pathway.
    """
    if isinstance(sources, str):
        return {"": sources} if sources else {}
    if isinstance(sources, Mapping) and all(
        part and folder and isinstance(folder, str) for part, folder in sources.items()
    ):
        return dict(sources)
    raise InputError(
        "config.init_from is a folder, or folders by pathway such as "
        f"{{'spatial': 'runs/rgb', 'temporal': 'runs/flow'}}; got {sources!r}."
    )


def check_methods(recipe: recipes.Recipe) -> None:
    """Raises `InputError` for an unknown way to change kernels."""
    lookup(inflate.INFLATIONS, recipe.init_inflate, "config.init_inflate")
    if recipe.init_modality:
        lookup(inflate.CROSS_MODALITY, recipe.init_modality, "config.init_modality")


def check_whole(recipe: recipes.Recipe, plan: Plan, variables: Any) -> None:
    """Raises `InputError` if a run that trains nothing would have leaves that start fresh."""
    fresh = [name for name in trees.named_shapes(variables) if name not in plan.taken]
    if recipe.is_untrained and fresh:
        raise InputError(
            f"config.total_epochs=0 trains nothing, but the weights lack {len(fresh)} leaves of "
            f"the model ({fresh[0]}, ...: {' '.join(plan.report)}); give weights that have them, "
            "or raise total_epochs."
        )


def open_weights(folder: str, pathway: str = "") -> Weights:
    """The weights in a folder.

    Args:
      folder: a converted checkpoint, a run's workdir or one of its steps.
      pathway: as of `Weights`.

    Raises:
      InputError: no checkpoint there, or a damaged one.
    """
    where = "config.init_from" + (f".{pathway}" if pathway else "")
    if not os.path.isdir(folder) and stages.is_stage({"init_from": folder}):
        raise InputError(
            f"{where}: no folder {folder!r}: so the config of a run in stages names another "
            "stage, below that run's own workdir. Start the config with stages, or set "
            f"{where} to WORKDIR/{folder}."
        )
    parent, name = os.path.split(folder.rstrip("/"))
    if not os.path.isdir(folder) and os.path.basename(parent) == stages.FOLDER:
        run = os.path.dirname(parent)
        there = "has no such stage" if os.path.isdir(run) else "is not there"
        raise InputError(
            f"{where}: no folder {folder!r}: it is stage {name!r} of a run in {run!r}, which "
            f"{there}. Train a config with that stage there first, or name a run that has it "
            "(streams=WORKDIR behind the colon of the STPN recipe; its row t4.A has both)."
        )
    if not os.path.isdir(folder):
        out = folder if os.path.basename(folder) in _IMAGENET else "weights/r50_imagenet"
        source, file = _IMAGENET[os.path.basename(out)]
        raise InputError(
            f"{where}: no folder {folder!r}. `python -m tempo.convert --source {source} --input "
            f"{file} --out {out}` makes one of ImageNet weights, and any run's workdir will do; "
            "init=scratch behind the colon of a recipe starts without weights."
        )
    path = checkpoint.find(folder)
    return Weights(path, pretrained.load_info(path), _stored(path), pathway)


def imagined(recipe: recipes.Recipe, folder: str, pathway: str = "") -> Weights:
    """The weights that a run of a config will leave in a folder, which has not begun.

    Args:
      recipe: of that run.
      folder: where.
      pathway: as of `Weights`.
    """
    return Weights(folder, {"num_classes": 2, "class_names": ()}, shapes_of(recipe), pathway)


def shapes_of(recipe: recipes.Recipe, num_classes: int = 2) -> dict[str, Any]:
    """Shapes of the variables of a config's model, see `tracing.module_shapes`.

    Raises:
      InputError: `init_fresh` is no regular expression, or matches nothing of the model.
    """
    shapes = tracing.variable_shapes(num_classes, recipe.model, streams.clip_shape(recipe))
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


def _stored(path: str) -> dict[str, Any]:
    """Shapes of a step folder's variables, and what its sketch is for, which no shape tells."""
    shapes = checkpoint.variable_shapes(path)
    if "sketch" in shapes:
        drawn = checkpoint.load_variables(path, {"sketch": shapes["sketch"]})["sketch"]
        sketch.check(drawn, drawn, f"config.init_from: {path!r}")
        shapes["sketch"] = drawn
    return shapes


def _shapes(variables: Any) -> Shapes:
    """Shapes by leaf name; in place of that of a sketch's `dim`, which is a number, the number."""
    return {
        name: (int(leaf),) if name.endswith(_DIM) else tuple(leaf.shape)
        for name, leaf in trees.named(variables).items()
    }


def _source(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a converter wrote of where the weights come from; empty for those of a run."""
    source = info.get("source")
    return source if isinstance(source, Mapping) else {}
