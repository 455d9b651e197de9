"""What a checkpoint says of prediction: its views, its classes, and what mirror images become."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tempo import protocols
from tempo.data import flow, specs
from tempo.data.readers import classes as class_lists
from tempo.errors import InputError, nearest
from tempo.types import ViewSpec

CROPS = {1: "center", 3: "three", 5: "five", 10: "ten"}
"""Crops of a clip by their number, in `10x3`."""

_SHORTHAND = re.compile(r"(\d+)x(\d+)")


def views(info: Mapping[str, Any], own: ViewSpec, text: str = "") -> ViewSpec:
    """The views that `text` asks for, or the checkpoint's own.

    Args:
      info: of `tempo.load_model`.
      own: the checkpoint's own, see `tempo.recipe.main_view`.
      text: clips x crops such as `10x3` (crops: 1, 3, 5 or 10), which keeps sizes, starts and
        averaging of the checkpoint's own; or a name of `tempo.protocols.VIEW_SETS`; or "" for the
        checkpoint's own.

    Raises:
      InputError: nothing of that name, or mirror images of a dataset that has no class for them.
    """
    match = _SHORTHAND.fullmatch(text)
    if match:
        num_clips, num_crops = int(match[1]), int(match[2])
        if num_crops not in CROPS or num_clips < 1:
            raise InputError(
                f"--views {text}: crops can be {', '.join(map(str, CROPS))} of at least 1 clip."
            )
        view = dataclasses.replace(own, num_clips=num_clips, crop=CROPS[num_crops])
    elif text:
        if text not in protocols.VIEW_SETS:
            raise InputError(
                f"--views {text!r} is neither clips x crops, such as 10x3, nor a set of views."
                f"{nearest(text, protocols.VIEW_SETS)}"
            )
        view = protocols.view_spec(text)
    else:
        view = own
    if any(view.mirrored) and not _is_mirror_safe(info):
        which = "is_flipped" if view.is_flipped else f"the {view.crop!r} crops"
        raise InputError(
            f"Views with {which} show mirror images, but a mirrored video of the dataset that this "
            "model was trained on can belong to another class; use 1, 3 or 5 crops, not flipped."
        )
    return view


def class_names(info: Mapping[str, Any], path: str = "") -> tuple[str, ...]:
    """The names of the classes; `class 0`, `class 1`, ... where nobody knows them.

    Args:
      info: of `tempo.load_model`.
      path: a list of classes in place of the checkpoint's.

    Raises:
      InputError: the list cannot be read, or is of another length.
    """
    count = info["num_classes"]
    if not path:
        return tuple(info["class_names"]) or tuple(f"class {i}" for i in range(count))
    names = class_lists.read_list(path).names
    if len(names) != count:
        raise InputError(
            f"{path!r} lists {len(names)} classes, but the model has {count}; give a list of "
            f"{count} names, one for each class in order."
        )
    return names


def flow_making(info: Mapping[str, Any]) -> flow.FlowSettings:
    """How the flow is made that a network was trained on, to make such flow again.

    Args:
      info: of `tempo.load_model`.

    Raises:
      InputError: nobody knows, or it cannot be made here.
    """
    where, stored = f"Checkpoint {info['path']!r}", info.get("flow")
    if not stored:
        raise InputError(
            f"{where} reads optical flow, but does not say how that was made; prepare the videos "
            "with --flow and evaluate them as a dataset."
        )
    given = {key: stored[key] for key in ("bound", "jpeg_quality", "camera") if key in stored}
    made = flow.create(stored["method"], **given, **stored["parameters"])
    flow.check_trained(stored, made.metadata, where)
    return made


def label_kind(info: Mapping[str, Any]) -> str:
    """A row of `tempo.types.LABEL_KINDS`; of runs from before it was stored, their dataset's."""
    return info.get("label_kind") or _dataset(info).label_kind


def mirror_labels(info: Mapping[str, Any], names: Sequence[str]) -> np.ndarray | None:
    """Class -> class of the mirrored video, int `[K]`; None if it keeps its class.

    A run's checkpoint knows. Of weights without a dataset, classes that name left and right change
    places.
    """
    if "mirror_labels" in info:
        found = info["mirror_labels"]
    elif "data" not in info["config"] or _dataset(info).mirroring == "swap":
        found = class_lists.mirror_labels(names)
    else:
        found = None
    return None if found is None else np.asarray(found, np.int32)


def _is_mirror_safe(info: Mapping[str, Any]) -> bool:
    return info.get("is_mirror_safe", True) and _dataset(info).is_mirror_safe


def _dataset(info: Mapping[str, Any]) -> specs.DatasetSpec:
    """What is known of the dataset that the config names; without one, as of anybody's folder."""
    name = info["config"].get("data", {}).get("name", "folder")
    return specs.DATASETS.get(name, specs.DATASETS["folder"])
