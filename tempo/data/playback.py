"""Which frames are shown when a video is watched rather than evaluated: at any speed, anywhere.

A stride scale of s plays the video s times faster: a dense clip shows as many frames, but they are
stride * s apart. Where that is no whole number, the k-th is the frame nearest to k * stride * s
after the clip's first, of two equally near the later.
"""

import dataclasses

import numpy as np

from tempo.data import sampling, view_draws
from tempo.errors import InputError
from tempo.types import ClipSpec, ViewSpec

MAX_STRIDE_SCALE = 1000
"""Beyond it hardly any video has a second frame to show."""


def check(clip: ClipSpec, stride_scale: float) -> None:
    """Raises `InputError` for a scale that clips cannot be shown at."""
    if not 0 < stride_scale <= MAX_STRIDE_SCALE:
        raise InputError(
            f"A stride scale must be above 0 and at most {MAX_STRIDE_SCALE} (1 changes nothing); "
            f"got {stride_scale:g}."
        )
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
    shares: np.ndarray | None = None,
) -> np.ndarray:
    """The clips of an evaluation, int64 [num_clips,T+E]; `sampling.eval_indices` at a scale of 1.

    Where clips start follows the same rule, for clips as long as they are at the scale.

    Args:
      num_frames: N of the video.
      clip: which frames make a clip.
      view: how many clips, and where they start.
      timestamps: [N] seconds of the frames.
      extra_frames: E, frames beyond the T.
      stride_scale: s, see above.
      shares: `view_draws.Draws.starts`, needed for `random` starts.
    """
    clip = view.clip_of(clip)
    views = view.num_clips, view.clip_starts
    if clip.sampling != "dense":
        return sampling.eval_indices(num_frames, clip, *views, timestamps, extra_frames, shares)
    shown = sampling.source(num_frames, clip, timestamps)
    steps = _steps(clip, extra_frames, stride_scale)
    last = max(len(shown) - 1 - steps[-1], 0)
    if view.clip_starts == "random":
        starts = view_draws.pick(shares, last + 1)
    else:
        starts = sampling.dense_starts(len(shown), clip, *views, clip.stride * stride_scale)
        starts = np.minimum(starts, last)
    return shown[_clips(starts, steps, len(shown), clip)]


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
    if clip.sampling == "dense":
        steps = _steps(clip, extra_frames, stride_scale)
        length = int(steps[-1]) + 1
    else:
        length = min(max(1, round(window_s * rate)), len(shown))
        # Of the window as of a whole video: its frames are those of `shown` already.
        plain = dataclasses.replace(clip, fps=0.0, order="normal")
        steps = sampling.eval_indices(length, plain)[0]
    hop = max(1, round(hop_s * rate) if hop_s else length // 2)
    last = max(len(shown) - length, 0)
    starts = np.array([*range(0, last, hop), last])
    return shown[_clips(starts, steps, len(shown), clip)]


def _steps(clip: ClipSpec, extra_frames: int, stride_scale: float) -> np.ndarray:
    """Frames of a dense clip, counted from its first, int64 [T+E]."""
    places = np.arange(clip.num_frames + extra_frames) * (clip.stride * stride_scale)
    return np.floor(places + 0.5 + 1e-9).astype(np.int64)  # 0.5 may be 0.4999... by rounding


def _clips(starts: np.ndarray, steps: np.ndarray, num_frames: int, clip: ClipSpec) -> np.ndarray:
    """Clips of these steps, int64 [n,T+E]; past the end as `sampling.dense_indices` says."""
    starts = starts[:, None]
    if clip.short == "loop":
        return (starts + steps) % num_frames
    is_reached = starts + steps < num_frames
    return starts + np.minimum(steps, (steps * is_reached).max(axis=1, keepdims=True))
