"""Motion patterns and tempo classes of TempoBench: where the object is at a phase, and how fast.

A class says two things: which coordinates of the object its phase drives (the pattern), and from
which range its tempo is drawn. Nothing that one frame shows depends on the tempo.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable

from tempo.errors import InputError

MEDIAN_PERIOD_FRAMES = {"slow": 32.0, "fast": 12.0}
PAIRS_SPREAD = 1.1
VARIANCE_PERIOD_FRAMES = math.sqrt(32.0 * 12.0)
VARIANCE_SPREADS = (1.0, 1.15, 1.3, 1.5, 1.75, 2.1, 2.6)
"""Class tempo spreads of `variance`, r: tempo is log-uniform in [median / r, median * r]."""


Wave = Callable[[float, int], float]
"""Value of a coordinate at a phase in cycles; the second argument, 1 or -1, may mirror it."""


def _cosine(cycles: float, mirror: int) -> float:
    return math.cos(2 * math.pi * cycles)


def _sine(cycles: float, mirror: int) -> float:
    return math.sin(2 * math.pi * cycles)


def _minus_sine(cycles: float, mirror: int) -> float:
    return -math.sin(2 * math.pi * cycles)


def _hop(cycles: float, mirror: int) -> float:
    """A ball's height between two bounces, 1 (floor) to -1 (top): parabolic, sharp at the floor."""
    s = cycles % 1.0
    return 1 - 8 * s * (1 - s)


def _hop_aside(cycles: float, mirror: int) -> float:
    return mirror * _hop(cycles, mirror)


def _turn(cycles: float, mirror: int) -> float:
    return mirror * (cycles % 1.0)


COORDINATES = ("x", "y", "size", "angle")
"""x to the right and y down, -1..1 of the amplitude; size -1..1; angle in turns."""

AT_REST: dict[str, Wave] = {
    "x": _cosine,
    "y": _sine,
    "size": _cosine,
    "angle": _turn,
}
"""A coordinate that a pattern does not drive is frozen at a random phase of this wave, so that
one frame of any pattern shows the object somewhere along such a wave."""

PATTERNS: dict[str, dict[str, Wave]] = {
    "circle_clockwise": {"x": _cosine, "y": _sine},
    "circle_counter_clockwise": {"x": _cosine, "y": _minus_sine},
    "slide_horizontal": {"x": _cosine},
    "slide_vertical": {"y": _cosine},
    "grow_shrink": {"size": _cosine},
    "spin": {"angle": _turn},
    # Along a diagonal: straight up and down it would be a vertical slide but for its harmonics,
    # which a clip of a few frames per cycle cannot hold.
    "bounce": {"x": _hop_aside, "y": _hop},
}


@dataclasses.dataclass(frozen=True)
class TempoClass:
    """One class: a motion pattern and a range of tempo.

    Attributes:
      name: class name, CamelCase as in UCF-101.
      pattern: row of `PATTERNS`.
      tempo: `slow`, `fast`, or `spread` where the tempo is not part of the label.
      median_period_frames: frames per cycle at the class's median tempo.
      tempo_spread: r >= 1; tempo is log-uniform in [median / r, median * r].
    """

    name: str
    pattern: str
    tempo: str
    median_period_frames: float
    tempo_spread: float

    @property
    def log_tempo_std(self) -> float:
        """Standard deviation of the natural logarithm of the tempo: ln(r) / sqrt(3)."""
        return math.log(self.tempo_spread) / math.sqrt(3)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _pairs(patterns: Iterable[str] = PATTERNS) -> list[TempoClass]:
    return [
        TempoClass(_camel(f"{pattern}_{tempo}"), pattern, tempo, period, PAIRS_SPREAD)
        for pattern in patterns
        for tempo, period in MEDIAN_PERIOD_FRAMES.items()
    ]


def _symmetric() -> list[TempoClass]:
    return _pairs(pattern for pattern in PATTERNS if not pattern.startswith("circle_"))


def _variance(spread_shift: int = 0) -> list[TempoClass]:
    spreads = [
        VARIANCE_SPREADS[(i + spread_shift) % len(VARIANCE_SPREADS)] for i in range(len(PATTERNS))
    ]
    return [
        TempoClass(_camel(pattern), pattern, "spread", VARIANCE_PERIOD_FRAMES, spread)
        for pattern, spread in zip(PATTERNS, spreads, strict=True)
    ]


CONFIGS: dict[str, Callable[..., list[TempoClass]]] = {
    "pairs": _pairs,
    "variance": _variance,
    "symmetric": _symmetric,
}


def classes(config: str, *, spread_shift: int = 0) -> list[TempoClass]:
    """The classes of a row of `CONFIGS`, sorted by name (the label order).

    Args:
      config: `pairs` (pattern x slow/fast: 14 classes), `variance` (pattern is the label, 7
        classes, each with its own spread of tempo) or `symmetric` (the 10 classes of `pairs` that
        a video keeps when it is mirrored or played backwards, which circles do not).
      spread_shift: which class gets which spread in `variance`: the spreads are moved on by this
        many classes, so that a study can tell the effect of a pattern from that of its spread.
    """
    if spread_shift and config != "variance":
        raise InputError(
            f"spread_shift={spread_shift} moves the tempo spreads of config 'variance'; "
            f"config {config!r} has none, so leave it at 0."
        )
    made = CONFIGS[config](spread_shift) if spread_shift else CONFIGS[config]()
    return sorted(made, key=lambda c: c.name)


def pose(pattern: str, cycles: float, rest: dict[str, float], mirror: int) -> dict[str, float]:
    """Value of each of `COORDINATES` at phase `cycles`.

    Args:
      pattern: row of `PATTERNS`.
      cycles: phase, in cycles (its whole part is without effect).
      rest: phase at which each coordinate stands still where the pattern does not drive it.
      mirror: 1 or -1: the sense of a spin and the diagonal of a bounce.
    """
    driven = PATTERNS[pattern]
    return {
        name: driven[name](cycles, mirror) if name in driven else AT_REST[name](rest[name], mirror)
        for name in COORDINATES
    }
