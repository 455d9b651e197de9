"""How many clips, of how many frames and pixels, each step of a run trains on: plain or multigrid.

Multigrid training (arXiv 1912.00998) trades clips for frames and pixels at about equal cost of a
step, so that an epoch takes fewer steps. A long cycle walks through four base shapes, small clips
in large batches first; a short cycle changes the size from step to step. The last part of the run
keeps to the shape that is tested. `tempo.cycles` has the shapes. All of this is numbers only, and
goes to data workers.
"""

import bisect
import dataclasses
import functools
import itertools
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tempo import cycles
from tempo.errors import InputError, check_whole, lookup
from tempo.types import ClipShape, ClipSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The config section `multigrid`.

    Attributes:
      cycle: a name of `tempo.cycles.CYCLES`. `none` is a plain run; `long` changes the base shape,
        `short` the size from step to step, `both` does both. `per_epoch` is the rule of MTNet's
        released code (arXiv 2011.03949): each quarter of an epoch has one of the four base shapes,
        a short cycle on top begins with the base size, and the learning rate is that of the
        schedule times 1, 1/2, 1/4 and 1/8 instead of 8, 4, 2 and 1. It showed no more epochs:
        `epoch_factor=1`.
      epoch_factor: epochs shown, as a multiple of `total_epochs`.
      num_cycles: long cycles, where no steps of the learning rate say when one ends.
      finetune_share: share of `total_epochs` after the last long cycle, likewise.
      norm_group_size: clips that share the statistics of a BatchNorm; a forward pass of fewer
        clips is one group. 0 is the whole batch.
    """

    cycle: str = "none"
    epoch_factor: float = 1.5
    num_cycles: int = 3
    finetune_share: float = 1 / 6
    norm_group_size: int = 8

    def __post_init__(self):
        lookup(cycles.CYCLES, self.cycle, "cycle (config.multigrid.cycle)")
        whole, real = numbers.Integral, numbers.Real
        for name, kind, fits, what in (
            ("epoch_factor", real, lambda v: 0 < v < math.inf, "a positive number"),
            ("num_cycles", whole, lambda v: v > 0, "a positive whole number"),
            ("finetune_share", real, lambda v: 0 <= v < 1, "a number in [0, 1)"),
            ("norm_group_size", whole, lambda v: v >= 0, "a whole number, 0 (the batch) or more"),
        ):
            value = getattr(self, name)
            if not (isinstance(value, kind) and fits(value)):
                raise InputError(f"multigrid.{name} must be {what}; got {value!r}.")

    @property
    def is_on(self) -> bool:
        """Whether shapes change at all."""
        return self.cycle != "none"


@dataclasses.dataclass(frozen=True)
class Phase:
    """Steps that take the same shapes, one after the other, again and again.

    Attributes:
      name: for people.
      shapes: of the steps of one short cycle.
      lr_factor: on the learning rate.
      first_step: counted from 0.
      num_steps: at least 1, but for a run without any.
      first_clip: clips of all steps before.
    """

    name: str
    shapes: tuple[ClipShape, ...]
    lr_factor: float
    first_step: int
    num_steps: int
    first_clip: int

    @property
    def end_step(self) -> int:
        """First step after it."""
        return self.first_step + self.num_steps

    def clips_before(self, step: int) -> int:
        """Clips of all steps before one of its steps, or before its end."""
        sizes = [shape.batch_size for shape in self.shapes]
        rounds, place = divmod(step - self.first_step, len(sizes))
        return self.first_clip + rounds * sum(sizes) + sum(sizes[:place])


@dataclasses.dataclass(frozen=True)
class Plan:
    """What every step of a run trains on; a pure function of the step, so that runs resume.

    Attributes:
      phases: one after the other; at least one.
      clips_per_epoch: clips that show every video once; of a plain run without those that fill no
        batch, which it drops.
      knots: (epoch of the plain schedule, step) pairs that go together, in order; where two have
        the same epoch, the second counts from it on.
      plain_steps: steps of the same run without multigrid.
      is_plain: one shape throughout, and the order of plain runs.
    """

    phases: tuple[Phase, ...]
    clips_per_epoch: int
    knots: tuple[tuple[float, int], ...]
    plain_steps: int
    is_plain: bool

    @property
    def num_steps(self) -> int:
        """Of the whole run."""
        return self.phases[-1].end_step

    @property
    def lr_factors(self) -> tuple[tuple[int, float], ...]:
        """(first step, factor on the learning rate from there on) of each phase."""
        return tuple((phase.first_step, phase.lr_factor) for phase in self.phases)

    @functools.cached_property
    def _starts(self) -> list[int]:
        return [phase.first_step for phase in self.phases]

    def summary(self) -> str:
        """Steps, clips and shapes, in a line."""
        if not self.num_steps:
            return "no steps: the weights are evaluated as they are"
        sizes = [shape.batch_size for shape in self.programs()]
        if self.is_plain:
            per_epoch = self.clips_per_epoch // sizes[0]
            return f"{self.num_steps} steps of {sizes[0]} clips, {per_epoch} an epoch"
        saving = self.plain_steps / self.num_steps
        return (
            f"{self.num_steps} steps of {min(sizes)} to {max(sizes)} clips in {len(sizes)} shapes "
            f"show {self.epochs(self.num_steps):.4g} epochs; a plain run has {self.plain_steps} "
            f"steps, x{saving:.2f}"
        )

    def phase(self, step: int) -> Phase:
        """Of a step, counted from 0; the last one for those after the run."""
        return self.phases[bisect.bisect_right(self._starts, step) - 1]

    def at(self, step: int) -> ClipShape:
        """The clips of a step, counted from 0."""
        phase = self.phase(step)
        shape = phase.shapes[(step - phase.first_step) % len(phase.shapes)]
        return shape._replace(first_clip=-1 if self.is_plain else phase.clips_before(step))

    def programs(self, start: int = 0) -> tuple[ClipShape, ...]:
        """The distinct shapes of the steps from `start` on, in the order in which they come."""
        found = {}
        for phase in self.phases:
            first = max(phase.first_step, start)
            for step in range(first, min(first + len(phase.shapes), phase.end_step)):
                found[self.at(step)._replace(first_clip=-1)] = None
        return tuple(found)

    def epochs(self, step: int) -> float:
        """How often every video has been shown, on average, after that many steps."""
        last = self.phase(max(step - 1, 0))
        return last.clips_before(step) / self.clips_per_epoch

    def passes(self, step: int, every_epochs: float) -> bool:
        """Whether with its `step`-th step a run completes another `every_epochs` epochs."""
        if self.is_plain:
            return step % max(self.steps_in(every_epochs), 1) == 0
        return self.epochs(step) // every_epochs > self.epochs(step - 1) // every_epochs

    def steps_in(self, epochs: float) -> int:
        """Steps until an epoch of the plain schedule, which the learning rate is told in."""
        if self.is_plain:
            # As runs before there was multigrid: not cut to the length of the run.
            return round(epochs * (self.clips_per_epoch // self.phases[0].shapes[0].batch_size))
        after = bisect.bisect_right(self.knots, epochs, key=lambda knot: knot[0])
        after = min(max(after, 1), len(self.knots) - 1)
        (e0, s0), (e1, s1) = self.knots[after - 1 : after + 1]
        share = (epochs - e0) / (e1 - e0) if e1 > e0 else 1.0
        return round(s0 + share * (s1 - s0))


def plan(
    settings: Settings,
    *,
    clip: ClipSpec,
    size_px: int,
    batch_size: int,
    num_videos: int,
    total_epochs: float,
    total_steps: int = 0,
    clips_per_video: int = 1,
    boundaries_epochs: Sequence[float] = (),
) -> Plan:
    """The plan of a run.

    Args:
      settings: of the config.
      clip: of the base shape, the one that is tested.
      size_px: its side.
      batch_size: its clips.
      num_videos: of the training split.
      total_epochs: of the plain schedule; 0 is a run without steps.
      total_steps: of a plain run, in place of `total_epochs`; 0 is none.
      clips_per_video: in a step.
      boundaries_epochs: of the plain schedule, where its learning rate falls: long cycles end
        there, as in arXiv 1912.00998, and what comes after the last of them is the fine-tuning. As
        in SlowFast's code the last fall waits for the middle of that.

    Raises:
      InputError: clips too short or small for the cycle, boundaries outside the run, or fewer
        clips in the whole of a phase than one step takes.
    """
    rows = cycles.grid(settings.cycle, clip.num_frames, size_px)
    shapes = [tuple(_clip_shape(clip, batch_size, *shape) for shape in row.shapes) for row in rows]
    plain_per_epoch = max(num_videos // max(batch_size // clips_per_video, 1), 1)
    plain_steps = total_steps or max(round(total_epochs * plain_per_epoch), int(total_epochs > 0))
    _check_countable(plain_steps, settings)
    if settings.is_on and total_steps:
        raise InputError(
            f"multigrid.cycle={settings.cycle!r} plans epochs, but total_steps={total_steps} is "
            "given; set total_epochs, and total_steps to 0."
        )
    if not (settings.is_on and plain_steps):
        phase = Phase("plain", shapes[0], 1.0, 0, plain_steps, 0)
        return Plan((phase,), plain_per_epoch * batch_size, (), plain_steps, is_plain=True)

    parts = _parts(settings, rows, total_epochs, boundaries_epochs)
    shown = total_epochs * settings.epoch_factor / sum(part.epochs for part in parts)
    clips_per_epoch = num_videos * clips_per_video
    phases, kept, end = [], [], 0.0
    for part in parts:
        end += part.epochs * shown * clips_per_epoch
        step, clips = (phases[-1].end_step, _end_clip(phases[-1])) if phases else (0, 0)
        sizes = [shape.batch_size for shape in shapes[part.row]]
        phase = Phase(
            name=part.name,
            shapes=shapes[part.row],
            lr_factor=rows[part.row].lr_factor,
            first_step=step,
            num_steps=_steps_of(end - clips, sizes),
            first_clip=clips,
        )
        if not phase.num_steps and part.is_rest:
            # The part before lasts as long; its few clips are left to those that come.
            longer = kept[-1].plain_epochs + part.plain_epochs
            kept[-1] = kept[-1]._replace(plain_epochs=longer)
            continue
        if not phase.num_steps:
            raise InputError(
                f"multigrid.cycle={settings.cycle!r}: {part.name} has {max(end - clips, 0):.0f} "
                f"clips, no step of {sizes[0]}; raise total_epochs, or lower batch_size."
            )
        phases.append(phase)
        kept.append(part)
    knots = _knots(kept, phases, total_epochs, bool(boundaries_epochs))
    return Plan(tuple(phases), clips_per_epoch, knots, plain_steps, is_plain=False)


def check_length(total_epochs: Any, total_steps: Any) -> None:
    """Raises `InputError` for lengths of a run that `plan` does not take."""
    if not (isinstance(total_epochs, numbers.Real) and 0 <= total_epochs < math.inf):
        raise InputError(f"total_epochs must be 0 or more, and finite; got {total_epochs!r}.")
    check_whole("total_steps", total_steps, 0)
    if total_steps and not total_epochs:
        raise InputError(
            f"total_epochs=0 trains nothing, but total_steps={total_steps}; set one of the two: "
            "total_steps=0 counts in epochs, any other total_epochs in steps."
        )


def nearest_batch_sizes(
    batch_size: int, multiples: Sequence[int], fits: Callable[[int], bool]
) -> list[int]:
    """The next smaller and the next larger base batch whose every multiple fits; none is left out.

    Args:
      batch_size: to look around.
      multiples: of the base batch that steps take.
      fits: whether a step may have that many clips.
    """

    def first(bases: range) -> list[int]:
        good = (base for base in bases if all(fits(base * multiple) for multiple in multiples))
        return list(itertools.islice(good, 1))

    return first(range(batch_size - 1, 0, -1)) + first(range(batch_size + 1, 2 * batch_size + 4096))


class _Part(NamedTuple):
    """A phase before its steps are counted; `plain_epochs` is how long the plain run takes.

    `is_rest`: of an epoch that is cut, which may be too short for a step.
    """

    name: str
    row: int
    epochs: float
    plain_epochs: float
    is_rest: bool = False


def _check_countable(plain_steps: int, settings: Settings) -> None:
    """Raises `InputError` if there are more steps than the step of a state, an int32, can count."""
    most = plain_steps * (max(settings.epoch_factor, 1) if settings.is_on else 1)
    if most > 2**31 - 1:
        factor = " or multigrid.epoch_factor" if settings.is_on else ""
        raise InputError(
            f"{most:.3g} steps are more than the {2**31 - 1} that a run may have; lower "
            f"total_epochs{factor}."
        )


def _parts(
    settings: Settings, rows: Sequence[cycles.Row], total_epochs: float, boundaries: Sequence[float]
) -> list[_Part]:
    if settings.cycle == "short":
        return [_Part("short cycles", 0, total_epochs, total_epochs)]
    if settings.cycle == "per_epoch":
        shown = total_epochs * settings.epoch_factor
        # Not an epoch more for an error of rounding.
        lengths = [min(1.0, shown - epoch) / 4 for epoch in range(math.ceil(shown - 1e-9))]
        return [
            _Part(
                f"epoch {e + 1}, quarter {i + 1}",
                i,
                n,
                n / settings.epoch_factor,
                e > 0 and n < 1 / 4,
            )
            for e, n in enumerate(lengths)
            for i in range(4)
        ]
    ends = [*boundaries]
    if not ends:
        cyclic = total_epochs * (1 - settings.finetune_share)
        ends = [cyclic * (i + 1) / settings.num_cycles for i in range(settings.num_cycles)]
    inside = [0.0, *ends, total_epochs]
    if any(a >= b for a, b in itertools.pairwise(inside[:-1])) or ends[-1] > total_epochs:
        raise InputError(
            f"schedule.boundaries_epochs={tuple(boundaries)} must rise, from above 0 to at most "
            f"total_epochs={total_epochs:g}: long cycles of multigrid training end there."
        )
    # Within a cycle, epochs in proportion to the average batch: each shape has as many steps.
    whole = sum(row.mean_batch for row in rows)
    parts = [
        _Part(f"cycle {c + 1}, shape {i + 1}", i, share * length, share * length)
        for c, length in enumerate(b - a for a, b in itertools.pairwise(inside[:-1]))
        for i, share in enumerate(row.mean_batch / whole for row in rows)
    ]
    rest = total_epochs - ends[-1]
    if rest > 1e-9 * total_epochs:
        saving = whole / len(rows)
        last = len(rows) - 1
        parts.append(_Part("fine-tuning", last, rest / saving * rows[last].mean_batch, rest))
    return parts


def _knots(
    parts: Sequence[_Part], phases: Sequence[Phase], total_epochs: float, has_boundaries: bool
) -> tuple[tuple[float, int], ...]:
    starts = itertools.accumulate((part.plain_epochs for part in parts), initial=0.0)
    steps = [phase.first_step for phase in phases]
    # Rounded, so that a sum of shares is found again by the boundary that it stands for.
    knots = [(round(epoch, 9), step) for epoch, step in zip(starts, steps, strict=False)]
    last = phases[-1]
    if has_boundaries and parts[-1].name == "fine-tuning":
        knots.append((knots[-1][0], last.first_step + last.num_steps // 2))
    return (*knots, (total_epochs, last.end_step))


def _clip_shape(
    clip: ClipSpec, batch_size: int, multiple: int, num_frames: int, size_px: int
) -> ClipShape:
    """Strides of shorter clips are drawn so that they may span as much of the video."""
    strides = clip.train_strides or (clip.stride,)
    if num_frames < clip.num_frames:
        longest = max(strides) * clip.num_frames // num_frames
        strides = tuple(range(min(strides), longest + 1))
    return ClipShape(num_frames, strides, size_px, batch_size * multiple)


def _steps_of(clips: float, sizes: Sequence[int]) -> int:
    """Steps of these batches in turn that come nearest to so many clips."""
    whole, rest = divmod(max(clips, 0.0), sum(sizes))
    totals = [0, *itertools.accumulate(sizes)]
    nearest = min(range(len(totals)), key=lambda i: (abs(totals[i] - rest), -i))
    return int(whole) * len(sizes) + nearest


def _end_clip(phase: Phase) -> int:
    return phase.clips_before(phase.end_step)
