"""Count sketches, and the sketch of an outer product as a convolution of sketches, on arrays alone.

Sources: Pham and Pagh, KDD 2013 (sketches of products); Gao et al., arXiv 1511.06062, section 3.2.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tempo import trees
from tempo.layers import target

# Rows that go through sketch, transform and product together on a CPU: spectra of 224 rows at
# d = 4096 are 3.5 MB and stay in its cache. Of 1568 rows, m = 3, that is 102 ms of processor time
# instead of 153, and 15 MiB of temporary memory instead of 98.
ROWS_TOGETHER = 256
# Below so many multiplications a product compiles in a third of a loop's time and is as fast.
SMALL_PRODUCT = 2**26

PRECISION = lax.Precision.HIGHEST  # TF32 and bfloat16 passes would round the features


@functools.partial(trees.uncounted, static=("dim",))
def _by_matmul(x, h, s, dim: int):
    """A product with the `[p,d]` matrix of one signed one per row; the same sum every time."""
    matrix = jax.nn.one_hot(h, dim, dtype=jnp.float32) * s[:, None]
    return jnp.matmul(x, matrix, precision=PRECISION)


def _by_scatter(x, h, s, dim: int):
    """Scattered additions. GPUs add in any order: the last bit may differ from run to run."""
    return jnp.zeros((x.shape[0], dim), jnp.float32).at[:, h].add(x * s)


def _by_loop(x, h, s, dim: int):
    """One input feature at a time, of all rows at once: contiguous in the transposed array.

    On two CPU cores 18 ms of 1568x1024 -> 4096, where XLA's scatter takes 44 (its loop steps
    through memory in strides of a row) and the product 243; segmented sums over sorted h take 34.
    """
    columns = (x * s).T

    def add(n, sums):
        row = lax.dynamic_slice_in_dim(sums, h[n], 1)
        row = row + lax.dynamic_slice_in_dim(columns, n, 1)
        return lax.dynamic_update_slice_in_dim(sums, row, h[n], 0)

    return lax.fori_loop(0, len(h), add, jnp.zeros((dim, x.shape[0]), jnp.float32)).T


METHODS: dict[str, Callable] = {"matmul": _by_matmul, "scatter": _by_scatter, "loop": _by_loop}
"""Ways to sketch: `(x [N,p], h, s, d) -> [N,d]`, float32. They give the same numbers."""


def choose(num_rows: int, width: int, dim: int, method: str = "auto") -> str:
    """A name of `METHODS`; `auto` is `loop` on a CPU unless the product is small, else `matmul`."""
    if method != "auto":
        return method
    is_small = max(num_rows, 64) * width * dim <= SMALL_PRODUCT
    return "loop" if target.backend() == "cpu" and not is_small else "matmul"


def count_sketch(x, h, s, dim: int, method: str = "auto"):
    """`[...,p] -> [...,d]` float32: feature n times `s[n]` is added to place `h[n]`.

    The gradient to x is a gather, whatever the method; h and s are constants and get none.

    Args:
      x: features, of any real type.
      h: places, int32 `[p]` in [0, d).
      s: signs, `[p]` of -1 and 1.
      dim: d.
      method: a name of `METHODS`, or `auto`, see `choose`.
    """
    rows = x.astype(jnp.float32).reshape(-1, x.shape[-1])
    chosen = choose(*rows.shape, dim, method)
    sketched = _sketch_rows(dim, chosen, rows, h, s.astype(jnp.float32))
    return sketched.reshape(*x.shape[:-1], dim)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _sketch_rows(dim: int, method: str, x, h, s):
    return METHODS[method](x, h, s, dim)


def _sketch_forward(dim: int, method: str, x, h, s):
    return METHODS[method](x, h, s, dim), (h, s)


def _sketch_backward(dim: int, method: str, kept, g):
    h, s = kept
    gathered = g.at[:, h].get(mode="promise_in_bounds")
    return gathered * s, np.zeros(h.shape, jax.dtypes.float0), jnp.zeros_like(s)


_sketch_rows.defvjp(_sketch_forward, _sketch_backward)


@jax.custom_vjp
def circular_convolution(x: list[Any] | tuple[Any, ...]):
    """The circular convolution over the last axis of a list or tuple of m `[...,d]`, by FFT.

    Its gradients are circular correlations, written out: JAX transposes a real FFT by a complex one
    of full length, with twice the work and memory.
    """
    return _convolve(x)[0]


def _convolve(x):
    spectra = [jnp.fft.rfft(y) for y in x]
    product = math.prod(spectra[1:], start=spectra[0])
    # As many spectra, in the same sequence: gradients must have the structure of x.
    return jnp.fft.irfft(product, n=x[0].shape[-1]), type(x)(spectra)


def _correlate(spectra, g):
    upwards = jnp.fft.rfft(g)
    gradients = []
    for i in range(len(spectra)):
        others = spectra[:i] + spectra[i + 1 :]
        product = math.prod(map(jnp.conj, others), start=upwards)
        gradients.append(jnp.fft.irfft(product, n=g.shape[-1]))
    return (type(spectra)(gradients),)


circular_convolution.defvjp(_convolve, _correlate)


def by_fft(rows, hashes, dim: int, method: str):
    """Sketches, their spectra, the product and back, of rows `[N,p_i]`."""
    methods = [choose(*x.shape, dim, method) for x in rows]

    def fuse(rows):
        slots = zip(rows, hashes, methods, strict=True)
        return circular_convolution([_sketch_rows(dim, how, x, *hs) for x, hs, how in slots])

    # Only a CPU gains by parts; elsewhere they would run one after the other for nothing.
    num_rows = rows[0].shape[0]
    if "loop" not in methods or num_rows <= ROWS_TOGETHER:
        return fuse(rows)
    num_parts = -(-num_rows // ROWS_TOGETHER)
    size = -(-num_rows // num_parts)
    missing = num_parts * size - num_rows
    parts = [jnp.pad(x, ((0, missing), (0, 0))).reshape(num_parts, size, -1) for x in rows]
    return lax.map(fuse, parts).reshape(-1, dim)[:num_rows]


def by_dft(rows, hashes, dim: int, method: str):
    """The same by matrix products alone, for devices whose FFT is slow or less precise (TPU).

    The spectrum of a sketch is one product with `s[n] exp(-2 pi i k h[n] / d)`, `[p, d/2+1]`: the
    sketch itself is never made, so `method` plays no part. Real and imaginary parts are apart.
    """
    del method
    num_frequencies = dim // 2 + 1
    real, imaginary = None, None
    for x, (h, s) in zip(rows, hashes, strict=True):
        cosine, sine = _waves(h, num_frequencies, dim)
        a = jnp.matmul(x, cosine * s[:, None], precision=PRECISION)
        b = -jnp.matmul(x, sine * s[:, None], precision=PRECISION)
        if real is None:
            real, imaginary = a, b
        else:
            real, imaginary = real * a - imaginary * b, real * b + imaginary * a
    # The other half of the spectrum mirrors this one: all but frequency 0 and, if d is even, d/2
    # count twice.
    k = np.arange(num_frequencies)
    weight = np.where((k == 0) | (2 * k == dim), 1.0, 2.0).astype(np.float32) / dim
    cosine, sine = (wave.T for wave in _waves(jnp.arange(dim), num_frequencies, dim))
    real = jnp.matmul(real * weight, cosine, precision=PRECISION)
    return real - jnp.matmul(imaginary * weight, sine, precision=PRECISION)


def _waves(places, num_frequencies: int, dim: int):
    """Cosines and sines `[p, num_frequencies]` of `2 pi k place / d`, reduced while still whole."""
    places = places.astype(jnp.int32)[:, None]
    turns = (places * jnp.arange(num_frequencies, dtype=jnp.int32)) % dim
    angles = turns.astype(jnp.float32) * (2 * math.pi / dim)
    return jnp.cos(angles), jnp.sin(angles)


TRANSFORMS: dict[str, Callable] = {"fft": by_fft, "dft": by_dft}
"""Ways to the sketch of an outer product.

`(rows [N,p_i] of each slot, (h, s) of each, d, method) -> [N,d]`, float32.
"""
