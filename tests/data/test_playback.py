"""Frames at any playback speed, and windows from one end of a video to the other."""

import dataclasses

import numpy as np
import pytest

from tempo.data import playback, sampling
from tempo.errors import InputError
from tempo.types import ClipSpec, ViewSpec

CLIP = ClipSpec(num_frames=4, stride=4)
TIMES = np.arange(100) / 25


SHARES = np.array([0.1, 0.6, 0.999])


def views(scale, num_clips=3, num_frames=100, extra=0, starts="linspace", **clip):
    clip = dataclasses.replace(CLIP, **clip)
    view = ViewSpec(num_clips=num_clips, clip_starts=starts)
    about = clip, view, TIMES[:num_frames], extra, scale, SHARES
    return playback.view_indices(num_frames, *about)


def windows(num_frames=100, scale=1.0, extra=0, clip=CLIP, fps=25.0, **how):
    return playback.window_indices(num_frames, clip, TIMES[:num_frames], fps, extra, scale, **how)


@pytest.mark.parametrize("starts", ["linspace", "ticks", "random"])
@pytest.mark.parametrize("order", ["normal", "reverse", "concat"])
@pytest.mark.parametrize("sampling_kind", ["dense", "segments"])
def test_a_scale_of_one_is_the_evaluation(starts, order, sampling_kind):
    clip = dataclasses.replace(CLIP, order=order, sampling=sampling_kind)
    expected = sampling.eval_indices(100, clip, 3, starts, TIMES, 0, SHARES)
    found = views(1.0, starts=starts, order=order, sampling=sampling_kind)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("scale", "stride"), [(2.0, 8), (0.25, 1), (1.5, 6), (0.5, 2)])
def test_a_whole_stride_is_that_of_an_evaluation_with_it(scale, stride):
    expected = sampling.eval_indices(100, dataclasses.replace(CLIP, stride=stride), 3)
    np.testing.assert_array_equal(views(scale), expected)


@pytest.mark.parametrize(
    ("scale", "steps"),
    [(1.1, [0, 4, 9, 13]), (0.375, [0, 2, 3, 5]), (0.1, [0, 0, 1, 1]), (0.15, [0, 1, 1, 2])],
)
def test_places_between_frames_go_to_the_nearest(scale, steps):
    found = views(scale)
    np.testing.assert_array_equal(found - found[:, :1], [steps] * 3)
    assert found[0, 0] == 0 and found[-1, -1] == 99  # from end to end, as linspace says


def test_views_bring_their_own_stride_and_order():
    view = ViewSpec(num_clips=3, stride=8, order="reverse")
    expected = sampling.eval_indices(
        100, dataclasses.replace(CLIP, stride=8, order="reverse"), 3, timestamps=TIMES
    )
    np.testing.assert_array_equal(playback.view_indices(100, CLIP, view, TIMES), expected)


def test_frames_beyond_a_clip_follow_at_the_same_speed():
    found = views(1.1, num_clips=1, extra=1)
    np.testing.assert_array_equal(found[0] - found[0, 0], [0, 4, 9, 13, 18])
    assert views(1.1, num_frames=19, num_clips=2, extra=1)[-1, -1] == 18


def test_a_video_too_short_for_the_speed_holds_its_last_frame():
    np.testing.assert_array_equal(views(1.1, num_clips=1, num_frames=7), [[0, 4, 4, 4]])
    np.testing.assert_array_equal(
        views(1.1, num_clips=1, num_frames=7, short="loop"), [[0, 4, 2, 6]]
    )
    np.testing.assert_array_equal(views(1000, num_clips=2), [[0, 0, 0, 0]] * 2)


@pytest.mark.parametrize("starts", ["linspace", "ticks", "random"])
@pytest.mark.parametrize("short", ["hold_last", "loop"])
@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("num_frames", [1, 10, 29, 30, 33, 34, 100])
def test_a_whole_stride_is_that_of_an_evaluation_in_short_videos_too(
    starts, short, extra, num_frames
):
    clip = dataclasses.replace(CLIP, stride=10, short=short)
    times = TIMES[:num_frames]
    expected = sampling.eval_indices(num_frames, clip, 3, starts, times, extra, SHARES)
    found = views(2.5, num_frames=num_frames, extra=extra, starts=starts, short=short)
    np.testing.assert_array_equal(found, expected)


def test_clips_start_where_clips_of_that_length_do():
    # (100 - 4 * 4.4 + 1) / 3 = 27.8 from one clip to the next, the first at half of it.
    np.testing.assert_array_equal(views(1.1, starts="ticks")[:, 0], [13, 41, 69])
    # Two frames of 0 to 100 between 95.5 and 101 would be one too many.
    found = playback.view_indices(
        101, CLIP, ViewSpec(num_clips=2), np.arange(101) / 25, stride_scale=0.375
    )
    np.testing.assert_array_equal(found[-1], [95, 97, 98, 100])


def test_ticks_of_a_clock_are_scaled_like_frames():
    found = views(2.0, num_clips=1, fps=12.5, stride=1)
    np.testing.assert_array_equal(found[0] - found[0, 0], [0, 4, 8, 12])


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_a_scale_must_be_a_positive_number(scale):
    with pytest.raises(InputError, match="must be above 0"):
        playback.check(CLIP, scale)


def test_a_scale_has_an_upper_limit():
    playback.check(CLIP, playback.MAX_STRIDE_SCALE)
    with pytest.raises(InputError, match="at most 1000 .* got 1e[+]09"):
        playback.check(CLIP, 1e9)


def test_clips_without_a_stride_have_no_scale():
    segments = ClipSpec(num_frames=8, sampling="segments")
    playback.check(segments, 1.0)
    with pytest.raises(InputError, match="8 frames spread over the whole video .* no stride"):
        playback.check(segments, 2.0)


def test_windows_overlap_by_half_and_reach_both_ends():
    found = windows()  # 13 frames long
    np.testing.assert_array_equal(found[:3, 0], [0, 6, 12])
    np.testing.assert_array_equal(found[0], [0, 4, 8, 12])
    np.testing.assert_array_equal(found[-1], [87, 91, 95, 99])
    assert (np.diff(found, axis=1) == 4).all()
    assert (np.diff(found[:, 0]) > 0).all()


def test_hops_are_seconds_and_at_least_a_frame():
    np.testing.assert_array_equal(np.diff(windows(hop_s=1.0)[:, 0]), [25, 25, 25, 12])
    np.testing.assert_array_equal(np.diff(windows(hop_s=1e-9)[:, 0]), [1] * 87)


def test_windows_at_another_speed():
    np.testing.assert_array_equal(windows(scale=2.0)[0], [0, 8, 16, 24])
    found = windows(scale=1.1)
    np.testing.assert_array_equal(found[0], [0, 4, 9, 13])
    np.testing.assert_array_equal(found[-1], [86, 90, 95, 99])


def test_a_video_shorter_than_a_window_has_one():
    np.testing.assert_array_equal(windows(num_frames=6), [[0, 4, 4, 4]])
    assert windows(num_frames=1).tolist() == [[0, 0, 0, 0]]


def test_windows_of_segments_have_a_length_in_seconds():
    segments = ClipSpec(num_frames=4, sampling="segments")
    found = windows(clip=segments, window_s=1.6)  # 40 frames
    np.testing.assert_array_equal(found[0], [5, 15, 25, 35])
    np.testing.assert_array_equal(found[:, 0], [5, 25, 45, 65])
    np.testing.assert_array_equal(windows(clip=segments, window_s=99), [[12, 37, 62, 87]])


def test_windows_play_in_the_order_of_the_clips():
    found = windows(clip=dataclasses.replace(CLIP, order="reverse"))
    np.testing.assert_array_equal(found[0], [99, 95, 91, 87])
    np.testing.assert_array_equal(found[-1], [12, 8, 4, 0])
    both = windows(clip=dataclasses.replace(CLIP, order="concat"))
    np.testing.assert_array_equal(both, windows())


def test_windows_leave_room_for_frames_beyond_a_clip():
    found = windows(extra=1)
    np.testing.assert_array_equal(found[0], [0, 4, 8, 12, 16])
    np.testing.assert_array_equal(found[-1], [83, 87, 91, 95, 99])


def test_windows_of_segments_show_neighbouring_frames():
    clip = ClipSpec(num_frames=2, sampling="segments", frames_per_segment=3)
    times = np.arange(30) / 10
    got = playback.window_indices(30, clip, times, 10.0, window_s=1.2)
    first = sampling.eval_indices(12, clip)[0]
    np.testing.assert_array_equal(got, np.array([0, 6, 12, 18])[:, None] + first)
