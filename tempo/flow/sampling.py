"""Frames read between their pixels: resized, and moved along a field."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array

_CUBIC = -0.75  # the sharpness of OpenCV's bicubic kernel
# Zeros round a frame: no tap of a place that was brought to _OUTSIDE_PX beyond it reads a pixel.
_OUTSIDE_PX = 3
_BEFORE_PX = _OUTSIDE_PX + 1
_BEHIND_PX = _OUTSIDE_PX + 2


def resize(x: Array, size: tuple[int, int], steps: tuple[float, float]) -> Array:
    """Bilinear, pixels are centred squares, edges repeated, no low-pass filter; [N,H,W].

    Args:
      x: frames.
      size: height and width of the result.
      steps: pixels of `x` from one to the next of the result, down and across.
    """
    down, across = (
        _weights(old, new, step) for old, new, step in zip(x.shape[1:], size, steps, strict=True)
    )
    exact = lax.Precision.HIGHEST
    return jnp.einsum(
        "vw,nhw->nhv", across, jnp.einsum("gh,nhw->ngw", down, x, precision=exact), precision=exact
    )


def _weights(old: int, new: int, step: float) -> np.ndarray:
    """What each of `new` values takes from each of `old` ones, float32 [new,old]."""
    at = np.clip((np.arange(new) + 0.5) * step - 0.5, 0, old - 1)
    before = np.minimum(at.astype(int), old - 2)
    weights = np.zeros((new, old), np.float32)
    rows = np.arange(new)
    weights[rows, before] = 1 - (at - before)
    weights[rows, before + 1] = at - before
    return weights


def table(frames: Array) -> Array:
    """Each frame and its slopes to the right and down, ready to be read: [N,H',W',3]."""
    wide = jnp.pad(frames, ((0, 0), (1, 1), (1, 1)), mode="edge")
    right = 0.5 * (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2])
    down = 0.5 * (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1])
    margin = (_BEFORE_PX, _BEHIND_PX)
    return jnp.pad(jnp.stack([frames, right, down], axis=-1), ((0, 0), margin, margin, (0, 0)))


def bicubic(look_up: Array, u1: Array, u2: Array, per_px: int) -> tuple[Array, Array, Array]:
    """A `table` at (x + u1, y + u2); 0 outside the frame. Three of [N,H,W].

    Args:
      look_up: of the frames.
      u1: pixels to the right, [N,H,W].
      u2: pixels down.
      per_px: rounds places to 1 / per_px; 0 does not round.
    """
    num_pairs, height, width = u1.shape
    high, wide = look_up.shape[1:3]
    rows, row_weights = _taps(u2 + np.arange(height, dtype=np.float32)[:, None], height, per_px)
    columns, column_weights = _taps(u1 + np.arange(width, dtype=np.float32), width, per_px)
    pairs = np.arange(num_pairs, dtype=np.int32)[:, None, None]
    # The first tap of each pixel in all rows of all frames: one row of three values per tap is
    # several times faster on a CPU than to take them from three planes.
    first = (pairs * high + rows) * wide + columns
    values = look_up.reshape(-1, 3)
    out = 0.0
    for i, row_weight in enumerate(row_weights):
        for j, column_weight in enumerate(column_weights):
            tap = values.at[first + (i * wide + j)].get(mode="promise_in_bounds")
            out = out + tap * (row_weight * column_weight)[..., None]
    return out[..., 0], out[..., 1], out[..., 2]


def _taps(at: Array, side: int, per_px: int) -> tuple[Array, list[Array]]:
    """Where in a table the first of the four taps is, and the weights of all four."""
    if per_px:
        at = jnp.round(at * per_px) / per_px
    at = jnp.clip(at, -_OUTSIDE_PX, side - 1 + _OUTSIDE_PX)
    floor = jnp.floor(at)
    x = at - floor
    a = _CUBIC
    before = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
    here = ((a + 2) * x - (a + 3)) * x * x + 1
    behind = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1
    weights = [before, here, behind, 1 - before - here - behind]
    return floor.astype(jnp.int32) + (_BEFORE_PX - 1), weights
