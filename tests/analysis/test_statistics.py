"""Lines and correlations of points whose answer is known; intervals repeat with their seed."""

import numpy as np
import pytest
from scipy import stats

from tempo.analysis import statistics
from tempo.errors import InputError

# Read off figure 4 of arXiv 2004.03548.
FIGURE_4 = {
    20: 0.032, 30: 0.009, 40: 0.059, 50: 0.071, 60: 0.044, 70: 0.080, 80: 0.073, 90: 0.102,
    100: 0.162, 110: 0.144, 120: 0.189, 130: 0.169, 140: 0.197, 150: 0.165, 160: 0.125,
}  # fmt: skip


def test_line_through_the_points_of_the_paper():
    line = statistics.ols(list(FIGURE_4), list(FIGURE_4.values()))
    assert line.slope == pytest.approx(0.00118, abs=1e-5)  # the points are rounded to 0.001
    assert (line.slope, line.intercept) == pytest.approx(
        tuple(np.polyfit(list(FIGURE_4), list(FIGURE_4.values()), 1))
    )
    assert round(line.r, 3) == 0.875
    assert line.num == 15


def test_line_is_recovered_and_nan_left_out():
    x = np.array([1.0, 2, 3, np.nan, 5])
    line = statistics.ols(x, 3 - 2 * x)
    assert (line.num, line.slope, line.intercept, line.r) == pytest.approx((4, -2, 3, -1))


@pytest.mark.parametrize("x", [[], [1.0], [2.0, 2.0, 2.0]])
def test_no_line_without_two_different_x(x):
    line = statistics.ols(x, np.arange(len(x)))
    assert np.isnan([line.slope, line.intercept, line.r]).all()
    assert line.num == len(x)


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, 40).astype(float)  # with ties
    y = x**3 + rng.normal(0, 40, 40)
    found = statistics.pearson(x, y, seed=0), statistics.spearman(x, y, seed=0)
    assert found[0].value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found[1].value == pytest.approx(stats.spearmanr(x, y).statistic)
    for estimate in found:
        assert -1 <= estimate.low < estimate.value < estimate.high <= 1


def test_ranks_do_not_mind_a_monotone_change():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 30))
    straight, bent = statistics.spearman(x, y, seed=1), statistics.spearman(x, np.exp(y), seed=1)
    assert straight == bent


def test_correlation_is_undefined_for_a_constant_or_a_single_point():
    for x, y in (([0.1] * 5, [1, 2, 3, 4, 5]), ([1.0], [2.0]), ([], [])):
        found = statistics.pearson(x, y, seed=0)
        assert np.isnan([found.value, found.low, found.high]).all()
        assert found.num == len(x)


def test_interval_narrows_with_more_rows_and_repeats_with_its_seed():
    rng = np.random.default_rng(5)
    x = rng.normal(size=800)
    y = x + rng.normal(size=800)
    few, many = statistics.pearson(x[:50], y[:50], seed=0), statistics.pearson(x, y, seed=0)
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert many == statistics.pearson(x, y, seed=0)
    assert many != statistics.pearson(x, y, seed=1)


def test_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    covered = 0
    for seed in range(200):
        found = statistics.mean(rng.normal(3, 1, 60), seed=seed, num_resamples=400)
        covered += found.low <= 3 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_mean_leaves_nan_out():
    found = statistics.mean([1.0, np.nan, 3.0], seed=0)
    assert (found.value, found.num) == (2.0, 2)
    assert np.isnan(statistics.mean([np.nan], seed=0).value)


def test_no_number_depends_on_how_many_samples_are_drawn_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = np.round(rng.normal(size=(2, 60)), 1)
    whole = [f(x, y, seed=4) for f in (statistics.pearson, statistics.spearman)]
    means = statistics.resampled_means(np.stack([x, y]), seed=4, num_resamples=25)
    drawn = np.random.default_rng(4).integers(0, 60, (25, 60))
    np.testing.assert_array_equal(means, [x[drawn].mean(axis=1), y[drawn].mean(axis=1)])
    for size in (1, 7 * 60 + 1):
        monkeypatch.setattr(statistics, "_CHUNK", size)
        assert [f(x, y, seed=4) for f in (statistics.pearson, statistics.spearman)] == whole
        again = statistics.resampled_means(np.stack([x, y]), seed=4, num_resamples=25)
        np.testing.assert_array_equal(again, means)


def test_ranks_within_a_resample_are_those_of_its_own_values():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, 30).astype(float)
    rows = rng.integers(0, 30, (20, 30))
    found = statistics._ranks(statistics._places(x), rows)
    np.testing.assert_array_equal(found, stats.rankdata(x[rows], axis=1))


def test_interval_needs_half_the_resamples():
    assert statistics.interval([1.0, 1.0, np.nan]) == (1.0, 1.0)
    assert np.isnan(statistics.interval([1.0, np.nan, np.nan])).all()


def test_stratified_resample_keeps_the_size_of_every_group():
    groups = np.array([2, 0, 0, 2, 2, 1])
    rows = np.random.default_rng(0).uniform(size=(50, 6))
    drawn = np.array([statistics.grouped(groups, row) for row in rows])
    assert (groups[drawn] == groups).all()
    assert (drawn[:, 5] == 5).all()
    assert {tuple(sorted(set(column))) for column in drawn[:, [1, 2]].T} == {(1, 2)}


def test_lists_of_different_length_are_refused():
    with pytest.raises(InputError, match=r"one length; got \(2,\) and \(3,\)"):
        statistics.ols([1, 2], [1, 2, 3])


def test_paired_hits_are_tested_on_the_rows_in_which_they_differ():
    first = np.array([1, 1, 1, 1, 1, 0, 0, 1], bool)
    second = np.array([1, 1, 0, 0, 0, 1, 0, 0], bool)
    found = statistics.paired(first, second, seed=0)
    assert (found.only_first, found.only_second) == (4, 1)
    assert found.p == pytest.approx(2 * (1 + 5) / 2**5)  # 4 or more of 5 coins, on either side
    assert found.difference.value == 3 / 8
    assert found.difference.low <= 0 < 3 / 8 < found.difference.high
    assert statistics.paired(second, first, seed=0).p == found.p
    same = statistics.paired(first, first, seed=0)
    assert (same.p, same.difference.low, same.difference.high) == (1, 0, 0)
