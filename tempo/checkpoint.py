"""Checkpoints: save, resume, and load for evaluation. The only file that imports orbax.

A checkpoint is a folder `<workdir>/checkpoints/<step>/` with two items: `state` (the arrays of
`tempo.state.TrainState`) and `info` (JSON: config, class names, dataset hash, versions).
Weights without a run are such a folder too, wherever it lies, whose `state` has nothing but
`COLLECTIONS`. Orbax writes under another name and renames at the end, so a kill leaves
the older ones whole.
"""

import contextlib
import dataclasses
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from tempo import files, trees
from tempo.errors import InputError

STATE, INFO = "state", "info"
COLLECTIONS = ("params", "batch_stats", "sketch")
"""What a model is evaluated with; `sketch` only where it has one, and no average is kept of it."""

# Orbax warns at every checkpoint that comes without an evaluation, as most do, and of the handler
# that is replaced below: both on purpose.
_WARNINGS = ("tracked_metric", "Type handler registry")
logging.getLogger("absl").addFilter(
    lambda record: not any(text in str(record.msg) for text in _WARNINGS)
)

# Of an array that every device holds, each writes a part, which is cut out by a program compiled
# for it. Most arrays are so small that compiling takes longer than to write them whole.
ocp.type_handlers.register_type_handler(
    jax.Array,
    ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=2**20),
    override=True,
)


class Checkpoints:
    """The checkpoints of one run: the newest few and the best one. Use as a context manager.

    Attributes:
      directory: `<workdir>/checkpoints`.
      best_metric: as given.
    """

    def __init__(self, workdir: str, *, keep_latest: int = 2, best_metric: str = ""):
        """Opens `<workdir>/checkpoints`, making it if needed.

        Args:
          workdir: of the run.
          keep_latest: how many of the newest to keep.
          best_metric: key of the metrics given to `save`; the checkpoint with the highest value is
            kept too. "" keeps the newest only.
        """
        self.directory = os.path.join(os.path.abspath(workdir), "checkpoints")
        keep = [preservation.LatestN(n=keep_latest)]

        def best(metrics: dict[str, float]) -> float:
            # Absent in checkpoints from before the evaluators were renamed.
            return metrics.get(best_metric, -math.inf)

        if best_metric:
            keep.append(
                preservation.BestN(get_metric_fn=best, n=1, keep_checkpoints_without_metrics=False)
            )
        self.best_metric = best_metric
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=preservation.AnyPreservationPolicy(keep),
                # Has the metrics written beside the arrays, so the best is known after a restart.
                best_fn=best if best_metric else None,
                enable_async_checkpointing=True,
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wait()
        self._manager.close()

    @property
    def best_step(self) -> int | None:
        """Step of the checkpoint with the best metric, or None."""
        return self._manager.best_step() if self.best_metric else None

    @property
    def latest_step(self) -> int | None:
        """Step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def save(
        self, step: int, state: Any, info: dict[str, Any], metrics: dict[str, float] | None = None
    ) -> None:
        """Starts to save in the background; does nothing if this step is saved already.

        Args:
          step: number of finished steps.
          state: any tree of arrays; it is copied before this returns, so it may be donated next.
          info: anything JSON can hold.
          metrics: of evaluations at this step; without the one that decides the best, the
            checkpoint is only one of the newest.
        """
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            **{STATE: ocp.args.StandardSave(state), INFO: ocp.args.JsonSave(info)}
        )
        is_ranked = self.best_metric in (metrics or {})
        self._manager.save(step, args=items, metrics=metrics if is_ranked else None, force=True)

    def load_info(self) -> dict[str, Any]:
        """The `info` of the newest checkpoint."""
        return load_info(os.path.join(self.directory, str(self.latest_step)))

    def delete(self, step: int | None) -> None:
        """Removes the checkpoint of `step` if there is one."""
        self.wait()
        if step in self._manager.all_steps():
            self._manager.delete(step)

    def restore(self, abstract_state: Any) -> Any:
        """The newest state, with the shapes and shardings asked for.

        Args:
          abstract_state: dataclass of trees of `jax.ShapeDtypeStruct` with shardings.
        """
        path = os.path.join(self.directory, str(self.latest_step))
        stored = _stored_shapes(path)
        check_leaves(path, stored, abstract_state)
        # By field, and those alone that are stored: older states have no place for a sketch.
        names = [f.name for f in dataclasses.fields(abstract_state) if f.name in stored]
        wanted = {name: getattr(abstract_state, name) for name in names}
        args = ocp.args.Composite(**{STATE: ocp.args.StandardRestore(wanted)})
        restored = self._manager.restore(self.latest_step, args=args)[STATE]
        return dataclasses.replace(abstract_state, **restored)

    def wait(self) -> None:
        """Returns when what was saved is on disk."""
        self._manager.wait_until_finished()


def exists(workdir: str) -> bool:
    """Whether the workdir holds a finished checkpoint."""
    return bool(_steps(os.path.join(workdir, "checkpoints")))


def find(path: str) -> str:
    """The step folder that `path` means: itself, or the newest of a workdir or checkpoint folder.

    Raises:
      InputError: nothing there, or no whole checkpoint in it.
    """
    path = os.path.abspath(path)
    if not os.path.isdir(path):
        raise InputError(
            f"No checkpoint at {path!r}: no such folder. Give a run's workdir, or one step of its "
            "checkpoints folder such as runs/quickstart/checkpoints/800."
        )
    if _is_step(path):
        return path
    for folder in (os.path.join(path, "checkpoints"), path):
        steps = _steps(folder)
        if steps:
            return os.path.join(folder, str(max(steps)))
    raise InputError(
        f"No checkpoint in {path!r}: it holds neither a step's `state` and `info` nor a "
        "`checkpoints` folder with finished steps."
    )


def load_info(path: str) -> dict[str, Any]:
    """The `info` of a step folder (see `find`)."""
    with _whole(path):
        with open(os.path.join(path, INFO, "metadata")) as f:  # as orbax names it
            info = json.load(f)
        if not isinstance(info, dict):
            raise TypeError(f"`{INFO}` holds no table but {type(info).__name__}")
    return info


def load_arrays(path: str) -> dict[str, Any]:
    """Every array of a step folder as numpy, whatever devices and hosts it was saved from."""
    as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
    args = ocp.args.PyTreeRestore(
        restore_args=jax.tree.map(lambda _: as_numpy, _stored_shapes(path))
    )
    with _whole(path), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        return reader.restore(os.path.join(path, STATE), args=args)


def load_variables(path: str, abstract_variables: Any) -> dict[str, Any]:
    """What evaluation needs of a step folder: `COLLECTIONS`.

    The moving averages take the place of `params` and `batch_stats` where the run kept them. The
    optimizer's arrays are not read.

    Args:
      path: a step folder.
      abstract_variables: by collection, of `jax.ShapeDtypeStruct` with shardings; those without
        come as numpy.

    Raises:
      InputError: the checkpoint is of another architecture (the message names leaves), or damaged.
    """
    stored = _stored_shapes(path)
    names = _evaluated(stored)
    wanted = {names.get(k, k): v for k, v in abstract_variables.items() if v}
    check_leaves(path, stored, wanted)
    args = ocp.args.PyTreeRestore(
        item=wanted,
        restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        partial_restore=True,
    )
    with _whole(path), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        restored = reader.restore(os.path.join(path, STATE), args=args)
    return {k: restored.get(name) or {} for k, name in names.items()}


def variable_shapes(path: str) -> dict[str, Any]:
    """Shapes of what `load_variables` reads of a step folder, as `jax.ShapeDtypeStruct`s."""
    stored = _stored_shapes(path)
    return {
        k: jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype),
            stored.get(name) or {},
        )
        for k, name in _evaluated(stored).items()
    }


def save_variables(path: str, variables: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Writes `COLLECTIONS` as a step folder that everything above can read.

    What is at `path` is replaced when the new folder is whole.

    Args:
      path: the folder.
      variables: arrays by collection; all but `params` may be missing.
      info: anything JSON can hold.

    Raises:
      InputError: something else than weights is at `path`: other files, or a run's checkpoint.
    """
    json.dumps(dict(info))  # found here, what JSON cannot hold costs nothing
    check_replaceable(path)
    state = {name: dict(variables.get(name) or {}) for name in COLLECTIONS}
    state = {name: tree for name, tree in state.items() if tree or name != "sketch"}
    items = ocp.args.Composite(
        **{STATE: ocp.args.StandardSave(state), INFO: ocp.args.JsonSave(dict(info))}
    )
    with (
        files.replacing_folder(path) as new,
        ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer,
    ):
        writer.save(new, args=items)


def check_replaceable(path: str) -> None:
    """Raises `InputError` unless weights may be written to `path`: nothing there, or weights."""
    path = os.path.abspath(path)  # orbax reads no other
    if not os.path.lexists(path) or (os.path.isdir(path) and not os.listdir(path)):
        return
    if not _is_step(path):
        raise InputError(
            f"{path!r} exists and is no checkpoint; give a folder that does not exist yet."
        )
    if set(_stored_shapes(path)) - set(COLLECTIONS):
        raise InputError(
            f"{path!r} is a checkpoint of a training run, which weights alone must not replace; "
            "give another folder."
        )


def check_leaves(path: str, stored: Any, wanted: Any) -> None:
    """Raises `InputError` where a wanted leaf is missing in the checkpoint or has another shape.

    Leaves that only the checkpoint has count as a difference too, in the collections wanted.

    Args:
      path: of the checkpoint, for the message.
      stored: tree of arrays or shapes.
      wanted: the model's.
    """
    have, want = trees.named_shapes(stored), trees.named_shapes(wanted)
    collections = {name.split("/")[0] for name in want}
    have = {name: shape for name, shape in have.items() if name.split("/")[0] in collections}
    found = list(trees.differences(have, want, "checkpoint").values())
    if found:
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise InputError(
            f"Checkpoint {path!r} is of another architecture than the config's model: "
            f"{'; '.join(found[:5])}{more}. Use the config the checkpoint was trained with."
        )


def _steps(folder: str) -> list[int]:
    if not os.path.isdir(folder):
        return []
    names = [name for name in os.listdir(folder) if name.isdigit()]
    return [int(name) for name in names if _is_step(os.path.join(folder, name))]


def _is_step(path: str) -> bool:
    return all(os.path.isdir(os.path.join(path, item)) for item in (STATE, INFO))


def _stored_shapes(path: str) -> Any:
    # Of the handler, not of a Checkpointer, which warns that an item has no metadata of its own.
    with _whole(path):
        return ocp.PyTreeCheckpointHandler().metadata(epath.Path(path) / STATE).tree


def _evaluated(stored: Mapping[str, Any]) -> dict[str, str]:
    """What is stored of each collection to evaluate with: the moving averages where there are."""
    prefix = "ema_" if stored.get("ema_params") else ""
    names = {name: f"{prefix}{name}" for name in ("params", "batch_stats")}
    return names | ({"sketch": "sketch"} if stored.get("sketch") else {})


@contextlib.contextmanager
def _whole(path: str) -> Iterator[None]:
    """Turns what reading a damaged folder raises into one line."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as e:
        reason = " ".join(str(e).split())[:160]
        raise InputError(
            f"Checkpoint {path!r} is damaged or not whole ({type(e).__name__}: {reason}); copy or "
            "convert it again."
        ) from e
