"""Snippets of flow around a frame (check 11 of the spatiotemporal pyramid network's list)."""

import numpy as np
import pytest

from tempo.data import flow_sampling
from tempo.errors import InputError
from tempo.types import ClipSpec, FlowSpec

FRAME = ClipSpec(num_frames=1)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_one_snippet_lies_around_the_frame():
    (snippet,) = flow_sampling.flow_indices(100, 40, FlowSpec(num_snippets=1), 7)
    np.testing.assert_array_equal(snippet, np.arange(35, 45))


def test_an_interval_of_ten_makes_three_windows_side_by_side():
    fields = flow_sampling.flow_indices(100, 40, FlowSpec(), 10)
    np.testing.assert_array_equal(fields.ravel(), np.arange(25, 55))


@pytest.mark.parametrize(
    ("spec", "interval", "coverage"),
    [
        (FlowSpec(num_snippets=3), 1, 12),
        (FlowSpec(num_snippets=5), 1, 14),
        (FlowSpec(num_snippets=5), 10, 50),
        (FlowSpec(num_snippets=3, stride_rule="gap"), 1, 32),
        (FlowSpec(num_snippets=3, stride_rule="gap"), 10, 50),
        (FlowSpec(num_snippets=4, num_fields=6), 5, 21),
    ],
)
def test_snippets_have_equal_distances(spec, interval, coverage):
    fields = flow_sampling.flow_indices(500, 250, spec, interval)
    assert (np.diff(fields, axis=1) == 1).all()
    distances = np.diff(fields[:, 0])
    step = interval + (spec.num_fields if spec.stride_rule == "gap" else 0)
    assert (distances == step).all()
    assert fields.max() - fields.min() + 1 == coverage
    middle = (fields[:, 0] + spec.num_fields // 2).mean()
    assert abs(middle - 250) <= 0.5


def test_fields_outside_the_video_are_its_first_and_last():
    fields = flow_sampling.flow_indices(28, 14, FlowSpec(num_snippets=5), 10)
    assert fields.min() == 0 and fields.max() == 27
    np.testing.assert_array_equal(fields, np.clip(fields, 0, 27))
    np.testing.assert_array_equal(fields[0, :5], 0)  # centre -6: fields -11 to -2
    np.testing.assert_array_equal(flow_sampling.flow_indices(1, 0, FlowSpec(), 5), 0)
    with pytest.raises(InputError, match="no optical flow"):
        flow_sampling.flow_indices(0, 0, FlowSpec(), 5)


def test_training_frames_have_their_snippet_inside_the_video():
    r, spec = rng(), FlowSpec(num_snippets=1)
    drawn = [flow_sampling.train_indices(29, FRAME, spec, r) for _ in range(1500)]
    frames = np.concatenate([frames for frames, _ in drawn])
    assert set(frames) == set(range(5, 24))  # 5 to N - 6
    share = np.bincount(frames)[5:] / len(frames)
    np.testing.assert_allclose(share, 1 / 19, atol=0.03)
    for (frame,), fields in drawn:
        np.testing.assert_array_equal(fields, [np.arange(frame - 5, frame + 5)])
    for num_frames in (2, 5, 10):  # nothing fits
        ((frame,), fields) = flow_sampling.train_indices(num_frames, FRAME, spec, r)
        assert frame == (num_frames - 1) // 2 and fields.max() <= num_frames - 2


def test_training_intervals_are_uniform():
    r = rng()
    drawn = [flow_sampling.train_indices(400, FRAME, FlowSpec(), r) for _ in range(4000)]
    starts = np.stack([fields[:, 0] for (t,), fields in drawn if 20 < t < 380])  # nothing clamped
    intervals = np.diff(starts, axis=1)
    assert (intervals[:, 0] == intervals[:, 1]).all()
    share = np.bincount(intervals[:, 0], minlength=11)[1:] / len(intervals)
    assert len(share) == 10 and np.abs(share - 0.1).max() < 0.02


def test_a_test_spreads_its_frames_and_keeps_its_interval():
    frames, fields = flow_sampling.eval_indices(60, FRAME, FlowSpec(), num_clips=25)
    assert frames.shape == (25, 1) and fields.shape == (25, 3, 10)
    assert frames[0, 0] == 5 and frames[-1, 0] == 60 - 6
    np.testing.assert_array_equal(fields[:, 1, 5], frames[:, 0])
    assert (np.diff(fields[10, :, 0]) == 5).all()
    one, _ = flow_sampling.eval_indices(60, FRAME, FlowSpec())
    assert one.tolist() == [[29]]  # the centre


def test_a_single_frame_has_no_stride():
    for rule in ("ticks", "linspace"):
        plain = flow_sampling.eval_indices(60, FRAME, FlowSpec(), 10, rule)
        strided = ClipSpec(num_frames=1, stride=8)
        for a, b in zip(
            plain, flow_sampling.eval_indices(60, strided, FlowSpec(), 10, rule), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    # The centres of ten equal parts of the 50 frames 5 to 54.
    frames, _ = flow_sampling.eval_indices(60, strided, FlowSpec(), 10, "ticks")
    np.testing.assert_array_equal(frames[:, 0], [5 + int(2.5 + 5 * k) for k in range(10)])


def test_a_frame_read_beyond_a_clip_does_not_move_its_flow():
    one, clip = FlowSpec(num_snippets=1), ClipSpec(num_frames=3, stride=4)
    frames, fields = flow_sampling.eval_indices(100, clip, one, 3, extra_frames=1)
    assert frames.shape == (3, 4)
    np.testing.assert_array_equal(fields[1, 0], frames[1, 1] - 5 + np.arange(10))
    frames, fields = flow_sampling.train_indices(100, clip, one, rng(), extra_frames=1)
    assert frames.shape == (4,) and fields.max() < 99
    np.testing.assert_array_equal(fields[0], np.clip(frames[1] - 5 + np.arange(10), 0, 98))


def test_a_segment_of_several_frames_has_its_flow_around_its_middle():
    one = FlowSpec(num_snippets=1)
    clip = ClipSpec(num_frames=1, sampling="segments", frames_per_segment=6)
    frames, fields = flow_sampling.train_indices(100, clip, one, rng())
    assert frames.shape == (6,) and (np.diff(frames) == 1).all()
    np.testing.assert_array_equal(fields[0], np.clip(frames[3] - 5 + np.arange(10), 0, 98))
    frames, fields = flow_sampling.eval_indices(100, clip, one, 3)
    assert frames.shape == (3, 6)
    np.testing.assert_array_equal(fields[1, 0], frames[1, 3] - 5 + np.arange(10))


def test_flow_beside_a_longer_clip_lies_around_its_middle():
    clip = ClipSpec(num_frames=8, stride=4)
    frames, fields = flow_sampling.train_indices(100, clip, FlowSpec(num_snippets=1), rng())
    assert (np.diff(frames) == 4).all()
    np.testing.assert_array_equal(fields[0], frames[4] - 5 + np.arange(10))
    frames, fields = flow_sampling.eval_indices(100, clip, FlowSpec(), 3)
    assert frames.shape == (3, 8) and (fields[:, 1, 5] == frames[:, 4]).all()


def test_channels_alternate_x_and_y():
    fields = np.zeros((2, 3, 4, 5, 2), np.uint8)  # [S,L,H,W,2]
    fields[..., 0] = (np.arange(3) * 2)[:, None, None]
    fields[..., 1] = (np.arange(3) * 2 + 1)[:, None, None]
    got = flow_sampling.stack(fields)
    assert got.shape == (2, 4, 5, 6)
    np.testing.assert_array_equal(got, np.broadcast_to(np.arange(6), got.shape))


@pytest.mark.parametrize("kwargs", [{"order": "reverse"}, {"order": "concat"}, {"reverse_prob": 1}])
def test_flow_is_not_played_backwards(kwargs):
    with pytest.raises(InputError, match="played forwards"):
        flow_sampling.check(ClipSpec(num_frames=1, **kwargs))
    flow_sampling.check(FRAME)


def test_tsn_spreads_25_snippets_in_whole_steps():
    for num_frames in (29, 35, 36, 180):  # UCF-101's shortest; too short for a step; one; any
        frames, fields = flow_sampling.eval_indices(
            num_frames, FRAME, FlowSpec(num_snippets=1), 25, "tsn"
        )
        step = (num_frames - 1 - 10) // 24  # (N - L) // 24 of N fields
        first = step * np.arange(25)
        np.testing.assert_array_equal(frames[:, 0], first + 5)
        np.testing.assert_array_equal(fields[:, 0], first[:, None] + np.arange(10))


def test_the_shortest_video_of_ucf_clamps_what_five_snippets_cover():
    spec = FlowSpec(num_snippets=5)
    _, fields = flow_sampling.eval_indices(29, FRAME, spec, 25, "tsn")
    wanted = 5 + (np.arange(5) - 2)[:, None] * 5 + np.arange(-5, 5)
    np.testing.assert_array_equal(fields[0], np.clip(wanted, 0, 27))


def test_snippets_of_segments_lie_one_in_each_part():
    spec = FlowSpec(num_snippets=3, stride_rule="segments")
    drawn = [flow_sampling.train_indices(40, FRAME, spec, rng(seed))[1] for seed in range(300)]
    assert (np.diff(drawn) == 1).all()
    for k, part in enumerate(np.transpose([fields[:, 0] for fields in drawn])):
        assert set(part) == set(range(10 * k, 10 * k + 10))  # 30 places, ten in each part
    _, (tested,) = flow_sampling.eval_indices(40, FRAME, spec)
    np.testing.assert_array_equal(tested[:, 0], [5, 15, 25])
    one = FlowSpec(num_snippets=1, stride_rule="segments")
    for a, b in zip(
        flow_sampling.eval_indices(40, FRAME, one, 7, "tsn"),
        flow_sampling.eval_indices(40, FRAME, FlowSpec(num_snippets=1), 7, "tsn"),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    short = flow_sampling.train_indices(5, FRAME, spec, rng())[1]
    np.testing.assert_array_equal(short, [[0, 1, 2, 3, 3, 3, 3, 3, 3, 3]] * 3)


def test_videos_too_short_for_the_snippets_are_counted():
    spec, fields = FlowSpec(), np.array([19, 20, 28, 40])
    (line,) = flow_sampling.coverage("test", fields, spec, is_training=False)
    assert line.startswith("1 of 4 videos of split 'test' have fewer fields than the 20 that")
    assert set(flow_sampling.flow_indices(20, 10, spec, 5).ravel()) == set(range(20))  # it fits
    (line,) = flow_sampling.coverage("train", fields, spec, is_training=True)
    assert line.startswith("3 of 4") and "than the up to 30 that the snippets cover" in line
    parts = FlowSpec(stride_rule="segments")
    (line,) = flow_sampling.coverage("test", np.array([11, 12]), parts, is_training=False)
    assert line.startswith("1 of 2") and line.endswith("some snippets coincide")
    one = FlowSpec(num_snippets=1, interval=0)
    assert not flow_sampling.coverage("test", np.array([10]), one, is_training=False)


def test_a_distance_that_no_video_has_room_for_is_refused():
    fields = np.array([5, 28])
    assert flow_sampling.coverage("x", fields, FlowSpec(interval=27), is_training=False)
    with pytest.raises(InputError, match="interval of 28 puts .* 28 fields apart.* use at most 27"):
        flow_sampling.coverage("x", fields, FlowSpec(interval=28), is_training=False)
    gap = FlowSpec(stride_rule="gap", interval=18)
    with pytest.raises(InputError, match="28 fields apart.* use at most 17"):
        flow_sampling.coverage("x", fields, gap, is_training=False)
    far = FlowSpec(train_intervals=(30, 40))
    with pytest.raises(InputError, match="train_intervals of 30 puts .* split 'x'"):
        flow_sampling.coverage("x", fields, far, is_training=True)
    with pytest.raises(InputError, match="no video .* has more than 1; use num_snippets=1"):
        flow_sampling.coverage("x", np.array([1]), FlowSpec(), is_training=False)
