"""Hits and accuracies of scores worked out by hand; intervals as they were always written."""

import numpy as np
import pytest

from tempo.analysis import accuracy

SCORES = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.4, 0.5, 0.1], [0.1, 0.2, 0.7]])
LABELS = np.array([0, 1, 0, 2])


def test_top_k():
    assert accuracy.top_k(SCORES, LABELS, 1) == 0.5
    assert accuracy.top_k(SCORES, LABELS, 2) == 1.0
    assert accuracy.top_k(SCORES, LABELS, 5) == 1.0


def test_constant_scores_earn_nothing():
    assert accuracy.top_k(np.ones((4, 3)), LABELS, 1) == 0.0


def test_nan_scores_earn_nothing():
    scores = np.full((4, 3), np.nan)
    assert accuracy.top_k(scores, LABELS, 1) == accuracy.top_k(scores, LABELS, 5) == 0.0
    others = np.where(np.eye(3)[LABELS].astype(bool), 0.5, np.nan)
    assert accuracy.top_k(others, LABELS, 1) == 0.0


def test_mean_class_weighs_classes_not_videos():
    # Class 0: 1 of 2; class 1: 0 of 1; class 2: 1 of 1.
    assert accuracy.mean_class(SCORES, LABELS) == pytest.approx(0.5)
    assert accuracy.mean_class(SCORES[:3], LABELS[:3]) == pytest.approx(0.25)


def test_bootstrap_interval_has_the_width_of_a_binomial():
    correct = np.r_[np.ones(300), np.zeros(100)]
    low, high = accuracy.bootstrap_ci95(correct)
    sigma = np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - 1.96 * sigma, abs=0.006)
    assert high == pytest.approx(0.75 + 1.96 * sigma, abs=0.006)
    assert accuracy.bootstrap_ci95(np.ones(5)) == [1.0, 1.0]
    assert accuracy.bootstrap_ci95(correct) == [low, high]


def test_mean_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    labels = np.array([[1, 0], [0, 0], [1, 0]])  # nobody has class 1
    assert accuracy.mean_average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)


def test_joint_hits_rank_combinations_by_the_product_of_their_scores():
    verbs = np.array([[0.6, 0.4], [0.9, 0.1], [0.5, np.nan]])
    nouns = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]])
    labels = np.array([[1, 0], [0, 1], [1, 2]])
    # First row: .30 .18 .12 / .20 .12 .08, so verb 1 with noun 0 is second.
    assert accuracy.joint_hits([verbs, nouns], labels, 1).tolist() == [False, False, False]
    assert accuracy.joint_hits([verbs, nouns], labels, 2).tolist() == [True, True, False]


def test_joint_top1_is_right_where_every_group_is():
    rng = np.random.default_rng(0)
    verbs, nouns = rng.random((50, 4)), rng.random((50, 6))
    labels = np.stack([rng.integers(4, size=50), rng.integers(6, size=50)], axis=1)
    both = (verbs.argmax(1) == labels[:, 0]) & (nouns.argmax(1) == labels[:, 1])
    np.testing.assert_array_equal(accuracy.joint_hits([verbs, nouns], labels, 1), both)
    assert both.any()


def test_an_unknown_label_is_never_a_hit():
    verb, noun = np.array([[0.1, 0.9]] * 2), np.array([[0.2, 0.8]] * 2)
    labels = np.array([[1, 1], [1, -1]])
    assert accuracy.joint_hits([verb, noun], labels, 1).tolist() == [True, False]
    assert accuracy.joint_hits([verb, noun], labels, 4).tolist() == [True, False]


@pytest.mark.parametrize(
    ("num", "rate", "expected"),
    [
        (7, 0.5, [0.14285714285714285, 0.8571428571428571]),
        (560, 0.87, [0.8375, 0.8946428571428572]),
        (3001, 0.33, [0.3252165944685105, 0.3585471509496834]),
    ],
)
def test_intervals_of_older_result_files_come_out_again(num, rate, expected):
    correct = np.random.default_rng(num).uniform(size=num) < rate
    assert accuracy.bootstrap_ci95(correct) == expected


def test_hits_of_several_sets_of_scores_at_once():
    rng = np.random.default_rng(0)
    scores, labels = np.round(rng.uniform(size=(3, 40, 5)), 1), rng.integers(-1, 5, 40)
    for k in (1, 2):
        each = [accuracy.hits(one, labels, k) for one in scores]
        np.testing.assert_array_equal(accuracy.hits(scores, labels, k), each)
        assert not accuracy.hits(scores, labels, 5)[:, labels < 0].any()
    both = np.stack([labels, labels[::-1]], axis=1)
    each = [accuracy.joint_hits([one, one], both, 2) for one in scores]
    np.testing.assert_array_equal(accuracy.joint_hits([scores, scores], both, 2), each)
    assert 0 < np.sum(each) < 120
