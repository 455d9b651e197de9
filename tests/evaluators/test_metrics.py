import numpy as np
import pytest

from tempo import task as tasks
from tempo.errors import InputError
from tempo.evaluators import metrics

SCORES = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.4, 0.5, 0.1], [0.1, 0.2, 0.7]])
LABELS = np.array([0, 1, 0, 2])


def test_top_k():
    assert metrics.top_k(SCORES, LABELS, 1) == 0.5
    assert metrics.top_k(SCORES, LABELS, 2) == 1.0
    assert metrics.top_k(SCORES, LABELS, 5) == 1.0


def test_constant_scores_earn_nothing():
    assert metrics.top_k(np.ones((4, 3)), LABELS, 1) == 0.0


def test_nan_scores_earn_nothing():
    scores = np.full((4, 3), np.nan)
    assert metrics.top_k(scores, LABELS, 1) == metrics.top_k(scores, LABELS, 5) == 0.0
    others = np.where(np.eye(3)[LABELS].astype(bool), 0.5, np.nan)
    assert metrics.top_k(others, LABELS, 1) == 0.0


def test_mean_class_weighs_classes_not_videos():
    # Class 0: 1 of 2; class 1: 0 of 1; class 2: 1 of 1.
    assert metrics.mean_class(SCORES, LABELS) == pytest.approx(0.5)
    assert metrics.mean_class(SCORES[:3], LABELS[:3]) == pytest.approx(0.25)


def test_bootstrap_interval_has_the_width_of_a_binomial():
    correct = np.r_[np.ones(300), np.zeros(100)]
    low, high = metrics.bootstrap_ci95(correct)
    sigma = np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - 1.96 * sigma, abs=0.006)
    assert high == pytest.approx(0.75 + 1.96 * sigma, abs=0.006)
    assert metrics.bootstrap_ci95(np.ones(5)) == [1.0, 1.0]
    assert metrics.bootstrap_ci95(correct) == [low, high]


def test_mean_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    labels = np.array([[1, 0], [0, 0], [1, 0]])  # nobody has class 1
    assert metrics.mean_average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)


def test_joint_hits_rank_combinations_by_the_product_of_their_scores():
    verbs = np.array([[0.6, 0.4], [0.9, 0.1], [0.5, np.nan]])
    nouns = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]])
    labels = np.array([[1, 0], [0, 1], [1, 2]])
    # First row: .30 .18 .12 / .20 .12 .08, so verb 1 with noun 0 is second.
    assert metrics.joint_hits([verbs, nouns], labels, 1).tolist() == [False, False, False]
    assert metrics.joint_hits([verbs, nouns], labels, 2).tolist() == [True, True, False]


def test_joint_top1_is_right_where_every_group_is():
    rng = np.random.default_rng(0)
    verbs, nouns = rng.random((50, 4)), rng.random((50, 6))
    labels = np.stack([rng.integers(4, size=50), rng.integers(6, size=50)], axis=1)
    both = (verbs.argmax(1) == labels[:, 0]) & (nouns.argmax(1) == labels[:, 1])
    np.testing.assert_array_equal(metrics.joint_hits([verbs, nouns], labels, 1), both)
    assert both.any()


def test_videos_with_an_unknown_label_do_not_count_in_its_group():
    rng = np.random.default_rng(0)
    task = tasks.create("joint", 7, {"verb": 3, "noun": 4})
    scores = np.concatenate([rng.dirichlet(np.ones(3), 40), rng.dirichlet(np.ones(4), 40)], 1)
    labels = np.stack([rng.integers(0, 3, 40), rng.integers(3, 7, 40)], 1)
    whole = metrics.accuracies(task, scores, labels)
    assert not any(key.endswith("videos") for key in whole)
    # Videos with a label missing are put between the others, with scores that look like hits.
    sure = np.tile([0.98, 0.01, 0.01, 0.97, 0.01, 0.01, 0.01], (10, 1))
    mixed = metrics.accuracies(
        task,
        np.concatenate([sure, scores]),
        np.concatenate([np.tile([0, -1], (10, 1)), labels]),
    )
    assert (mixed.pop("labelled_videos"), mixed.pop("noun_labelled_videos")) == (40, 40)
    changed = {key for key, value in whole.items() if value != mixed[key]}
    assert changed == {"verb_top1"}
    assert mixed["verb_top1"] == pytest.approx((10 + 40 * whole["verb_top1"]) / 50)
    with pytest.raises(InputError, match="No video of the evaluated split has a label of every"):
        metrics.accuracies(task, sure, np.tile([0, -1], (10, 1)))


def test_an_unknown_label_is_never_a_hit():
    verb, noun = np.array([[0.1, 0.9]] * 2), np.array([[0.2, 0.8]] * 2)
    labels = np.array([[1, 1], [1, -1]])
    assert metrics.joint_hits([verb, noun], labels, 1).tolist() == [True, False]
    assert metrics.joint_hits([verb, noun], labels, 4).tolist() == [True, False]
