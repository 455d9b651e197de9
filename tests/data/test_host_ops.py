"""Crops at the published offsets, draws that repeat, and one draw for all frames."""

import numpy as np
import pytest

from tempo.data import host_ops
from tempo.data.augment import crops, geometry, views
from tempo.errors import InputError


def rng(seed=0):
    return np.random.default_rng(seed)


def clip_of(height, width, num_frames=3):
    """Each pixel holds its row, its column and its frame."""
    clip = np.empty((num_frames, height, width, 3), np.uint8)
    clip[..., 0] = np.arange(height)[:, None] % 256
    clip[..., 1] = np.arange(width) % 256
    clip[..., 2] = np.arange(num_frames)[:, None, None]
    return clip


def once(op, clip, r):
    """The clip after one op, as a batch has it."""
    streams, _ = host_ops.run((op,), {"video": clip}, r)
    return streams["video"]


def views_of(clip, crop, size_px):
    """The views of one clip with all its frames, which keep their size: [num_crops,T,h,w,C]."""
    places = np.arange(len(clip)).reshape(1, -1, 1)
    short_side_px = min(clip.shape[1:3])
    found = views.Views(clip, places, crop, short_side_px, size_px)
    out = np.empty(found.shape, clip.dtype)
    found.copy_to(out)
    return out


def corners(found):
    return [(int(v[0, 0, 0, 0]), int(v[0, 0, 0, 1])) for v in found]


def test_three_crops_of_256x340():
    wide = np.zeros((1, 256, 340, 3), np.int16)
    wide[..., 1] = np.arange(340)
    assert corners(views_of(wide, "three", 256)) == [(0, 0), (0, 84), (0, 42)]
    tall = np.zeros((1, 340, 256, 3), np.int16)
    tall[..., 0] = np.arange(340)[:, None]
    assert corners(views_of(tall, "three", 256)) == [(0, 0), (84, 0), (42, 0)]


def test_ten_crops_of_256x340():
    clip = np.zeros((1, 256, 340, 3), np.uint8)
    clip[..., 0] = np.arange(256)[:, None]
    clip[..., 1] = np.arange(340) // 2
    found = views_of(clip, "ten", 224)
    assert found.shape == (10, 1, 224, 224, 3)
    assert corners(found[:5]) == [(0, 0), (0, 58), (32, 0), (32, 58), (16, 29)]  # x is halved
    np.testing.assert_array_equal(found[5:], found[:5, :, :, ::-1])


# (top, left, mirrored) of each window of 32 px in a frame of 40 x 60, in no order.
WINDOWS = {
    "three": [(4, 14, False), (4, 0, False), (4, 28, False)],
    "ten": [
        (y, x, mirrored)
        for mirrored in (True, False)
        for y, x in ((4, 14), (0, 0), (8, 28), (8, 0), (0, 28))
    ],
}


@pytest.mark.parametrize("crop", WINDOWS)
def test_views_are_these_windows_and_their_mean_knows_no_order(crop):
    clip = rng().integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    windows = [clip[:, y : y + 32, x : x + 32] for y, x, _ in WINDOWS[crop]]
    windows = [
        w[:, :, ::-1] if mirrored else w
        for w, (_, _, mirrored) in zip(windows, WINDOWS[crop], strict=True)
    ]
    found = views_of(clip, crop, 32)
    assert len({v.tobytes() for v in found}) == len(found) == len(windows)
    assert {v.tobytes() for v in found} == {w.tobytes() for w in windows}
    shuffled = found[rng(1).permutation(len(found))]
    for order in (found, shuffled):  # sums of whole numbers are exact
        np.testing.assert_array_equal(order.mean(0), np.mean(windows, 0))


def test_centre_and_full_views():
    clip = clip_of(40, 60)
    assert corners(views_of(clip, "center", 32)) == [(4, 14)]
    np.testing.assert_array_equal(views_of(clip, "full", 32)[0], clip)
    with pytest.raises(InputError, match="crop of 48 px does not fit a frame of 60x40"):
        views_of(clip, "center", 48)


@pytest.mark.parametrize(("size", "expected"), [((30, 40), (24, 32)), ((40, 30), (32, 24))])
def test_short_side_is_reached_and_the_aspect_ratio_kept(size, expected):
    assert host_ops.ResizeShortSide(24).map(clip_of(*size)).shape == (3, *expected, 3)


def test_short_side_of_the_published_evaluation():
    assert geometry.resize_short_side(clip_of(240, 320, 1), 256).shape == (1, 256, 341, 3)
    same = clip_of(32, 40)
    assert geometry.resize_short_side(same, 32) is same


def test_jittered_short_side_covers_its_range():
    op, r = host_ops.JitterShortSide(20, 24), rng()
    sides = {once(op, clip_of(16, 24, 1), r).shape[1] for _ in range(100)}
    assert sides == {20, 21, 22, 23, 24}


def test_random_resized_crop_stays_in_its_ranges():
    op, r = crops.RandomResizedCrop(32), rng()
    boxes = np.array([op.draw((8, 240, 320, 3), r) for _ in range(2000)])
    top, left, height, width = boxes.T
    assert (top >= 0).all() and (top + height <= 240).all()
    assert (left >= 0).all() and (left + width <= 320).all()
    area, ratio = height * width / (240 * 320), width / height
    assert 0.075 < area.min() < 0.1 and area.max() > 0.8
    assert ratio.min() > 0.7 and ratio.max() < 1.4
    assert abs(np.log(ratio[area < 0.3]).mean()) < 0.03
    assert once(op, clip_of(48, 64), r).shape == (3, 32, 32, 3)


def test_random_resized_crop_of_a_very_long_frame_takes_its_centre():
    op = crops.RandomResizedCrop(16, area=(0.9, 1.0))
    top, left, height, width = op.draw((1, 20, 200, 3), rng())
    assert (height, width) == (20, 27) and top == 0 and left == (200 - 27) // 2


def test_the_same_crop_in_every_frame():
    clip = np.repeat(clip_of(48, 64, 1), 4, axis=0)
    for name in ("random_resized_crop", "random_crop", "flip"):
        (op,) = host_ops.create([name], 32)
        got = once(op, clip, rng(3))
        assert (got == got[:1]).all()


def test_random_crop_reaches_every_place_and_cuts_without_scaling():
    op, r = crops.RandomCrop(30), rng()
    clip = clip_of(32, 33, 1)
    found = set()
    for _ in range(200):
        got = once(op, clip, r)
        (y, x) = corners([got])[0]
        found.add((y, x))
        np.testing.assert_array_equal(got, clip[:, y : y + 30, x : x + 30])
    assert found == {(y, x) for y in range(3) for x in range(4)}
    assert once(op, clip_of(20, 25), r).shape == (3, 30, 30, 3)


def test_fixed_crops():
    clip = clip_of(32, 40)
    got = {place: corners([crops.FixedCrop(30, place).map(clip)])[0] for place in crops.PLACES}
    assert got == {
        "center": (1, 5),
        "top_left": (0, 0),
        "top_right": (0, 10),
        "bottom_left": (2, 0),
        "bottom_right": (2, 10),
    }


def test_flip_mirrors_a_share_of_the_clips():
    clip = clip_of(8, 12)
    np.testing.assert_array_equal(geometry.flip(clip), clip[:, :, ::-1])
    np.testing.assert_array_equal(geometry.flip(clip[:, 1:5, 2:9]), clip[:, 1:5, 8:1:-1])
    op, r = host_ops.Flip(0.3), rng()
    share = np.mean([once(op, clip, r)[0, 0, 0, 1] > 0 for _ in range(2000)])
    assert abs(share - 0.3) < 0.04


def test_one_draw_serves_two_streams_of_a_video():
    video, flow = clip_of(48, 64), clip_of(48, 64)[..., :2]
    for op in host_ops.create(["random_resized_crop", "random_crop", "flip"], 32):
        drawn = op.draw(video.shape, rng(5))
        np.testing.assert_array_equal(op.apply(video, drawn)[..., :2], op.apply(flow, drawn))


def test_ops_run_in_order_and_repeat_with_the_generator():
    ops = host_ops.create([{"name": "jitter_short_side", "min_px": 40, "max_px": 60}, "random_crop",
                           {"name": "flip", "prob": 1.0}], 32)  # fmt: skip
    got, is_mirrored = host_ops.run(ops, {"video": clip_of(48, 64)}, rng(1))
    assert got["video"].shape == (3, 32, 32, 3) and is_mirrored
    again, _ = host_ops.run(ops, {"video": clip_of(48, 64)}, rng(1))
    np.testing.assert_array_equal(got["video"], again["video"])


@pytest.mark.parametrize("flips", [(), ("flip",), ("flip", "flip")])
@pytest.mark.parametrize(
    "op",
    ["random_resized_crop", "multi_scale_crop", "random_crop", "resize_then_crop", "fixed_crop"],
)
def test_what_is_written_into_a_batch_is_what_ops_give(op, flips):
    ops = host_ops.create([op, *flips], 32)
    streams = {"video": clip_of(48, 64), "flow": clip_of(48, 64)[..., :2].copy()}
    mirrored = set()
    for seed in range(6):
        r = rng(seed)
        expected, was_mirrored = host_ops.run(ops, streams, r)
        drawn = r.random()
        batch = np.zeros((2, 3, 32, 32, 3), np.uint8)
        place, again = batch[1], rng(seed)
        got, is_mirrored = host_ops.run(ops, streams, again, {"video": place})
        assert got["video"] is place and is_mirrored == was_mirrored and again.random() == drawn
        for name, stream in expected.items():
            np.testing.assert_array_equal(got[name], stream)
        assert not batch[0].any()
        mirrored.add(is_mirrored)
    assert mirrored == ({False, True} if flips else {False})
    # Where it does not fit, it is left to the caller to say so.
    got, _ = host_ops.run(ops, streams, rng(), {"video": place[:, 1:]})
    assert got["video"].shape == (3, 32, 32, 3)


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        (["random_resize_crop"], "Did you mean 'random_resized_crop'"),
        ([{"name": "flip", "probability": 1}], "has no key 'probability'"),
        (["jitter_short_side"], "needs min_px, max_px"),
        ([{"name": "jitter_short_side", "min_px": 9, "max_px": 8}], "min_px <= max_px"),
        ([{"name": "fixed_crop", "place": "centre"}], "Did you mean 'center'"),
        ([{"name": "random_resized_crop", "area": [0, 1]}], "area"),
    ],
)
def test_ops_that_cannot_be_made(ops, message):
    with pytest.raises(InputError, match=message):
        host_ops.create(ops, 32)
