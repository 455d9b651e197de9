"""Clips of a video one after the other, while its frames go by: each is decoded and resized once.

A frame is kept, in the size that crops are cut from, until the last clip that shows it is out. So
what is in memory grows with the frames of overlapping clips, not with the video: windows with half
an overlap keep less than two clips.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from tempo.data import host_ops, view_draws
from tempo.data.augment import geometry
from tempo.data.video import browse
from tempo.types import ViewSpec

Clip = tuple[int, np.ndarray, np.ndarray]
"""Row of the clip, its different pictures [n,H,W,C], and which stands in each place, int64 [T]."""


def views(
    video: browse.Video,
    clips: np.ndarray,
    view: ViewSpec,
    draws: view_draws.Draws | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """(row of `clips`, its crops uint8 [num_crops,T,h,w,3]), in the order in which they end.

    The pixels are those that an evaluation gets from a record of kind `encoded`.

    Args:
      video: the file.
      clips: frame numbers of each clip, [n,T].
      view: says how frames are resized and cropped.
      draws: of each clip, needed for `random` crops.

    Raises:
      RefusedVideoError: a frame could not be decoded.
    """
    pictures = (
        (number, geometry.resize_short_side(picture[None], view.short_side_px)[0])
        for number, picture in browse.frames(video, np.unique(clips))
    )
    for row, frames, places in clips_of(pictures, clips):
        own = None if draws is None else view_draws.Draws(*(part[row : row + 1] for part in draws))
        cut = host_ops.view_streams({"video": frames}, {"video": places[None, :, None]}, view, own)
        crops = np.empty(cut["video"].shape, np.uint8)
        cut["video"].copy_to(crops)
        yield row, crops


def clips_of(pictures: Iterable[tuple[int, np.ndarray]], clips: np.ndarray) -> Iterator[Clip]:
    """The clips of a stream of pictures, each as soon as its last frame has come.

    Args:
      pictures: (number, picture) of every frame in `clips`, by rising number.
      clips: frame numbers of each clip, [n,T].
    """
    numbers, places = np.unique(clips, return_inverse=True)
    places = places.reshape(np.shape(clips))
    ends = places.max(axis=1)
    order = np.argsort(ends, kind="stable")
    last_turn = np.zeros(len(numbers), np.int64)
    np.maximum.at(last_turn, places[order], np.arange(len(order))[:, None])
    kept: dict[int, np.ndarray] = {}
    turn = 0
    for place, (number, picture) in enumerate(pictures):
        if number != numbers[place]:
            raise ValueError(f"frame {number} came in place of frame {numbers[place]}")
        kept[place] = picture
        while turn < len(order) and ends[order[turn]] == place:
            row = int(order[turn])
            used, own = np.unique(places[row], return_inverse=True)
            yield row, np.stack([kept[i] for i in used]), own.reshape(-1)
            for i in used[last_turn[used] == turn]:
                del kept[i]
            turn += 1
