"""Optimizers and learning-rate schedules from a config's numbers."""

import itertools
import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from tempo import trees
from tempo.errors import InputError, check_keys, check_whole, is_whole, lookup

BASE = "^backbone/"
"""Leaves of the network that features come from."""

Schedule = Callable[[Any], Any]
"""Number of finished steps -> learning rate of the next one."""


def create(
    schedule: Schedule,
    *,
    name: str = "sgd",
    momentum: float = 0.9,
    nesterov: bool = True,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-4,
    decay_pattern: str = ".*",
    clip_norm: float = 0.0,
    lr_multipliers: Sequence[tuple[str, float]] = (),
    frozen_pattern: str = "",
    freeze_base_steps: int = 0,
    base_pattern: str = BASE,
) -> optax.GradientTransformation:
    """The gradient transformation.

    Args:
      schedule: learning rate by number of finished steps.
      name: `sgd` or `adamw`.
      momentum: momentum of `sgd`, first-moment decay of `adamw`.
      nesterov: Nesterov momentum (`sgd`).
      b2: second-moment decay of `adamw`.
      eps: added to the root of the second moment (`adamw`).
      weight_decay: for `sgd` the L2 term added to the gradient after clipping, as in PyTorch; for
        `adamw` the decoupled term.
      decay_pattern: which leaf names decay; `kernel$` leaves out biases and norms.
      clip_norm: limit of the global L2 norm of the gradient; 0 is no limit.
      lr_multipliers: (regular expression of leaf names, factor on the learning rate) rows; the
        first match counts.
      frozen_pattern: leaf names that are not trained; "" trains everything. They do not count in
        the gradient's norm.
      freeze_base_steps: for so many steps at the start of the run the leaves of `base_pattern` are
        frozen too, while those that are new find values that they can use: neither gradient nor
        decay reaches them or their momentum. Running statistics move all the same.
      base_pattern: leaf names that `freeze_base_steps` freezes.
    """
    rules = lookup(_RULES, name, "optimizer")(momentum=momentum, nesterov=nesterov, b2=b2, eps=eps)
    decay = optax.add_decayed_weights(weight_decay, lambda tree: trees.mask(tree, decay_pattern))
    freeze = _freeze(frozen_pattern)
    # None where nothing is held: every part of a chain has a place in stored states.
    hold = (_hold(base_pattern, freeze_base_steps),) if freeze_base_steps else ()
    return optax.chain(
        freeze,
        *hold,
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        *((decay, *hold, rules) if name == "sgd" else (rules, decay, *hold)),
        _multiply(lr_multipliers),
        optax.scale_by_learning_rate(schedule),
        freeze,
    )


def make_schedule(
    total_steps: int,
    steps_per_epoch: int | Callable[[float], int],
    batch_size: int,
    *,
    name: str = "cosine",
    base_lr: float = 0.01,
    reference_batch: int = 0,
    warmup_epochs: float = 0.0,
    warmup_steps: int = 0,
    warmup_factor: float = 0.0,
    boundaries_epochs: Sequence[float] = (),
    boundaries_steps: Sequence[int] = (),
    factor: float = 0.1,
    final_factor: float = 0.0,
) -> Schedule:
    """The learning-rate schedule, on whole steps.

    Args:
      total_steps: length of the run.
      steps_per_epoch: turns epochs into steps; a function does it where not all take as many.
      batch_size: global batch; used with `reference_batch`.
      name: `constant`, `steps` (times `factor` at each boundary) or `cosine` (half a period from
        the end of the warm-up to the end of the run, down to `final_factor`).
      base_lr: learning rate after the warm-up, for a batch of `reference_batch`.
      reference_batch: linear scaling rule (arXiv 1706.02677): the rate is multiplied by
        `batch_size / reference_batch`; 0 switches the rule off.
      warmup_epochs: linear rise from `warmup_factor` times the rate to the rate.
      warmup_steps: its length in steps, in place of `warmup_epochs`.
      warmup_factor: where the warm-up starts, as a fraction.
      boundaries_epochs: of `steps`.
      boundaries_steps: the same as finished steps, in place of `boundaries_epochs`.
      factor: of `steps`.
      final_factor: of `cosine`.
    """
    lr = base_lr * (batch_size / reference_batch if reference_batch else 1.0)

    def steps_in(epochs: float) -> int:
        return (
            steps_per_epoch(epochs)
            if callable(steps_per_epoch)
            else round(epochs * steps_per_epoch)
        )

    if warmup_steps < 0 or (warmup_steps and warmup_epochs):
        raise InputError(
            f"schedule.warmup_steps={warmup_steps} must be at least 0, and stands in place of "
            f"warmup_epochs={warmup_epochs:g}; set one of them to 0."
        )
    told = f"warmup_steps={warmup_steps}"
    if warmup_epochs:
        warmup_steps = steps_in(warmup_epochs)
        told = f"warmup_epochs={warmup_epochs} is {warmup_steps} steps"
    if warmup_steps >= total_steps and warmup_steps and total_steps:
        raise InputError(
            f"schedule.{told}, but the run has only {total_steps}; shorten the warm-up or raise "
            "total_epochs."
        )
    if boundaries_epochs and boundaries_steps:
        raise InputError(
            f"schedule.boundaries_steps={tuple(boundaries_steps)} stands in place of "
            f"boundaries_epochs={tuple(boundaries_epochs)}; set one of them to ()."
        )
    if boundaries_steps and 0 < total_steps <= boundaries_steps[-1]:
        raise InputError(
            f"schedule.boundaries_steps={tuple(boundaries_steps)} goes past the run, which has "
            f"only {total_steps} steps; leave out what is not reached, or raise total_steps."
        )
    boundaries = boundaries_steps or [steps_in(e) for e in boundaries_epochs]
    decay = lookup(_SCHEDULES, name, "schedule")(
        lr=lr,
        decay_steps=max(total_steps - warmup_steps, 1),
        boundaries=[boundary - warmup_steps for boundary in boundaries],
        factor=factor,
        final_factor=final_factor,
    )
    if not warmup_steps:
        return decay
    warmup = optax.linear_schedule(lr * warmup_factor, lr, warmup_steps)
    return optax.join_schedules([warmup, decay], [warmup_steps])


def multiplied(schedule: Schedule, factors: Sequence[tuple[int, float]]) -> Schedule:
    """The schedule, warm-up and all, times the factor of the last row that has begun.

    Args:
      schedule: of `make_schedule`.
      factors: (first step, factor) rows in their order, the first from step 0.
    """
    if all(factor == 1 for _, factor in factors):
        return schedule
    starts, values = (np.array(column) for column in zip(*factors, strict=True))

    def product(step):
        row = jnp.searchsorted(jnp.asarray(starts), step, side="right") - 1
        return schedule(step) * jnp.asarray(values, jnp.float32)[row]

    return product


def check(settings: Mapping[str, Any]) -> None:
    """Raises `InputError` for arguments of `create` that are unknown or cannot be used."""
    check_keys("config.optim", settings, create)
    if "name" in settings:
        lookup(_RULES, settings["name"], "optimizer")
    check_whole("config.optim.freeze_base_steps", settings.get("freeze_base_steps", 0), 0)
    names = ("decay_pattern", "frozen_pattern", "base_pattern")
    patterns = [settings.get(name, "") for name in names]
    try:
        patterns += [pattern for pattern, _ in settings.get("lr_multipliers", ())]
    except (TypeError, ValueError):
        raise InputError(
            "config.optim.lr_multipliers must be (regular expression, factor) rows such as "
            f"(('^head/', 10.0),); got {settings['lr_multipliers']!r}."
        ) from None
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (TypeError, re.error) as e:
            raise InputError(
                f"config.optim: {pattern!r} is not a regular expression ({e})."
            ) from None


def check_base(settings: Mapping[str, Any], params: Any) -> None:
    """Raises `InputError` if the steps that hold the base would hold nothing, or everything.

    Args:
      settings: arguments of `create`.
      params: of the model, arrays or shapes.
    """
    pattern = settings.get("base_pattern", BASE)
    held = [bool(re.search(pattern, name)) for name in trees.leaf_names(params)]
    if settings.get("freeze_base_steps", 0) and (all(held) or not any(held)):
        raise InputError(
            f"config.optim.base_pattern={pattern!r} matches {'every' if any(held) else 'no'} leaf "
            "of the model; name those that freeze_base_steps is to hold, such as '^backbone/'."
        )


def check_length(settings: Mapping[str, Any], total_steps: int) -> None:
    """Raises `InputError` if the steps that hold the base are all of the run.

    Args:
      settings: arguments of `create`.
      total_steps: length of the run; without any there is nothing to hold.
    """
    held = settings.get("freeze_base_steps", 0)
    if 0 < total_steps <= held:
        raise InputError(
            f"config.optim.freeze_base_steps={held} holds the base in all {total_steps} steps of "
            "the run; lower it, or name in frozen_pattern what is never trained."
        )


def check_schedule(settings: Mapping[str, Any]) -> None:
    """Raises `InputError` for arguments of `make_schedule` that are unknown or cannot be used."""
    check_keys("config.schedule", settings, make_schedule)
    name = settings.get("name", "cosine")
    lookup(_SCHEDULES, name, "schedule")
    check_whole("config.schedule.warmup_steps", settings.get("warmup_steps", 0), 0)
    steps = settings.get("boundaries_steps", ())
    _check_rising("boundaries_steps", steps, is_whole, "whole numbers")
    epochs = settings.get("boundaries_epochs", ())
    _check_rising("boundaries_epochs", epochs, lambda e: isinstance(e, numbers.Real), "numbers")
    if steps and name != "steps":
        raise InputError(
            f"config.schedule.boundaries_steps={tuple(steps)} is of the schedule 'steps', but the "
            f"name is {name!r}; set boundaries_steps to (), or the name to 'steps'."
        )


def _check_rising(name: str, given: Any, is_fit: Callable[[Any], bool], words: str) -> None:
    is_list = isinstance(given, list | tuple) and all(map(is_fit, given))
    if not is_list or not all(a < b for a, b in itertools.pairwise((0, *given, math.inf))):
        raise InputError(
            f"config.schedule.{name} must be {words} that rise from above 0, such as (10, 20); "
            f"got {given!r}."
        )


def _sgd(*, momentum: float, nesterov: bool, **_: float) -> optax.GradientTransformation:
    return optax.trace(decay=momentum, nesterov=nesterov) if momentum else optax.identity()


def _adam(*, momentum: float, b2: float, eps: float, **_: float) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=momentum, b2=b2, eps=eps)


_RULES = {"sgd": _sgd, "adamw": _adam}


def _constant(*, lr: float, **_: Any) -> Schedule:
    return optax.constant_schedule(lr)


def _steps(*, lr: float, boundaries: Sequence[int], factor: float, **_: Any) -> Schedule:
    return optax.piecewise_constant_schedule(lr, {b: factor for b in boundaries})


def _cosine(*, lr: float, decay_steps: int, final_factor: float, **_: Any) -> Schedule:
    def schedule(step):
        turn = math.pi * jnp.minimum(step, decay_steps) / decay_steps
        return lr * (final_factor + (1 - final_factor) * 0.5 * (1 + jnp.cos(turn)))

    return schedule


_SCHEDULES = {"constant": _constant, "steps": _steps, "cosine": _cosine}


def _freeze(pattern: str) -> optax.GradientTransformation:
    if not pattern:
        return optax.identity()
    return optax.masked(optax.set_to_zero(), lambda tree: trees.mask(tree, pattern))


def _hold(pattern: str, num_steps: int) -> optax.GradientTransformation:
    """Zeroes the leaves of a pattern in the first steps."""
    held = optax.scale_by_schedule(lambda step: jnp.where(step < num_steps, 0.0, 1.0))
    return optax.masked(held, lambda tree: trees.mask(tree, pattern))


def _multiply(multipliers: Sequence[tuple[str, float]]) -> optax.GradientTransformation:
    if not multipliers:
        return optax.identity()

    def factor(name: str) -> float:
        return next((f for pattern, f in multipliers if re.search(pattern, name)), 1.0)

    def update(updates, params=None):
        del params
        return trees.map_with_names(lambda name, u: u * factor(name), updates)

    return optax.stateless(update)
