"""Which optical flow goes with a clip: snippets of L fields around its middle frame.

Field i is the motion from frame i to frame i + 1, so a video of N frames has N - 1. Source: the
spatiotemporal pyramid network (arXiv 1903.01038); what it leaves open is said where it is decided.
"""

import dataclasses

import numpy as np

from tempo.data import sampling
from tempo.errors import InputError
from tempo.types import ClipSpec, FlowSpec


def check(clip: ClipSpec) -> None:
    """Raises `InputError` for clips that stored flow cannot go with."""
    if clip.order != "normal" or clip.reverse_prob > 0:
        raise InputError(
            f"Flow is stored for videos played forwards, but order={clip.order!r} and "
            f"reverse_prob={clip.reverse_prob:g} play them backwards; leave these out."
        )


def coverage(
    split_name: str, num_fields: np.ndarray, flow: FlowSpec, is_training: bool
) -> tuple[str, ...]:
    """What to tell of a split whose videos are too short for the snippets: one line, or none.

    Args:
      split_name: for the line.
      num_fields: stored fields of each video of the split.
      flow: which fields go with a clip.
      is_training: whether tau is drawn from `flow.train_intervals`.

    Raises:
      InputError: a distance (in training the least one) at which no video holds the centres of two
        snippets, so that all but one would be copies of a video's first or last field.
    """
    low, high = flow.train_intervals if is_training else (flow.interval,) * 2
    longest = int(np.max(num_fields, initial=0))
    if not longest:
        return ()
    has_step = flow.num_snippets > 1 and not _is_of_segments(flow)
    if has_step and flow.step(low) >= longest:
        most = longest - 1 - flow.step(0)
        least = 0 if flow.step(0) else 1
        remedy = f"use at most {most}, or num_snippets=1" if most >= least else "use num_snippets=1"
        raise InputError(
            f"config.flow.{'train_intervals' if is_training else 'interval'} of {low} puts the "
            f"centres of two snippets {flow.step(low)} fields apart, but no video of split "
            f"{split_name!r} has more than {longest}; {remedy}."
        )
    wanted = flow.num_covered(high)
    count = int(np.sum(np.asarray(num_fields) < wanted))
    if not count:
        return ()
    upto = "up to " if high > low and has_step else ""
    what = "some snippets coincide" if _is_of_segments(flow) else "their first or last ones repeat"
    return (
        f"{count} of {len(num_fields)} videos of split {split_name!r} have fewer fields than the "
        f"{upto}{wanted} that the snippets cover; {what}",
    )


def train_indices(
    num_frames: int,
    clip: ClipSpec,
    flow: FlowSpec,
    rng: np.random.Generator,
    timestamps: np.ndarray | None = None,
    extra_frames: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """A random clip and its flow: frames int64 [T*F+E], fields int64 [S,L].

    A single frame t is uniform over L / 2 to N - 1 - L / 2, where the snippet around it fits the
    video; of a video too short for that, the centre. Longer clips are drawn as ever, and their
    middle frame is t. Tau is uniform over `flow.train_intervals`; snippets of `segments` are drawn
    on their own, uniformly over the places of each part where they fit.

    Args:
      num_frames: N, stored frames, at least 2.
      clip: which frames make a clip.
      flow: which fields go with it.
      rng: source of the draw.
      timestamps: [N] seconds, needed where `clip.fps` is above 0.
      extra_frames: E, read beyond the clip; a single frame is then drawn as longer clips are.
    """
    if clip.num_read + extra_frames == 1:
        first, count = _middles(num_frames, flow)
        frames = np.array([first + rng.integers(count)])
    else:
        frames = sampling.train_indices(num_frames, clip, rng, timestamps, extra_frames)
    if _is_of_segments(flow):
        starts = sampling.random_segments(_middles(num_frames, flow)[1], flow.num_snippets, rng)
        return frames, _snippets(starts, num_frames - 1, flow)
    interval = int(rng.integers(flow.train_intervals[0], flow.train_intervals[1] + 1))
    return frames, flow_indices(num_frames - 1, _middle(frames, clip), flow, interval)


def eval_indices(
    num_frames: int,
    clip: ClipSpec,
    flow: FlowSpec,
    num_clips: int = 1,
    clip_starts: str = "linspace",
    timestamps: np.ndarray | None = None,
    extra_frames: int = 0,
    shares: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The clips of an evaluation and their flow: frames [n,T*F+E], fields [n,S,L] of n clips.

    Single frames are spread by `clip_starts` over those around which a snippet fits; snippets of
    `segments` over the places where they fit, as `sampling.eval_segments` has it. For all else see
    `sampling.eval_indices`.
    """
    if clip.num_read + extra_frames == 1:
        first, count = _middles(num_frames, flow)
        # The rules take their stride for the length of a clip; a single frame has none.
        single = dataclasses.replace(clip, stride=1, sampling="dense", fps=0.0)
        about = num_clips, clip_starts, None, 0, shares
        frames = first + sampling.eval_indices(count, single, *about)
    else:
        about = num_clips, clip_starts, timestamps, extra_frames, shares
        frames = sampling.eval_indices(num_frames, clip, *about)
    if _is_of_segments(flow):
        about = flow.num_snippets, num_clips, clip_starts, shares
        starts = sampling.eval_segments(_middles(num_frames, flow)[1], *about)
        return frames, _snippets(starts, num_frames - 1, flow)
    fields = [flow_indices(num_frames - 1, _middle(f, clip), flow, flow.interval) for f in frames]
    return frames, np.stack(fields)


def flow_indices(num_flows: int, middle: int, flow: FlowSpec, interval: int) -> np.ndarray:
    """The fields of the snippets around frame `middle`, int64 [S,L].

    Snippet k has its centre at c_k = middle + (k - (S - 1) / 2) * step, rounded half up, and is the
    fields c_k - L / 2 to c_k + L / 2 - 1; fields outside the video are its first or last one. The
    step is `interval` or, by the `gap` rule, L + `interval`. The paper says "interval": `center`
    is the reading of earlier two-stream networks (arXiv 1604.06573).

    Args:
      num_flows: stored fields of the video.
      middle: a frame.
      flow: S, L and the rule.
      interval: tau.

    Raises:
      InputError: there is no flow.
    """
    step = flow.step(interval)
    k = np.arange(flow.num_snippets) - (flow.num_snippets - 1) / 2
    # Half up, for half to even would make the distances of an even number of snippets differ.
    centers = middle + np.floor(k * step + 0.5).astype(np.int64)
    return _snippets(centers - flow.num_fields // 2, num_flows, flow)


def stack(fields: np.ndarray) -> np.ndarray:
    """Fields [...,L,H,W,2] as channels [...,H,W,2L], in the order x0, y0, x1, y1, ..."""
    num_fields, height, width, _ = fields.shape[-4:]
    channels = np.moveaxis(fields, -4, -2)
    return channels.reshape(*fields.shape[:-4], height, width, 2 * num_fields)


def _is_of_segments(flow: FlowSpec) -> bool:
    """Whether snippets lie in parts of the video of their own."""
    return flow.stride_rule == "segments" and flow.num_snippets > 1


def _snippets(starts: np.ndarray, num_flows: int, flow: FlowSpec) -> np.ndarray:
    """The L fields from each start, [...] -> [...,L]; those outside are the first or the last."""
    if num_flows < 1:
        raise InputError("A video of one frame has no optical flow; prepare with min_frames >= 2.")
    return np.clip(starts[..., None] + np.arange(flow.num_fields), 0, num_flows - 1)


def _middles(num_frames: int, flow: FlowSpec) -> tuple[int, int]:
    """First of the frames around which a snippet fits, and their number; else (centre, 1)."""
    count = num_frames - flow.num_fields
    return (flow.num_fields // 2, count) if count > 0 else ((num_frames - 1) // 2, 1)


def _middle(frames: np.ndarray, clip: ClipSpec) -> int:
    """Of the clip itself, whatever is read beyond it."""
    return int(frames[clip.num_read // 2])
