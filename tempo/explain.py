"""Which frames of a video the clips of a config read, drawn as text; needs no data on disk.

python -m tempo.main --config C --explain-sampling
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from tempo.data import device_ops, flow_sampling, pipeline, sampling, specs, view_draws
from tempo.errors import InputError
from tempo.evaluators import multi_view, scoring
from tempo.recipe import EvalSettings, Recipe
from tempo.types import ClipSpec, FlowSpec, ViewSpec

DEFAULT_FPS = 25.0
NUM_DRAWS = 4
_LABEL = 10  # columns before a time line
_LINE = 60  # columns of a time line
_MAX_NUMBERS = 16  # a longer list of frames is cut in the middle
_ID = "imagined"  # of the video, for draws
_CROPS = {
    "center": "the centre",
    "three": "left, right and centre (top, bottom and centre of an upright video)",
    "five": "four corners and the centre",
    "ten": "four corners and the centre, and their mirror images",
    "full": "the whole frame",
    "random": "one at random for each clip",
}


@dataclasses.dataclass(frozen=True)
class Video:
    """A video that is imagined.

    Attributes:
      seconds: its length.
      fps: frames per second.
      source: who says so, for the reader.
    """

    seconds: float
    fps: float
    source: str = "given"

    def __post_init__(self):
        if not (0 < self.seconds <= 86400 and 0 < self.fps <= 1000):
            raise InputError(
                f"A video to explain needs 0 to 86400 seconds and 0 to 1000 fps; got "
                f"{self.seconds:g} and {self.fps:g}."
            )

    @property
    def num_frames(self) -> int:
        """N."""
        return max(1, round(self.seconds * self.fps))

    @property
    def timestamps(self) -> np.ndarray:
        """Seconds of each frame, [N]."""
        return np.arange(self.num_frames) / self.fps


def imagine(recipe: Recipe, seconds: float = 10.0, fps: float = 0.0) -> Video:
    """A video at `fps`; if that is 0, at the rate of the records, of the dataset, or at 25."""
    if fps:
        return Video(seconds, fps)
    folder = recipe.data.dir
    try:
        split = pipeline.open_records(folder).split(recipe.data.train_split)
    except InputError:
        rate = specs.lookup(recipe.data.name).fps or DEFAULT_FPS
        return Video(seconds, rate, f"assumed: no records to be read in {folder!r}")
    # A thousand videos from all over the split.
    rows = np.linspace(0, len(split) - 1, min(len(split), 1000)).astype(int)
    rates = [split.manifest[int(row)]["fps"] for row in rows]
    return Video(seconds, round(float(np.median(rates)), 3), f"the median of {folder!r}")


def explain(recipe: Recipe, video: Video, flow: FlowSpec | None = None) -> str:
    """All that `recipe` reads of a video, as lines of text.

    Args:
      recipe: a checked config.
      video: what it is applied to.
      flow: which flow is read beside the frames; None reads none.

    Raises:
      InputError: flow that cannot go with the clips.
    """
    extra = device_ops.extra_frames(recipe.input.device_ops)
    clip = recipe.clip
    sampling.check(clip, extra)
    if flow is not None:
        flow_sampling.check(clip)
    parts = [_heading(video, clip, flow, extra)]
    parts.append("\n".join(_training(video, clip, flow, extra, recipe.seed)))
    for name, settings in recipe.eval.items():
        parts.append("\n".join(_evaluation(video, clip, flow, extra, name, settings)))
    return "\n\n".join(parts) + "\n"


def _heading(video: Video, clip: ClipSpec, flow: FlowSpec | None, extra: int) -> str:
    lines = [
        f"A video of {video.seconds:g} s at {video.fps:g} fps ({video.source}): frames 0 to "
        f"{video.num_frames - 1}.",
        _clip_line(clip, video, extra),
    ]
    if flow is not None:
        lines.append(_flow_line(flow))
    lines.append(
        "# read  @ read more than once  . not read  1-9 flow snippet, * in several; every column "
        f"is {video.seconds / _LINE:.2g} s"
    )
    return "\n".join(lines)


def _flow_line(flow: FlowSpec) -> str:
    text = f"Flow: {_count(flow.num_snippets, 'snippet')} of {flow.num_fields} fields"
    if flow.num_snippets == 1:
        return f"{text} around the clip's middle frame."
    if flow.stride_rule == "segments":
        return f"{text}, one in each of {flow.num_snippets} equal parts of the video."
    rule = {"center": "between centres", "gap": "from end to start"}[flow.stride_rule]
    low, high = flow.train_intervals
    return (
        f"{text} around the clip's middle frame, tau {flow.interval} {rule} (training draws {low} "
        f"to {high})."
    )


def _clip_line(clip: ClipSpec, video: Video, extra: int) -> str:
    frames = _count(clip.num_read + extra, "frame")
    if extra:
        frames += f" ({extra} of them only for differences)"
    clock = f"ticks of {clip.fps:g} fps" if clip.fps else "stored frames"
    if clip.sampling == "dense":
        span = sampling.clip_span(clip) + extra * clip.stride
        seconds = span / (clip.fps or video.fps)
        stride = "" if clip.num_frames + extra == 1 else f", one in {clip.stride} {clock}"
        text = f"{frames}{stride}: a span of {span}, {seconds:.2f} s"
        if clip.train_strides:
            text += f"; in training one in {', '.join(map(str, clip.train_strides))}"
    elif clip.sampling == "segments":
        own = "one" if clip.frames_per_segment == 1 else f"{clip.frames_per_segment} neighbours"
        text = f"{frames}, {own} in each of {clip.num_frames} equal parts of the {clock}"
    else:
        text = f"{frames}, anywhere among the {clock} (tests: one in each equal part)"
    orders = {"normal": "", "reverse": "; backwards", "concat": "; forwards, then backwards"}
    text += orders[clip.order]
    if clip.reverse_prob:
        text += f"; in training turned round with probability {clip.reverse_prob:g}"
    short = {"hold_last": "repeat the last frame reached", "loop": "start again"}[clip.short]
    return f"Clip: {text}. Clips longer than a video {short}."


def _training(
    video: Video, clip: ClipSpec, flow: FlowSpec | None, extra: int, seed: int
) -> Iterator[str]:
    yield f"train: one random clip; {NUM_DRAWS} draws (first step, seed {seed})"
    yield _axis(video)
    about, more = (video.num_frames, clip), (video.timestamps, extra)
    for i in range(NUM_DRAWS):
        # As the first clips of the first batch are drawn.
        rng = np.random.default_rng((seed, 0, i))
        if flow is None:
            frames, fields = sampling.train_indices(*about, rng, *more), None
        else:
            frames, fields = flow_sampling.train_indices(*about, flow, rng, *more)
        yield from _clip_rows(f"draw {i + 1}", video, frames, fields)


def _evaluation(
    video: Video,
    clip: ClipSpec,
    flow: FlowSpec | None,
    extra: int,
    name: str,
    settings: EvalSettings,
) -> Iterator[str]:
    view, kind = settings.view, settings.kind
    when = f"every {settings.every_epochs:g} epochs" if settings.every_epochs else "at the end"
    what = "" if kind.name == multi_view.MultiView.name else f"{kind.name}, "
    yield f"{name}: {what}{kind.views(view)} of split {settings.split!r}, {when}"
    size = "" if view.crop == "full" else f", {view.size_px} px"
    yield (
        f"crops: {_CROPS[view.crop]}{size}, of frames resized to {view.short_side_px} px"
        f"{scoring.how_shown(view)}"
    )
    clip, given = view.clip_of(clip), clip
    flow = view.flow_of(flow)
    if flow is not None:
        flow_sampling.check(clip)
    if clip != given:
        tested = dataclasses.replace(clip, train_strides=(), reverse_prob=0.0)
        yield _clip_line(tested, video, extra)
    if view.is_random:
        yield f"drawn as for a video of the name {_ID!r}; every video has its own draws"
    yield _axis(video)
    for label, own in kind.clips(clip, video.timestamps).items():
        yield from _views(video, own, flow, extra, view, label)


def _views(
    video: Video,
    clip: ClipSpec,
    flow: FlowSpec | None,
    extra: int,
    view: ViewSpec,
    label: str,
) -> Iterator[str]:
    """The clips of an evaluation, and what they cover together; `label` stands before them all."""
    shares = view_draws.draw(view, _ID).starts
    about = view.num_clips, view.clip_starts, video.timestamps, extra, shares
    if flow is None:
        clips, fields = sampling.eval_indices(video.num_frames, clip, *about), None
    else:
        clips, fields = flow_sampling.eval_indices(video.num_frames, clip, flow, *about)
    for i, frames in enumerate(clips):
        own = f"clip {i + 1}" if not label else label if i == 0 else ""
        yield from _clip_rows(own, video, frames, None if fields is None else fields[i])
    if len(clips) > 1:
        yield f"{'all':{_LABEL}}{_time_line(video, clips.ravel())}"
    yield _coverage(video, clips, fields)


def _coverage(video: Video, clips: np.ndarray, fields: np.ndarray | None) -> str:
    different = np.unique(clips)
    text = (
        f"{_count(clips.size, 'frame')} read, {len(different)} different of {video.num_frames}; "
        f"from {_span(video, different)}"
    )
    if len(different) > 1:
        text += f", at most {np.diff(different).max() / video.fps:.2f} s between two"
    if fields is not None:
        text += f"; {fields.size} fields, {len(np.unique(fields))} different"
    return text


def _axis(video: Video) -> str:
    """Seconds above a time line."""
    labels = [f"{video.seconds * i / 5:g}" for i in range(6)]
    line = [" "] * (_LABEL + _LINE + 12)
    for i, label in enumerate(labels):
        at = _LABEL + _LINE * i // 5
        text = f"|{label}" if i < 5 else f"|{label} s"
        line[at : at + len(text)] = text
    return "".join(line).rstrip()


def _clip_rows(
    label: str, video: Video, frames: np.ndarray, fields: np.ndarray | None
) -> Iterator[str]:
    yield f"{label:{_LABEL}}{_time_line(video, frames)}  {_span(video, frames)}"
    yield f"{'':{_LABEL}}frames {_numbers(frames)}"
    if fields is not None:
        yield f"{'  flow':{_LABEL}}{_snippet_line(video, fields)}  {_span(video, fields)}"
        ends = ", ".join(_range(snippet) for snippet in fields)
        yield f"{'':{_LABEL}}fields {ends}"


def _time_line(video: Video, frames: np.ndarray) -> str:
    line = np.full(_LINE, ".")
    numbers, counts = np.unique(frames, return_counts=True)
    line[_columns(video, numbers)] = "#"
    line[_columns(video, numbers[counts > 1])] = "@"
    return "".join(line)


def _snippet_line(video: Video, fields: np.ndarray) -> str:
    line = np.full(_LINE, ".")
    for k, snippet in enumerate(fields):
        places = np.unique(_columns(video, snippet))
        # Two snippets side by side may share a column; only shared fields make them overlap.
        shared = np.unique(_columns(video, np.intersect1d(snippet, np.delete(fields, k, 0))))
        free = places[line[places] == "."]
        line[free] = str((k + 1) % 10)
        line[shared] = "*"
    return "".join(line)


def _columns(video: Video, numbers: np.ndarray) -> np.ndarray:
    """The columns that frames cover, at least one each, int64."""
    first = numbers * _LINE // video.num_frames
    last = np.maximum((numbers + 1) * _LINE // video.num_frames - 1, first)
    pieces = [np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def _span(video: Video, numbers: np.ndarray) -> str:
    """Time from the beginning of the first frame to the end of the last."""
    return f"{numbers.min() / video.fps:.2f} to {(numbers.max() + 1) / video.fps:.2f} s"


def _numbers(frames: Sequence[int]) -> str:
    """Frames in the order in which they are played."""
    texts = [str(frame) for frame in frames]
    if len(texts) > _MAX_NUMBERS:
        half = _MAX_NUMBERS // 2
        texts = [*texts[:half], "...", *texts[-half:]]
    return " ".join(texts)


def _range(snippet: np.ndarray) -> str:
    repeats = len(snippet) - len(np.unique(snippet))
    text = f"{snippet.min()}-{snippet.max()}"
    return f"{text} ({repeats} repeated)" if repeats else text


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
