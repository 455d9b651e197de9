"""Temporal shift: which channels move, which way, and what enters at the ends."""

import jax
import numpy as np
import pytest

import tempo
from tempo.layers.temporal import TEMPORAL, TemporalShift


def shift(x, **fields):
    return np.asarray(TemporalShift(**fields).apply({}, x))


@pytest.mark.parametrize(("channel", "step"), [(0, -1), (1, -1), (2, 1), (3, 1), (4, 0), (15, 0)])
def test_impulse_moves_as_its_channel_says(channel, step):
    x = np.zeros((2, 5, 2, 2, 16), np.float32)
    x[0, 2, 1, 0, channel] = 7.0
    expected = np.zeros_like(x)
    expected[0, 2 + step, 1, 0, channel] = 7.0
    np.testing.assert_array_equal(shift(x), expected)


def test_zeros_enter_at_the_ends_only_in_shifted_channels():
    x = np.ones((1, 4, 1, 1, 16), np.float32)
    y = shift(x)[0, :, 0, 0]
    np.testing.assert_array_equal(y[1:-1], 1.0)
    assert np.flatnonzero(y[-1] == 0).tolist() == [0, 1]
    assert np.flatnonzero(y[0] == 0).tolist() == [2, 3]


def test_videos_of_a_batch_do_not_leak():
    x = np.random.default_rng(0).normal(size=(3, 4, 2, 2, 16)).astype(np.float32)
    alone = np.concatenate([shift(x[i : i + 1]) for i in range(3)])
    np.testing.assert_array_equal(shift(x), alone)


def test_shift_has_no_parameters():
    x = np.zeros((1, 2, 1, 1, 16), np.float32)
    assert TEMPORAL["tsm"]().init(jax.random.key(0), x) == {}


def test_too_few_channels_are_refused():
    with pytest.raises(tempo.InputError, match=r"shift_div=8 .* 4 channels"):
        shift(np.zeros((1, 2, 1, 1, 4), np.float32))
