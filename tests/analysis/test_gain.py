"""Gains and drops that were planted come back."""

import numpy as np
import pytest

from tempo.analysis import gain
from tempo.data import sampling
from tempo.errors import InputError
from tempo.types import ClipSpec


def test_class_accuracy():
    correct = np.array([[True, False, True, True], [False, False, True, False]])
    found = gain.class_accuracy(correct, np.array([0, 0, 2, 2]), 3)
    np.testing.assert_array_equal(found, [[0.5, np.nan, 1.0], [0, np.nan, 0.5]])


def test_classes_land_in_the_bin_of_their_variance():
    variance = np.array([0.0, 9.99, 10.0, 25.0, 29.0, np.nan, 107.0])
    gains = np.array([0.1, 0.3, 0.0, 0.2, np.nan, 0.9, -0.4])
    found = gain.bin_gains(variance, gains)
    assert found.left.tolist() == [0, 10, 20, 100]
    np.testing.assert_allclose(found.gain, [0.2, 0.0, 0.2, -0.4])
    assert found.num_classes.tolist() == [2, 1, 1, 1]
    narrow = gain.bin_gains(variance, gains, bin_width=5)
    assert narrow.left.tolist() == [0, 5, 10, 25, 105]
    with pytest.raises(InputError, match="bin_width must be positive; got 0"):
        gain.bin_gains(variance, gains, bin_width=0)


def test_planted_line_is_recovered_and_bins_weigh_the_same():
    variance = np.repeat(np.arange(20.0, 170.0, 10.0), 3) + np.tile([1, 4, 8], 15)
    left = np.floor(variance / 10) * 10
    planted = 0.001 * left - 0.02
    found = gain.fit(variance, planted, num_resamples=200)
    assert found.line.slope == pytest.approx(0.001)
    assert found.line.intercept == pytest.approx(-0.02)
    assert (found.line.r, found.line.num) == (pytest.approx(1), 15)
    assert found.bins.num_classes.tolist() == [3] * 15
    assert 0.95 < found.pearson.value < 1 and found.pearson.num == 45
    assert found.spearman.low > 0.9
    # Ten more classes in one bin, on its mean: the line does not move.
    variance = np.concatenate([variance, np.full(10, 160.5)])
    again = gain.fit(variance, np.concatenate([planted, np.full(10, 0.14)]), num_resamples=20)
    assert again.line.slope == pytest.approx(found.line.slope)


def test_fit_of_no_class():
    found = gain.fit(np.array([np.nan]), np.array([0.1]), num_resamples=20)
    assert len(found.bins.left) == 0
    assert np.isnan(found.line.slope) and np.isnan(found.pearson.value)


def test_drops_are_counted_from_the_trained_stride():
    # A clip of 8 frames sees the speed it was trained on at stride 4: hits fall on both sides.
    rng = np.random.default_rng(0)
    strides = np.array([6, 2, 4, 8])
    chance = {2: 0.5, 4: 0.9, 6: 0.7, 8: 0.3}
    correct = np.stack([rng.uniform(size=2000) < chance[s] for s in strides])
    found = gain.robustness(correct, strides, 4, num_resamples=200)
    assert found.strides.tolist() == [2, 4, 6, 8]
    assert found.drop[1] == found.drop_low[1] == found.drop_high[1] == 0.0
    np.testing.assert_allclose(found.drop, [-0.4, 0, -0.2, -0.6], atol=0.05)
    assert (found.drop_low[[0, 2, 3]] < found.drop[[0, 2, 3]]).all()
    assert (found.drop[[0, 2, 3]] < found.drop_high[[0, 2, 3]]).all()
    assert (found.drop_high[[0, 2, 3]] < 0).all()
    assert found.mean_abs_drop.value == pytest.approx(-found.drop[[0, 2, 3]].mean())
    assert found.mean_abs_drop.low < found.mean_abs_drop.value < found.mean_abs_drop.high


def test_accuracy_of_speed_falls_on_both_sides_of_the_trained_stride():
    # Sixty videos of 80 frames; the label is the speed of a phase: slow, middle or fast. A clip's
    # class is that whose phase per frame, at the trained stride, is nearest.
    rng = np.random.default_rng(0)
    speeds = np.array([1 / 96, 1 / 48, 1 / 24])  # cycles per stored frame
    labels = np.arange(60) % 3
    videos = [
        np.exp(2j * np.pi * (rng.uniform() + speeds[c] * rng.uniform(0.85, 1.15) * np.arange(80)))
        for c in labels
    ]
    strides = np.arange(2, 17, 2)
    correct = np.zeros((len(strides), 60), bool)
    for s, stride in enumerate(strides):
        clip = ClipSpec(num_frames=8, stride=int(stride))
        ((*_, last),) = indices = sampling.eval_indices(80, clip)
        assert np.diff(indices[0])[0] == stride and last < 80
        if stride > 11:  # longer than the video: the last frame that fits is held
            assert (np.diff(indices[0]) == 0).any()
        for i, video in enumerate(videos):
            shown = video[indices[0]]
            steps = np.angle(shown[1:] / shown[:-1]) / (2 * np.pi)
            seen = np.abs(steps[np.diff(indices[0]) > 0].mean() / 8)
            correct[s, i] = np.abs(np.log(speeds / seen)).argmin() == labels[i]
    found = gain.robustness(correct, strides, 8, num_resamples=50)
    assert found.top1[found.strides == 8] == 1.0
    assert (np.diff(found.top1[found.strides <= 8]) >= 0).all()
    assert (np.diff(found.top1[found.strides >= 8]) <= 0).all()
    assert found.drop[0] < -0.3 and found.drop[-1] < -0.3
    assert found.drop[found.strides == 8] == 0.0


def test_gains_count_as_much_as_drops():
    correct = np.array([[True, True, True, True], [True, True, False, False], [False] * 4])
    found = gain.robustness(correct, np.array([1, 2, 3]), 2, num_resamples=20)
    assert found.drop.tolist() == [0.5, 0.0, -0.5]
    assert found.mean_abs_drop.value == 0.5


def test_only_the_trained_stride():
    found = gain.robustness(np.ones((1, 3), bool), np.array([8]), 8, num_resamples=20)
    assert found.drop.tolist() == [0.0]
    assert np.isnan(found.mean_abs_drop.value)


def test_bad_strides():
    correct = np.ones((2, 3), bool)
    with pytest.raises(InputError, match="trained stride 8 is not among 2, 4; evaluate it too"):
        gain.robustness(correct, np.array([2, 4]), 8)
    with pytest.raises(InputError, match="2 rows of hits need as many different strides; got 2, 2"):
        gain.robustness(correct, np.array([2, 2]), 2)
