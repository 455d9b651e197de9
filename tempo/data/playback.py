"""Which frames are shown when a video is watched rather than evaluated: at any speed, anywhere.

A stride scale of s plays the video s times faster: a dense clip shows as many frames, but they are
stride * s apart. Where that is no whole number, the k-th is the frame nearest to k * stride * s
after the clip's first, of two equally near the later.
"""

import dataclasses
import math

import numpy as np

from tempo.data import sampling
from tempo.errors import InputError
from tempo.types import ClipSpec, ViewSpec


def check(clip: ClipSpec, stride_scale: float) -> None:
    """Raises `InputError` for a scale that clips cannot be shown at."""
    if not (math.isfinite(stride_scale) and stride_scale > 0):
        raise InputError(f"A stride scale must be above 0 (1 changes nothing); got {stride_scale}.")
    if stride_scale != 1 and clip.sampling != "dense":
        raise InputError(
            f"Clips of this model are {clip.num_frames} frames spread over the whole video "
            f"(sampling={clip.sampling!r}): they have no stride that a scale of {stride_scale:g} "
            "could change."
        )


def view_indices(
    num_frames: int,
    clip: ClipSpec,
    view: ViewSpec,
    timestamps: np.ndarray,
    extra_frames: int = 0,
    stride_scale: float = 1.0,
) -> np.ndarray:
    """The clips of an evaluation, int64 [num_clips,T+E]; `sampling.eval_indices` at a scale of 1.

    Args:
      num_frames: N of the video.
      clip: which frames make a clip.
      view: how many clips, and where they start.
      timestamps: [N] seconds of the frames.
      extra_frames: E, frames beyond the T.
      stride_scale: s, see above.
    """
    clip, extra_frames, steps = _at_scale(clip, extra_frames, stride_scale)
    found = sampling.eval_indices(
        num_frames, clip, view.num_clips, view.clip_starts, timestamps, extra_frames
    )
    return found[:, steps]


def window_indices(
    num_frames: int,
    clip: ClipSpec,
    timestamps: np.ndarray,
    fps: float,
    extra_frames: int = 0,
    stride_scale: float = 1.0,
    *,
    hop_s: float = 0.0,
    window_s: float = 4.0,
) -> np.ndarray:
    """Clips in equal steps from one end of a video to the other, int64 [n,T+E].

    The last window ends with the video. A clip that is made of a video and its reverse shows
    forward windows.

    Args:
      num_frames: N of the video.
      clip: which frames make a clip.
      timestamps: [N] seconds of the frames.
      fps: of the video.
      extra_frames: E, frames beyond the T.
      stride_scale: s, see above.
      hop_s: seconds from one window to the next; 0 is half a window.
      window_s: length of a window of clips that are spread over a video; dense ones have a length
        of their own.
    """
    order = "reverse" if clip.order == "reverse" else "normal"
    clip = dataclasses.replace(clip, order=order)
    shown = sampling.source(num_frames, clip, timestamps)
    rate = clip.fps or fps
    is_dense = clip.sampling == "dense"
    if is_dense:
        clip, extra_frames, steps = _at_scale(clip, extra_frames, stride_scale)
        length = sampling.clip_span(clip) + extra_frames * clip.stride
    else:
        length = min(max(1, round(window_s * rate)), len(shown))
        steps = sampling.eval_segments(length, clip.num_frames, 1)[0]
    hop = max(1, round(hop_s * rate) if hop_s else length // 2)
    last = max(len(shown) - length, 0)
    starts = [*range(0, last, hop), last]
    if not is_dense:
        return np.stack([shown[start + steps] for start in starts])
    found = (sampling.dense_indices(start, len(shown), clip, extra_frames) for start in starts)
    return np.stack([shown[window[steps]] for window in found])


def _at_scale(
    clip: ClipSpec, extra_frames: int, stride_scale: float
) -> tuple[ClipSpec, int, np.ndarray | slice]:
    """(clip, extra frames, which of its frames to show), for dense clips that are scaled."""
    stride = clip.stride * stride_scale
    if clip.sampling != "dense" or stride_scale == 1:
        return clip, extra_frames, slice(None)
    if stride >= 1 and math.isclose(stride, round(stride)):
        return dataclasses.replace(clip, stride=round(stride)), extra_frames, slice(None)
    # All frames of the span, of which some are shown, or some more than once.
    steps = np.floor(np.arange(clip.num_frames + extra_frames) * stride + 0.5 + 1e-9)
    steps = steps.astype(np.int64)
    span = int(steps[clip.num_frames - 1]) + 1
    return dataclasses.replace(clip, num_frames=span, stride=1), int(steps[-1]) + 1 - span, steps
