"""Which frames make a clip: pure functions of a video's length and a `ClipSpec`.

All return frame numbers, int64 `[..., T]`, inside the video; of segments of F frames each
(`ClipSpec.frames_per_segment`) `[..., T*F]`, segment by segment. Of dense clips, `extra_frames` E
more follow the T at their stride (residual frames use them up); a clip is moved for them only where
they would not fit behind it. Sources: the TPN release (decisionforce/TPN) and mmaction2 where their
rules differ; TSN, arXiv 1608.00859. Which optical flow goes with the frames is in
`tempo.data.flow_sampling`.
"""

import dataclasses

import numpy as np

from tempo.data import view_draws
from tempo.errors import InputError
from tempo.types import ClipSpec


def check(clip: ClipSpec, extra_frames: int) -> None:
    """Raises `InputError` for clips that frames cannot be read beyond."""
    if extra_frames and clip.sampling != "dense":
        raise InputError(
            f"The frame that `residual` reads beyond the {clip.num_frames} of a clip follows at "
            f"their stride, but sampling={clip.sampling!r} has none; use sampling='dense', or "
            "residual with pad='repeat'."
        )


def train_indices(
    num_frames: int,
    clip: ClipSpec,
    rng: np.random.Generator,
    timestamps: np.ndarray | None = None,
    extra_frames: int = 0,
) -> np.ndarray:
    """One random clip, int64 [T+E].

    Dense clips start anywhere that keeps all frames inside the video (at 0 if the video is too
    short), with a stride drawn from `clip.train_strides` if there are any; of segments, one frame
    uniformly inside each; `uniform` takes any T different frames in their order (of fewer frames,
    some more than once). Segments of F frames are uniform over the places where all F fit.

    Args:
      num_frames: N, stored frames of the video, at least 1.
      clip: which frames make a clip.
      rng: source of the draw.
      timestamps: [N] seconds, needed where `clip.fps` is above 0.
      extra_frames: E, of dense clips.
    """
    is_turned = clip.reverse_prob > 0 and rng.random() < clip.reverse_prob
    frames = source(num_frames, clip, timestamps, is_turned)
    if clip.sampling == "uniform" and len(frames) >= clip.num_frames:
        return frames[np.sort(rng.choice(len(frames), clip.num_frames, replace=False))]
    if clip.sampling != "dense":
        starts = random_segments(_places(len(frames), clip), clip.num_frames, rng)
        return frames[_runs(starts, len(frames), clip)]
    if clip.train_strides:
        stride = clip.train_strides[rng.integers(len(clip.train_strides))]
        clip = dataclasses.replace(clip, stride=stride)
    start = rng.integers(_last_start(len(frames), clip, extra_frames) + 1)
    return frames[dense_indices(start, len(frames), clip, extra_frames)]


def eval_indices(
    num_frames: int,
    clip: ClipSpec,
    num_clips: int = 1,
    clip_starts: str = "linspace",
    timestamps: np.ndarray | None = None,
    extra_frames: int = 0,
    shares: np.ndarray | None = None,
) -> np.ndarray:
    """The clips of an evaluation, int64 [num_clips,T+E]; see `dense_starts`, `eval_segments`.

    Clips with `random` starts lie anywhere that keeps all frames inside the video (at 0 if the
    video is too short), as in training.

    Args:
      num_frames: N, stored frames of the video, at least 1.
      clip: which frames make a clip.
      num_clips: how many.
      clip_starts: a row of `tempo.types.CLIP_STARTS`.
      timestamps: [N] seconds, needed where `clip.fps` is above 0.
      extra_frames: E, of dense clips.
      shares: `view_draws.Draws.starts`, needed for `random` starts.
    """
    frames = source(num_frames, clip, timestamps)
    if clip.sampling != "dense":
        about = clip.num_frames, num_clips, clip_starts, shares
        starts = eval_segments(_places(len(frames), clip), *about)
        return frames[_runs(starts, len(frames), clip)]
    last = _last_start(len(frames), clip, extra_frames)
    if clip_starts == "random":
        starts = view_draws.pick(shares, last + 1)
    else:
        starts = np.minimum(dense_starts(len(frames), clip, num_clips, clip_starts), last)
    clips = [dense_indices(start, len(frames), clip, extra_frames) for start in starts]
    return frames[np.stack(clips)]


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
    num_frames: int,
    clip: ClipSpec,
    num_clips: int,
    clip_starts: str = "linspace",
    stride: float | None = None,
) -> np.ndarray:
    """First frames of `num_clips` dense clips that are not drawn, int64 [num_clips].

    `linspace` (mmaction2): round(k * max(N - L, 0) / (num_clips - 1)), so the first clip starts
    with the video and the last ends with it; a single clip is centred. `ticks` (TPN release): with
    tick = (N - T * stride + 1) / num_clips, int(tick / 2 + tick * k), and 0 for all if
    N < T * stride. `tsn` (TSN release): k * (max(N - L, 0) // (num_clips - 1)), so the last need
    not end with the video; a single clip is centred. `stride` stands in place of the clip's, and
    need not be whole.
    """
    k = np.arange(num_clips)
    stride = clip.stride if stride is None else stride
    if clip_starts == "ticks":
        tick = max(num_frames - clip.num_frames * stride + 1, 0) / num_clips
        return (tick / 2 + tick * k).astype(np.int64)
    free = max(num_frames - (clip.num_frames - 1) * stride - 1, 0)
    if num_clips == 1:
        return np.array([free // 2], np.int64)
    if clip_starts == "tsn":
        return (k * (free // (num_clips - 1))).astype(np.int64)
    return np.round(k * (free / (num_clips - 1))).astype(np.int64)


def dense_indices(start: int, num_frames: int, clip: ClipSpec, extra_frames: int = 0) -> np.ndarray:
    """Frames start, start + stride, ... of a dense clip, int64 [T+E].

    Past the end of the video, `hold_last` repeats the last frame that was reached (TPN release) and
    `loop` goes on from its first (modulo N, mmaction2).
    """
    steps = np.arange(clip.num_frames + extra_frames, dtype=np.int64)
    if clip.short == "loop":
        return (start + steps * clip.stride) % num_frames
    reached = max(num_frames - 1 - start, 0) // clip.stride
    return np.minimum(start + np.minimum(steps, reached) * clip.stride, num_frames - 1)


def random_segments(num_frames: int, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """One frame uniformly from each of S equal parts of the video (TSN), int64 [S].

    A video with fewer frames than parts gives some frames twice.
    """
    places = np.arange(num_segments) + rng.random(num_segments)
    return _of_segments(places, num_frames, num_segments)


def eval_segments(
    num_frames: int,
    num_segments: int,
    num_clips: int,
    clip_starts: str = "linspace",
    shares: np.ndarray | None = None,
) -> np.ndarray:
    """One frame from each of S equal parts of the video, at the same place in all, int64 [n,S].

    A single clip takes the centres. `ticks` (TPN release): clips interleave, two of them at 1/4 and
    3/4 of each part. `linspace` (mmaction2's `twice_sample`): the first at the centre, the others
    from there in equal steps, cyclically; the second of two at the beginning of each part. `tsn`
    (TSN release, for one part): from its first frame in equal steps of whole frames. `random` draws
    a clip's place by `shares [n]`.
    """
    if clip_starts == "random":
        return _of_segments(np.arange(num_segments) + shares[:, None], num_frames, num_segments)
    k = np.arange(num_clips)[:, None]
    if clip_starts == "tsn" and num_clips > 1:
        step = max(num_frames // num_segments - 1, 0) // (num_clips - 1)
        return np.arange(num_segments) * num_frames // num_segments + k * step
    # In 2n-ths of a part, so that a place on the border of two frames is never rounded below it.
    places = 2 * k + 1 if clip_starts == "ticks" else (num_clips + 2 * k) % (2 * num_clips)
    places = np.arange(num_segments) * 2 * num_clips + places
    return places * num_frames // (2 * num_clips * num_segments)


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


def _of_segments(places: np.ndarray, num_frames: int, num_segments: int) -> np.ndarray:
    """The frames at these places, of which there are `num_segments` in a video."""
    # Rounding up to the next integer must not leave the video.
    return np.minimum((places * num_frames / num_segments).astype(np.int64), num_frames - 1)


def _places(num_frames: int, clip: ClipSpec) -> int:
    """Frames at which the F neighbours of a segment can begin; 1 if they do not fit the video."""
    return max(num_frames - clip.frames_per_segment + 1, 1)


def _runs(starts: np.ndarray, num_frames: int, clip: ClipSpec) -> np.ndarray:
    """F neighbours from each start, [...,T] -> [...,T*F]; past the end the last frame stays."""
    runs = starts[..., None] + np.arange(clip.frames_per_segment)
    return np.minimum(runs, num_frames - 1).reshape(*starts.shape[:-1], clip.num_read)


def _last_start(num_frames: int, clip: ClipSpec, extra_frames: int) -> int:
    """The last start of a dense clip that fits the video with its extra frames; else 0."""
    return max(num_frames - clip_span(clip) - extra_frames * clip.stride, 0)


def _resampled(num_frames: int, clip: ClipSpec, timestamps: np.ndarray | None) -> np.ndarray:
    """Stored frame of every frame that a clip may count: all of them, or ticks of `clip.fps`."""
    if clip.fps == 0:
        return np.arange(num_frames, dtype=np.int64)
    if timestamps is None or len(timestamps) != num_frames:
        raise ValueError("clip.fps is set, so the timestamps of all frames are needed")
    return resample(timestamps, clip.fps)
