"""Measured peaks: what is computed and counted; how fast it is, no test can say."""

import itertools

import jax
import jax.numpy as jnp
import pytest

import tempo
from tempo import peaks


def clock(*durations):
    """A clock by which runs last so many seconds, in turn."""
    readings = itertools.chain.from_iterable(
        (10.0 * i, 10.0 * i + d) for i, d in enumerate(durations)
    )
    return lambda: next(readings)


def test_matmul_counts_two_operations_per_multiply_add_in_the_fastest_run():
    rate = peaks.matmul_flops_per_s(jnp.float32, 8, runs=3, clock=clock(4.0, 0.5, 2.0))
    assert rate == 2 * 8**3 / 0.5


def test_copy_counts_what_is_read_and_what_is_written():
    # 4003 bytes are 1000 numbers and no part of another.
    assert peaks.copy_bytes_per_s(4003, runs=2, clock=clock(4.0, 0.25)) == 2 * 4000 / 0.25


def test_accelerators_are_given_several_computations_at_once(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert peaks.copy_bytes_per_s(400, runs=1, clock=clock(8.0)) == 2 * 400 / (8.0 / 16)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_matmul_is_of_the_dtype_and_size(dtype, monkeypatch):
    seen = []

    def matmul(a, b):
        seen.append((a.dtype, a.shape, b.dtype, b.shape))
        return a @ b

    monkeypatch.setattr(jnp, "matmul", matmul)
    peaks.matmul_flops_per_s(dtype, 8, runs=1)
    assert seen == [(jnp.dtype(dtype), (8, 8)) * 2]


def test_copies_reuse_two_buffers():
    copies = peaks._copies(1000)
    first, second, third = (next(copies).unsafe_buffer_pointer() for _ in range(3))
    assert first == third != second
    assert (next(copies) == 1).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: peaks.matmul_flops_per_s("int8"),
        lambda: peaks.matmul_flops_per_s(size=0),
        lambda: peaks.copy_bytes_per_s(3),
        lambda: peaks.copy_bytes_per_s(8, runs=0),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(tempo.InputError) as e:
        call()
    assert "\n" not in str(e.value)
