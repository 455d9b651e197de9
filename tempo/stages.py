"""A config's section `stages`: several runs, one after the other, each from the last one's weights.

    config.stages = {
        "a_base": {"total_epochs": 20.0, "model": {"backbone": {"act": "relu"}}},
        "b_modules": {"init_fresh": "_nonlocal/"},
        "c_augment": {},
    }

Stages run in the order of their names. Each has what the rest of the config says, with its own
values in place of it: sections and mappings in them are merged key by key, everything else is
replaced. `tempo.staged` runs them.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import ml_collections

from tempo.errors import InputError

FOLDER = "stages"
"""Of a workdir: the workdirs of all stages but the last, by name."""


def split(config: ml_collections.ConfigDict | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The config of every stage by name, as plain dicts in their order; `{}` if it has no stages.

    From the second on, `init_from` names the stage before, as a folder below the workdir.

    Raises:
      InputError: a stage that is no mapping, has a name that makes no folder, sets `init_from`
        though it is not the first, or has stages of its own.
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
        if configs and "init_from" in own:
            raise InputError(
                f"{where}.init_from is not used: a stage starts from the one before. Set it for "
                "the first stage, or outside the stages."
            )
        before = {"init_from": os.path.join(FOLDER, list(configs)[-1])} if configs else {}
        configs[name] = _merged({**tree, **before}, own)
    return configs


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
    starts_from = str(config.get("init_from", ""))
    parent = os.path.dirname(os.path.abspath(workdir)) if workdir else ""
    return os.path.dirname(starts_from) == FOLDER or os.path.basename(parent) == FOLDER


def deciding(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Flat names' beginnings of the evaluators that may end a run before its last epoch.

    Args:
      config: of one stage.
    """
    if not config.get("loop", {}).get("stop_at"):
        return ()
    evaluators = config.get("eval", {}).items()
    return tuple(f"eval/{name}/" for name, own in evaluators if own.get("every_epochs"))


def _merged(tree: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for key, value in own.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(old, value) if both else value
    return merged
