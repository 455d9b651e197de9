"""A model from a checkpoint alone, and weights as a checkpoint: what users and converters call.

    model, variables, info = tempo.load_model("runs/quickstart")
    logits = model.apply(variables, video, train=False)["logits"]

`info["preprocessing"]` says how `video` is made: frames resized to `short_side_px`, cropped to
`size_px` (both as the views are that the checkpoint's config evaluates with, see
`tempo.recipe.main_view`), and per channel `(video - mean) / std` of values 0-255.
"""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tempo import checkpoint, models, recipe, streams
from tempo.data import device_ops, ops
from tempo.errors import InputError
from tempo.layers import sketch
from tempo.models import tracing
from tempo.progress import say
from tempo.version import __version__

# What a checkpoint's `info` must hold for a model to be made of it, beside the number of classes.
_NEEDED = {"config": Mapping, "class_names": Sequence}


def load_model(path: str) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """(model, variables, info) of a converted checkpoint, a run's workdir, or one of its steps.

    Args:
      path: a folder; of a run, the newest step is taken.

    Returns:
      The model, for `model.apply(variables, video, train=False)["logits"]`; its variables
      `{"params", "batch_stats"}` as arrays on the default device (the moving averages where the
      run kept them); and what is stored beside them, with these keys added: `path` (the step
      folder); `preprocessing` (`mean`, `std` per channel of values 0-255, `size_px`,
      `short_side_px`, `num_frames`, `stride`, `sampling`, `fps`); `views` (the fields of
      `tempo.types.ViewSpec` by evaluator, as the checkpoint's config sets them).

    Raises:
      InputError: no checkpoint there, a damaged one, or one whose arrays or class names do not fit
        its model.
    """
    path = checkpoint.find(path)
    info = load_info(path)
    made = stored_recipe(path, info)
    model = models.create(info["num_classes"], **made.model)
    loaded = load_variables(path, _shapes(info["num_classes"], made))
    variables = jax.tree.map(jnp.asarray, loaded)
    views = {name: dataclasses.asdict(e.view) for name, e in sorted(made.eval.items())}
    extra = {"path": path, "preprocessing": _preprocessing(made), "views": views}
    return model, variables, info | extra


def load_variables(
    path: str, shapes: Mapping[str, Any], abstract: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`checkpoint.load_variables`, and a stored sketch must be one of this network's.

    Args:
      path: a step folder.
      shapes: of `tracing.module_shapes`.
      abstract: the same with shardings; None loads numpy arrays.

    Raises:
      InputError: as `checkpoint.load_variables`; or a sketch that is missing, damaged, or of other
        dimensions.
    """
    own, where = shapes.get("sketch"), f"Checkpoint {path!r}"
    if own and "sketch" not in checkpoint.variable_shapes(path):
        sketch.check(None, own, where)
    loaded = checkpoint.load_variables(path, abstract or shapes)
    if own:
        sketch.check(loaded["sketch"], own, where)
    return loaded


def save_model(path: str, variables: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Writes weights as a folder that `load_model`, evaluation and `init_from` read.

    Args:
      path: the folder. Weights that are there already are replaced when the new ones are written
        whole; anything else is left alone.
      variables: arrays by collection, in the names of the config's model.
      info: `config` (with at least the section `model`, and `clip`, which gives `preprocessing`;
        `input` and `eval` as in a run), `class_names` ([] if unknown), `num_classes`, and anything
        else JSON can hold. `step`, `device_ops` and what else a run stores is filled in.

    Raises:
      InputError: `info` lacks something, the arrays do not fit the model, or `path` holds
        something else.
    """
    checkpoint.check_replaceable(path)
    _check_info(path, info)
    made = stored_recipe(path, info)
    filled = {
        "label_kind": "single",
        "label_groups": {},
        "dataset": "",
        "manifest_sha256": "",
        "device_ops": list(device_ops.without_augmentation(made.input.device_ops)),
        "step": 0,
        "versions": {"tempo": __version__, "jax": jax.__version__},
        **info,
    }
    checkpoint.check_leaves(path, variables, _shapes(filled["num_classes"], made))
    checkpoint.save_variables(path, variables, filled)


def load_info(path: str) -> dict[str, Any]:
    """The checked `info` of a step folder (see `tempo.checkpoint.find`).

    Raises:
      InputError: it is damaged, or has a list of classes of another length than `num_classes`.
    """
    info = checkpoint.load_info(path)
    # Runs from before the number was stored always know their classes' names.
    info.setdefault("num_classes", len(info.get("class_names", ())))
    _check_info(path, info)
    return info


def normalization(rows: Sequence[ops.Row]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) per channel of values 0-255, from rows of device ops; (0, 1) if none does it."""
    defaults = inspect.signature(device_ops.normalize).parameters
    for row in rows:
        if ops.name_of(row) == "normalize":
            given = {} if isinstance(row, str) else row
            mean, std = (given.get(k, defaults[k].default) for k in ("mean", "std"))
            return tuple(map(float, mean)), tuple(map(float, std))
    return (0.0,) * 3, (1.0,) * 3


def warn_of_normalization(path: str, info: Mapping[str, Any], rows: Sequence[ops.Row]) -> None:
    """Says in one line if a checkpoint was trained on otherwise normalised video than `rows` make.

    Args:
      path: of the checkpoint.
      info: of the checkpoint.
      rows: the config's device ops.
    """
    stored, own = normalization(info.get("device_ops", ())), normalization(rows)
    if stored != own:
        say(
            f"warning   the weights in {path!r} were trained on (video - {_brief(stored[0])}) / "
            f"{_brief(stored[1])}, but the config's device ops give (video - {_brief(own[0])}) / "
            f"{_brief(own[1])}"
        )


def _brief(values: Sequence[float]) -> str:
    """One number if all are the same."""
    return " ".join(f"{v:g}" for v in (values[:1] if len(set(values)) == 1 else values))


def _check_info(path: str, info: Mapping[str, Any]) -> None:
    for key, kind in _NEEDED.items():
        if not isinstance(info.get(key), kind) or isinstance(info[key], str):
            raise InputError(f"Checkpoint {path!r} is damaged: its info has no usable {key!r}.")
    count, names = info.get("num_classes"), info["class_names"]
    if not isinstance(count, int) or count < 1:
        raise InputError(
            f"Checkpoint {path!r} does not say how many classes it has (num_classes={count!r})."
        )
    if names and len(names) != count:
        raise InputError(
            f"The list of classes has {len(names)} names, but the model of checkpoint {path!r} has "
            f"{count} classes; give a list of {count} names, one for each class in order."
        )


def stored_recipe(path: str, info: Mapping[str, Any]) -> recipe.Recipe:
    """The checkpoint's config, checked. Weights without a run know no data.

    Args:
      path: of the checkpoint, for the message.
      info: of the checkpoint.

    Raises:
      InputError: a config that cannot be used.
    """
    try:
        return recipe.from_config({"data": {"dir": ""}, **info["config"], "mesh": {}})
    except InputError as e:
        raise InputError(f"The config in checkpoint {path!r} cannot be used: {e}") from None


def _shapes(num_classes: int, made: recipe.Recipe) -> dict[str, Any]:
    return tracing.variable_shapes(num_classes, made.model, streams.clip_shape(made))


def _preprocessing(made: recipe.Recipe) -> dict[str, Any]:
    mean, std = normalization(made.input.device_ops)
    view = recipe.main_view(made)
    return {
        "mean": list(mean),
        "std": list(std),
        "size_px": made.input.size_px if view.crop == "full" else view.size_px,
        "short_side_px": view.short_side_px,
        "num_frames": made.clip.num_frames,
        "stride": made.clip.stride,
        "sampling": made.clip.sampling,
        "fps": made.clip.fps,
    }
