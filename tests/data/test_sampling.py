"""Frame numbers against the published rules, and short videos (tpn checks: samplers)."""

from fractions import Fraction

import numpy as np
import pytest

from tempo.data import sampling
from tempo.errors import InputError
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


def segments(num_segments):
    return ClipSpec(num_frames=num_segments, sampling="segments")


def test_segments_at_their_centres_and_inside_them():
    (centres,) = sampling.eval_indices(80, segments(8))
    np.testing.assert_array_equal(centres, [5, 15, 25, 35, 45, 55, 65, 75])
    r = rng()
    drawn = np.stack([sampling.train_indices(83, segments(8), r) for _ in range(500)])
    edges = np.arange(9) * 83 / 8
    assert (drawn >= np.floor(edges[:-1])).all() and (drawn < edges[1:]).all()
    assert drawn.min() == 0 and drawn.max() == 82


def test_segments_of_a_video_with_fewer_frames():
    (got,) = sampling.eval_indices(3, segments(8))
    np.testing.assert_array_equal(np.unique(got), [0, 1, 2])
    assert (np.diff(got) >= 0).all()
    assert sampling.train_indices(3, segments(8), rng()).max() < 3


def test_two_clips_of_segments_by_both_rules():
    k = np.arange(8)
    ours = sampling.eval_indices(64, segments(8), 2, "ticks")
    (sixteen,) = sampling.eval_indices(64, segments(16))
    np.testing.assert_array_equal(ours, [sixteen[::2], sixteen[1::2]])
    twice = sampling.eval_indices(64, segments(8), 2, "linspace")
    np.testing.assert_array_equal(twice, [(k + 0.5) * 8, k * 8])
    for rule in ("ticks", "linspace"):
        np.testing.assert_array_equal(
            sampling.eval_indices(64, segments(8), 1, rule), sampling.eval_indices(64, segments(8))
        )


@pytest.mark.parametrize("num_clips", [1, 2, 3, 10])
def test_places_of_segments_are_never_rounded_below_a_border(num_clips):
    places = {
        "ticks": [Fraction(2 * k + 1, 2 * num_clips) for k in range(num_clips)],
        "linspace": [(Fraction(1, 2) + Fraction(k, num_clips)) % 1 for k in range(num_clips)],
    }
    for rule, rows in places.items():
        for n, s in ((2, 49), (6, 1), (7, 25), (49, 49), (75, 49), (300, 64), (3, 8), (1, 5)):
            expected = [[int((k + place) * n / s) for k in range(s)] for place in rows]
            got = sampling.eval_indices(n, segments(s), num_clips, rule)
            np.testing.assert_array_equal(got, expected, err_msg=f"{rule} {n} {s}")


def test_draws_from_segments_are_not_rounded_below_a_border():
    class Zeros:
        def random(self, num):
            return np.zeros(num)

    for n, s in ((26, 46), (30, 22), (45, 33), (60, 22), (49, 49)):
        expected = [k * n // s for k in range(s)]
        np.testing.assert_array_equal(sampling.random_segments(n, s, Zeros()), expected)


@pytest.mark.parametrize("rule", ["ticks", "linspace"])
@pytest.mark.parametrize("order", ["normal", "reverse"])
def test_a_frame_read_beyond_a_clip_moves_it_only_where_it_would_not_fit(rule, order):
    clip = ClipSpec(num_frames=8, stride=4, order=order)
    for num_frames in range(20, 120):
        plain = sampling.eval_indices(num_frames, clip, 10, rule)
        more = sampling.eval_indices(num_frames, clip, 10, rule, extra_frames=1)
        assert more.shape == (10, 9) and more.min() >= 0 and more.max() < num_frames
        if num_frames < 33:  # a span of (9 - 1) * 4 + 1
            continue
        step = -4 if order == "reverse" else 4
        assert (np.diff(more) == step).all()
        first = more[:, 0] if order == "normal" else num_frames - 1 - more[:, 0]
        alone = plain[:, 0] if order == "normal" else num_frames - 1 - plain[:, 0]
        np.testing.assert_array_equal(first, np.minimum(alone, num_frames - 33))


def test_the_published_starts_stay_those_of_64_frames_when_65_are_read():
    """Ticks of the TPN release: (300 - 64 + 1) / 10, not (300 - 65 + 1) / 10."""
    got = sampling.eval_indices(300, ClipSpec(num_frames=64), 10, "ticks", extra_frames=1)
    tick = (300 - 64 + 1) / 10
    np.testing.assert_array_equal(got[:, 0], [int(tick / 2 + tick * k) for k in range(10)])
    np.testing.assert_array_equal(got - got[:, :1], np.tile(np.arange(65), (10, 1)))


def test_random_clips_with_a_frame_beyond_reach_every_start_where_all_fit():
    clip, r = ClipSpec(num_frames=4, stride=3), rng()
    drawn = np.stack([sampling.train_indices(15, clip, r, None, 1) for _ in range(300)])
    assert drawn.shape == (300, 5) and set(drawn[:, 0]) == {0, 1, 2}  # 15 - 13 + 1 places
    assert (np.diff(drawn) == 3).all()
    short = sampling.train_indices(11, clip, r, None, 1)
    np.testing.assert_array_equal(short, [0, 3, 6, 9, 9])


@pytest.mark.parametrize("kind", ["segments", "uniform"])
def test_only_dense_clips_have_a_frame_beyond(kind):
    clip = ClipSpec(num_frames=4, sampling=kind)
    with pytest.raises(InputError, match=f"sampling='{kind}' has none; use sampling='dense'"):
        sampling.check(clip, 1)
    sampling.check(clip, 0)
    sampling.check(EIGHT, 1)


def test_resampling_finds_the_nearest_frame_in_time():
    at_25 = np.arange(50) / 25
    np.testing.assert_array_equal(sampling.resample(at_25, 25.0), np.arange(50))
    np.testing.assert_array_equal(sampling.resample(at_25, 12.5), np.arange(0, 50, 2))
    assert len(sampling.resample(at_25.astype(np.float32), 50.0)) == 100
    uneven = np.array([0.0, 0.033, 0.113, 0.146, 0.226])
    np.testing.assert_array_equal(sampling.resample(uneven, 20.0), [0, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(sampling.resample(uneven + 7, 20.0), [0, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(sampling.resample(np.zeros(1), 5.0), [0])


def test_of_two_frames_equally_near_the_earlier_is_shown():
    got = sampling.resample(np.arange(4.0), 2.0)
    np.testing.assert_array_equal(got, [0, 0, 1, 1, 2, 2, 3, 3])
    just_after = sampling.resample(np.arange(4.0) - [0, 0, 1e-3, 0], 2.0)
    np.testing.assert_array_equal(just_after, [0, 0, 1, 2, 2, 3, 3, 3])


def test_videos_of_two_rates_show_the_same_moments():
    clip = ClipSpec(num_frames=6, stride=2, fps=10.0)
    slow, fast = np.arange(60) / 15, np.arange(240) / 60
    (a,) = sampling.eval_indices(60, clip, timestamps=slow)
    (b,) = sampling.eval_indices(240, clip, timestamps=fast)
    assert np.abs(slow[a] - fast[b]).max() <= 0.5 / 15 + 1e-9
    with pytest.raises(ValueError, match="timestamps"):
        sampling.eval_indices(60, clip)


def test_strides_are_drawn_for_training_and_fixed_in_tests():
    clip = ClipSpec(num_frames=4, stride=5, train_strides=(1, 2, 4))
    r = rng()
    strides = np.concatenate(
        [np.unique(np.diff(sampling.train_indices(40, clip, r))) for _ in range(3000)]
    )
    values, counts = np.unique(strides, return_counts=True)
    assert values.tolist() == [1, 2, 4] and np.abs(counts / 3000 - 1 / 3).max() < 0.04
    assert (np.diff(sampling.eval_indices(40, clip, 3)) == 5).all()


def test_every_stride_reaches_the_last_frame_and_no_further():
    clip, r = ClipSpec(num_frames=4, train_strides=(1, 3)), rng()
    drawn = np.stack([sampling.train_indices(12, clip, r) for _ in range(500)])
    for stride, places in ((1, 9), (3, 3)):
        starts = drawn[drawn[:, 1] - drawn[:, 0] == stride][:, 0]
        assert set(starts) == set(range(places))


def test_uniform_frames_are_different_in_order_and_anywhere():
    clip, r = ClipSpec(num_frames=6, sampling="uniform"), rng()
    drawn = np.stack([sampling.train_indices(10, clip, r) for _ in range(2000)])
    assert (np.diff(drawn) > 0).all()
    share = np.bincount(drawn.ravel(), minlength=10) / 2000
    np.testing.assert_allclose(share, 0.6, atol=0.05)
    short = sampling.train_indices(4, clip, r)
    assert set(short) <= set(range(4)) and (np.diff(short) >= 0).all()
    np.testing.assert_array_equal(
        sampling.eval_indices(50, clip, 2), sampling.eval_indices(50, segments(6), 2)
    )


def test_backwards_clips_are_those_of_the_video_played_backwards():
    forward = ClipSpec(num_frames=4, stride=3)
    backward = ClipSpec(num_frames=4, stride=3, order="reverse")
    for num_frames in (7, 10, 30):  # too short, just long enough, long
        played = num_frames - 1 - sampling.eval_indices(num_frames, forward, 3)
        np.testing.assert_array_equal(sampling.eval_indices(num_frames, backward, 3), played)
    r = rng()
    assert (np.diff([sampling.train_indices(30, backward, r) for _ in range(50)]) == -3).all()


def test_a_share_of_the_training_clips_is_turned_round():
    r = rng()
    for order, expected in (("normal", 0.3), ("reverse", 0.7)):
        clip = ClipSpec(num_frames=4, stride=2, order=order, reverse_prob=0.3)
        steps = [np.diff(sampling.train_indices(30, clip, r))[0] for _ in range(2000)]
        assert set(steps) == {2, -2} and abs(np.mean(np.less(steps, 0)) - expected) < 0.04
        assert len({tuple(c) for c in sampling.eval_indices(30, clip, 1)}) == 1


def test_new_settings_left_alone_draw_as_before():
    """Their draws come first, so a clip without them is still the same clip."""
    clip = ClipSpec(num_frames=4, stride=2)
    start = np.random.default_rng(5).integers(20 - 7 + 1)
    np.testing.assert_array_equal(
        sampling.train_indices(20, clip, rng(5)), start + 2 * np.arange(4)
    )


# Source: the check list of the VIPriors system (arXiv 2007.08180), number 13.
def test_a_video_followed_by_its_reverse_is_a_palindrome_of_twice_the_length():
    concat = ClipSpec(num_frames=8, stride=2, order="concat")
    both = sampling.source(20, concat)
    assert len(both) == 40
    np.testing.assert_array_equal(both, both[::-1])
    np.testing.assert_array_equal(both[:20], np.arange(20))
    # A clip that lies in the second half is the same frames of the reversed video.
    reverse = ClipSpec(num_frames=8, stride=2, order="reverse")
    second = both[sampling.dense_indices(20 + 3, 40, concat)]
    backward = sampling.source(20, reverse)[sampling.dense_indices(3, 20, reverse)]
    np.testing.assert_array_equal(second, backward)
    forward = sampling.dense_indices(20 - 1 - 3 - 14, 20, ClipSpec(num_frames=8, stride=2))
    np.testing.assert_array_equal(second, forward[::-1])
    assert (np.diff(second) == -2).all()


@pytest.mark.parametrize("short", ["loop", "hold_last"])
@pytest.mark.parametrize("order", ["normal", "reverse", "concat"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_shortest_video_of_ucf101_gives_64_frames_in_every_order(short, order, stride):
    clip = ClipSpec(num_frames=64, stride=stride, order=order, short=short, reverse_prob=0.5)
    r = rng()
    drawn = np.stack([sampling.train_indices(29, clip, r) for _ in range(50)])
    tested = sampling.eval_indices(29, clip, 10)
    anywhere = sampling.eval_indices(29, clip, 10, "random", shares=np.linspace(0, 0.999, 10))
    assert drawn.shape == (50, 64) and tested.shape == anywhere.shape == (10, 64)
    for clips in (drawn, tested, anywhere):
        assert clips.dtype == np.int64 and clips.min() == 0 and clips.max() == 28
    (long,) = sampling.eval_indices(400, clip, 1)
    steps = set(np.abs(np.diff(long)))
    assert steps <= ({stride} if order != "concat" else {stride, 0, 1})  # at the turn


@pytest.mark.parametrize("extra", [0, 1])
def test_random_starts_of_tests_are_those_of_training(extra):
    """Every start at which all frames fit, equally often; 0 where they do not."""
    shares = (np.arange(1200) + 0.5) / 1200
    clip = ClipSpec(num_frames=4, stride=2)
    found = sampling.eval_indices(18, clip, 1200, "random", None, extra, shares)
    starts, counts = np.unique(found[:, 0], return_counts=True)
    assert starts.tolist() == list(range(18 - 6 - 2 * extra)) and np.ptp(counts) <= 1
    assert (np.diff(found, axis=1) == 2).all()
    short = sampling.eval_indices(5, clip, 1200, "random", None, extra, shares)
    assert (short[:, 0] == 0).all() and short.max() < 5


def test_random_clips_of_segments_have_their_frames_at_one_place_of_all():
    found = sampling.eval_indices(80, segments(8), 3, "random", shares=np.array([0, 0.5, 0.999]))
    np.testing.assert_array_equal(found, np.array([0, 5, 9])[:, None] + np.arange(0, 80, 10))
    assert sampling.eval_indices(3, segments(8), 1, "random", shares=np.array([0.99])).max() == 2


def test_clips_at_a_rate_can_be_played_backwards():
    clip = ClipSpec(num_frames=4, fps=12.5, order="reverse")
    (got,) = sampling.eval_indices(20, clip, timestamps=np.arange(20) / 25)
    np.testing.assert_array_equal(np.diff(got), -2)


@pytest.mark.parametrize(("num_frames", "step"), [(100, 4), (25, 1), (24, 0), (1, 0)])
def test_tsn_takes_single_frames_in_equal_whole_steps(num_frames, step):
    for sampling_ in ("dense", "segments"):
        one = ClipSpec(num_frames=1, sampling=sampling_)
        frames = sampling.eval_indices(num_frames, one, 25, "tsn")
        np.testing.assert_array_equal(frames, step * np.arange(25)[:, None])  # step = (N - 1) // 24
        centre = sampling.eval_indices(num_frames, one, 1, "tsn")
        np.testing.assert_array_equal(centre, sampling.eval_indices(num_frames, one))
    dense = sampling.eval_indices(100, ClipSpec(num_frames=4, stride=5), 3, "tsn")
    np.testing.assert_array_equal(dense[:, 0], [0, 42, 84])  # (100 - 16) // 2
    two = sampling.eval_indices(100, ClipSpec(num_frames=2, sampling="segments"), 3, "tsn")
    np.testing.assert_array_equal(two, [[0, 50], [24, 74], [48, 98]])


def test_segments_of_neighbouring_frames():
    clip = ClipSpec(num_frames=3, sampling="segments", frames_per_segment=6)
    assert clip.num_read == 18
    starts = []
    for seed in range(300):
        runs = sampling.train_indices(35, clip, np.random.default_rng(seed)).reshape(3, 6)
        assert (np.diff(runs) == 1).all()
        starts.append(runs[:, 0])
    # 30 places where six frames fit, ten in each part.
    for k, part in enumerate(np.transpose(starts)):
        assert set(part) == set(range(10 * k, 10 * k + 10))
    (tested,) = sampling.eval_indices(35, clip).reshape(1, 3, 6)
    np.testing.assert_array_equal(tested, np.array([[5], [15], [25]]) + np.arange(6))
    short = sampling.eval_indices(4, clip).reshape(3, 6)
    np.testing.assert_array_equal(short, [[0, 1, 2, 3, 3, 3]] * 3)
    with pytest.raises(InputError, match="frames_per_segment=6.*'dense'"):
        ClipSpec(num_frames=3, frames_per_segment=6)
