"""Crops, resizes and flips on the host: uint8 clips [T,H,W,C] before they are batched.

An op is a frozen dataclass with `map(clip)` or `random_map(clip, rng)`. A random op draws its
numbers first (`draw`) and then applies them (`apply`), the same to every frame, so that two streams
of one video can share a draw. cv2 on uint8 is several times faster here than the same in JAX on a
CPU, and what changes the shape must happen before batching anyway.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from tempo.data import ops as ops_lib
from tempo.errors import InputError, lookup

_RESIZE = cv2.INTER_LINEAR


@dataclasses.dataclass(frozen=True)
class ResizeShortSide:
    """Scales a clip so that its short side is `short_side_px`, keeping the aspect ratio."""

    short_side_px: int

    def map(self, clip: np.ndarray) -> np.ndarray:
        """[T,H,W,C] -> [T,h,w,C] with min(h, w) = short_side_px."""
        return resize_short_side(clip, self.short_side_px)


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

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> int:
        """The short side."""
        return int(rng.integers(self.min_px, self.max_px + 1))

    def apply(self, clip: np.ndarray, short_side_px: int) -> np.ndarray:
        """[T,H,W,C] -> [T,h,w,C]."""
        return resize_short_side(clip, short_side_px)

    def random_map(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws and applies."""
        return self.apply(clip, self.draw(clip.shape, rng))


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """A box of random area and aspect ratio, scaled to `size_px` square (arXiv 1409.4842).

    Area uniform in `area` (share of the frame), width / height log-uniform in `aspect`. After 10
    boxes that do not fit, the largest centred box with an allowed aspect ratio is taken.
    """

    size_px: int
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        if not 0 < self.area[0] <= self.area[1] <= 1 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise InputError(
                "random_resized_crop needs 0 < area[0] <= area[1] <= 1 and 0 < aspect[0] <= "
                f"aspect[1]; got {self.area}, {self.aspect}."
            )

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> tuple[int, int, int, int]:
        """The box (top, left, height, width) for a clip of this shape."""
        height, width = shape[1:3]
        low, high = np.log(self.aspect)
        for _ in range(10):
            area = rng.uniform(*self.area) * height * width
            ratio = np.exp(rng.uniform(low, high))
            w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
                return int(top), int(left), h, w
        ratio = np.clip(width / height, *self.aspect)
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def apply(self, clip: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        """[T,H,W,C] -> [T,size_px,size_px,C]."""
        top, left, height, width = box
        crop = clip[:, top : top + height, left : left + width]
        return _resize(crop, self.size_px, self.size_px)

    def random_map(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws and applies."""
        return self.apply(clip, self.draw(clip.shape, rng))


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """A `size_px` square at a random place; a smaller frame is first scaled up to fit."""

    size_px: int

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> tuple[float, float]:
        """The place as shares of the free height and width, so that it fits any frame size."""
        return float(rng.random()), float(rng.random())

    def apply(self, clip: np.ndarray, place: tuple[float, float]) -> np.ndarray:
        """[T,H,W,C] -> [T,size_px,size_px,C]."""
        clip = _at_least(clip, self.size_px)
        free = [n - self.size_px + 1 for n in clip.shape[1:3]]
        top, left = (min(int(p * f), f - 1) for p, f in zip(place, free, strict=True))
        return clip[:, top : top + self.size_px, left : left + self.size_px]

    def random_map(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws and applies."""
        return self.apply(clip, self.draw(clip.shape, rng))


PLACES = {
    "center": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (0.0, 1.0),
    "bottom_left": (1.0, 0.0),
    "bottom_right": (1.0, 1.0),
}


@dataclasses.dataclass(frozen=True)
class FixedCrop:
    """A `size_px` square at a fixed place (a row of `PLACES`); smaller frames are scaled up."""

    size_px: int
    place: str = "center"

    def __post_init__(self):
        lookup(PLACES, self.place, "place of fixed_crop")

    def map(self, clip: np.ndarray) -> np.ndarray:
        """[T,H,W,C] -> [T,size_px,size_px,C]."""
        clip = _at_least(clip, self.size_px)
        top, left = _corner(clip.shape, self.size_px, PLACES[self.place])
        return clip[:, top : top + self.size_px, left : left + self.size_px]


@dataclasses.dataclass(frozen=True)
class Flip:
    """Mirrors a clip left to right with probability `prob`.

    Leave it out where the label tells left from right or a sense of rotation.
    """

    prob: float = 0.5

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> bool:
        """Whether to mirror."""
        return bool(rng.random() < self.prob)

    def apply(self, clip: np.ndarray, flipped: bool) -> np.ndarray:
        """[T,H,W,C] -> the same shape."""
        return flip(clip) if flipped else clip

    def random_map(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws and applies."""
        return self.apply(clip, self.draw(clip.shape, rng))


OPS = {
    "resize_short_side": ResizeShortSide,
    "jitter_short_side": JitterShortSide,
    "random_resized_crop": RandomResizedCrop,
    "random_crop": RandomCrop,
    "fixed_crop": FixedCrop,
    "flip": Flip,
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


def run(ops: Sequence[Any], clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Applies ops in order; random ones draw from `rng`."""
    for op in ops:
        clip = op.random_map(clip, rng) if hasattr(op, "random_map") else op.map(clip)
    return clip


def crop_views(clip: np.ndarray, crop: str, size_px: int) -> np.ndarray:
    """The crops of one evaluation clip, [num_crops,T,size_px,size_px,C].

    `center` (1); `three`: offsets 0, 2 * floor((W - size) / 2), floor((W - size) / 2) along the
    long side, so left, right, centre (top, bottom, centre if portrait); `ten`: top left, top right,
    bottom left, bottom right, centre, then the mirror images of those; `full`: the whole frame.

    Args:
      clip: [T,H,W,C], already resized.
      crop: a row of `VIEWS`.
      size_px: side of the square.
    """
    if crop == "full":
        return clip[None]
    height, width = clip.shape[1:3]
    if min(height, width) < size_px:
        raise InputError(f"A crop of {size_px} px does not fit a frame of {width}x{height} px.")
    corners = VIEWS[crop](height, width, size_px)
    crops = np.stack([clip[:, y : y + size_px, x : x + size_px] for y, x in corners])
    if crop == "ten":
        mirrored = flip(crops.reshape(-1, *crops.shape[2:])).reshape(crops.shape)
        crops = np.concatenate([crops, mirrored])
    return crops


def _center_corners(height: int, width: int, size_px: int) -> list[tuple[int, int]]:
    return [((height - size_px) // 2, (width - size_px) // 2)]


def _three_corners(height: int, width: int, size_px: int) -> list[tuple[int, int]]:
    ((top, left),) = _center_corners(height, width, size_px)
    if width >= height:
        return [(top, 0), (top, 2 * left), (top, left)]
    return [(0, left), (2 * top, left), (top, left)]


def _five_corners(height: int, width: int, size_px: int) -> list[tuple[int, int]]:
    bottom, right = height - size_px, width - size_px
    center = _center_corners(height, width, size_px)
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), *center]


VIEWS = {"center": _center_corners, "three": _three_corners, "ten": _five_corners}


def resize_short_side(clip: np.ndarray, short_side_px: int) -> np.ndarray:
    """[T,H,W,C] -> [T,h,w,C] with min(h, w) = short_side_px; the long side is truncated."""
    height, width = clip.shape[1:3]
    if min(height, width) == short_side_px:
        return clip
    if height <= width:
        return _resize(clip, short_side_px, int(width * short_side_px / height))
    return _resize(clip, int(height * short_side_px / width), short_side_px)


def flip(clip: np.ndarray) -> np.ndarray:
    """[T,H,W,C] mirrored left to right; as one tall picture, for which cv2 is 18 times numpy."""
    tall = np.ascontiguousarray(clip).reshape(-1, *clip.shape[2:])
    return cv2.flip(tall, 1).reshape(clip.shape)


def _resize(clip: np.ndarray, height: int, width: int) -> np.ndarray:
    out = np.empty((clip.shape[0], height, width, clip.shape[3]), np.uint8)
    for frame, to in zip(clip, out, strict=True):
        cv2.resize(frame, (width, height), dst=to, interpolation=_RESIZE)
    return out


def _at_least(clip: np.ndarray, size_px: int) -> np.ndarray:
    return resize_short_side(clip, max(size_px, min(clip.shape[1:3])))


def _corner(shape: Sequence[int], size_px: int, place: tuple[float, float]) -> tuple[int, int]:
    top, left = (int((n - size_px) * p) for n, p in zip(shape[1:3], place, strict=True))
    return top, left
