"""Training in stages, one command: each stage starts from weights that others ended with.

    <workdir>/stages/a_base/     a run as any other: config, checkpoints, metrics, results
    <workdir>/stages/b_modules/
    <workdir>/stages.json        which stages have ended, where and how
    <workdir>                    the last stage: evaluate, predict and report read it as any run

A stage that ends below the threshold it was to reach (`loop.stop_at`) has had all its epochs; the
next one goes on from what there is, and the log and `stages.json` say so. Weights are those of a
stage's last step, not of its best one.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from tempo import (
    checkpoint,
    experiment,
    files,
    init_from,
    recipe,
    sharding,
    stages,
    train,
)
from tempo.errors import InputError, nearest
from tempo.progress import say

RECORD = "stages.json"


def run(config: ml_collections.ConfigDict, workdir: str) -> list[dict[str, Any]]:
    """Trains (or goes on training) all stages of a config; without stages, as `train.train`.

    Finished stages are not run again, one that was cut goes on bit for bit, and SIGTERM ends the
    command in whichever stage it comes.

    Args:
      config: see `tempo.recipe` and `tempo.stages`.
      workdir: of the whole.

    Returns:
      The rows of `results.json` of the last stage; empty if it was not reached or not ended.

    Raises:
      InputError: before the first step of any stage, for a config, dataset or workdir that cannot
        be used, or a stage that cannot start from those before.
      NonFiniteError: as `train.train`.
    """
    return finish(config, workdir).rows


def finish(config: ml_collections.ConfigDict | Mapping[str, Any], workdir: str) -> train.Ended:
    """As `run`, and says how the last stage ended; one that was not reached has no end.

    Args:
      config: see `tempo.recipe` and `tempo.stages`.
      workdir: of the whole.

    Raises:
      InputError: as `run`.
      NonFiniteError: as `run`.
    """
    configs = stages.split(config)
    if not configs:
        return train.run(config, workdir)
    folders = _folders(workdir, list(configs))
    done = _read(workdir)
    ended = _ended(configs, done)
    _check(configs, folders, ended)
    last = train.Ended([], None)
    for number, (name, own) in enumerate(configs.items(), start=1):
        is_last = number == len(configs)
        say(f"stage     {name}, {number} of {len(configs)}, in {folders[name]}")
        if name in ended:
            say(f"          {_told(done[name])}; it is not run again")
        else:
            made = train.run(own, folders[name], _sources(own, folders))
            if made.end is None:
                return made
            done[name] = {"name": name, "workdir": os.path.relpath(folders[name], workdir)}
            done[name] |= made.end
            _write(workdir, [done[n] for n in configs if n in done])
            say(f"stage     {name}: {_told(done[name])}")
            if is_last:
                last = made
            elif made.is_told_to_stop:
                say("stopped between two stages; the same command goes on")
                return train.Ended([], None, is_told_to_stop=True)
    return last


def check(config: ml_collections.ConfigDict | Mapping[str, Any], workdir: str) -> None:
    """Raises `InputError` for what would keep `run` from its first step, in any stage.

    Data that the config makes are made.

    Args:
      config: see `tempo.recipe` and `tempo.stages`.
      workdir: of the whole.
    """
    configs = stages.split(config)
    if configs:
        _check(configs, _folders(workdir, list(configs)), _ended(configs, _read(workdir)))
        return
    made = recipe.from_config(config)
    recipe.check_stop(made)
    if not checkpoint.exists(workdir):
        init_from.begin(made)
    train.check(config, workdir)


def _ended(configs: Mapping[str, Any], done: Mapping[str, Any]) -> list[str]:
    """Stages that are not run again; the last one is the run of the workdir itself."""
    return [name for name in done if name in list(configs)[:-1]]


def _folders(workdir: str, names: Sequence[str]) -> dict[str, str]:
    """The workdir of every stage."""
    folders = {name: os.path.join(workdir, stages.FOLDER, name) for name in names}
    return {**folders, names[-1]: workdir}


def _check(
    configs: Mapping[str, Mapping[str, Any]], folders: Mapping[str, str], ended: Sequence[str]
) -> None:
    """Raises `InputError` unless every stage can be run here, and start from what it is to.

    What needs no data comes first, of all stages: data may have to be made.

    Args:
      configs: of the stages, in order.
      folders: their workdirs.
      ended: stages that are not run again.
    """
    recipes: dict[str, recipe.Recipe] = {}
    for name, config in configs.items():
        with _said_of(name):
            made = recipes[name] = recipe.from_config(config)
            recipe.check_stop(made)
            experiment.compare_workdir(folders[name], config)
            if name not in ended:
                experiment.check(made)
        # One that has begun needs no weights any more.
        if not checkpoint.exists(folders[name]):
            _check_weights(name, recipes, folders)
    manifests = {}
    for name, config in configs.items():
        if name not in ended:
            with _said_of(name):
                exp = train.check(config, folders[name])
            manifests[exp.recipe.data.dir] = exp.records.manifest_sha256
    for name in ended:
        # A dataset that no stage reads any more may be gone.
        data_dir = recipes[name].data.dir
        if data_dir in manifests and checkpoint.exists(folders[name]):
            info = checkpoint.load_info(checkpoint.find(folders[name]))
            with _said_of(name):
                train.check_same_data(info, data_dir, manifests[data_dir])


def _sources(config: Mapping[str, Any], folders: Mapping[str, str]) -> init_from.Sources:
    """The folders that a stage starts from, with those of stages where they are."""
    starts_from = config.get("init_from", "")
    found = stages.names_in(starts_from)
    there = {folder: folders[name] for folder, name in found.items() if name in folders}
    if isinstance(starts_from, Mapping):
        return {part: there.get(folder, folder) for part, folder in starts_from.items()}
    return there.get(starts_from, starts_from)


def _check_weights(
    name: str, recipes: Mapping[str, recipe.Recipe], folders: Mapping[str, str]
) -> None:
    """Raises `InputError` if a stage cannot start from what it is to, stages begun or not.

    Args:
      name: of the stage.
      recipes: of this stage and those before.
      folders: the workdirs of all stages.
    """
    made = recipes[name]
    with _said_of(name):
        init_from.check_methods(made)
        starts_from = init_from.by_pathway(made.init_from)
        before = {
            folder: own for folder, own in stages.names_in(made.init_from).items() if own in recipes
        }
        if not before:
            for folder in starts_from.values():
                _check_folder(folder, recipes, name)
            init_from.begin(made)
            return
        init_from.shapes_of(made)
    weights = []
    for pathway, folder in starts_from.items():
        stage = before.get(folder)
        with _said_of(name):
            if stage is None:
                _check_folder(folder, recipes, name)
                weights.append(init_from.open_weights(folder, pathway))
            elif checkpoint.exists(folders[stage]):
                weights.append(init_from.open_weights(folders[stage], pathway))
            else:
                weights.append(init_from.imagined(recipes[stage], folder, pathway))
    try:
        init_from.check_start(made, init_from.start_of(made, weights))
    except InputError as e:
        told = " and ".join(repr(own) for own in before.values())
        raise InputError(
            f"Stage {name!r} cannot start from {told}: {e} "
            f"config.stages.{name}.init_fresh names leaves that may start fresh."
        ) from None


def _check_folder(folder: str, recipes: Mapping[str, recipe.Recipe], name: str) -> None:
    """Raises `InputError` if what may be meant for a stage is neither that nor a folder."""
    before = [other for other in recipes if other != name]
    if before and not os.path.isdir(folder):
        raise InputError(
            f"config.stages.{name}.init_from={folder!r} is neither a stage before it nor a "
            f"folder.{nearest(folder, before)}"
        )


@contextlib.contextmanager
def _said_of(name: str) -> Iterator[None]:
    """Names the stage in what is raised."""
    try:
        yield
    except InputError as e:
        raise InputError(f"Stage {name!r}: {e}") from None


def _read(workdir: str) -> dict[str, dict[str, Any]]:
    """What is known of finished stages, by name."""
    path = os.path.join(workdir, RECORD)
    if not os.path.exists(path):
        return {}
    try:
        return {row["name"]: dict(row) for row in files.read_json(path)}
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"{path!r} is damaged ({e}); delete it: finished stages are then evaluated again and "
            "go on from their last step."
        ) from None


def _write(workdir: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if sharding.is_lead_process():
        files.write_json(os.path.join(workdir, RECORD), list(rows))


def _told(row: Mapping[str, Any]) -> str:
    """Where a stage ended, and whether it reached what it was to."""
    if not row["total_steps"]:
        return "evaluated as its weights are, without a step"
    text = f"ended at step {row['step']} of {row['total_steps']}"
    if "metric" not in row:
        return text
    text += f" with {row['metric']} {row['value']:.3f}"
    if not row["stop_at"]:
        return text
    if row["value"] >= row["stop_at"]:
        return f"{text}, which reaches loop.stop_at={row['stop_at']:g}"
    return f"{text}, below loop.stop_at={row['stop_at']:g}: what follows goes on from there"
