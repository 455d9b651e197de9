"""What training an experiment takes before its first step: schedule, batches, state and step."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from tempo import optim, piecewise, sharding
from tempo import state as states
from tempo.data import device_ops, pipeline
from tempo.experiment import Experiment
from tempo.layers import remat
from tempo.multigrid import Plan
from tempo.state import TrainState
from tempo.step import Step, make_step
from tempo.types import Array


@dataclasses.dataclass(frozen=True)
class Trainable:
    """The state of an experiment and the step that changes it; nothing is computed yet.

    Attributes:
      abstract: shapes and shardings of the state, as a checkpoint restores into.
      step: jitted; takes over the memory of the state it is given.
    """

    abstract: TrainState
    step: Step
    _begin: Any

    def begin(self, loaded: Mapping[str, Array]) -> TrainState:
        """The state before the first step, filled where it lives.

        Args:
          loaded: values by leaf name, in place of drawn ones.
        """
        return self._begin(loaded)


def create(exp: Experiment, schedule: optim.Schedule) -> Trainable:
    """The state and the step of an experiment.

    Args:
      exp: checked.
      schedule: step -> learning rate, see `make_schedule`.
    """
    r = exp.recipe
    tx = optim.create(schedule, **r.optim)

    # The state is born sharded: its shapes are traced, then filled on the devices.
    def init(key: Array, loaded: Mapping[str, Array]) -> TrainState:
        ema = r.loop.ema_decay > 0
        return states.create(exp.model, tx, key, exp.clip_shape, ema=ema, loaded=loaded)

    key = jax.random.key(r.seed)
    shapes = jax.eval_shape(init, key, {})
    shardings = sharding.infer_shardings(shapes, exp.mesh, r.sharding_rules)
    step = make_step(
        exp.model,
        exp.task,
        tx,
        schedule,
        device_ops.create(r.input.device_ops, exp.records.num_classes, r.input.clips_per_video),
        seed=r.seed,
        accumulate_steps=r.loop.accumulate_steps,
        ema_decay=r.loop.ema_decay,
        shardings=shardings,
    )
    out = (shardings, sharding.replicated(exp.mesh))
    options = remat.compiler_options(r.model.get("remat", "none"))
    return Trainable(
        abstract=sharding.as_abstract(shapes, shardings),
        step=jax.jit(step, donate_argnums=0, out_shardings=out, compiler_options=options or None),
        _begin=lambda loaded: piecewise.run(init, key, loaded, out_shardings=shardings),
    )


def make_schedule(exp: Experiment, plan: Plan) -> optim.Schedule:
    """Learning rates of the steps of a plan."""
    r = exp.recipe
    schedule = optim.make_schedule(plan.num_steps, plan.steps_in, r.batch_size, **r.schedule)
    return optim.multiplied(schedule, plan.lr_factors)


def batches(exp: Experiment, plan: Plan, start: int = 0, **changed: Any) -> pipeline.Batches:
    """Training batches of this process; `changed` are arguments of `pipeline.train_batches`."""
    r = exp.recipe
    process_index, process_count = sharding.process_slot(exp.mesh)
    settings = {
        "clip": r.clip,
        "flow": exp.flow,
        "batch_size": r.batch_size,
        "size_px": r.input.size_px,
        "host_ops": r.input.host_ops,
        "extra_frames": exp.extra_frames,
        "clips_per_video": r.input.clips_per_video,
        "shape_at": None if plan.is_plain else plan.at,
        "seed": r.seed,
        "start_step": start,
        "num_steps": plan.num_steps,
        "num_workers": r.data.num_workers,
        "worker_kind": r.data.worker_kind,
        "process_index": process_index,
        "process_count": process_count,
    }
    return pipeline.train_batches(exp.records.split(r.data.train_split), **(settings | changed))
