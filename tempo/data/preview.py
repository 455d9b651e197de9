"""A contact sheet of a dataset: augmented training clips with labels, true frame numbers and flow.

python -m tempo.prepare --preview DIR/records --out preview.png
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from tempo import files
from tempo.data import device_ops as device_ops_lib
from tempo.data import flow as flow_lib
from tempo.data import host_ops as host_ops_lib
from tempo.data import ops as ops_lib
from tempo.data import sampling, specs
from tempo.data.batches import mirrored_labels
from tempo.data.records import Record, Records, Split, open_records
from tempo.errors import InputError
from tempo.types import ClipSpec

_COLUMNS = 16  # frames side by side; longer clips go on below
_GAP_PX = 4
_TEXT_PX = 16  # height of a line of text
_MIN_WIDTH_PX = 640
_MAX_PIXELS = 100_000_000
_BACKGROUND = 24
# No pixels, or clips of two labels.
_NOT_SHOWN = ("normalize", "stack_differences", "mixup", "cutmix")
_WHITE, _DIM = (240, 240, 240), (150, 150, 150)
# Other letters than ASCII become question marks: cv2 4 has no others.
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


@dataclasses.dataclass(frozen=True)
class Sample:
    """One clip of the sheet.

    Attributes:
      id: of the video.
      label: names of its classes, of the mirrored video if `is_mirrored` changes them.
      num_frames: N, stored frames of the video.
      frames: int64 [T], numbers of the clip's frames.
      video: uint8 [T,h,w,3], after augmentation.
      flow: uint8 [T,h,w,2], the movement that begins at each frame; None where none is stored.
      is_mirrored: whether the clip is a mirror image.
    """

    id: str
    label: str
    num_frames: int
    frames: np.ndarray
    video: np.ndarray
    flow: np.ndarray | None
    is_mirrored: bool


def write(
    data_dir: str | os.PathLike,
    out: str | os.PathLike,
    *,
    split: str = "train",
    num_clips: int = 12,
    clip: ClipSpec | None = None,
    size_px: int = 112,
    host_ops: Sequence[ops_lib.Row] | None = None,
    device_ops: Sequence[ops_lib.Row] = (),
    seed: int = 0,
) -> int:
    """Draws random clips of a split as training would see them; the number of clips.

    Args:
      data_dir: a prepared dataset.
      out: the PNG; replaced at once when all is drawn.
      split: of the dataset.
      num_clips: of different videos; fewer if there are not as many.
      clip: which frames make a clip; 8 frames, every eighth, by default.
      size_px: side of the training crop, and of its picture in the sheet.
      host_ops: rows of `tempo.data.host_ops.OPS`; by default a random-resized crop, and a flip
        unless mirrored videos of the dataset have no label.
      device_ops: rows of `tempo.data.device_ops.OPS`, without `normalize`.
      seed: of all draws.

    Raises:
      InputError: no such dataset, split or op, or a sheet that would be too large.
    """
    clip = clip or ClipSpec(num_frames=8, stride=8)
    path = os.fspath(out)
    if not path.lower().endswith(".png") or os.path.isdir(path):
        raise InputError(f"--out must be a file that ends in .png; got {path!r}.")
    if num_clips < 1 or size_px < 16:
        raise InputError(
            f"A preview needs at least 1 clip and 16 pixels; got {num_clips} and {size_px}."
        )
    records = open_records(data_dir)
    videos = records.split(split)
    num_clips = min(num_clips, len(videos))
    _check_size(num_clips, clip.num_frames, size_px, records.flow is not None)
    rows = np.random.default_rng(seed).choice(len(videos), num_clips, replace=False)
    if host_ops is None:
        is_safe = specs.lookup(records.dataset).is_mirror_safe
        host_ops = [op for op in host_ops_lib.DEFAULT_TRAIN_OPS if is_safe or op != "flip"]
    ops = host_ops_lib.create(host_ops, size_px)
    extra = device_ops_lib.extra_frames(device_ops)
    sampling.check(clip, extra)
    clip = dataclasses.replace(clip, num_frames=clip.num_frames + extra)
    samples = [
        sample(records, videos, int(row), clip, ops, np.random.default_rng((seed, 0, slot)))
        for slot, row in enumerate(rows)
    ]
    if device_ops:
        samples = _on_device(samples, device_ops, records.num_classes, seed)
    title = f"{records.name}: {num_clips} clips of split {split!r}, seed {seed}"
    bound = records.flow["bound"] if records.flow else flow_lib.BOUND
    picture = draw(samples, title, bound)
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise InputError(f"cv2 could not make a PNG of {picture.shape[1]}x{picture.shape[0]} px.")
    with files.replacing(path, "wb") as f:
        f.write(data.tobytes())
    return num_clips


def sample(
    records: Records,
    split: Split,
    row: int,
    clip: ClipSpec,
    ops: Sequence[Any],
    rng: np.random.Generator,
) -> Sample:
    """A clip of one video, sampled and augmented as for a training batch."""
    record = split[row]
    # In the order of `batches.TrainBatch`: which frames, then the crop.
    frames = sampling.train_indices(record.num_frames, clip, rng, record.timestamps)
    streams = {"video": record.decode(frames)}
    if records.flow is not None:
        streams["flow"] = _decode_flow(record, frames)
    streams, is_mirrored = host_ops_lib.run(ops, streams, rng)
    labels = split.labels[row : row + 1]
    if is_mirrored and split.mirror_labels is not None:
        labels = mirrored_labels(labels, split.mirror_labels)
    return Sample(
        id=record.id,
        label=label_text(labels[0], records.class_names),
        num_frames=record.num_frames,
        frames=frames,
        video=streams["video"],
        flow=streams.get("flow"),
        is_mirrored=is_mirrored,
    )


def label_text(label: np.ndarray, class_names: Sequence[str]) -> str:
    """Names of the classes: a number, one of each group (-1: unknown), or multi-hot (uint8)."""
    rows = np.flatnonzero(label) if label.dtype == np.uint8 else np.atleast_1d(label)
    return ", ".join(class_names[r] if r >= 0 else "unknown" for r in rows) or "(no class)"


def flow_colors(flow: np.ndarray, most_px: float) -> np.ndarray:
    """Flow as colour, uint8 RGB [...,H,W,3]: direction as hue, speed as saturation.

    No movement is white; to the right is red, down is yellow-green, left cyan, up violet.

    Args:
      flow: pixels [...,H,W,2].
      most_px: speed of full colour.
    """
    x, y = flow[..., 0], flow[..., 1]
    turns = np.arctan2(y, x) / (2 * np.pi) % 1
    hsv = np.empty((*flow.shape[:-1], 3), np.uint8)
    hsv[..., 0] = np.rint(turns * 180) % 180  # cv2 has hue in steps of two degrees
    hsv[..., 1] = np.rint(255 * np.clip(np.hypot(x, y) / most_px, 0, 1))
    hsv[..., 2] = 255
    tall = np.ascontiguousarray(hsv).reshape(-1, hsv.shape[-2], 3)
    return cv2.cvtColor(tall, cv2.COLOR_HSV2RGB).reshape(hsv.shape)


def draw(samples: Sequence[Sample], title: str, bound: float = flow_lib.BOUND) -> np.ndarray:
    """The sheet, uint8 RGB [H,W,3]: a title, then every clip with its frames and their numbers.

    Args:
      samples: at least one.
      title: its first line.
      bound: of the 8-bit flow.
    """
    size = max(s.video.shape[2] for s in samples)
    most = max(len(s.video) for s in samples)
    width = max(_MIN_WIDTH_PX, min(most, _COLUMNS) * (size + _GAP_PX) + _GAP_PX)
    flows = [flow_lib.dequantize(s.flow, bound) for s in samples if s.flow is not None]
    most_px = max((np.quantile(np.hypot(f[..., 0], f[..., 1]), 0.99) for f in flows), default=1.0)
    most_px = max(float(most_px), 1.0)
    strips = [_text(title, width, _WHITE)]
    if flows:
        strips.append(_legend(width, most_px))
    for s in samples:
        strips.extend(_clip_strips(s, width, most_px, bound))
    return np.concatenate(strips)


def _clip_strips(s: Sample, width: int, most_px: float, bound: float) -> list[np.ndarray]:
    mirrored = ", mirrored" if s.is_mirrored else ""
    about = f"{s.label} | {s.id} | frames of 0 to {s.num_frames - 1}{mirrored}"
    strips = [_blank(_GAP_PX, width), _text(about, width, _WHITE)]
    for first in range(0, len(s.video), _COLUMNS):
        part = slice(first, first + _COLUMNS)
        strips.append(_pictures(s.video[part], width))
        if s.flow is not None:
            colors = flow_colors(flow_lib.dequantize(s.flow[part], bound), most_px)
            strips.append(_pictures(colors, width))
        line = _blank(_TEXT_PX, width)
        for i, number in enumerate(s.frames[part][: len(s.video[part])]):
            _put(line, str(number), _GAP_PX + i * (s.video.shape[2] + _GAP_PX), _DIM)
        strips.append(line)
    return strips


def _pictures(clip: np.ndarray, width: int) -> np.ndarray:
    """Frames side by side."""
    height, side = clip.shape[1:3]
    strip = _blank(height + _GAP_PX, width)
    for i, frame in enumerate(clip):
        left = _GAP_PX + i * (side + _GAP_PX)
        strip[:height, left : left + side] = frame
    return strip


def _legend(width: int, most_px: float) -> np.ndarray:
    """The colours of all directions."""
    radius = 24
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    wheel = flow_colors(np.stack([x, y], axis=-1), radius)
    strip = _blank(2 * radius + 1 + _GAP_PX, width)
    inside = x**2 + y**2 <= radius**2
    strip[: 2 * radius + 1, _GAP_PX : _GAP_PX + 2 * radius + 1][inside] = wheel[inside]
    text = f"flow from each frame to the next; white: none, full colour: {most_px:.1f} px or more"
    strip[radius : radius + _TEXT_PX, 2 * radius + 3 * _GAP_PX :] = _text(
        text, width - 2 * radius - 3 * _GAP_PX, _DIM
    )
    return strip


def _text(text: str, width: int, color: tuple[int, int, int]) -> np.ndarray:
    line = _blank(_TEXT_PX, width)
    _put(line, text, _GAP_PX, color)
    return line


def _put(line: np.ndarray, text: str, left: int, color: tuple[int, int, int]) -> None:
    text = text.encode("ascii", "replace").decode()
    cv2.putText(line, text, (left, _TEXT_PX - 4), _FONT, _FONT_SCALE, color, 1, cv2.LINE_AA)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), _BACKGROUND, np.uint8)


def _check_size(num_clips: int, num_frames: int, size_px: int, has_flow: bool) -> None:
    lines = -(-num_frames // _COLUMNS)
    pixels = num_clips * lines * _COLUMNS * (size_px + 2 * _TEXT_PX) ** 2 * (1 + has_flow)
    if pixels > _MAX_PIXELS:
        raise InputError(
            f"A sheet of {num_clips} clips of {num_frames} frames at {size_px} px has about "
            f"{pixels // 1_000_000} million pixels, {_MAX_PIXELS // 1_000_000} are allowed; take "
            "fewer clips or smaller crops."
        )


def _decode_flow(record: Record, frames: np.ndarray) -> np.ndarray:
    """The fields that begin at `frames`; at the last frame, the one that ends there."""
    return record.decode_flow(np.minimum(frames, record.num_flows - 1))


def _on_device(
    samples: Sequence[Sample], rows: Sequence[Any], num_classes: int, seed: int
) -> list[Sample]:
    """The samples after device ops that leave pixels of 0 to 255, or differences of them."""
    # Only here: jax takes a second to start.
    import jax

    made = [_shown(row) for row in rows]
    run = device_ops_lib.create(made, num_classes)
    shapes = {s.video.shape for s in samples}
    if len(shapes) > 1:
        raise InputError("Device ops need clips of one size; add a crop to the host ops.")
    batch = {
        "video": np.stack([s.video for s in samples]),
        "label": np.zeros(len(samples), np.int32),
    }
    video = np.asarray(run(jax.random.key(seed), batch)["video"])
    if any(row["name"] == "residual" for row in made):
        video = video * 255  # `half_shift` gives 0 to 1; grey is no difference
    video = np.clip(np.rint(video), 0, 255).astype(np.uint8)
    return [
        dataclasses.replace(s, video=v, flow=None if s.flow is None else s.flow[: len(v)])
        for s, v in zip(samples, video, strict=True)
    ]


def _shown(row: ops_lib.Row) -> Mapping[str, Any]:
    """A device op whose result can be shown."""
    row = {"name": row} if isinstance(row, str) else dict(row)
    if row.get("name") in _NOT_SHOWN:
        raise InputError(f"A preview cannot show the device op {row['name']!r}; leave it out.")
    return row | {"scale": "half_shift"} if row.get("name") == "residual" else row
