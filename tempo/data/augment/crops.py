"""Host ops that cut a window out of a clip.

A random op draws its numbers from a clip's shape (`draw`) and then applies them (`apply`) to that
clip or to another stream of the same video, such as its flow.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tempo.data.augment import geometry
from tempo.data.ops import check_range
from tempo.errors import InputError, lookup

Box = tuple[int, int, int, int]
"""Top, left, height, width in pixels."""

PLACES = {
    "center": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (0.0, 1.0),
    "bottom_left": (1.0, 0.0),
    "bottom_right": (1.0, 1.0),
}


class BoxOp:
    """An op that draws a `Box` and scales it to a square of its `size_px`."""

    def apply(self, clip: np.ndarray, box: Box) -> np.ndarray:
        """[T,H,W,C] -> [T,size_px,size_px,C]."""
        crop, size = self.cut(clip, box)
        return crop if crop.shape[1:3] == size else geometry.resize(crop, *size)

    def cut(self, clip: np.ndarray, box: Box) -> tuple[np.ndarray, tuple[int, int]]:
        """The box of a clip, [T,h,w,C], and the size that `apply` scales it to."""
        top, left, height, width = box
        crop = clip[:, top : top + height, left : left + width]
        return crop, (self.size_px, self.size_px)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(BoxOp):
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

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> Box:
        """The box for a clip of this shape."""
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


@dataclasses.dataclass(frozen=True)
class MultiScaleCrop(BoxOp):
    """Scale jitter and fixed places, scaled to `size_px` square (TSN, arXiv 1608.00859).

    Height and width are the frame's short side times one of `scales` each, at most `max_distort`
    rows of `scales` apart; a side less than 3 px from `size_px` becomes `size_px`. The place is one
    of `num_positions` on a grid of quarters of the free height and width: 5 are the corners and the
    centre; 13 also the middles of the edges and of the quadrants.
    """

    size_px: int
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    max_distort: int = 1
    num_positions: int = 13

    def __post_init__(self):
        if not self.scales or not 0 < min(self.scales) <= max(self.scales) <= 1:
            raise InputError(f"multi_scale_crop needs scales above 0, up to 1; got {self.scales}.")
        if self.max_distort < 0:
            raise InputError(f"multi_scale_crop needs max_distort >= 0; got {self.max_distort}.")
        if self.num_positions not in (5, 13):
            raise InputError(
                f"multi_scale_crop has 5 or 13 positions; got num_positions={self.num_positions}."
            )

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> Box:
        """The box for a clip of this shape."""
        frame_height, frame_width = shape[1:3]
        sides = self.sides(min(frame_height, frame_width))
        pairs = [
            (height, width)
            for i, height in enumerate(sides)
            for j, width in enumerate(sides)
            if abs(i - j) <= self.max_distort
        ]
        height, width = pairs[rng.integers(len(pairs))]
        y, x = _QUARTERS[rng.integers(self.num_positions)]
        return y * ((frame_height - height) // 4), x * ((frame_width - width) // 4), height, width

    def sides(self, short_side_px: int) -> list[int]:
        """The sides of windows in frames of this short side, in the order of `scales`."""
        sides = [int(short_side_px * scale) for scale in self.scales]
        fits = self.size_px <= short_side_px
        return [self.size_px if fits and abs(s - self.size_px) < 3 else s for s in sides]


# Rows and columns in quarters of the free height and width: corners and centre, then middles of the
# edges, then of the quadrants.
_QUARTERS = (
    *((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)),
    *((2, 0), (2, 4), (4, 2), (0, 2)),
    *((1, 1), (1, 3), (3, 1), (3, 3)),
)


@dataclasses.dataclass(frozen=True)
class CropThenResize(BoxOp):
    """A square of side `size_px` * u, u uniform in `scale`, scaled to `size_px` (arXiv 2007.08180).

    At most the short side of the frame is cut: store frames with a short side of at least
    `size_px * scale[1]`. With probability `corner_prob` the square lies in a corner or in the
    centre, else anywhere.
    """

    size_px: int
    scale: tuple[float, float] = (0.8, 1.25)
    corner_prob: float = 0.5

    def __post_init__(self):
        if not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f"crop_then_resize needs 0 < scale[0] <= scale[1]; got {self.scale}.")
        check_range("crop_then_resize", "corner_prob", self.corner_prob, 1.0)

    def at_share(self, share: float) -> "CropThenResize":
        """The op where `size_px` is `share` times what it was: it may cut as much of the frame."""
        return dataclasses.replace(self, scale=(self.scale[0], self.scale[1] / min(share, 1)))

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> Box:
        """The square for a clip of this shape."""
        side = max(1, min(round(self.size_px * rng.uniform(*self.scale)), *shape[1:3]))
        return *_random_corner(shape[1:3], side, self.corner_prob, rng), side, side


@dataclasses.dataclass(frozen=True)
class ResizeThenCrop:
    """Frames scaled to a short side of `size_px` * u, u uniform in `scale`, then a square cut out.

    The other reading of `CropThenResize`; u starts at 1, below which the square would not fit.
    """

    size_px: int
    scale: tuple[float, float] = (1.0, 1.25)
    corner_prob: float = 0.5

    def __post_init__(self):
        if not 1 <= self.scale[0] <= self.scale[1]:
            raise InputError(f"resize_then_crop needs 1 <= scale[0] <= scale[1]; got {self.scale}.")
        check_range("resize_then_crop", "corner_prob", self.corner_prob, 1.0)

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> tuple[int, int, int]:
        """Short side of the scaled frames, top and left of the square."""
        short_side_px = round(self.size_px * rng.uniform(*self.scale))
        scaled = geometry.short_side_size(*shape[1:3], short_side_px)
        return short_side_px, *_random_corner(scaled, self.size_px, self.corner_prob, rng)

    def apply(self, clip: np.ndarray, drawn: tuple[int, int, int]) -> np.ndarray:
        """[T,H,W,C] -> [T,size_px,size_px,C]."""
        short_side_px, top, left = drawn
        clip = geometry.resize_short_side(clip, short_side_px)
        return _window(clip, top, left, self.size_px)


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """A `size_px` square at a random place; a smaller frame is first scaled up to fit."""

    size_px: int

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> tuple[float, float]:
        """The place as shares of the free height and width, so that it fits any frame size."""
        return float(rng.random()), float(rng.random())

    def apply(self, clip: np.ndarray, place: tuple[float, float]) -> np.ndarray:
        """[T,H,W,C] -> [T,size_px,size_px,C]."""
        clip = geometry.at_least(clip, self.size_px)
        free = [n - self.size_px + 1 for n in clip.shape[1:3]]
        top, left = (min(int(p * f), f - 1) for p, f in zip(place, free, strict=True))
        return _window(clip, top, left, self.size_px)


@dataclasses.dataclass(frozen=True)
class CornerCrop:
    """A `size_px` square in a corner or the centre, all five equally likely (arXiv 1507.02159)."""

    size_px: int

    def draw(self, shape: Sequence[int], rng: np.random.Generator) -> str:
        """A row of `PLACES`."""
        return list(PLACES)[rng.integers(len(PLACES))]

    def apply(self, clip: np.ndarray, place: str) -> np.ndarray:
        """[T,H,W,C] -> [T,size_px,size_px,C]."""
        return FixedCrop(self.size_px, place).map(clip)


@dataclasses.dataclass(frozen=True)
class FixedCrop:
    """A `size_px` square at a fixed place (a row of `PLACES`); smaller frames are scaled up."""

    size_px: int
    place: str = "center"

    def __post_init__(self):
        lookup(PLACES, self.place, "place of fixed_crop")

    def map(self, clip: np.ndarray) -> np.ndarray:
        """[T,H,W,C] -> [T,size_px,size_px,C]."""
        clip = geometry.at_least(clip, self.size_px)
        top, left = _corner(clip.shape[1:3], self.size_px, PLACES[self.place])
        return _window(clip, top, left, self.size_px)


OPS: dict[str, Any] = {
    "random_resized_crop": RandomResizedCrop,
    "multi_scale_crop": MultiScaleCrop,
    "crop_then_resize": CropThenResize,
    "resize_then_crop": ResizeThenCrop,
    "random_crop": RandomCrop,
    "corner_crop": CornerCrop,
    "fixed_crop": FixedCrop,
}


def _window(clip: np.ndarray, top: int, left: int, size_px: int) -> np.ndarray:
    return clip[:, top : top + size_px, left : left + size_px]


def _corner(frame: Sequence[int], side: int, place: tuple[float, float]) -> tuple[int, int]:
    top, left = (int((n - side) * p) for n, p in zip(frame, place, strict=True))
    return top, left


def _random_corner(
    frame: Sequence[int], side: int, corner_prob: float, rng: np.random.Generator
) -> tuple[int, int]:
    """Top and left of a square: one of `PLACES` with `corner_prob`, anywhere else."""
    if rng.random() < corner_prob:
        return _corner(frame, side, list(PLACES.values())[rng.integers(len(PLACES))])
    top, left = (int(rng.integers(n - side + 1)) for n in frame)
    return top, left
