"""Training, from a config to checkpoints and results; reads top to bottom."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from tempo import (
    checkpoint,
    evaluate,
    experiment,
    init_from,
    loop,
    optim,
    pretrained,
    program_cache,
    programs,
    recipe,
    sharding,
    trainable,
)
from tempo.checkpoint import Checkpoints
from tempo.data import flow, pipeline, profile
from tempo.errors import InputError, NonFiniteError
from tempo.experiment import Experiment
from tempo.metric_writer import MetricWriter
from tempo.multigrid import Plan
from tempo.progress import Progress, say
from tempo.state import TrainState
from tempo.step import Step
from tempo.types import Array
from tempo.watchdog import LossWatch, StopSignal


@dataclasses.dataclass(frozen=True)
class Ended:
    """What became of a run.

    Attributes:
      rows: of `results.json`; empty if the run has not come to its end.
      end: what its last checkpoint says of the end: `step` of `total_steps`, and where there is a
        main evaluator its `metric`, the `value` there and the `stop_at` that it was to reach; None
        if the run was told to stop before.
      is_told_to_stop: by SIGTERM, in its last step perhaps.
    """

    rows: list[dict[str, Any]]
    end: Mapping[str, Any] | None
    is_told_to_stop: bool = False


def train(config: ml_collections.ConfigDict, workdir: str) -> list[dict[str, Any]]:
    """Trains (or goes on training) in `workdir`, then evaluates.

    Args:
      config: see `tempo.recipe`.
      workdir: holds everything the run writes. If it holds a run of the same config that was cut
        short, that run goes on from its newest checkpoint, bit for bit as if never cut. Only a
        run that begins reads `config.init_from`.

    Returns:
      The rows of `results.json`; empty if the run was told to stop before its end.

    Raises:
      InputError: before any long work, for a config, dataset or workdir that cannot be used.
      NonFiniteError: the loss, its gradient or the state became NaN or infinite.
    """
    return run(config, workdir).rows


def run(
    config: ml_collections.ConfigDict | Mapping[str, Any],
    workdir: str,
    weights_from: init_from.Sources = "",
) -> Ended:
    """As `train`, and says how the run ended.

    Args:
      config: see `tempo.recipe`.
      workdir: of the run.
      weights_from: folders of the weights to begin from, in place of `config.init_from`.

    Raises:
      InputError: as `train`.
      NonFiniteError: as `train`.
    """
    asked = recipe.from_config(config)
    recipe.check_stop(asked)
    # Weights that do not fit are found before the data are made; a run that goes on needs none.
    weights = None if checkpoint.exists(workdir) else init_from.begin(asked, weights_from)
    exp, plan, evaluators, schedule = _prepare(config, workdir)
    r = exp.recipe
    experiment.announce(exp)
    say(f"schedule  {plan.summary()}")
    experiment.claim_workdir(workdir, exp.config)

    made = trainable.create(exp, schedule)
    with program_cache.cached_in(r.loop.compile_cache):
        with Checkpoints(
            workdir,
            keep_latest=r.loop.keep_checkpoints,
            best_metric=evaluate.best_metric(evaluators),
        ) as checkpoints:
            # 1. Go on with this workdir's run. 2. Start from other weights. 3. Start from scratch.
            ended, rows = Ended([], None), {}
            if checkpoints.latest_step is not None:
                info = checkpoints.load_info()
                check_same_data(info, r.data.dir, exp.records.manifest_sha256)
                ended = Ended([], info.get("end"))
                state = checkpoints.restore(made.abstract)
                say(f"resumed at step {int(state.step)} of {plan.num_steps}")
            else:
                loaded = _load(weights, exp, made.abstract) if weights else {}
                state = made.begin(loaded)
                del loaded
            try:
                if r.is_untrained and ended.end is None:
                    ended = _keep_untrained(exp, state, checkpoints)
                elif ended.end is None:
                    state, rows, ended = _loop(
                        exp, plan, made.step, state, evaluators, checkpoints, workdir
                    )
            except NonFiniteError as e:
                checkpoints.delete(e.bad_step)
                raise
            if checkpoints.best_step is not None:
                say(f"best checkpoint so far: step {checkpoints.best_step}")

        return _finish(ended, evaluators, state, workdir, rows)


def check(config: ml_collections.ConfigDict | Mapping[str, Any], workdir: str) -> Experiment:
    """Finds what would keep `run` from its first step, but for weights; writes no workdir.

    Args:
      config: see `tempo.recipe`.
      workdir: of the run.

    Returns:
      The experiment, its data open (and made, where the config says how).

    Raises:
      InputError: as `run`.
    """
    exp, *_ = _prepare(config, workdir)
    experiment.compare_workdir(workdir, exp.config)
    if checkpoint.exists(workdir):
        info = checkpoint.load_info(checkpoint.find(workdir))
        check_same_data(info, exp.recipe.data.dir, exp.records.manifest_sha256)
    return exp


def _prepare(
    config: ml_collections.ConfigDict | Mapping[str, Any], workdir: str
) -> tuple[Experiment, Plan, list[evaluate.Evaluator], optim.Schedule]:
    """All of a run that is checked as it is made."""
    exp = experiment.create(config)
    r = exp.recipe
    plan = experiment.plan(exp)
    evaluators = evaluate.create_evaluators(exp, workdir)
    schedule = trainable.make_schedule(exp, plan)
    # Opened without the workers that would begin to read.
    trainable.batches(exp, plan, num_workers=min(r.data.num_workers, 0)).close()
    return exp, plan, evaluators, schedule


def _finish(
    ended: Ended,
    evaluators: list[evaluate.Evaluator],
    state: TrainState,
    workdir: str,
    done: Mapping[str, dict[str, Any]],
) -> Ended:
    """With the results of a run that has come to its end; `done` has what is there of them."""
    end, facts = ended.end, {}
    if end is None:
        return ended
    if end["step"] < end["total_steps"]:
        facts = {"stopped": dict(end)}
        say(
            f"stopped at step {end['step']} of {end['total_steps']}, for {end['metric']} "
            f"{end['value']:.3f} has reached loop.stop_at={end['stop_at']:g}"
        )
    variables, step = state.eval_variables(), int(state.step)
    rows = evaluate.finish(evaluators, variables, step, workdir, done=done, facts=facts)
    return dataclasses.replace(ended, rows=rows)


def _load(
    weights: init_from.Start, exp: Experiment, abstract_state: TrainState
) -> dict[str, Array]:
    """What the run takes of other weights, by leaf name; says what that is."""
    variables = {"params": abstract_state.params, "batch_stats": abstract_state.batch_stats}
    variables |= abstract_state.fixed
    classes = init_from.Classes(exp.records.num_classes, exp.records.class_names)
    plan = weights.plan(init_from.shapes_of(exp.recipe, classes.count), classes)
    init_from.check_whole(exp.recipe, plan, variables)
    say(weights.report(plan))
    for own in weights.weights:
        if exp.flow is not None:
            _warn_of_flow(own, exp)
        pretrained.warn_of_normalization(own.path, own.info, exp.recipe.input.device_ops)
    return weights.load(plan, variables)


def _warn_of_flow(weights: init_from.Weights, exp: Experiment) -> None:
    """Says in one line if weights know other flow than they will be trained on."""
    try:
        flow.check_trained(weights.info.get("flow"), exp.records.flow, repr(weights.path))
    except InputError as e:
        say(f"warning   {e}")


def _keep_untrained(exp: Experiment, state: TrainState, checkpoints: Checkpoints) -> Ended:
    """The end of a run without steps: what it starts with is its last checkpoint."""
    end = {"step": 0, "total_steps": 0}
    checkpoints.save(0, state, {**exp.checkpoint_info(), "step": 0, "end": end})
    return Ended([], end)


def check_same_data(info: Mapping[str, Any], data_dir: str, manifest_sha256: str) -> None:
    """Raises `InputError` if a run was trained on another dataset than is there.

    Args:
      info: of a checkpoint of the run.
      data_dir: where the config has the dataset.
      manifest_sha256: of the dataset there.
    """
    if info["manifest_sha256"] != manifest_sha256:
        raise InputError(
            f"The run in this workdir was trained on the dataset {info['manifest_sha256'][:12]}, "
            f"but {data_dir!r} holds {manifest_sha256[:12]}; give the "
            "dataset it began with, or another --workdir."
        )


def _loop(
    exp: Experiment,
    plan: Plan,
    step_fn: Step,
    state: TrainState,
    evaluators: list[evaluate.Evaluator],
    checkpoints: Checkpoints,
    workdir: str,
) -> tuple[TrainState, dict[str, dict[str, Any]], Ended]:
    """Steps to the end of the run or to SIGTERM: the state, the last step's result rows, the end.

    Rows of results are left to the caller.
    """
    r, total_steps = exp.recipe, plan.num_steps
    start = int(state.step)
    step_fn = programs.ahead(step_fn, plan.programs(start), exp.extra_frames)
    # Of a run from before ends were stored, whose last step is done.
    end = {"step": start, "total_steps": total_steps} if start == total_steps else None
    stopping = False
    lead = sharding.is_lead_process()
    info = exp.checkpoint_info()
    watch = LossWatch()
    rows = {}
    with (
        StopSignal() as stop,
        MetricWriter(workdir, start_step=start, enabled=lead) as writer,
        Progress(start, total_steps, visible=lead) as progress,
        trainable.batches(exp, plan, start) as batches,
    ):
        running = loop.steps(
            step_fn,
            state,
            loop.Feed(batches, sharding.batch_sharding(exp.mesh)),
            start=start,
            stop=total_steps,
            num_clips=lambda step: plan.at(step - 1).batch_size,
            progress=progress,
            watch=watch,
        )
        for step, state, metrics in running:
            last = step == total_steps
            if last or step % r.loop.log_every_steps == 0:
                watch.check()
                scalars = {**jax.device_get(metrics), **progress.rates()}
                writer.write_scalars(step, {**scalars, "epoch": plan.epochs(step)})
                progress.show(scalars)

            due = [e for e in evaluators if e.is_due(step, plan)]
            stopping = stop.requested(step)
            if due or last or stopping or step % r.loop.checkpoint_every_steps == 0:
                watch.check()
                with progress.paused():
                    rows = {e.name: e.run(state.eval_variables(), step) for e in due}
                scores = {e.main_metric: rows[e.name][e.metric] for e in due}
                if scores:
                    writer.write_scalars(step, scores)
                end = _end(step, total_steps, scores, checkpoints.best_metric, r.loop.stop_at)
                checkpoints.save(step, state, {**info, "step": step, "end": end}, scores)
                if end:
                    break
            if stopping:
                say(f"stopped after step {step} and saved; the same command goes on")
                break
    return state, rows, Ended([], end, stopping)


def _end(
    step: int, total_steps: int, scores: Mapping[str, float], metric: str, stop_at: float
) -> dict[str, Any] | None:
    """What is stored of a run's end if `step` is its last one, see `Ended`; else None."""
    measured = metric in scores
    if step < total_steps and not (measured and stop_at and scores[metric] >= stop_at):
        return None
    end = {"step": step, "total_steps": total_steps}
    if measured:
        end |= {"metric": metric, "value": float(scores[metric]), "stop_at": stop_at}
    return end


def profile_input(config: ml_collections.ConfigDict, seconds: float = 3.0) -> str:
    """What the training input of a config costs, and what to change; trains nothing.

    Args:
      config: see `tempo.recipe`.
      seconds: of each of the measurements, of which there are about five.

    Raises:
      InputError: a config or dataset that cannot be used.
    """
    exp = experiment.create(config)
    plan = experiment.plan(exp)
    r = exp.recipe

    def open_batches(num_threads: int) -> pipeline.Batches:
        # Clips of the base shape, without end.
        own = {"shape_at": None, "num_steps": None, "worker_kind": "thread"}
        return trainable.batches(exp, plan, num_workers=num_threads, **own)

    return profile.report(
        profile.measure(open_batches, seconds=seconds),
        kind=exp.records.kind,
        short_side_px=exp.records.short_side_px,
        size_px=r.input.size_px,
        num_workers=r.data.num_workers,
    )
