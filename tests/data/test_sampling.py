"""Frame numbers against the published rules, and short videos (tpn checks: samplers)."""

import numpy as np
import pytest

from tempo.data import sampling
from tempo.types import ClipSpec

EIGHT = ClipSpec(num_frames=8, stride=8)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_ten_clips_start_where_the_tpn_release_starts_them():
    starts = sampling.dense_starts(300, EIGHT, 10, "ticks")
    np.testing.assert_array_equal(starts, [11, 35, 59, 82, 106, 130, 154, 177, 201, 225])


def test_ten_clips_start_where_mmaction2_starts_them():
    starts = sampling.dense_starts(300, EIGHT, 10, "linspace")
    np.testing.assert_array_equal(starts, np.arange(0, 270, 27))
    assert starts[-1] + 56 == 299


@pytest.mark.parametrize("num_frames", [1, 5, 40, 63])
def test_clips_of_a_video_that_is_too_short_start_at_its_beginning(num_frames):
    np.testing.assert_array_equal(sampling.dense_starts(num_frames, EIGHT, 10, "ticks"), 0)
    got = sampling.eval_indices(num_frames, EIGHT, 10, "linspace")
    assert got.min() >= 0 and got.max() < num_frames


@pytest.mark.parametrize("rule", ["linspace", "ticks"])
def test_a_single_clip_is_centred(rule):
    clip = ClipSpec(num_frames=4, stride=2)  # frames s to s + 6
    (got,) = sampling.eval_indices(17, clip, 1, rule)
    np.testing.assert_array_equal(got, [5, 7, 9, 11])


def test_hold_last_repeats_the_frame_that_was_reached_and_loop_goes_on():
    held = ClipSpec(num_frames=5, stride=4, short="hold_last")
    looped = ClipSpec(num_frames=5, stride=4, short="loop")
    np.testing.assert_array_equal(sampling.dense_indices(0, 10, held), [0, 4, 8, 8, 8])
    np.testing.assert_array_equal(sampling.dense_indices(0, 10, looped), [0, 4, 8, 2, 6])
    np.testing.assert_array_equal(sampling.dense_indices(0, 1, held), 0)
    np.testing.assert_array_equal(sampling.dense_indices(0, 1, looped), 0)


def test_random_dense_clips_reach_every_start_and_no_further():
    clip = ClipSpec(num_frames=4, stride=3)
    r = rng()
    clips = np.stack([sampling.train_indices(15, clip, r) for _ in range(300)])
    assert clips.dtype == np.int64
    assert set(clips[:, 0]) == set(range(6))  # 15 - 10 + 1 places
    assert (np.diff(clips) == 3).all()


def test_segments_at_their_centres_and_inside_them():
    np.testing.assert_array_equal(sampling.segment_indices(80, 8), [5, 15, 25, 35, 45, 55, 65, 75])
    r = rng()
    drawn = np.stack([sampling.segment_indices(83, 8, r) for _ in range(500)])
    edges = np.arange(9) * 83 / 8
    assert (drawn >= np.floor(edges[:-1])).all() and (drawn < edges[1:]).all()
    assert drawn.min() == 0 and drawn.max() == 82


def test_segments_of_a_video_with_fewer_frames():
    got = sampling.segment_indices(3, 8)
    np.testing.assert_array_equal(np.unique(got), [0, 1, 2])
    assert (np.diff(got) >= 0).all()
    clip = ClipSpec(num_frames=8, sampling="segments")
    assert sampling.train_indices(3, clip, rng()).max() < 3


def test_two_clips_of_segments_by_both_rules():
    clip = ClipSpec(num_frames=8, sampling="segments")
    k = np.arange(8)
    ours = sampling.eval_indices(64, clip, 2, "ticks")
    sixteen = sampling.segment_indices(64, 16)
    np.testing.assert_array_equal(ours, [sixteen[::2], sixteen[1::2]])
    twice = sampling.eval_indices(64, clip, 2, "linspace")
    np.testing.assert_array_equal(twice, [(k + 0.5) * 8, k * 8])
    for rule in ("ticks", "linspace"):
        one = sampling.eval_indices(64, clip, 1, rule)
        np.testing.assert_array_equal(one[0], sampling.segment_indices(64, 8))


def test_resampling_finds_the_nearest_frame_in_time():
    at_25 = np.arange(50) / 25
    np.testing.assert_array_equal(sampling.resample(at_25, 25.0), np.arange(50))
    np.testing.assert_array_equal(sampling.resample(at_25, 12.5), np.arange(0, 50, 2))
    assert len(sampling.resample(at_25.astype(np.float32), 50.0)) == 100
    uneven = np.array([0.0, 0.033, 0.113, 0.146, 0.226])
    np.testing.assert_array_equal(sampling.resample(uneven, 20.0), [0, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(sampling.resample(uneven + 7, 20.0), [0, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(sampling.resample(np.zeros(1), 5.0), [0])


def test_videos_of_two_rates_show_the_same_moments():
    clip = ClipSpec(num_frames=6, stride=2, fps=10.0)
    slow, fast = np.arange(60) / 15, np.arange(240) / 60
    (a,) = sampling.eval_indices(60, clip, timestamps=slow)
    (b,) = sampling.eval_indices(240, clip, timestamps=fast)
    assert np.abs(slow[a] - fast[b]).max() <= 0.5 / 15 + 1e-9
    with pytest.raises(ValueError, match="timestamps"):
        sampling.eval_indices(60, clip)
