"""Shared vocabulary: array and batch aliases; the specs that say which frames and flow are read.

This file imports neither jax nor anything of tempo but its errors, so data workers start fast.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tempo.errors import InputError, check_whole, is_whole

Array = Any  # jax.Array or np.ndarray; jax is not imported here
Batch = dict[str, Array]
"""A plain dict of arrays with a leading batch axis.

Training: `video [B,T,H,W,C] uint8`, `label` (see `LABEL_KINDS`), `index [B] int32` (row of the
split) and, where asked for, `flow [B,S,H,W,2L] uint8` (x0, y0, x1, y1, ...; 128 is no motion).
Evaluation adds a view axis after B (`video [B,V,T,H,W,C]`) and `mask [B] bool`, False on padding.
`id [B]` (strings) stays on the host: `tempo.sharding.to_global` leaves it out.
"""

STREAMS = ("video", "flow")
"""What of a video a network may read: keys of a batch."""
Streams = tuple[str, ...]
"""Of `STREAMS`."""
ClipShapes = tuple[int, ...] | Mapping[str, tuple[int, ...]]
"""Of what a network is given of one clip: `[T,H,W,C]` of the one stream that it reads, or those of
several by name."""


def network_input(batch: Mapping[str, Array], streams: Sequence[str]) -> Any:
    """What a network that reads these streams is called with: one array, or several by name."""
    if len(streams) == 1:
        return batch[streams[0]]
    return {name: batch[name] for name in streams}


LABEL_KINDS = ("single", "multi", "joint")
"""One class index per video `[B]`; a multi-hot vector `[B,K]`; or one class of each of several
groups, such as a verb and a noun, as indices into the joined list of class names `[B,G]`, or -1
where a group's is not known."""
CLIP_SAMPLINGS = ("dense", "segments", "uniform")
SHORT_POLICIES = ("hold_last", "loop")
ORDERS = ("normal", "reverse", "concat")
CLIP_STARTS = ("linspace", "ticks", "tsn", "random")
STRIDE_RULES = ("center", "gap", "segments")
MAX_INTERVAL = 10_000
"""Largest tau of `FlowSpec`: minutes of any video, so that sums of some stay whole numbers."""
CROPS = ("center", "three", "five", "ten", "full", "random")
MAX_SEED = 2**32 - 1
AVERAGES = ("probs", "logits")


def _check(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Which frames make one clip.

    Attributes:
      num_frames: T, frames in a clip.
      stride: frames between two of them in a `dense` clip (tau); unused by `segments`.
      train_strides: if given, every training clip draws its stride from these, all equally
        likely; tests keep `stride`.
      sampling: `dense` (T frames at a fixed stride), `segments` (one frame from each of T equal
        parts of the video; TSN, arXiv 1608.00859) or `uniform` (in training T different frames
        anywhere, in their order; tests take `segments`).
      frames_per_segment: F, neighbouring frames that are read of each of the `segments`, which are
        T * F frames; the device op `stack_differences` makes T of them again (TSN: 6).
      short: what follows when the clip is longer than the video: `hold_last` repeats the last
        frame that the stride reached (the TPN release), `loop` starts over (mmaction2).
      fps: if above 0, `stride` counts frames of this rate and timestamps are used to find them,
        so that videos of different or variable frame rate agree; 0 counts stored frames.
      order: what clips are taken from, in training and tests: the video (`normal`), the video
        played backwards (`reverse`), or the one and then the other (`concat`, 2N frames, of which
        the two in the middle are the same).
      reverse_prob: share of training clips for which that is turned round once more; `concat` is
        the same either way, so it does nothing there.
    """

    num_frames: int
    stride: int = 1
    train_strides: tuple[int, ...] = ()
    sampling: str = "dense"
    frames_per_segment: int = 1
    short: str = "hold_last"
    fps: float = 0.0
    order: str = "normal"
    reverse_prob: float = 0.0

    def __post_init__(self):
        # A config that went through JSON has lists.
        object.__setattr__(self, "train_strides", tuple(self.train_strides))
        check_whole("num_frames", self.num_frames)
        check_whole("stride", self.stride)
        for stride in self.train_strides:
            check_whole("every one of train_strides", stride)
        _check("sampling", self.sampling, CLIP_SAMPLINGS)
        check_whole("frames_per_segment", self.frames_per_segment)
        if self.frames_per_segment > 1 and self.sampling != "segments":
            raise InputError(
                f"frames_per_segment={self.frames_per_segment} is for clips of segments; with "
                f"sampling={self.sampling!r} leave it out."
            )
        if self.train_strides and self.sampling != "dense":
            raise InputError(
                f"train_strides are for dense clips; sampling={self.sampling!r} has no stride, "
                "leave them out."
            )
        _check("short", self.short, SHORT_POLICIES)
        _check("order", self.order, ORDERS)
        if not 0 <= self.reverse_prob <= 1:
            raise InputError(f"reverse_prob must be 0 to 1; got {self.reverse_prob}.")
        if self.fps < 0:
            raise InputError(f"fps must be 0 (stored frames) or positive; got {self.fps}.")

    @property
    def num_read(self) -> int:
        """Frames that are read for a clip: T, or T * F of segments of F frames."""
        return self.num_frames * self.frames_per_segment


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowSpec:
    """Which optical flow is read beside a clip (arXiv 1903.01038): S snippets of L fields.

    A snippet is L fields one after the other, which become 2L channels x0, y0, x1, y1, ... Snippets
    lie at equal distances around the clip's middle frame t, or one in each part of the video.

    Attributes:
      num_snippets: S.
      num_fields: L.
      interval: tau of tests.
      train_intervals: lowest and highest tau of training; every clip draws a whole number between.
      stride_rule: what tau is: the distance between centres of neighbouring snippets (`center`;
        they overlap if tau < L) or the fields between the end of one and the start of the next
        (`gap`; centres are L + tau apart). By `segments` there is no tau: one snippet lies in each
        of S equal parts of the video, at a random place in training, and in tests where frames of
        `segments` lie (TSN, arXiv 1608.00859); a single snippet lies around t as ever.
    """

    num_snippets: int = 3
    num_fields: int = 10
    interval: int = 5
    train_intervals: tuple[int, int] = (1, 10)
    stride_rule: str = "center"

    def __post_init__(self):
        object.__setattr__(self, "train_intervals", tuple(self.train_intervals))
        check_whole("num_snippets", self.num_snippets)
        check_whole("num_fields", self.num_fields)
        check_whole("interval", self.interval, 0)
        between = self.train_intervals
        is_fit = len(between) == 2 and all(is_whole(tau, 0) for tau in between)
        if not (is_fit and between[0] <= between[1]):
            raise InputError(
                "train_intervals are the lowest and the highest interval, whole numbers such as "
                f"(1, 10); got {between}."
            )
        _check("stride_rule", self.stride_rule, STRIDE_RULES)
        for name, low, high in (
            ("interval", self.interval, self.interval),
            ("train_intervals", *between),
        ):
            if high > MAX_INTERVAL:
                raise InputError(f"{name} must be at most {MAX_INTERVAL} fields; got {high}.")
            # One centre for all: every snippet would be the same.
            if low == 0 and self.num_snippets > 1 and self.stride_rule == "center":
                raise InputError(
                    f"{name} of 0 makes all {self.num_snippets} snippets the same; use 1 or more, "
                    "or num_snippets=1."
                )

    def step(self, interval: int) -> int:
        """Fields between the centres of two neighbouring snippets of tau; `segments` have none."""
        return interval + (self.num_fields if self.stride_rule == "gap" else 0)

    def num_covered(self, interval: int) -> int:
        """Fields from the first to the last of a clip's snippets at tau.

        Of `segments`, the fewest in which all snippets have a place of their own.
        """
        step = 1 if self.stride_rule == "segments" else self.step(interval)
        return self.num_fields + (self.num_snippets - 1) * step


class ClipShape(NamedTuple):
    """What one step's training clips look like, where it changes from step to step (multigrid).

    Attributes:
      num_frames: T.
      strides: every dense clip draws its stride from these, all equally likely.
      size_px: side of the clips.
      batch_size: clips of the step over all processes; 0 is that of the run.
      first_clip: where the step begins in the endless stream of clips in which one shuffled epoch
        follows the other; -1 keeps to the rule of runs of one shape, whose epochs drop the videos
        that fill no batch.
    """

    num_frames: int
    strides: tuple[int, ...]
    size_px: int
    batch_size: int = 0
    first_clip: int = -1


ShapeAt = Callable[[int], ClipShape]
"""Training step -> shape of its clips."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """Which views of a video are evaluated, and how their scores become one.

    Attributes:
      num_clips: clips along time.
      clip_starts: rule for their starts: `linspace` (first to last possible, mmaction2), `ticks`
        (centres of equal intervals, the TPN release), `tsn` (from the first in equal steps of whole
        frames, the TSN release) or `random` (anywhere, each on its own). One clip is centred, but
        by `random`.
      crop: `center` (1), `three` (left, right, centre; top, bottom, centre if portrait), `five`
        (four corners and centre), `ten` (those and their mirror images), `full` (no crop: the
        resized frame) or `random` (1, for each clip at a place of its own).
      short_side_px: frames are first resized to this short side, keeping their aspect ratio.
      size_px: side of the square crop.
      average: `probs` averages softmax probabilities over the views, `logits` averages before it.
      is_flipped: whether every view is shown as its mirror image.
      stride: of dense clips, in place of `ClipSpec.stride`; 0 keeps that.
      order: a row of `ORDERS`, in place of `ClipSpec.order`; "" keeps that.
      num_frames: T, in place of `ClipSpec.num_frames`; 0 keeps that.
      num_snippets: S, in place of `FlowSpec.num_snippets`; 0 keeps that.
      seed: of what is random. A clip's draws depend on it, the id of the video and the number of
        the clip alone.
    """

    num_clips: int = 1
    clip_starts: str = "linspace"
    crop: str = "center"
    short_side_px: int = 256
    size_px: int = 224
    average: str = "probs"
    is_flipped: bool = False
    stride: int = 0
    order: str = ""
    num_frames: int = 0
    num_snippets: int = 0
    seed: int = 0

    def __post_init__(self):
        check_whole("num_clips", self.num_clips)
        _check("clip_starts", self.clip_starts, CLIP_STARTS)
        _check("crop", self.crop, CROPS)
        _check("average", self.average, AVERAGES)
        if self.is_flipped not in (False, True):
            raise InputError(f"is_flipped must be True or False; got {self.is_flipped!r}.")
        for name in ("stride", "num_frames", "num_snippets"):
            check_whole(f"{name} (0 is as the clip has it)", getattr(self, name), 0)
        for name in ("short_side_px", "size_px"):
            check_whole(name, getattr(self, name))
        if self.order:
            _check("order", self.order, ORDERS)
        if not is_whole(self.seed, 0) or self.seed > MAX_SEED:
            raise InputError(f"seed must be 0 to 2**32 - 1; got {self.seed!r}.")
        if self.crop != "full" and self.size_px > self.short_side_px:
            raise InputError(
                f"A crop of size_px={self.size_px} does not fit frames resized to "
                f"short_side_px={self.short_side_px}; lower one or raise the other."
            )

    def clip_of(self, clip: ClipSpec) -> ClipSpec:
        """Which frames make a clip of these views: `clip` at their length, stride and order.

        Raises:
          InputError: a stride for clips that have none.
        """
        if self.stride and clip.sampling != "dense":
            raise InputError(
                f"Views at stride={self.stride} are of dense clips; sampling={clip.sampling!r} has "
                "no stride, leave it out (0)."
            )
        return dataclasses.replace(
            clip,
            num_frames=self.num_frames or clip.num_frames,
            stride=self.stride or clip.stride,
            order=self.order or clip.order,
        )

    def flow_of(self, flow: FlowSpec | None) -> FlowSpec | None:
        """Which flow goes with a clip of these views: `flow`, with their number of snippets."""
        if flow is None or not self.num_snippets:
            return flow
        return dataclasses.replace(flow, num_snippets=self.num_snippets)

    @property
    def is_random(self) -> bool:
        """Whether anything of the views is drawn."""
        return "random" in (self.clip_starts, self.crop)

    @property
    def num_crops(self) -> int:
        """Crops per clip."""
        return {"three": 3, "five": 5, "ten": 10}.get(self.crop, 1)

    @property
    def num_views(self) -> int:
        """V: clips x crops."""
        return self.num_clips * self.num_crops

    @property
    def mirrored(self) -> tuple[bool, ...]:
        """Which of the V views are mirror images."""
        of_ten = (self.crop == "ten" and i >= 5 for i in range(self.num_crops))
        return tuple(mirrored != self.is_flipped for mirrored in of_ten) * self.num_clips
