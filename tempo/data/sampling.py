"""Which frames make a clip: pure functions of a video's length and a `ClipSpec`.

All return frame numbers, int64 `[..., T]`, inside the video. Sources: the TPN release
(decisionforce/TPN) and mmaction2 where their rules differ; TSN, arXiv 1608.00859. Which optical
flow goes with the frames is in `tempo.data.flow_sampling`.
"""

import dataclasses

import numpy as np

from tempo.types import ClipSpec


def train_indices(
    num_frames: int,
    clip: ClipSpec,
    rng: np.random.Generator,
    timestamps: np.ndarray | None = None,
) -> np.ndarray:
    """One random clip, int64 [T].

    Dense clips start anywhere that keeps all frames inside the video (at 0 if the video is too
    short), with a stride drawn from `clip.train_strides` if there are any; of segments, one frame
    uniformly inside each; `uniform` takes any T different frames in their order (of fewer frames,
    some more than once).

    Args:
      num_frames: N, stored frames of the video, at least 1.
      clip: which frames make a clip.
      rng: source of the draw.
      timestamps: [N] seconds, needed where `clip.fps` is above 0.
    """
    is_turned = clip.reverse_prob > 0 and rng.random() < clip.reverse_prob
    frames = source(num_frames, clip, timestamps, is_turned)
    if clip.sampling == "uniform" and len(frames) >= clip.num_frames:
        return frames[np.sort(rng.choice(len(frames), clip.num_frames, replace=False))]
    if clip.sampling != "dense":
        return frames[_segments(len(frames), clip.num_frames, rng.random(clip.num_frames))]
    if clip.train_strides:
        stride = clip.train_strides[rng.integers(len(clip.train_strides))]
        clip = dataclasses.replace(clip, stride=stride)
    start = rng.integers(max(len(frames) - clip_span(clip), 0) + 1)
    return frames[dense_indices(start, len(frames), clip)]


def eval_indices(
    num_frames: int,
    clip: ClipSpec,
    num_clips: int = 1,
    clip_starts: str = "linspace",
    timestamps: np.ndarray | None = None,
) -> np.ndarray:
    """The clips of an evaluation, int64 [num_clips,T]; see `dense_starts`, `segment_places`."""
    frames = source(num_frames, clip, timestamps)
    if clip.sampling != "dense":
        places = segment_places(num_clips, clip_starts)
        return frames[np.stack([_segments(len(frames), clip.num_frames, p) for p in places])]
    starts = dense_starts(len(frames), clip, num_clips, clip_starts)
    return frames[np.stack([dense_indices(start, len(frames), clip) for start in starts])]


def source(
    num_frames: int,
    clip: ClipSpec,
    timestamps: np.ndarray | None = None,
    is_turned: bool = False,
) -> np.ndarray:
    """The stored frames that clips are taken from, in the order in which they are played, int64.

    All frames (or those on the ticks of `clip.fps`), backwards if `clip.order` is `reverse`; for
    `concat` forwards and then backwards, which makes a palindrome of twice the length. Clips count
    their frames in this sequence, so a start, a stride or the end of a short video mean the same
    in every order.

    Args:
      num_frames: N.
      clip: gives `fps` and `order`.
      timestamps: [N] seconds, needed where `clip.fps` is above 0.
      is_turned: whether the whole sequence is turned round.
    """
    frames = _resampled(num_frames, clip, timestamps)
    if clip.order == "concat":
        return np.concatenate([frames, frames[::-1]])
    return frames[::-1] if (clip.order == "reverse") != is_turned else frames


def clip_span(clip: ClipSpec) -> int:
    """L = (T - 1) * stride + 1, frames from the first to the last of a dense clip."""
    return (clip.num_frames - 1) * clip.stride + 1


def dense_starts(
    num_frames: int, clip: ClipSpec, num_clips: int, clip_starts: str = "linspace"
) -> np.ndarray:
    """First frames of `num_clips` dense clips, int64 [num_clips].

    `linspace` (mmaction2): round(k * max(N - L, 0) / (num_clips - 1)), so the first clip starts
    with the video and the last ends with it; a single clip is centred. `ticks` (TPN release): with
    tick = (N - T * stride + 1) / num_clips, int(tick / 2 + tick * k), and 0 for all if
    N < T * stride.
    """
    k = np.arange(num_clips)
    if clip_starts == "ticks":
        tick = max(num_frames - clip.num_frames * clip.stride + 1, 0) / num_clips
        return (tick / 2 + tick * k).astype(np.int64)
    free = max(num_frames - clip_span(clip), 0)
    if num_clips == 1:
        return np.array([free // 2], np.int64)
    return np.round(k * (free / (num_clips - 1))).astype(np.int64)


def dense_indices(start: int, num_frames: int, clip: ClipSpec) -> np.ndarray:
    """Frames start, start + stride, ... of a dense clip, int64 [T].

    Past the end of the video, `hold_last` repeats the last frame that was reached (TPN release) and
    `loop` goes on from its first (modulo N, mmaction2).
    """
    steps = np.arange(clip.num_frames, dtype=np.int64)
    if clip.short == "loop":
        return (start + steps * clip.stride) % num_frames
    reached = max(num_frames - 1 - start, 0) // clip.stride
    return np.minimum(start + np.minimum(steps, reached) * clip.stride, num_frames - 1)


def segment_places(num_clips: int, clip_starts: str = "linspace") -> np.ndarray:
    """Where in every segment the frames of each clip lie, in [0, 1), float64 [num_clips].

    One clip takes the centres. `ticks` (TPN release): clips interleave, two of them at 1/4 and
    3/4. `linspace` (mmaction2's `twice_sample`): the first at the centre, the others from there in
    equal steps, cyclically; the second of two at the segments' beginning.
    """
    k = np.arange(num_clips)
    if clip_starts == "ticks":
        return (k + 0.5) / num_clips
    return (0.5 + k / num_clips) % 1.0


def segment_indices(
    num_frames: int, num_segments: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """One frame number per equal segment (TSN), int64 [num_segments].

    Centre of each segment if `rng` is None, uniform inside it otherwise. A video with fewer frames
    than segments gives some frames twice.
    """
    return _segments(num_frames, num_segments, 0.5 if rng is None else rng.random(num_segments))


def resample(timestamps: np.ndarray, fps: float) -> np.ndarray:
    """Stored frame nearest to each tick of a clock of rate `fps`, int64 [ticks].

    The clock starts with the first frame and runs until the last frame has been shown, which is
    taken to last as long as the median frame. Of two frames equally near, the earlier.
    """
    times = np.asarray(timestamps, np.float64) - timestamps[0]
    if len(times) == 1:
        return np.zeros(1, np.int64)
    end = times[-1] + np.median(np.diff(times))
    # A tick that falls on the end, up to rounding of the times, is not inside.
    num_ticks = max(1, int(np.ceil(end * fps - 1e-3)))
    ticks = np.arange(num_ticks) / fps
    middles = (times[1:] + times[:-1]) / 2
    return np.searchsorted(middles, ticks - 1e-6, side="left").astype(np.int64)


def _segments(num_frames: int, num_segments: int, places: np.ndarray | float) -> np.ndarray:
    frames = (np.arange(num_segments) + places) * (num_frames / num_segments)
    # Rounding up to the next integer must not leave the video.
    return np.minimum(frames.astype(np.int64), num_frames - 1)


def _resampled(num_frames: int, clip: ClipSpec, timestamps: np.ndarray | None) -> np.ndarray:
    """Stored frame of every frame that a clip may count: all of them, or ticks of `clip.fps`."""
    if clip.fps == 0:
        return np.arange(num_frames, dtype=np.int64)
    if timestamps is None or len(timestamps) != num_frames:
        raise ValueError("clip.fps is set, so the timestamps of all frames are needed")
    return resample(timestamps, clip.fps)
