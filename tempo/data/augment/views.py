"""The fixed windows of an evaluation, cut out of every frame straight into their places in a batch.

Views overlap: the clips share frames, and the crops share pixels. Each frame is resized once, on
its own, and while it is still in the processor's cache its windows are copied to wherever a view
shows them. Nothing holds all the views but the batch itself.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from tempo.data import stages, view_draws
from tempo.data.augment import geometry
from tempo.data.store import scratch
from tempo.errors import InputError

Corner = tuple[int, int]
"""Top and left in pixels."""

Window = tuple[bool, int, int]
"""Whether it is cut out of the mirror image of a frame; its top and left there."""


@dataclasses.dataclass(frozen=True)
class Views:
    """All views of one stream of a video: clip 0 with its crops, clip 1 with its crops, ...

    Crops: `center` (1); `three`: offsets 0, 2 * floor((W - size) / 2), floor((W - size) / 2) along
    the long side, so left, right, centre (top, bottom, centre if portrait); `five`: top left, top
    right, bottom left, bottom right, centre; `ten`: those, then their mirror images; `full`: the
    whole frame; `random` (1): one place for all frames of a clip.

    Attributes:
      frames: [n,H,W,C], each once.
      places: int [num_clips,T,L], the frame in every place of a clip; L frames are joined to one
        of L * C channels, in the order x0, y0, x1, y1, ... for flow.
      crop: a row of `CORNERS`, `full` or `random`.
      short_side_px: frames are first resized to this short side, keeping their aspect ratio.
      size_px: side of the square.
      flip: mirrors [n,H,W,C] into `out`; `geometry.flip_flow` for flow.
      is_flipped: whether every view is the mirror image of what it is otherwise.
      shares: `view_draws.Draws.corners`, [num_clips,2], needed for `random` crops.
    """

    frames: np.ndarray
    places: np.ndarray
    crop: str
    short_side_px: int
    size_px: int
    flip: Callable[..., np.ndarray] = geometry.flip
    is_flipped: bool = False
    shares: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """[V,T,h,w,L*C] of the views."""
        num_clips, num_frames, num_joined = self.places.shape
        height, width = (self.size_px,) * 2 if self.crop != "full" else self._resized
        channels = num_joined * self.frames.shape[3]
        return num_clips * len(self._windows(0)), num_frames, height, width, channels

    def copy_to(self, out: np.ndarray) -> None:
        """Writes the views.

        Args:
          out: contiguous, of `shape`.

        Raises:
          InputError: the square does not fit the resized frame.
        """
        num_clips, num_frames, num_joined = self.places.shape
        height, width, channels = *out.shape[2:4], self.frames.shape[3]
        split = (num_clips, -1, num_frames, height, width, num_joined, channels)
        slots = out.reshape(split).transpose(0, 2, 5, 1, 3, 4, 6)  # [clip,T,L,crop,h,w,C]
        uses = [[] for _ in self.frames]
        for place, frame in np.ndenumerate(self.places):
            uses[frame].append(place)
        windows = [self._windows(clip) for clip in range(num_clips)]
        shows_mirror = any(is_mirrored for own in windows for is_mirrored, _, _ in own)
        for pictures, used in zip(self._pictures(shows_mirror), uses, strict=True):
            with stages.stage(stages.CROP):
                for place in used:
                    for slot, window in zip(slots[place], windows[place[0]], strict=True):
                        is_mirrored, top, left = window
                        slot[...] = pictures[is_mirrored][top : top + height, left : left + width]

    @property
    def _resized(self) -> tuple[int, int]:
        """Height and width of the frames that are cut."""
        return geometry.short_side_size(*self.frames.shape[1:3], self.short_side_px)

    def _windows(self, clip: int) -> list[Window]:
        """What is cut out of the resized frames of a clip, view by view."""
        height, width = self._resized
        side = self.size_px
        if self.crop == "full":
            side, corners = width, [(0, 0)]
        elif min(height, width) < side:
            raise InputError(f"A crop of {side} px does not fit a frame of {width}x{height} px.")
        elif self.crop == "random":
            room = np.array([height - side, width - side])
            corners = [tuple(map(int, view_draws.pick(self.shares[clip], room + 1)))]
        else:
            corners = CORNERS[self.crop](height, width, side)
        plain = [(False, top, left) for top, left in corners]
        mirrored = [(True, top, width - side - left) for top, left in corners]
        if self.crop == "ten":
            return mirrored + plain if self.is_flipped else plain + mirrored
        return mirrored if self.is_flipped else plain

    def _pictures(self, shows_mirror: bool) -> Iterator[list[np.ndarray]]:
        """Each frame, resized, and if it is shown its mirror image; valid until the next."""
        height, width = self._resized
        channels = self.frames.shape[3]
        is_resized = (height, width) != self.frames.shape[1:3]
        resized = scratch.empty((1, height, width, channels)) if is_resized else None
        mirrored = scratch.empty((1, height, width, channels)) if shows_mirror else None
        for i in range(len(self.frames)):
            picture = self.frames[i : i + 1]
            if resized is not None:
                with stages.stage(stages.RESIZE):
                    picture = geometry.resize(picture, height, width, out=resized)
            if mirrored is None:
                yield [picture[0]]
            else:
                with stages.stage(stages.CROP):
                    self.flip(picture, out=mirrored)
                yield [picture[0], mirrored[0]]


def _center_corners(height: int, width: int, size_px: int) -> list[Corner]:
    return [((height - size_px) // 2, (width - size_px) // 2)]


def _three_corners(height: int, width: int, size_px: int) -> list[Corner]:
    ((top, left),) = _center_corners(height, width, size_px)
    if width >= height:
        return [(top, 0), (top, 2 * left), (top, left)]
    return [(0, left), (2 * top, left), (top, left)]


def _five_corners(height: int, width: int, size_px: int) -> list[Corner]:
    bottom, right = height - size_px, width - size_px
    center = _center_corners(height, width, size_px)
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), *center]


CORNERS = {
    "center": _center_corners,
    "three": _three_corners,
    "five": _five_corners,
    "ten": _five_corners,
}
