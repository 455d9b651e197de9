"""Average precision is that of scikit-learn; resamples are paired."""

import numpy as np
import pytest
from sklearn import metrics

from tempo.analysis import average_precision

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, (40, 5))
LABELS[:, 4] = 0  # a class without a positive
PROBS = RNG.uniform(size=(40, 5))


def test_each_class_and_their_mean():
    own, again = average_precision.resampled(PROBS, LABELS, seed=0, num_resamples=30)
    expected = [metrics.average_precision_score(LABELS[:, k], PROBS[:, k]) for k in range(4)]
    np.testing.assert_allclose(own[:4], expected)
    assert np.isnan(own[4]) and again.shape == (30,) and np.ptp(again) > 0
    found = average_precision.mean(PROBS, LABELS, seed=0, num_resamples=200)
    assert found.value == pytest.approx(np.mean(expected)) and found.num == 40
    assert found.low < found.value < found.high


def test_differences_are_resampled_in_pairs():
    same = average_precision.difference(PROBS, PROBS, LABELS, seed=0, num_resamples=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = average_precision.difference(LABELS + 0.0, PROBS, LABELS, seed=0, num_resamples=50)
    assert better.low > 0
