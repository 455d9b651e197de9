"""The shapes of multigrid training: clips, frames and side of the steps of a cycle, by its name.

A long cycle (arXiv 1912.00998, section 3) has four base shapes; a short cycle changes the size from
step to step. Each shape costs about as much as the others, for more clips make up for less of each.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

from tempo.errors import InputError, lookup

_HALF = math.sqrt(0.5)
_BASE = ((1.0, 1.0),)
_LONG = ((0.25, _HALF), (0.5, _HALF), (0.5, 1.0), (1.0, 1.0))
"""Shares of the frames and of the side, in the order in which a long cycle takes them."""


class Row(NamedTuple):
    """A base shape of the long cycle, with what the short cycle makes of it.

    Attributes:
      lr_factor: on the learning rate of all its steps.
      shapes: (multiple of the base batch, frames, side in pixels) of one step after the other.
    """

    lr_factor: float
    shapes: tuple[tuple[int, int, int], ...]

    @property
    def mean_batch(self) -> float:
        """Multiple of the base batch, on average over the short cycle."""
        return sum(multiple for multiple, _, _ in self.shapes) / len(self.shapes)


def _published(
    num_frames: int, size_px: int, base: tuple[tuple[float, float], ...], is_short: bool
) -> list[Row]:
    """Rows of arXiv 1912.00998: sizes of the short cycle are shares of the run's own size."""
    rows = []
    for of_frames, of_size in base:
        frames = round(num_frames * of_frames)
        if not frames:
            break  # too short a clip, which `grid` tells
        multiple = round(num_frames / (frames * of_size**2))
        sizes = (0.5, _HALF, of_size) if is_short else (of_size,)
        shapes = ((multiple * round((of_size / s) ** 2), frames, round(size_px * s)) for s in sizes)
        rows.append(Row(multiple, tuple(shapes)))
    return rows


def _per_epoch(num_frames: int, size_px: int) -> list[Row]:
    """Rows of the released training code of MTNet: sizes are cut to whole ones, then made even."""
    rows = []
    for of_frames, of_size in _LONG:
        multiple, side = round(1 / (of_frames * of_size**2)), int(size_px * of_size)
        shapes = []
        for i, share in enumerate((1.0, _HALF, 0.5)):
            size = int(side * share)
            shapes.append((multiple * 2**i, int(num_frames * of_frames), size + size % 2))
        # There the rate is that of the largest base batch, and falls with the batch.
        rows.append(Row(multiple / 8, tuple(shapes)))
    return rows


CYCLES: dict[str, Callable[[int, int], list[Row]]] = {
    "none": functools.partial(_published, base=_BASE, is_short=False),
    "short": functools.partial(_published, base=_BASE, is_short=True),
    "long": functools.partial(_published, base=_LONG, is_short=False),
    "both": functools.partial(_published, base=_LONG, is_short=True),
    "per_epoch": _per_epoch,
}
"""Cycle -> (frames, side in pixels) -> rows, smallest clips first."""


def grid(cycle: str, num_frames: int, size_px: int) -> list[Row]:
    """The rows of a cycle.

    Args:
      cycle: a name of `CYCLES`.
      num_frames: T of the base shape.
      size_px: its side.

    Raises:
      InputError: a cycle that there is not, or clips too short or small for it.
    """
    rows = lookup(CYCLES, cycle, "cycle (config.multigrid.cycle)")(num_frames, size_px)
    least = 1 if cycle in ("none", "short") else 4
    if num_frames < least:
        raise InputError(
            f"multigrid.cycle={cycle!r} cuts clips to a quarter of their frames and needs at least "
            f"{least}; got clip.num_frames={num_frames}. Use more, or cycle 'short'."
        )
    smallest = min(size for row in rows for _, _, size in row.shapes)
    if cycle != "none" and smallest < 4:
        raise InputError(
            f"multigrid.cycle={cycle!r} cuts the side of clips to {smallest} px; use an "
            f"input.size_px above {size_px}."
        )
    return rows
