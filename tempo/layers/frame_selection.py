"""Temporal triplet cosine selection of frames (arXiv 2011.03949, equations 6, 7); the FRAMES table.

Half of the frames of a clip are kept: those least like the frames beside them. Frames are compared
by the cosines of their feature vectors, the sums over space; the score of a frame is the sum of
its cosines with the frame before and the one behind. The release of the authors keeps the highest
means of squared cosines; `select` and `square` choose. Clips of a batch are independent.
"""

import jax
import jax.numpy as jnp
from jax import lax

from tempo.errors import lookup

_EPSILON = 1e-4

SELECT = {"lowest": -1.0, "highest": 1.0}
"""Which scores are kept, and the sign that makes them the largest."""

BORDER = {"interior": False, "replicate": True}
"""Whether the first and the last frame compete, with twice their one cosine."""


def scores(x, *, square: bool = False, border: str = "interior"):
    """Likeness of every frame to its two neighbours, float32 without a gradient.

    Args:
      x: `[B,T,H,W,C]`, T of 3 or more (2 or more with `replicate`).
      square: of each cosine.
      border: a name of `BORDER`.

    Returns:
      `[B,T-2]` for the frames 1 to T-2, or with `replicate` `[B,T]`.
    """
    has_ends = lookup(BORDER, border, "border of the frame selection")
    features = jnp.mean(lax.stop_gradient(x), axis=(2, 3), dtype=jnp.float32)
    norms = jnp.maximum(jnp.linalg.norm(features, axis=-1, keepdims=True), _EPSILON)
    units = features / norms
    cosines = jnp.sum(units[:, 1:] * units[:, :-1], axis=-1)
    cosines = jnp.square(cosines) if square else cosines
    if has_ends:
        cosines = jnp.pad(cosines, ((0, 0), (1, 1)), mode="edge")
    return cosines[:, :-1] + cosines[:, 1:]


def indices(x, *, select: str = "lowest", square: bool = False, border: str = "interior"):
    """The `T // 2` frames that are kept, in their order: int32 `[B, T // 2]`, T of 3 or more.

    Of frames with the same score the earlier is kept.

    Raises:
      InputError: an unknown `select` or `border`.
    """
    sign = lookup(SELECT, select, "select of the frame selection")
    first = 0 if lookup(BORDER, border, "border of the frame selection") else 1
    batch, frames = x.shape[:2]
    kept = frames // 2
    if has_no_choice(frames, border):
        return jnp.broadcast_to(jnp.arange(1, 1 + kept, dtype=jnp.int32), (batch, kept))
    _, found = lax.top_k(sign * scores(x, square=square, border=border), kept)
    return jnp.sort(found + first, axis=-1).astype(jnp.int32)


def take(x, indices):
    """The frames `indices [B,k]` of `x [B,T,H,W,C]`: `[B,k,H,W,C]`; they rise in each clip.

    Whole frames are copied, one after the other. A product with a matrix of ones and zeros gives
    the same numbers and takes two to five times as long on the CPU.
    """

    def of_clip(clip, rows):
        # What the rows are known to be spares the gradient the adding up in its scatter.
        return clip.at[rows].get(
            unique_indices=True, indices_are_sorted=True, mode="promise_in_bounds"
        )

    return jax.vmap(of_clip)(x, indices)


def select_frames(x, *, select: str = "lowest", square: bool = False, border: str = "interior"):
    """Half of the frames of every clip: `[B,T,H,W,C] -> [B, T // 2, H, W, C]`.

    One frame is kept, and of two the mean: they have no triplet.

    Args:
      x: `[B,T,H,W,C]`.
      select: a name of `SELECT`.
      square: see `scores`.
      border: a name of `BORDER`.

    Raises:
      InputError: an unknown `select` or `border`.
    """
    lookup(SELECT, select, "select of the frame selection")
    lookup(BORDER, border, "border of the frame selection")
    frames = x.shape[1]
    if frames == 1:
        return x
    if frames == 2:
        return jnp.mean(x, axis=1, dtype=jnp.float32, keepdims=True).astype(x.dtype)
    if has_no_choice(frames, border):
        return x[:, 1:-1]
    return take(x, indices(x, select=select, square=square, border=border))


def has_no_choice(frames: int, border: str = "interior") -> bool:
    """Whether as many frames are kept as compete: 3 or 4, but for the ends.

    Raises:
      InputError: an unknown `border`.
    """
    has_ends = lookup(BORDER, border, "border of the frame selection")
    return not has_ends and frames // 2 == frames - 2


FRAMES = {"triplet": select_frames, "pool": None}
"""How the time of the prolonged branch is halved, by name: the `frames` slot.

With `pool` the frames are pooled together with space, in windows of 2x2x2.
"""
