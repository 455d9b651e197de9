"""RandAugment on video, inside the compiled step (arXiv 1909.13719).

The 14 ops of the paper, with the ranges of torchvision's `RandAugment` (magnitudes of 0 to 30;
where the first release weakened posterize and solarize with the magnitude, these grow stronger).
Each layer draws one op and one sign per clip, the same for all frames. To be quick under a batch
axis there are no branches: a layer is one warp, one look-up table per channel and one blend, each
of which does nothing for clips that drew another op.

Differences to ops on single images: the mean of `contrast`, the range of `autocontrast` and the
histogram of `equalize` are those of the whole clip, so that frames do not flicker; and that
histogram is counted on a grid of at least 56 rows and columns, not on every pixel.
"""

import jax
import jax.numpy as jnp

from tempo.data.ops import DeviceOp, check_range
from tempo.errors import InputError
from tempo.types import Array, Batch

MAX_MAGNITUDE = 30
KINDS = (
    "identity",
    "autocontrast",
    "equalize",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
_LEVELS = 256
_GRID = 56


def rand_augment(*, num_ops: int = 2, magnitude: float = 9.0, fill: int = 128) -> DeviceOp:
    """`num_ops` random ops after each other, for every clip its own.

    Rounds to whole values of 0-255 after every op, as images on disk do; the type of the video is
    kept.

    Args:
      num_ops: layers, N of the paper.
      magnitude: 0 to 30, M of the paper, the same for all ops.
      fill: grey level of what comes into the frame.

    Raises:
      InputError: a value out of range; at the first batch, if that has flow, which the ops would
        have to bend.
    """
    if num_ops < 1:
        raise InputError(f"rand_augment: num_ops must be at least 1; got {num_ops}.")
    check_range("rand_augment", "magnitude", magnitude, MAX_MAGNITUDE)
    check_range("rand_augment", "fill", fill, _LEVELS - 1)

    def op(key: Array, batch: Batch) -> Batch:
        if "flow" in batch:
            raise InputError(
                "rand_augment would bend frames and not their flow; leave out one of the two."
            )
        video = batch["video"]
        x = jnp.clip(jnp.round(video), 0, _LEVELS - 1).astype(jnp.uint8)
        for layer_key in jax.random.split(key, num_ops):
            kind_key, sign_key = jax.random.split(layer_key)
            kind = jax.random.randint(kind_key, x.shape[:1], 0, len(KINDS))
            sign = jax.random.rademacher(sign_key, x.shape[:1], jnp.float32)
            x = apply(x, kind, sign * (magnitude / MAX_MAGNITUDE), fill)
        return batch | {"video": x.astype(video.dtype)}

    return op


def apply(video: Array, kind: Array, strength: Array, fill: int = 128) -> Array:
    """One op on each clip.

    Args:
      video: uint8 [B,T,H,W,3].
      kind: [B], rows of `KINDS`.
      strength: float32 [B], -1 to 1; the sign matters to ops that have two directions.
      fill: grey level of what comes into the frame.
    """
    is_kind = {name: kind == i for i, name in enumerate(KINDS)}
    warped = _warp(video, _inverse_maps(is_kind, strength, video.shape[2:4]), fill)
    looked_up = _look_up(warped, _tables(warped, is_kind, jnp.abs(strength)))
    return _blend(looked_up, is_kind, strength)


def _inverse_maps(is_kind: dict[str, Array], strength: Array, size: tuple[int, int]) -> Array:
    """Affine maps [B,2,3] from places in the result to places in the frame, as (x, y) in pixels.

    Shears keep the upper left corner, rotations the centre.
    """
    height, width = size
    angle = jnp.where(is_kind["rotate"], -strength * jnp.deg2rad(30.0), 0.0)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    center_x, center_y = width / 2, height / 2
    drawn = {k: jnp.where(is_kind[k], strength, 0.0) for k in KINDS}
    # 150 pixels of the 331 that AutoAugment's images had.
    shift_x = jnp.trunc(drawn["translate_x"] * (150 / 331 * width))
    shift_y = jnp.trunc(drawn["translate_y"] * (150 / 331 * height))
    row_x = (cos, sin + 0.3 * drawn["shear_x"], center_x * (1 - cos) - center_y * sin + shift_x)
    row_y = (-sin + 0.3 * drawn["shear_y"], cos, center_y * (1 - cos) + center_x * sin + shift_y)
    return jnp.stack([jnp.stack(row_x, -1), jnp.stack(row_y, -1)], 1)


def _warp(video: Array, maps: Array, fill: int) -> Array:
    """The nearest pixel, which keeps whole values."""
    height, width = video.shape[2:4]
    x, y = jnp.arange(width) + 0.5, (jnp.arange(height) + 0.5)[:, None]
    from_x, from_y = (
        jnp.floor(row[:, 0, None, None] * x + row[:, 1, None, None] * y + row[:, 2, None, None])
        for row in (maps[:, 0], maps[:, 1])
    )
    is_inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    column = jnp.clip(from_x, 0, width - 1).astype(jnp.int32)
    row = jnp.clip(from_y, 0, height - 1).astype(jnp.int32)

    def pick(clip: Array, row: Array, column: Array) -> Array:
        return clip.at[:, row, column].get(mode="promise_in_bounds")

    warped = jax.vmap(pick)(video, row, column)
    return jnp.where(is_inside[:, None, :, :, None], warped, jnp.uint8(fill))


def _tables(video: Array, is_kind: dict[str, Array], strength: Array) -> Array:
    """Value -> value for each clip and channel, uint8 [B,3,256]."""
    level = jnp.arange(_LEVELS, dtype=jnp.float32)
    strength = strength[:, None, None]
    step = 2.0 ** jnp.round(4 * strength)
    posterized = jnp.floor(level / step) * step
    solarized = jnp.where(level < 255 * (1 - strength), level, 255 - level)
    low, high = (f(video, axis=(1, 2, 3))[..., None].astype(jnp.int32) for f in (jnp.min, jnp.max))
    # In whole numbers, or the highest value could become 254.
    stretched = (jnp.arange(_LEVELS) - low) * 255 // jnp.maximum(high - low, 1)
    stretched = jnp.where(high > low, jnp.clip(stretched, 0, 255), level)
    tables = level
    for name, table in (
        ("posterize", posterized),
        ("solarize", solarized),
        ("autocontrast", stretched),
        ("equalize", _equalized(_histograms(video))),
    ):
        tables = jnp.where(is_kind[name][:, None, None], table, tables)
    return tables.astype(jnp.uint8)


def _histograms(video: Array) -> Array:
    """Counts of the values on a grid of the frames, int32 [B,3,256].

    Counting is by scattered additions, which an accelerator does slowly.
    """
    step = max(1, min(video.shape[2:4]) // _GRID)
    channels = video.shape[-1]

    def count(clip: Array) -> Array:
        counts = jnp.zeros((channels, _LEVELS), jnp.int32)
        return counts.at[jnp.arange(channels), clip.astype(jnp.int32)].add(1)

    return jax.vmap(count)(video[:, :, ::step, ::step])


def _equalized(counts: Array) -> Array:
    """Tables that spread the counted values evenly; [B,3,256] -> the same shape.

    Whole numbers throughout, and the level itself where there is one value alone, as in Pillow.
    """
    level = jnp.arange(_LEVELS)
    last = jnp.max(jnp.where(counts > 0, level, 0), -1, keepdims=True)
    count_of_last = jnp.take_along_axis(counts, last, -1)
    step = (counts.sum(-1, keepdims=True) - count_of_last) // 255
    below = jnp.cumsum(counts, -1) - counts
    table = jnp.clip((step // 2 + below) // jnp.maximum(step, 1), 0, 255)
    return jnp.where(step > 0, table, level).astype(jnp.float32)


def _look_up(video: Array, tables: Array) -> Array:
    channel = jnp.arange(video.shape[-1])

    # Clip by clip, so that a batch that is spread over devices is not gathered.
    def look_up(clip: Array, table: Array) -> Array:
        return table.at[channel, clip.astype(jnp.int32)].get(mode="promise_in_bounds")

    return jax.vmap(look_up)(video, tables)


def _blend(video: Array, is_kind: dict[str, Array], strength: Array) -> Array:
    """The enhancements: dull + factor * (video - dull).

    Dull is black, the clip's mean grey, each pixel's grey, or the smoothed frame. The factor is
    1 +- 0.9 * strength, and 1 for clips that drew none of these.
    """

    def each(name: str) -> Array:
        return is_kind[name][:, None, None, None, None]

    x = video.astype(jnp.float32)
    grey = _grey(video)
    mean_grey = jnp.floor(grey.mean(axis=(1, 2, 3), keepdims=True) + 0.5)
    dull = jnp.zeros_like(x)  # brightness
    factor = jnp.where(each("brightness"), 1.0, 0.0)
    for name, value in (("contrast", mean_grey), ("color", grey), ("sharpness", _smooth(x))):
        dull = jnp.where(each(name), value, dull)
        factor = jnp.where(each(name), 1.0, factor)
    factor = 1 + factor * 0.9 * strength[:, None, None, None, None]
    return jnp.clip(dull + factor * (x - dull), 0, 255).astype(jnp.uint8)


def _grey(video: Array) -> Array:
    """Whole luminance (ITU-R BT.601 in 16 bits, as in Pillow), float32 [B,T,H,W,1]."""
    weights = jnp.asarray((19595, 38470, 7471))
    total = (video.astype(jnp.int32) * weights).sum(-1, keepdims=True)
    return ((total + 0x8000) >> 16).astype(jnp.float32)


def _smooth(x: Array) -> Array:
    """Mean of 3 x 3 pixels in which the middle one counts five times; the border stays."""
    rows = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
    box = rows[:, :, :, :-2] + rows[:, :, :, 1:-1] + rows[:, :, :, 2:]
    inner = jnp.floor((box + 4 * x[:, :, 1:-1, 1:-1]) / 13 + 0.5)
    return x.at[:, :, 1:-1, 1:-1].set(inner)
