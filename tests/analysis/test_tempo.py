"""Visual tempo of curves whose width is known, and the variance of classes that is planted."""

import itertools

import numpy as np
import pytest

from tempo.analysis import tempo
from tempo.errors import InputError


def gaussian(sigma, n=201):
    return np.exp(-((np.arange(n) - n // 2) ** 2) / (2 * sigma**2))


def triangle(half_base, n=61):
    return np.maximum(0.0, 1 - np.abs(np.arange(n) - n // 2) / half_base)


@pytest.mark.parametrize("sigma", [3.0, 5.0, 11.7])
def test_width_of_a_gaussian(sigma):
    found = tempo.fwhm(gaussian(sigma))
    assert found.frames == pytest.approx(2.3548 * sigma, abs=0.05)
    assert not found.is_left_censored and not found.is_right_censored
    assert (found.num_lobes, found.peak_frame, found.peak) == (1, 100, 1.0)


@pytest.mark.parametrize("half_base", [2, 7, 10.5])
def test_width_of_a_triangle_is_half_its_base(half_base):
    assert tempo.fwhm(triangle(half_base)).frames == pytest.approx(half_base)


@pytest.mark.parametrize("mode", tempo.MODES)
def test_constant_curve_is_censored_on_both_sides(mode):
    found = tempo.fwhm(np.full(9, 0.3), mode=mode)
    assert (found.frames, found.left, found.right) == (8.0, 0.0, 8.0)
    assert found.is_left_censored and found.is_right_censored


def test_peak_at_the_border_has_one_side_only():
    found = tempo.fwhm([1.0, 0.75, 0.25, 0.0, 0.0])
    assert (found.left, found.right) == (0.0, 1.5)
    assert found.is_left_censored and not found.is_right_censored
    mirrored = tempo.fwhm([0.0, 0.0, 0.25, 0.75, 1.0])
    assert (mirrored.left, mirrored.right) == (2.5, 4.0)
    assert not mirrored.is_left_censored and mirrored.is_right_censored


def test_only_the_lobe_of_the_maximum_counts():
    curve = np.zeros(41)
    curve[5:16] = 0.8 * triangle(5, 11)
    curve[25:36] = triangle(5, 11)
    found = tempo.fwhm(curve)
    assert (found.num_lobes, found.peak_frame) == (2, 30)
    assert found.frames == pytest.approx(5.0)
    # The small lobe is above 0.5 for 2 * 5 * (1 - 0.5 / 0.8) frames, from 8.125 to 11.875.
    assert tempo.fwhm(curve, mode="outermost").frames == pytest.approx(32.5 - 8.125)
    assert tempo.fwhm(curve, mode="total").frames == pytest.approx(5 + 3.75)


def test_censoring_is_of_the_lobes_that_count():
    curve = [0.8, 0.1, 0.1, 1.0, 0.1, 0.7]
    main, outermost = tempo.fwhm(curve), tempo.fwhm(curve, mode="outermost")
    assert (main.is_left_censored, main.is_right_censored) == (False, False)
    assert (outermost.is_left_censored, outermost.is_right_censored) == (True, True)
    assert outermost.frames == 5.0


def test_plateau_counts_whole_whichever_frame_is_the_peak():
    found = tempo.fwhm([0.0, 1.0, 1.0, 1.0, 0.0])
    assert found.peak_frame == 1
    assert (found.left, found.right) == (0.5, 3.5)


def test_first_of_two_equal_peaks_is_the_one():
    assert tempo.fwhm([0, 1, 0, 0, 0, 1, 1, 0]).frames == 1.0


def test_a_value_at_half_the_maximum_ends_the_walk():
    found = tempo.fwhm([0.5, 1.0, 0.5, 0.5, 0.0])
    assert (found.left, found.right) == (0.0, 2.0)
    assert not found.is_left_censored and not found.is_right_censored
    assert tempo.fwhm([0.5, 1.0, 0.5, 0.5, 0.0], mode="total").frames == 3.0


def test_single_sample_has_no_width_and_no_sides():
    found = tempo.fwhm([0.4])
    assert (found.frames, found.is_left_censored, found.is_right_censored) == (0.0, True, True)


@pytest.mark.parametrize("curve", [[], [0.1, float("nan"), 0.2], [0.0, 0.0], [-1.0, -2.0]])
def test_curve_without_a_width(curve):
    found = tempo.fwhm(curve)
    assert np.isnan([found.frames, found.left, found.right]).all()
    assert (found.peak_frame, found.num_lobes) == (-1, 0)


@pytest.mark.parametrize("mode", tempo.MODES)
def test_width_does_not_depend_on_scale(mode):
    curve = np.random.default_rng(0).uniform(0.01, 1, 50)
    assert tempo.fwhm(curve, mode=mode).frames == tempo.fwhm(curve / 8, mode=mode).frames


def test_no_baseline_is_taken_off():
    # Above half of 1.0 everywhere, though the bump on it is narrow.
    assert tempo.fwhm(0.6 + 0.4 * triangle(5)).frames == 60.0


def test_smoothing_is_off_unless_asked_for():
    rough = triangle(10) * np.where(np.arange(61) % 2, 1.0, 0.3)
    assert tempo.fwhm(rough).num_lobes > 1
    smooth = tempo.fwhm(rough, smoothing_frames=2.0)
    assert smooth.num_lobes == 1
    assert smooth.frames == pytest.approx(10, rel=0.3)


def test_bad_arguments():
    with pytest.raises(InputError, match="Unknown width mode 'mian'. Did you mean 'main'"):
        tempo.fwhm([1.0], mode="mian")
    with pytest.raises(InputError, match="smoothing_frames must be at least 0; got -1"):
        tempo.fwhm([1.0], smoothing_frames=-1)
    with pytest.raises(InputError, match=r"list \[n\]; got shape \(1, 2\)"):
        tempo.fwhm([[1.0, 0.5]])
    with pytest.raises(InputError, match="fps must be positive; got 0"):
        tempo.widths(np.ones(2), np.array([0, 2]), 0.0)


def stacked(curves):
    return np.concatenate(curves), np.array([0, *itertools.accumulate(map(len, curves))])


def test_widths_of_a_file_in_frames_and_seconds():
    probs, offsets = stacked([triangle(6), [], [0.7], triangle(9, 31)])
    found = tempo.widths(probs, offsets, 5.0)
    np.testing.assert_allclose(found.frames, [6, np.nan, 0, 9])
    np.testing.assert_allclose(found.seconds, found.frames / 5)
    assert found.is_valid.tolist() == [True, False, True, True]
    assert found.is_censored.tolist() == [False, False, True, False]
    each = tempo.widths(probs, offsets, np.array([5.0, 5.0, 5.0, 10.0]))
    np.testing.assert_allclose(each.seconds, [1.2, np.nan, 0, 0.9])


def test_kept_videos():
    probs, offsets = stacked([triangle(3, 7), 0.2 * triangle(3, 7), triangle(3, 7), []])
    found = tempo.widths(probs, offsets, 5.0)
    assert tempo.kept(found).tolist() == [True, True, True, False]
    assert tempo.kept(found, min_peak=0.5).tolist() == [True, False, True, False]
    predicted = np.full(21, 9)
    predicted[[3, 10]] = 1  # the peaks of the first two
    labels = np.array([1, 1, 1, 1])
    options = {"labels": labels, "predicted": predicted, "offsets": offsets}
    assert tempo.kept(found, correct_only=True, **options).tolist() == [True, True, False, False]
    with pytest.raises(InputError, match="correct_only needs the labels"):
        tempo.kept(found, correct_only=True, labels=labels)


def test_class_variance_is_that_of_the_planted_widths():
    half_bases = {0: [4, 8], 1: [6, 6, 6], 2: [5], 3: [3, 9, 15]}
    labels = np.repeat(list(half_bases), [len(w) for w in half_bases.values()])
    probs, offsets = stacked([triangle(w) for ws in half_bases.values() for w in ws])
    found = tempo.class_tempo(tempo.widths(probs, offsets, 5.0), labels, 5)
    np.testing.assert_allclose(found.var_frames2, [4, 0, np.nan, 24, np.nan], atol=1e-9)
    np.testing.assert_allclose(found.var_s2, found.var_frames2 / 25, atol=1e-9)
    np.testing.assert_allclose(found.mean_frames, [6, 6, 5, 9, np.nan])
    assert found.num_videos.tolist() == [2, 3, 1, 3, 0]
    assert found.order.tolist() == [3, 0, 1]


def test_class_table_counts_censored_videos_and_heeds_the_selection():
    probs, offsets = stacked([triangle(4), np.ones(20), triangle(8), triangle(6)])
    found = tempo.widths(probs, offsets, 5.0)
    labels = np.zeros(4, int)
    assert tempo.class_tempo(found, labels, 1).censored_share.tolist() == [0.25]
    chosen = tempo.class_tempo(found, labels, 1, keep=~found.is_censored)
    assert chosen.censored_share.tolist() == [0.0]
    assert chosen.num_videos.tolist() == [3]
    np.testing.assert_allclose(chosen.var_frames2, np.var([4, 8, 6]))


def test_validation_ranks_widths_against_true_periods():
    rng = np.random.default_rng(0)
    periods = rng.uniform(10, 40, 120)
    labels = np.arange(120) % 3
    # Class 0 is measured well, class 1 backwards, class 2 not at all.
    measured = np.choose(labels, [periods / 3, -periods, rng.uniform(0, 1, 120)])
    measured[0], periods[3] = np.nan, np.nan
    found = tempo.validate(measured, periods, labels, 3, num_resamples=200)
    assert [e.num for e in found.per_class] == [38, 40, 40]
    assert found.per_class[0].value == pytest.approx(1)
    assert found.per_class[1].value == pytest.approx(-1)
    assert found.per_class[2].low < 0 < found.per_class[2].high
    assert found.overall.num == 118
    assert found.overall.low <= found.overall.value <= found.overall.high


def test_curves_that_follow_the_phase_give_back_the_true_period():
    rng = np.random.default_rng(1)
    periods = rng.uniform(12, 40, 60)
    phases = rng.uniform(0, 1, 60)
    curves = [
        np.exp(4 * np.cos(2 * np.pi * (np.arange(128) / period + phase)))
        for period, phase in zip(periods, phases, strict=True)
    ]
    probs, offsets = stacked(curves)
    found = tempo.widths(probs, offsets, 25.0)
    labels = np.zeros(60, int)
    result = tempo.validate(found.seconds, periods / 25, labels, 1, num_resamples=200)
    assert result.overall.low > 0.9
