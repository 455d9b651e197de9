"""A config's section `stages`: several runs, one after the other, each from the last one's weights.

    config.stages = {
        "a_base": {"total_epochs": 20.0, "model": {"backbone": {"act": "relu"}}},
        "b_modules": {"init_fresh": "_nonlocal/"},
        "c_augment": {},
    }

Stages run in the order of their names. Each has what the rest of the config says, with its own
values in place of it: sections and mappings in them are merged key by key, everything else is
replaced. `tempo.staged` runs them.

A stage starts from the one before, unless its own `init_from` says otherwise: "" (from scratch), a
folder, the name of any stage before, or for each part of a backbone of several one of the two:

    config.stages = {
        "a_spatial": {"model": {"name": "tsn_r50"}, "init_from": "weights/r50_imagenet"},
        "b_temporal": {"model": {"name": "two_stream_flow"}, "init_from": "weights/r50_imagenet"},
        "c_joint": {"init_from": {"spatial": "a_spatial", "temporal": "b_temporal"}},
    }

A network that only one stage has is best said in that stage alone: what is said for all of them is
merged with it.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from tempo.errors import InputError

FOLDER = "stages"
"""Of a workdir: the workdirs of all stages but the last, by name."""


def split(config: ml_collections.ConfigDict | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The config of every stage by name, as plain dicts in their order; `{}` if it has no stages.

    In `init_from` a stage is named as a folder below the workdir.

    Raises:
      InputError: a stage that is no mapping, has a name that makes no folder, has stages of its
        own, or starts from itself or a later one.
    """
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    named = tree.pop("stages", {})
    if not isinstance(named, Mapping):
        raise InputError(f"config.stages must be stages by name; got {named!r}.")
    configs: dict[str, dict[str, Any]] = {}
    for name in sorted(named):
        own, where = named[name], f"config.stages.{name}"
        if not re.fullmatch(r"\w+", name):
            raise InputError(f"{where}: a stage is named by letters, digits and _ alone.")
        if not isinstance(own, Mapping):
            raise InputError(
                f"{where} must hold values for keys of the config, such as "
                f"{{'total_epochs': 20.0}}; got {own!r}."
            )
        if "stages" in own:
            raise InputError(f"{where} has stages of its own; put them beside it.")
        before = [*configs]
        default = before[-1] if before else tree.get("init_from", "")
        starts_from = own.get("init_from", default)
        configs[name] = _merged(tree, {key: own[key] for key in own if key != "init_from"})
        if before or "init_from" in {**tree, **own}:
            configs[name]["init_from"] = _resolved(starts_from, where, before, [*named])
    return configs


def names_in(starts_from: str | Mapping[str, str]) -> dict[str, str]:
    """The stages among what a resolved `init_from` names, as folder -> stage."""
    folders = starts_from.values() if isinstance(starts_from, Mapping) else [starts_from]
    return {
        folder: os.path.basename(folder)
        for folder in map(str, folders)
        if os.path.dirname(folder) == FOLDER
    }


def last(config: ml_collections.ConfigDict | Mapping[str, Any]) -> Any:
    """The config of the last stage, which is that of the whole run's workdir; or the config itself.

    Raises:
      InputError: as `split`.
    """
    found = split(config)
    return list(found.values())[-1] if found else config


def is_stage(config: Mapping[str, Any], workdir: str = "") -> bool:
    """Whether a config, or the workdir that it ran in, says that it is one stage of several.

    Args:
      config: of one run.
      workdir: of that run.
    """
    starts_from = config.get("init_from", "")
    parent = os.path.dirname(os.path.abspath(workdir)) if workdir else ""
    return bool(names_in(starts_from)) or os.path.basename(parent) == FOLDER


def deciding(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Flat names' beginnings of the evaluators that may end a run before its last epoch.

    Args:
      config: of one stage.
    """
    if not config.get("loop", {}).get("stop_at"):
        return ()
    evaluators = config.get("eval", {}).items()
    return tuple(f"eval/{name}/" for name, own in evaluators if own.get("every_epochs"))


def _resolved(
    starts_from: Any, where: str, before: Sequence[str], names: Sequence[str]
) -> str | dict[str, str]:
    """An `init_from` with stages as folders below the workdir."""
    if isinstance(starts_from, Mapping):
        return {
            part: _resolved(own, f"{where}.init_from.{part}", before, names)
            for part, own in starts_from.items()
        }
    if starts_from in names and starts_from not in before:
        raise InputError(
            f"{where} starts from the stage {starts_from!r}, which does not come before it: stages "
            "run in the order of their names."
        )
    return os.path.join(FOLDER, starts_from) if starts_from in before else starts_from


def _merged(tree: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for key, value in own.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(old, value) if both else value
    return merged
