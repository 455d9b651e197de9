"""What is random of an evaluation's views: where in a video its clips start, and where crops lie.

Draws are shares of what there is to choose from, so that they need neither the length of a video
nor the size of its frames; `pick` makes numbers of them. They depend on the seed of the views, the
id of the video and the number of the clip alone: not on other videos, batches, workers or
processes, and the first ten of twenty clips are those of ten.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from tempo.types import ViewSpec


class Draws(NamedTuple):
    """Of one video; each share is at least 0 and below 1.

    Attributes:
      starts: of the frames at which a clip can start, [num_clips].
      corners: of the rows and columns at which the crop of a clip can begin, [num_clips,2].
    """

    starts: np.ndarray
    corners: np.ndarray


def draw(view: ViewSpec, video_id: str) -> Draws:
    """The draws of a video; zeros where nothing of the views is random.

    Args:
      view: gives the seed and the number of clips.
      video_id: of the video in its dataset; the name of the file for one that is in none.
    """
    if not view.is_random:
        return Draws(np.zeros(view.num_clips), np.zeros((view.num_clips, 2)))
    # Python's own hash of a text is another in every process.
    digest = hashlib.blake2b(video_id.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    video = int.from_bytes(digest, "little")
    seeds = [(view.seed, video, clip) for clip in range(view.num_clips)]
    shares = np.stack([np.random.default_rng(seed).random(3) for seed in seeds])
    return Draws(shares[:, 0], shares[:, 1:])


def pick(shares: np.ndarray, count: int | np.ndarray) -> np.ndarray:
    """Numbers 0 to count - 1, all equally likely, int64 of the shape of `shares`."""
    # A share just below 1 may be rounded up to the count.
    return np.minimum((shares * count).astype(np.int64), np.asarray(count) - 1)
