"""Crops, resizes and flips on the host: uint8 clips [T,H,W,C] before they are batched.

An op is a frozen dataclass with `map(clip)`, or with `draw(shape, rng)` and `apply(clip, drawn)`: a
random op draws its numbers first and then applies them, the same to every frame and to every stream
of a video (its frames, its flow). What changes the shape must happen before batching; all else is
a device op. An op that ends in a scaling may have `cut(clip, drawn)` beside: what it scales, and
the size; as the last op but flips it then writes straight into a batch.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from tempo.data import ops as ops_lib
from tempo.data import stages, view_draws
from tempo.data.augment import crops, geometry, views
from tempo.data.store import scratch
from tempo.errors import InputError
from tempo.types import ViewSpec

Streams = Mapping[str, np.ndarray]
"""`video` uint8 [T,H,W,3] and, where it is read, `flow` uint8 [n,H,W,2L], x in even channels."""


@dataclasses.dataclass(frozen=True)
class ResizeShortSide:
    """Scales a clip so that its short side is `short_side_px`, keeping the aspect ratio."""

    short_side_px: int

    def at_share(self, share: float) -> "ResizeShortSide":
        """The op for crops of `share` times the side, which then show as much of the frame."""
        return ResizeShortSide(round(self.short_side_px * share))

    def map(self, clip: np.ndarray) -> np.ndarray:
        """[T,H,W,C] -> [T,h,w,C] with min(h, w) = short_side_px."""
        return geometry.resize_short_side(clip, self.short_side_px)


@dataclasses.dataclass(frozen=True)
class JitterShortSide:
    """Scales a clip to a random short side, uniform in [min_px, max_px] (VGG, arXiv 1409.1556)."""

    min_px: int
    max_px: int

    def __post_init__(self):
        if not 1 <= self.min_px <= self.max_px:
            raise InputError(
                f"jitter_short_side needs 1 <= min_px <= max_px; got {self.min_px}, {self.max_px}."
            )

    def at_share(self, share: float) -> "JitterShortSide":
        """The op for crops of `share` times the side: they may show as much of the frame, or less.

        Of the range only the lower end moves, as in multigrid training (arXiv 1912.00998).
        """
        return dataclasses.replace(self, min_px=max(1, round(self.min_px * min(share, 1))))

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> int:
        """The short side."""
        return int(rng.integers(self.min_px, self.max_px + 1))

    def apply(self, clip: np.ndarray, short_side_px: int) -> np.ndarray:
        """[T,H,W,C] -> [T,h,w,C]."""
        return geometry.resize_short_side(clip, short_side_px)


@dataclasses.dataclass(frozen=True)
class Flip:
    """Mirrors a clip left to right with probability `prob`.

    Leave it out where the label tells left from right or a sense of rotation, unless the dataset
    knows the label of the mirrored video.
    """

    prob: float = 0.5

    def __post_init__(self):
        ops_lib.check_range("flip", "prob", self.prob, 1.0)

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> bool:
        """Whether to mirror."""
        return bool(rng.random() < self.prob)

    def apply(self, clip: np.ndarray, flipped: bool) -> np.ndarray:
        """[T,H,W,C] of frames -> the same shape."""
        return geometry.flip(clip) if flipped else clip


FLIPS = {"video": geometry.flip, "flow": geometry.flip_flow}
"""How each stream is mirrored."""

OPS = {
    "resize_short_side": ResizeShortSide,
    "jitter_short_side": JitterShortSide,
    **crops.OPS,
    geometry.FLIP: Flip,
}
DEFAULT_TRAIN_OPS = ("random_resized_crop", "flip")


def create(ops: Sequence[str | Mapping[str, Any]], size_px: int) -> tuple[Any, ...]:
    """Ops from names or dicts `{"name": ..., **arguments}`.

    Args:
      ops: in order of application; an op object passes through.
      size_px: used by ops that take a `size_px` and are given none.

    Raises:
      InputError: an unknown op, an unknown or missing argument.
    """
    return tuple(
        ops_lib.make(op, OPS, "host op", size_px=size_px) if isinstance(op, str | Mapping) else op
        for op in ops
    )


def at_size(
    ops: Sequence[str | Mapping[str, Any]], size_px: int, of_size_px: int
) -> tuple[Any, ...]:
    """Ops that were set for clips of side `of_size_px`, for clips of side `size_px`.

    Ops that work in pixels of the frame (those with a method `at_share`) are scaled with it; the
    others take the new size or go by shares of the frame already.

    Args:
      ops: as of `create`.
      size_px: side that they must give.
      of_size_px: side that their arguments are for.
    """
    share = size_px / of_size_px
    return tuple(
        op.at_share(share) if hasattr(op, "at_share") and share != 1 else op
        for op in create(ops, size_px)
    )


def check_sizes(ops: Sequence[str | Mapping[str, Any]]) -> None:
    """Raises `InputError` if an op gives one size, where sizes change from step to step."""
    for op in ops:
        given = op.get("size_px") if isinstance(op, Mapping) else getattr(op, "size_px", None)
        if given:
            raise InputError(
                f"Host op {ops_lib.name_of(op) if isinstance(op, Mapping) else op!r} always gives "
                f"{given} px, but the size of the clips changes from step to step; leave out its "
                "size_px."
            )


def run(
    ops: Sequence[Any],
    streams: Streams,
    rng: np.random.Generator,
    into: Streams = MappingProxyType({}),
) -> tuple[dict[str, np.ndarray], bool]:
    """Applies ops in order to all streams of a video: (streams, whether they are mirrored now).

    Every op draws once from `rng`, whatever the streams, so that crops and flips stay aligned and a
    clip is the same whether its flow is read or not.

    Args:
      ops: made by `create`.
      streams: all of one height and width.
      rng: source of the draws.
      into: where streams are to be, by name. One that ends with the shape of its array is written
        there, and is that array.

    Raises:
      InputError: streams of different sizes.
    """
    streams, is_mirrored = dict(streams), False
    sizes = {name: clip.shape[1:3] for name, clip in streams.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(f"Streams of one video need one height and width; got {sizes}.")
    # The last op but flips, and these, which draw before it is applied: they look at no shape.
    last = len(ops) if into else -1
    while last > 0 and isinstance(ops[last - 1], Flip):
        last -= 1
    for i, op in enumerate(ops):
        if i == last - 1:
            return _finish(op, ops[last:], streams, rng, into, is_mirrored)
        with stages.stage(_name(op)):
            streams, flips = _apply(op, streams, rng)
        is_mirrored ^= flips
    return streams, is_mirrored


def _name(op: Any) -> str:
    return _NAMES.get(type(op), type(op).__name__)


_NAMES = {op: name for name, op in OPS.items()}


def _finish(
    op: Any,
    flips: Sequence[Flip],
    streams: Streams,
    rng: np.random.Generator,
    into: Streams,
    is_mirrored: bool,
) -> tuple[Streams, bool]:
    """As `run`, of the last op but flips, and of these."""
    with stages.stage(_name(op)):
        shape = streams["video"].shape
        drawn = (op.draw(shape, rng),) if hasattr(op, "draw") else ()
        is_flipped = False
        for flip in flips:
            with stages.stage(geometry.FLIP):
                is_flipped ^= flip.draw(shape, rng)
        done = {}
        for name, clip in streams.items():
            if hasattr(op, "cut"):
                clip, size = op.cut(clip, *drawn)
            else:
                clip = op.apply(clip, *drawn) if drawn else op.map(clip)
                size = clip.shape[1:3]
            mirror = FLIPS[name] if is_flipped else None
            out = into.get(name)
            if out is None and mirror is None and clip.shape[1:3] == size:
                done[name] = clip
                continue
            shape = (len(clip), *size, clip.shape[3])
            if out is None or out.shape != shape:
                out = scratch.empty(shape)
            geometry.place(clip, out, mirror)
            done[name] = out
    return done, is_mirrored ^ is_flipped


def _apply(op: Any, streams: Streams, rng: np.random.Generator) -> tuple[Streams, bool]:
    """The streams after one op, and whether it mirrored them."""
    if not hasattr(op, "draw"):
        return {name: op.map(clip) for name, clip in streams.items()}, False
    drawn = op.draw(streams["video"].shape, rng)
    if not isinstance(op, Flip):
        return {name: op.apply(clip, drawn) for name, clip in streams.items()}, False
    if drawn:
        return {name: FLIPS[name](clip) for name, clip in streams.items()}, True
    return streams, False


def view_streams(
    streams: Streams,
    places: Mapping[str, np.ndarray],
    view: ViewSpec,
    draws: view_draws.Draws | None = None,
) -> dict[str, views.Views]:
    """The views of an evaluation, of all streams of a video, cut when they are copied.

    Args:
      streams: all of one height and width.
      places: which frame of its stream stands where in every clip; see `views.Views`.
      view: which crops.
      draws: of the video, needed for `random` crops.
    """
    return {
        name: views.Views(
            frames,
            places[name],
            crop=view.crop,
            short_side_px=view.short_side_px,
            size_px=view.size_px,
            flip=FLIPS[name],
            is_flipped=view.is_flipped,
            shares=None if draws is None else draws.corners,
        )
        for name, frames in streams.items()
    }
