"""Shared vocabulary: array and batch aliases, and the two specs that say which frames are read.

This file imports neither jax nor anything of tempo but its errors, so data workers start fast.
"""

import dataclasses
from typing import Any

from tempo.errors import InputError

Array = Any  # jax.Array or np.ndarray; jax is not imported here
Batch = dict[str, Array]
"""A plain dict of arrays with a leading batch axis.

Training: `video [B,T,H,W,C] uint8`, `label [B] int32`, `index [B] int32` (row of the split).
Evaluation adds a view axis after B (`video [B,V,T,H,W,C]`) and `mask [B] bool`, False on padding.
`id [B]` (strings) stays on the host: `tempo.sharding.to_global` leaves it out.
"""

LABEL_KINDS = ("single", "multi", "joint")
"""One class index per video `[B]`; a multi-hot vector `[B,K]`; or one class of each of several
groups, such as a verb and a noun, as indices into the joined list of class names `[B,G]`."""
CLIP_SAMPLINGS = ("dense", "segments")
SHORT_POLICIES = ("hold_last", "loop")
CLIP_STARTS = ("linspace", "ticks")
CROPS = ("center", "three", "ten", "full")
AVERAGES = ("probs", "logits")


def _check(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} must be at least 1; got {value}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Which frames make one clip.

    Attributes:
      num_frames: T, frames in a clip.
      stride: frames between two of them in a `dense` clip (tau); unused by `segments`.
      sampling: `dense` (T frames at a fixed stride) or `segments` (one frame from each of T equal
        parts of the video; TSN, arXiv 1608.00859).
      short: what follows when the clip is longer than the video: `hold_last` repeats the last
        frame that the stride reached (the TPN release), `loop` starts over (mmaction2).
      fps: if above 0, `stride` counts frames of this rate and timestamps are used to find them,
        so that videos of different or variable frame rate agree; 0 counts stored frames.
    """

    num_frames: int
    stride: int = 1
    sampling: str = "dense"
    short: str = "hold_last"
    fps: float = 0.0

    def __post_init__(self):
        _check_positive("num_frames", self.num_frames)
        _check_positive("stride", self.stride)
        _check("sampling", self.sampling, CLIP_SAMPLINGS)
        _check("short", self.short, SHORT_POLICIES)
        if self.fps < 0:
            raise InputError(f"fps must be 0 (stored frames) or positive; got {self.fps}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """Which views of a video are evaluated, and how their scores become one.

    Attributes:
      num_clips: clips along time.
      clip_starts: rule for their starts: `linspace` (first to last possible, mmaction2) or
        `ticks` (centres of equal intervals, the TPN release). One clip is centred by both.
      crop: `center` (1), `three` (left, right, centre; top, bottom, centre if portrait), `ten`
        (four corners, centre, and their mirror images) or `full` (no crop: the resized frame).
      short_side_px: frames are first resized to this short side, keeping their aspect ratio.
      size_px: side of the square crop.
      average: `probs` averages softmax probabilities over the views, `logits` averages before it.
    """

    num_clips: int = 1
    clip_starts: str = "linspace"
    crop: str = "center"
    short_side_px: int = 256
    size_px: int = 224
    average: str = "probs"

    def __post_init__(self):
        _check_positive("num_clips", self.num_clips)
        _check("clip_starts", self.clip_starts, CLIP_STARTS)
        _check("crop", self.crop, CROPS)
        _check("average", self.average, AVERAGES)
        if self.crop != "full" and self.size_px > self.short_side_px:
            raise InputError(
                f"A crop of size_px={self.size_px} does not fit frames resized to "
                f"short_side_px={self.short_side_px}; lower one or raise the other."
            )

    @property
    def num_crops(self) -> int:
        """Crops per clip."""
        return {"center": 1, "three": 3, "ten": 10, "full": 1}[self.crop]

    @property
    def num_views(self) -> int:
        """V: clips x crops."""
        return self.num_clips * self.num_crops
