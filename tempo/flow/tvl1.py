"""TV-L1 optical flow in jax: batches of pairs, the algorithm and the numbers of OpenCV.

Minimises the total variation of the field plus `lambda_` |second(x + u) - first(x)| by the dual
scheme of Zach, Pock and Bischof (2007) in the numerics of Sanchez, Meinhardt-Llopis and Facciolo
(IPOL 2013), with the medians between the iterations that opencv_contrib has.

Pairs are flat: `[N,H*W]`, rows one after the other, with a margin of one row behind the field and
before the dual variables. A neighbour is then a slice of the same array, and an update is written
in place, which is what makes an iteration fast on a CPU.

Against OpenCV 5 only the last digits of an operation differ, by the order of sums and by products
that are not rounded before a sum. At one scale that is 2e-6 px of the field; over five it decides
now and then when a warp ends, or what leaves the frame fits: some pairs then agree to 1e-5 px,
others differ by 1e-2 on average, as OpenCV does from itself when the last bit of its input changes.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tempo.flow import median, sampling
from tempo.flow.settings import MIN_SIDE_PX, Settings

# Pixels of one call. Few on a CPU, so that what an iteration touches stays in its cache; an
# accelerator wants all its lanes busy. Fewer pairs are filled up: on a CPU always, so that there is
# one program per frame size; on an accelerator to a power of two, for a full program is up to
# thousands of pairs and a dataset comes in tens.
_CPU_PIXELS = 1 << 16
_ACCELERATOR_PIXELS = 10 << 20
_LEAST_PAIRS = 16

_LOCK = threading.Lock()

Array = jax.Array


def of_pairs(first: np.ndarray, second: np.ndarray, settings: Settings) -> np.ndarray:
    """The movement from each first frame to its second, in pixels, float32 [N,H,W,2] in (x, y).

    first(p) ~ second(p + flow(p)). A pair's field does not depend on the other pairs. One program
    is compiled per frame size, settings and `pairs_per_program`.

    Args:
      first: grey levels 0 to 255, [N,H,W], sides of at least `MIN_SIDE_PX`.
      second: the same shape.
      settings: of the algorithm.
    """
    num_pairs, height, width = first.shape
    out = np.empty((num_pairs, height, width, 2), np.float32)
    if not num_pairs:
        return out
    batch = pairs_per_program(num_pairs, height, width)
    with _LOCK:
        program = _program((batch, height, width), settings)
    for i in range(0, num_pairs, batch):
        here = slice(i, min(i + batch, num_pairs))
        pairs = np.zeros((2, batch, height, width), np.float32)
        pairs[0, : here.stop - i], pairs[1, : here.stop - i] = first[here], second[here]
        out[here] = np.asarray(program(*pairs))[: here.stop - i]
    return out


def pairs_per_call(height: int, width: int) -> int:
    """How many pairs of a size one call takes at most on this machine: a power of two."""
    pixels = _CPU_PIXELS if jax.default_backend() == "cpu" else _ACCELERATOR_PIXELS
    return 1 << max(0, (pixels // (height * width)).bit_length() - 1)


def pairs_per_program(num_pairs: int, height: int, width: int) -> int:
    """How many pairs a call computes where so many are wanted, those that fill it up among them."""
    most = pairs_per_call(height, width)
    if jax.default_backend() == "cpu":
        return most
    return min(most, max(_LEAST_PAIRS, 1 << (num_pairs - 1).bit_length()))


@functools.lru_cache(maxsize=64)
def _program(shape: tuple[int, int, int], settings: Settings) -> Callable[[Array, Array], Array]:
    pair = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.jit(functools.partial(flow, settings=settings)).lower(pair, pair).compile()


def flow(first: Array, second: Array, settings: Settings) -> Array:
    """`of_pairs` as a function that jax traces: float32 [N,H,W] twice to float32 [N,H,W,2]."""
    sizes = scale_sizes(*first.shape[1:], settings)
    pyramid = [(first, second)]
    for size in sizes[1:]:
        # OpenCV reads a frame in steps of the exact factor, not of the quotient of the sizes.
        step = 1 / settings.scale_step
        pyramid.append(tuple(sampling.resize(x, size, (step, step)) for x in pyramid[-1]))
    field = jnp.zeros((2, first.shape[0], *sizes[-1]), jnp.float32)
    for level in reversed(range(len(sizes))):
        field = _refine(*pyramid[level], field, settings)
        if level:
            size = sizes[level - 1]
            steps = tuple(old / new for old, new in zip(sizes[level], size, strict=True))
            field = jax.vmap(lambda x, size=size, steps=steps: sampling.resize(x, size, steps))(
                field
            ) * (1 / settings.scale_step)
    return jnp.moveaxis(field, 0, -1)


def scale_sizes(height: int, width: int, settings: Settings) -> list[tuple[int, int]]:
    """Height and width of each scale, the whole size first."""
    sizes = [(height, width)]
    while len(sizes) < settings.num_scales:
        size = tuple(round(side * settings.scale_step) for side in sizes[-1])
        if min(size) < MIN_SIDE_PX:
            break
        sizes.append(size)
    return sizes


def _refine(first: Array, second: Array, field: Array, settings: Settings) -> Array:
    """The field [2,N,H,W] of one scale, from one that is near."""
    num_pairs, height, width = first.shape
    look_up = sampling.table(second)
    margin = jnp.zeros((num_pairs, width), jnp.float32)

    def warp(_, carry):
        u, p = carry
        here = tuple(x[:, :-width].reshape(num_pairs, height, width) for x in u)
        moved, wx, wy = sampling.bicubic(look_up, *here, settings.coordinates_per_px)
        data = _Data(
            wx=_flat(wx),
            wy=_flat(wy),
            # -1/g: OpenCV does not move a pixel whose g is under float32's epsilon; what this
            # moves it is under lambda theta sqrt(g), a hundred thousandth of a pixel.
            minus_inverse=_flat(-1 / jnp.maximum(wx**2 + wy**2, np.finfo(np.float32).eps)),
            rest=_flat(moved - wx * here[0] - wy * here[1] - first),
            size=(height, width),
        )
        return _solve(data, u, p, settings)

    # The dual variables live through all warps of a scale.
    zeros = jnp.zeros((num_pairs, width + height * width), jnp.float32)
    u = tuple(jnp.concatenate([_flat(x), margin], axis=1) for x in field)
    u, _ = lax.fori_loop(0, settings.num_warps, warp, (u, (zeros,) * 4))
    return jnp.stack([x[:, :-width].reshape(num_pairs, height, width) for x in u])


@dataclasses.dataclass(frozen=True)
class _Data:
    """The linearised data term of a warp: rho(u) = rest + wx u1 + wy u2; flat arrays [N,H*W]."""

    wx: Array
    wy: Array
    minus_inverse: Array
    rest: Array
    size: tuple[int, int]


def _solve(data: _Data, u: tuple, p: tuple, settings: Settings) -> tuple[tuple, tuple]:
    """The outer and inner iterations of one warp."""
    num_pairs, num_pixels = data.wx.shape
    if not settings.epsilon:
        everything = jnp.ones(num_pairs, bool)

        def fixed(_, carry):
            carry = (_medians(carry[0], everything, data.size, settings), carry[1])
            step = lambda _, now: _step(data, *now, everything, settings)[:2]  # noqa: E731
            return lax.fori_loop(0, settings.num_inner, step, carry)

        return lax.fori_loop(0, settings.num_outer, fixed, (u, p))
    limit = settings.epsilon**2 * num_pixels

    def goes_on(most):
        return lambda carry: (carry[0] < most) & jnp.any(carry[-1] > limit)

    def inner(carry):
        i, u, p, moved = carry
        is_open = moved > limit
        u, p, now = _step(data, u, p, is_open, settings)
        return i + 1, u, p, jnp.where(is_open, now, moved)

    def outer(carry):
        i, u, p, moved = carry
        u = _medians(u, moved > limit, data.size, settings)
        _, u, p, moved = lax.while_loop(goes_on(settings.num_inner), inner, (0, u, p, moved))
        return i + 1, u, p, moved

    # A pair that is still open did all inner iterations, so pairs count alike and wait closed.
    start = (0, u, p, jnp.full(num_pairs, jnp.inf))
    _, u, p, _ = lax.while_loop(goes_on(settings.num_outer), outer, start)
    return u, p


def _step(
    data: _Data, u: tuple, p: tuple, is_open: Array, settings: Settings
) -> tuple[tuple, tuple, Array]:
    """One iteration of the open pairs, and how far it moved each: sum of squares, [N]."""
    height, width = data.size
    num_pixels = height * width
    is_open = is_open[:, None]
    u1, u2 = (x[:, :num_pixels] for x in u)
    most = settings.lambda_ * settings.theta
    gain = (data.rest + data.wx * u1 + data.wy * u2) * data.minus_inverse
    gain = lax.select(gain > most, jnp.full_like(gain, most), gain)
    gain = lax.select(gain < -most, jnp.full_like(gain, -most), gain)
    moves = [
        gain * w + settings.theta * _divergence(*dual, width)
        for w, dual in ((data.wx, p[:2]), (data.wy, p[2:]))
    ]
    moved = jnp.sum(moves[0] ** 2 + moves[1] ** 2, axis=1)
    u = tuple(
        _write(x, x[:, :num_pixels] + jnp.where(is_open, move, 0), 0)
        for x, move in zip(u, moves, strict=True)
    )
    ratio = settings.tau / settings.theta
    duals = []
    for x, pair in zip(u, (p[:2], p[2:]), strict=True):
        slopes = _slopes(x, data.size)
        scale = 1 / (1 + ratio * jnp.sqrt(slopes[0] ** 2 + slopes[1] ** 2))
        for dual, slope in zip(pair, slopes, strict=True):
            old = dual[:, width:]
            duals.append(
                _write(dual, jnp.where(is_open, (old + ratio * slope) * scale, old), width)
            )
    return u, tuple(duals), moved


def _divergence(across: Array, down: Array, width: int) -> Array:
    """Backward differences. The last column of `across` is 0, as if it were before the next row."""
    return (across[:, width:] - across[:, width - 1 : -1]) + (down[:, width:] - down[:, :-width])


def _slopes(x: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Forward differences to the right and down, 0 in the last column and row."""
    height, width = size
    index = np.arange(height * width)
    has_right = (index % width < width - 1).astype(np.float32)
    has_below = (index < (height - 1) * width).astype(np.float32)
    here = x[:, : height * width]
    return (x[:, 1 : height * width + 1] - here) * has_right, (x[:, width:] - here) * has_below


def _medians(u: tuple, is_open: Array, size: tuple[int, int], settings: Settings) -> tuple:
    """The fields of the open pairs with each value the median of its window."""
    num_pixels = size[0] * size[1]
    if not settings.median_radius_px:
        return u
    old = [x[:, :num_pixels] for x in u]
    both = jnp.concatenate(old).reshape(-1, *size)
    new = jnp.split(_flat(median.filtered(both, settings.median_radius_px)), 2)
    return tuple(
        _write(x, jnp.where(is_open[:, None], b, a), 0) for x, a, b in zip(u, old, new, strict=True)
    )


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], -1)


def _write(x: Array, part: Array, start: int) -> Array:
    return lax.dynamic_update_slice(x, part, (0, start))
