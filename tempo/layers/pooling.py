"""Pooling over time and space: max pools with explicit padding or in ceil mode; the POOLS table.

The functions of `POOLS` take `(x [B,T,H,W,C], window, *, key=None, train=False)` and put one number
in the place of every window, whose strides are its extents. They are in ceil mode: a last window
that sticks out is that of the elements there are. They compute in float32 and give `x`'s dtype.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax

from tempo.errors import InputError
from tempo.layers.lowerings import Triple


def max_pool(x, window: Triple, strides: Triple, padding: Triple = (0, 0, 0)):
    """Max pool of `[B,T,H,W,C]`; `padding` adds -inf on both sides of T, H, W. Floor mode.

    The gradient goes to the first maximum of a window, in the order T, H, W.
    """
    # One axis after the other, the innermost first, which also finds the first maximum.
    for axis in (3, 2, 1):
        size, stride, pad = (v[axis - 1] for v in (window, strides, padding))
        if size == 1 and pad == 0:
            x = lax.slice_in_dim(x, 0, None, stride, axis)
        else:
            x = _max_along(axis, size, stride, pad, x)
    return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _max_along(axis: int, size: int, stride: int, pad: int, x):
    """Max pool along one axis as a maximum of strided slices.

    XLA differentiates a windowed maximum by scattering to the places it was found at, which costs
    as much as ten convolutions on the CPU and is slow on GPUs; slices are fast everywhere.
    """
    return functools.reduce(jnp.maximum, _slices(axis, size, stride, pad, x))


def _max_along_fwd(axis, size, stride, pad, x):
    y = _max_along(axis, size, stride, pad, x)
    return y, (x, y)


def _max_along_bwd(axis, size, stride, pad, residuals, dy):
    x, y = residuals
    length = x.shape[axis] + 2 * pad
    free = jnp.ones(y.shape, bool)
    total = jnp.zeros((), dy.dtype)
    for i, value in enumerate(_slices(axis, size, stride, pad, x)):
        hit = free & (value == y)
        free = free & ~hit
        back = [(0, 0, 0)] * x.ndim
        span = (y.shape[axis] - 1) * stride + 1
        back[axis] = (i, length - span - i, stride - 1)
        total += lax.pad(jnp.where(hit, dy, 0), jnp.zeros((), dy.dtype), back)
    return (lax.slice_in_dim(total, pad, length - pad, axis=axis),)


_max_along.defvjp(_max_along_fwd, _max_along_bwd)


def _slices(axis, size, stride, pad, x):
    """For each element of the window, what every window has there."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (pad, pad, 0)
    padded = lax.pad(x, _lowest(x.dtype), pads)
    span = ((padded.shape[axis] - size) // stride) * stride + 1
    return [lax.slice_in_dim(padded, i, i + span, stride, axis) for i in range(size)]


def _lowest(dtype):
    lowest = -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min
    return jnp.asarray(lowest, dtype)


def ceil_max_pool_time(x, size: int):
    """Max pool of `size` frames at stride `size` along T of `[B,T,...]`, in ceil mode.

    A last window that sticks out is completed by -inf at the end only, never at the start, so
    `T' = ceil(T / size)` and a window of negative numbers stays negative.
    """
    if size == 1:
        return x
    missing = -x.shape[1] % size
    if missing:
        pads = [(0, 0, 0)] * x.ndim
        pads[1] = (0, missing, 0)
        x = lax.pad(x, _lowest(x.dtype), pads)
    return x.reshape((x.shape[0], -1, size, *x.shape[2:])).max(axis=2)


def soft_pool(x, window: Triple, *, key=None, train: bool = False):
    """The mean of a window, its elements weighted by their softmax (arXiv 2101.00440, equation 2).

    With weights w and result y the derivative by element i is `w_i (1 + x_i - y)`, which can be
    negative; the derivatives of a window sum to 1.
    """
    return _soft_pool(window, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _soft_pool(window: Triple, x):
    return _soft_pool_fwd(window, x)[0]


def _soft_pool_fwd(window, x):
    # Missing elements are the lowest number and not -inf: their weight is 0, and 0 times it too.
    wide = _in_windows(_widened(x), window, float(jnp.finfo(jnp.float32).min))
    peak = functools.reduce(jnp.maximum, _places(wide))
    # All of them in one array, which XLA makes in one program.
    weights = jnp.exp(wide - _beside_windows(peak))
    total = sum(_places(weights))
    y = sum(w * e for w, e in zip(_places(weights), _places(wide), strict=True)) / total
    return y.astype(x.dtype), (x, y, peak, 1 / total)


def _soft_pool_bwd(window, residuals, dy):
    x, y, peak, scale = residuals
    wide = _in_windows(_widened(x), window, float(jnp.finfo(jnp.float32).min))
    y, peak, scale = (_beside_windows(v) for v in (y, peak, dy.astype(y.dtype) * scale))
    dx = jnp.exp(wide - peak) * (1 + wide - y) * scale
    return (_out_of_windows(dx, x.shape).astype(x.dtype),)


_soft_pool.defvjp(_soft_pool_fwd, _soft_pool_bwd)


def average_pool(x, window: Triple, *, key=None, train: bool = False):
    """The mean of a window."""
    elements = _elements(x, window, 0.0)
    ones = jnp.ones((1, *x.shape[1:4], 1), elements[0].dtype)
    counts = sum(_elements(ones, window, 0.0))
    return (sum(elements) / counts).astype(x.dtype)


def largest_pool(x, window: Triple, *, key=None, train: bool = False):
    """The largest element of a window; the gradient goes to the first one of them."""
    pads = [(0, 0, 0), *((0, -n % k, 0) for n, k in zip(x.shape[1:4], window, strict=True))]
    return max_pool(lax.pad(x, _lowest(x.dtype), [*pads, (0, 0, 0)]), window, window)


def stochastic_pool(x, window: Triple, *, key=None, train: bool = False):
    """An element of a window, drawn with a probability in proportion to it (arXiv 1301.3557, 3).

    In evaluation the mean of the elements with those probabilities as weights (section 3.1). An
    element below zero has the probability 0; a window without one above zero gives 0.

    Args:
      x: `[B,T,H,W,C]`, behind a ReLU.
      window: extents along T, H, W.
      key: of the draw.
      train: draw.

    Raises:
      InputError: training without a key.
    """
    elements = _elements(x, window, 0.0)
    chances = [lax.stop_gradient(jnp.maximum(e, 0)) for e in elements]
    if not train:
        chances = [jnp.maximum(e, 0) for e in elements]
        total = sum(chances)
        safe = jnp.where(total > 0, total, 1)
        return (sum(c * c for c in chances) / safe).astype(x.dtype)
    if key is None:
        raise InputError("Stochastic pooling draws in training; give it a random key.")
    sums = list(itertools.accumulate(chances))
    level = jax.random.uniform(key, sums[-1].shape, sums[-1].dtype) * sums[-1]
    y = jnp.zeros_like(level)
    below = jnp.zeros_like(level)
    for element, above in zip(elements, sums, strict=True):
        y = jnp.where((below <= level) & (level < above), element, y)
        below = above
    return y.astype(x.dtype)


def _widened(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _in_windows(x, window: Triple, fill: float):
    """`[B,T,H,W,C] -> [B,T',t,H',h,W',w,C]`; what is missing at the ends is `fill`."""
    missing = [-n % k for n, k in zip(x.shape[1:4], window, strict=True)]
    if any(missing):
        pads = [(0, 0, 0), *((0, m, 0) for m in missing), (0, 0, 0)]
        x = lax.pad(x, jnp.asarray(fill, x.dtype), pads)
    (b, t, h, w, c), (kt, kh, kw) = x.shape, window
    return x.reshape(b, t // kt, kt, h // kh, kh, w // kw, kw, c)


def _out_of_windows(x, shape):
    """The inverse of `_in_windows`."""
    b, t, kt, h, kh, w, kw, c = x.shape
    return x.reshape(b, t * kt, h * kh, w * kw, c)[:, : shape[1], : shape[2], : shape[3]]


def _beside_windows(y):
    """`[B,T',H',W',C]` in a shape that goes with that of `_in_windows`."""
    return y[:, :, None, :, None, :, None]


def _elements(x, window: Triple, fill: float):
    """For each place in a window, in the order T, H, W, what every window has there; float32."""
    return _places(_in_windows(_widened(x), window, fill))


def _places(parts):
    """`[B,T',t,H',h,W',w,C]` by place in a window: arrays `[B,T',H',W',C]`."""
    b, t, kt, h, kh, w, kw, c = parts.shape

    def at(i, j, k):
        start, stop = (0, 0, i, 0, j, 0, k, 0), (b, t, i + 1, h, j + 1, w, k + 1, c)
        return lax.squeeze(lax.slice(parts, start, stop), (2, 4, 6))

    return list(itertools.starmap(at, itertools.product(range(kt), range(kh), range(kw))))


POOLS = {
    "soft": soft_pool,
    "avg": average_pool,
    "max": largest_pool,
    "stochastic": stochastic_pool,
}
"""Pools of whole windows in ceil mode by name: the `pool` of the MTConv."""
