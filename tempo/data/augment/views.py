"""The fixed windows of an evaluation, cut out of every frame straight into their places in a batch.

Views overlap: the clips share frames, and the crops share pixels. Each frame is resized once, on
its own, and while it is still in the processor's cache its windows are copied to wherever a view
shows them. Nothing holds all the views but the batch itself.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from tempo.data import stages
from tempo.data.augment import geometry
from tempo.data.store import scratch
from tempo.errors import InputError

Corner = tuple[int, int]
"""Top and left in pixels."""


@dataclasses.dataclass(frozen=True)
class Views:
    """All views of one stream of a video: clip 0 with its crops, clip 1 with its crops, ...

    Crops: `center` (1); `three`: offsets 0, 2 * floor((W - size) / 2), floor((W - size) / 2) along
    the long side, so left, right, centre (top, bottom, centre if portrait); `five`: top left, top
    right, bottom left, bottom right, centre; `ten`: those, then their mirror images; `full`: the
    whole frame.

    Attributes:
      frames: [n,H,W,C], each once.
      places: int [num_clips,T,L], the frame in every place of a clip; L frames are joined to one
        of L * C channels, in the order x0, y0, x1, y1, ... for flow.
      crop: a row of `CORNERS`, or `full`.
      short_side_px: frames are first resized to this short side, keeping their aspect ratio.
      size_px: side of the square.
      flip: mirrors [n,H,W,C] into `out`; `geometry.flip_flow` for flow.
    """

    frames: np.ndarray
    places: np.ndarray
    crop: str
    short_side_px: int
    size_px: int
    flip: Callable[..., np.ndarray] = geometry.flip

    @property
    def shape(self) -> tuple[int, ...]:
        """[V,T,h,w,L*C] of the views."""
        num_clips, num_frames, num_joined = self.places.shape
        height, width = (self.size_px,) * 2 if self.crop != "full" else self._resized
        channels = num_joined * self.frames.shape[3]
        num_crops = sum(len(corners) for corners in self._corners())
        return num_clips * num_crops, num_frames, height, width, channels

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
        corners = self._corners()
        for pictures, used in zip(self._pictures(), uses, strict=True):
            with stages.stage(stages.CROP):
                windows = [
                    picture[top : top + height, left : left + width]
                    for picture, found in zip(pictures, corners, strict=True)
                    for top, left in found
                ]
                for place in used:
                    for slot, window in zip(slots[place], windows, strict=True):
                        slot[...] = window

    @property
    def _resized(self) -> tuple[int, int]:
        """Height and width of the frames that are cut."""
        return geometry.short_side_size(*self.frames.shape[1:3], self.short_side_px)

    def _corners(self) -> list[list[Corner]]:
        """Of the windows in the resized frame and, if they are shown too, in its mirror image."""
        if self.crop == "full":
            return [[(0, 0)]]
        height, width = self._resized
        if min(height, width) < self.size_px:
            raise InputError(
                f"A crop of {self.size_px} px does not fit a frame of {width}x{height} px."
            )
        corners = CORNERS[self.crop](height, width, self.size_px)
        if self.crop != "ten":
            return [corners]
        return [corners, [(top, width - self.size_px - left) for top, left in corners]]

    def _pictures(self) -> Iterator[list[np.ndarray]]:
        """Each frame, resized, and if they are shown too its mirror image; valid until the next."""
        height, width = self._resized
        channels = self.frames.shape[3]
        is_resized = (height, width) != self.frames.shape[1:3]
        resized = scratch.empty((1, height, width, channels)) if is_resized else None
        mirrored = scratch.empty((1, height, width, channels)) if self.crop == "ten" else None
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
