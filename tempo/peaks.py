"""What the devices of the default backend can do at most, measured and not read from data sheets.

Rates of one device, by the wall clock: of a product of two large square matrices, which nothing
that a network computes exceeds for long, and of a copy that no cache holds. A share of a peak means
something only if both were measured on the same machine under the same load.
"""

import math
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax import lax

from tempo.errors import InputError, check_whole

_DTYPES = ("float32", "bfloat16", "float16")

# Side of the matrices: some tenths of a second on two cores, milliseconds on an accelerator.
_MATMUL_SIZES = {"cpu": 2048}
_MATMUL_SIZE = 8192
# Bytes that a copy reads: more than any cache holds.
_COPY_BYTES = {"cpu": 256 * 2**20}
_COPY_SIZE = 1024 * 2**20
# Computations started in a row before the clock is read, so that starting them is not measured.
_IN_A_ROW = {"cpu": 1}
_MANY_IN_A_ROW = 16


def measured() -> dict[str, float]:
    """The peaks that benchmarks divide by: `{f32_flops_per_s, bf16_flops_per_s, bytes_per_s}`."""
    return {
        "f32_flops_per_s": matmul_flops_per_s(jnp.float32),
        "bf16_flops_per_s": matmul_flops_per_s(jnp.bfloat16),
        "bytes_per_s": copy_bytes_per_s(),
    }


def matmul_flops_per_s(
    dtype=jnp.float32,
    size: int | None = None,
    *,
    runs: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Floating-point operations per second of one device, multiplying two square matrices.

    A product of two `[size, size]` matrices is `2 * size**3` operations. The precision is jax's
    default for `dtype`, as in a network: some accelerators round float32 operands.

    Args:
      dtype: of operands and result: float32, bfloat16 or float16.
      size: side of the matrices; None is large enough for the backend to be at its best.
      runs: the fastest counts.
      clock: read before and after each run, in seconds.

    Raises:
      InputError: another dtype, or a size or number of runs below 1.
    """
    dtype = jnp.dtype(dtype)
    if dtype.name not in _DTYPES:
        raise InputError(f"A matmul peak of dtype {dtype.name}; choose from {', '.join(_DTYPES)}.")
    size = _MATMUL_SIZES.get(jax.default_backend(), _MATMUL_SIZE) if size is None else size
    check_whole("size of the matrices", size)
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / _least_seconds(lambda: product(x, x), runs, clock)


def copy_bytes_per_s(
    size: int | None = None, *, runs: int = 7, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Bytes per second that one device reads plus those that it writes, copying a large array.

    An array and its copy change places in two buffers made before: on the CPU an output in memory
    that the process has just been given costs several times the copy itself, in page faults. The
    bytes are those of the arrays; what a processor reads only to overwrite is not counted.

    Args:
      size: bytes of the array, rounded down to whole float32; None is more than caches hold.
      runs: the fastest counts.
      clock: read before and after each run, in seconds.

    Raises:
      InputError: less than the 4 bytes of a number, or a number of runs below 1.
    """
    size = _COPY_BYTES.get(jax.default_backend(), _COPY_SIZE) if size is None else size
    check_whole("bytes to copy", size, 4)
    copies = _copies(size // 4)
    return 2 * 4 * (size // 4) / _least_seconds(lambda: next(copies), runs, clock)


def _copies(num_elements: int) -> Iterator[jax.Array]:
    """Copies of one array, each into the buffer that the one before it was made from."""
    # Without the barrier the output would be the input, and nothing copied.
    copy = jax.jit(
        lambda source, target: lax.optimization_barrier(source),
        donate_argnums=1,
        keep_unused=True,
    )
    source, target = (jnp.full(num_elements, value, jnp.float32) for value in (1, 2))
    while True:
        source, target = copy(source, target), source
        yield source


def _least_seconds(run: Callable[[], jax.Array], runs: int, clock: Callable[[], float]) -> float:
    """Seconds of one call in the fastest of the runs, after one that compiles and warms up."""
    check_whole("runs", runs)
    in_a_row = _IN_A_ROW.get(jax.default_backend(), _MANY_IN_A_ROW)
    jax.block_until_ready(run())
    least = math.inf
    for _ in range(runs):
        start = clock()
        for _ in range(in_a_row):
            result = run()
        jax.block_until_ready(result)
        least = min(least, (clock() - start) / in_a_row)
    return least
