"""Training in stages, one command: each stage starts from the weights that the last one ended with.

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
    trees,
)
from tempo.errors import InputError
from tempo.init_from import Classes
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
        be used, or a stage that cannot start from the one before.
      NonFiniteError: as `train.train`.
    """
    configs = stages.split(config)
    if not configs:
        return train.train(config, workdir)
    folders = _folders(workdir, list(configs))
    done = _read(workdir)
    ended = [name for name in done if name in list(configs)[:-1]]
    _check(configs, folders, ended)
    before, rows = "", []
    for number, (name, own) in enumerate(configs.items(), start=1):
        is_last = number == len(configs)
        say(f"stage     {name}, {number} of {len(configs)}, in {folders[name]}")
        if name in ended:
            say(f"          {_told(done[name])}; it is not run again")
        else:
            made = train.run(own, folders[name], before)
            if made.end is None:
                return []
            done[name] = {"name": name, "workdir": os.path.relpath(folders[name], workdir)}
            done[name] |= made.end
            _write(workdir, [done[n] for n in configs if n in done])
            say(f"stage     {name}: {_told(done[name])}")
            rows = made.rows
            if made.is_told_to_stop and not is_last:
                say("stopped between two stages; the same command goes on")
                return []
        before = folders[name]
    return rows


def _folders(workdir: str, names: Sequence[str]) -> dict[str, str]:
    """The workdir of every stage."""
    folders = {name: os.path.join(workdir, stages.FOLDER, name) for name in names}
    return {**folders, names[-1]: workdir}


def _check(
    configs: Mapping[str, Mapping[str, Any]], folders: Mapping[str, str], ended: Sequence[str]
) -> None:
    """Raises `InputError` unless every stage can be run here, and start from the one before.

    What needs no data comes first, of all stages: data may have to be made.

    Args:
      configs: of the stages, in order.
      folders: their workdirs.
      ended: stages that are not run again.
    """
    before = ""
    recipes = {}
    for name, config in configs.items():
        with _said_of(name):
            made = recipes[name] = recipe.from_config(config)
            recipe.check_stop(made)
            experiment.compare_workdir(folders[name], config)
            if name not in ended:
                experiment.check(made)
            if not checkpoint.exists(folders[name]):
                init_from.shapes_of(made)
                if not before:
                    init_from.begin(made)
        # One that has begun needs no weights any more.
        if before and not checkpoint.exists(folders[name]):
            _check_weights(before, recipes[before], folders[before], name, made)
        before = name
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


def _check_weights(
    before: str, there: recipe.Recipe, folder: str, name: str, here: recipe.Recipe
) -> None:
    """Raises `InputError` if a stage cannot start from the one before, begun in `folder` or not."""
    same = Classes(2)
    if checkpoint.exists(folder):
        stored = checkpoint.variable_shapes(checkpoint.find(folder))
    else:
        stored = init_from.shapes_of(there)
    ours = trees.named_shapes(init_from.shapes_of(here))
    try:
        init_from.plan(trees.named_shapes(stored), ours, same, same, here.init_fresh)
    except InputError as e:
        raise InputError(
            f"Stage {name!r} cannot start from {before!r}, whose weights {e} "
            f"config.stages.{name}.init_fresh names leaves that may start fresh."
        ) from None


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
    text = f"ended at step {row['step']} of {row['total_steps']}"
    if "metric" not in row:
        return text
    text += f" with {row['metric']} {row['value']:.3f}"
    if not row["stop_at"]:
        return text
    if row["value"] >= row["stop_at"]:
        return f"{text}, which reaches loop.stop_at={row['stop_at']:g}"
    return f"{text}, below loop.stop_at={row['stop_at']:g}: what follows goes on from there"
