"""Which steps a config trains for, on clips of which shapes and at which learning rate, as text.

A config with stages has a block for each of them, in the order in which they run.

python -m tempo.main --config C --explain-schedule
"""

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from tempo import experiment, multigrid, optim, recipe, stages
from tempo.data import pipeline
from tempo.errors import InputError
from tempo.recipe import Recipe
from tempo.types import ClipShape

_MAX_PHASES = 20  # more are cut in the middle


def of_config(config: Mapping[str, Any], num_videos: int = 0) -> str:
    """The schedule of a config, or of all its stages one after the other.

    Args:
      config: see `tempo.recipe` and `tempo.stages`.
      num_videos: training videos, of every stage; 0 asks the records.

    Raises:
      InputError: as `count_videos` and `explain`; it names the stage.
    """
    configs = stages.split(config)
    if not configs:
        return _of_run(config, num_videos)
    parts = []
    for number, (name, own) in enumerate(configs.items(), start=1):
        try:
            told = _of_run(own, num_videos)
        except InputError as e:
            raise InputError(f"Stage {name!r}: {e}") from None
        parts.append(f"stage {name}, {number} of {len(configs)}\n\n{told}")
    return "\n".join(parts)


def _of_run(config: Mapping[str, Any], num_videos: int) -> str:
    made = recipe.from_config(config)
    return explain(made, *count_videos(made, num_videos))


def count_videos(r: Recipe, given: int = 0) -> tuple[int, str]:
    """Videos of the training split, and who says so; makes no data.

    Args:
      r: a checked config.
      given: by the user; 0 asks the records, or what the config would make.

    Raises:
      InputError: nobody says so.
    """
    if given:
        return given, "given"
    folder, split = r.data.dir, r.data.train_split
    if pipeline.is_complete(folder):
        return len(pipeline.open_records(folder).split(split)), f"in split {split!r} of {folder!r}"
    made = int(r.data.generate.get("num_train", 0))
    if made:
        return made, "that config.data.generate would make"
    raise InputError(
        f"There are no records in {folder!r} to count the training videos of; say --num_videos."
    )


def explain(r: Recipe, num_videos: int, source: str = "given") -> str:
    """The schedule of a run on so many videos, as lines of text.

    Args:
      r: a checked config.
      num_videos: of the training split.
      source: who says so.

    Raises:
      InputError: a run that training would refuse, on one device.
    """
    plan = experiment.plan_of(r, num_videos)
    experiment.check_batches(r, plan, 1)
    rates = _rates(r, plan)
    length = f"{r.total_epochs:g} epochs of the plain schedule"
    if r.total_steps:
        length = f"{r.total_steps} steps"
    if r.is_untrained:
        return f"{num_videos} videos ({source}), no steps: the weights are evaluated as they are.\n"
    lines = [
        f"{num_videos} videos ({source}), {length}, multigrid.cycle={r.multigrid.cycle!r}.",
        "",
        *_phases(plan, rates),
        "",
        *_shapes(plan, has_strides=r.clip.sampling != "segments"),
        "",
        *_saving(plan, r.batch_size),
    ]
    return "\n".join(lines) + "\n"


def _rates(r: Recipe, plan: multigrid.Plan) -> list[tuple[float, float]]:
    """Learning rates of the first and the last step of each phase."""
    schedule = optim.make_schedule(plan.num_steps, plan.steps_in, r.batch_size, **r.schedule)
    schedule = optim.multiplied(schedule, plan.lr_factors)
    ends = [(phase.first_step, phase.end_step - 1) for phase in plan.phases]
    found = np.asarray(jax.vmap(schedule)(np.asarray(ends, np.int32).ravel()))
    return [
        tuple(map(float, pair)) for pair in np.broadcast_to(found, (2 * len(ends),)).reshape(-1, 2)
    ]


def _phases(plan: multigrid.Plan, rates: Sequence[tuple[float, float]]) -> Iterator[str]:
    header = ("phase", "clips x frames x px of its steps in turn", "steps", "to epoch", "rate")
    rows = [header]
    for phase, (first, last) in zip(plan.phases, rates, strict=True):
        factor = f"{first:.3g} to {last:.3g}"
        if not plan.is_plain:
            factor += f" (x{phase.lr_factor:g})"
        shapes = ", ".join(map(_short, phase.shapes))
        shown = f"{plan.epochs(phase.end_step):.1f}"
        rows.append((phase.name, shapes, str(phase.num_steps), shown, factor))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    left_out = len(plan.phases) - _MAX_PHASES
    if left_out > 0:
        half = _MAX_PHASES // 2
        lines[1 + half : -half] = [f"... {left_out} more, likewise ..."]
    yield from lines


def _shapes(plan: multigrid.Plan, has_strides: bool) -> Iterator[str]:
    steps = collections.Counter()
    for phase in plan.phases:
        whole, rest = divmod(phase.num_steps, len(phase.shapes))
        for i, shape in enumerate(phase.shapes):
            steps[shape] += whole + (i < rest)
    shapes = plan.programs()
    yield f"{len(shapes)} distinct {'shape' if len(shapes) == 1 else 'shapes'}, compiled once each:"
    width = max(len(_short(shape)) for shape in shapes)
    for shape in shapes:
        low, high = min(shape.strides), max(shape.strides)
        strides = f"stride {low}" + (f" to {high}" if high > low else "") + ", "
        yield f"  {_short(shape):{width}}  {strides * has_strides}{steps[shape]} steps"


def _saving(plan: multigrid.Plan, batch_size: int) -> Iterator[str]:
    shown = plan.epochs(plan.num_steps)
    yield f"{plan.num_steps} steps show {shown:.1f} epochs."
    if plan.is_plain:
        return
    clips = shown * plan.clips_per_epoch
    yield (
        f"A plain run has {plan.plain_steps} steps of {batch_size} clips: x"
        f"{plan.plain_steps / plan.num_steps:.2f} as many. At equal epochs it would have "
        f"x{clips / batch_size / plan.num_steps:.2f}."
    )
    last = plan.phases[-1]
    if len(plan.phases) > 1 and last.name == "fine-tuning":
        cyclic = last.first_clip / batch_size / last.first_step
        yield f"Until the fine-tuning that is x{cyclic:.2f}."


def _short(shape: ClipShape) -> str:
    return f"{shape.batch_size}x{shape.num_frames}x{shape.size_px}"
