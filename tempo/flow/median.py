"""Median of the window round each pixel, by compare and exchange: no sort, so it runs in lanes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

# Which places are put in order, one exchange after the other.
_SORTING = {
    3: ((0, 1), (1, 2), (0, 1)),
    5: ((0, 1), (3, 4), (2, 4), (2, 3), (0, 3), (0, 2), (1, 4), (1, 3), (1, 2)),
}


def filtered(x: Array, radius_px: int) -> Array:
    """The median of (2 radius_px + 1)^2 values, edges repeated outside; [N,H,W], radius 1 or 2."""
    side = 2 * radius_px + 1
    height, width = x.shape[1:]
    margin = (radius_px, radius_px)
    wide = lax.optimization_barrier(jnp.pad(x, ((0, 0), margin, margin), mode="edge"))
    columns = _sorted([wide[:, i : i + height] for i in range(side)])
    # Kept, because each window shares them with its neighbours.
    columns = lax.optimization_barrier(tuple(columns))
    ranks = [_sorted([c[:, :, i : i + width] for i in range(side)]) for c in columns]
    # In a table with sorted rows and columns, (i + 1) (j + 1) values are at most the one at (i, j):
    # with more than half, it is not the median, and neither is the one across.
    most = (side * side + 1) // 2
    left = [
        ranks[i][j]
        for i in range(side)
        for j in range(side)
        if max((i + 1) * (j + 1), (side - i) * (side - j)) <= most
    ]
    return _middle(left)


def _sorted(values: Sequence[Array]) -> list[Array]:
    values = list(values)
    for i, j in _SORTING[len(values)]:
        values[i], values[j] = _in_order(values[i], values[j])
    return values


def _middle(values: list[Array]) -> Array:
    """The median of an odd number: of half of them and one, neither the least nor the most can be
    it; both go, another comes, and so on.
    """
    kept, waiting = values[: len(values) // 2 + 2], values[len(values) // 2 + 2 :]
    while len(kept) > 1:
        last = len(kept) - 1
        for i in range(len(kept) // 2):
            kept[i], kept[last - i] = _in_order(kept[i], kept[last - i])
        for i in range(1, (last + 2) // 2):
            kept[0], kept[i] = _in_order(kept[0], kept[i])
        for i in range((last + 1) // 2, last):
            kept[i], kept[last] = _in_order(kept[i], kept[last])
        kept = kept[1:-1] + ([waiting.pop()] if waiting else [])
    return kept[0]


def _in_order(a: Array, b: Array) -> tuple[Array, Array]:
    # One instruction each; `minimum` and `maximum` take three times as long to keep NaN, which no
    # field has.
    is_less = a < b
    return lax.select(is_less, a, b), lax.select(is_less, b, a)
