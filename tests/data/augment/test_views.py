"""Views written into a batch are the windows of the resized clips, cut and stacked one by one."""

import tracemalloc

import numpy as np
import pytest

from tempo.data import flow_sampling, stages
from tempo.data.augment import geometry, views
from tempo.data.store import scratch

SIZE = 24
PLACES = np.array([[0, 2, 2], [3, 1, 0]])  # two clips of 3 frames, out of 5


def frames_of(channels=3, height=30, width=41, num=5):
    shape = (num, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def one_by_one(frames, places, crop, short_side_px, flip=geometry.flip):
    """[V,...places,h,w,C], from clips resized as a whole."""
    found = []
    for clip in geometry.resize_short_side(frames, short_side_px)[places]:
        flat = clip.reshape(-1, *clip.shape[-3:])
        if crop == "full":
            found.append(clip)
            continue
        for y, x in views.CORNERS[crop](*clip.shape[-3:-1], SIZE):
            found.append(clip[..., y : y + SIZE, x : x + SIZE, :])
        if crop == "ten":
            for window in found[-5:]:
                flat = window.reshape(-1, *window.shape[-3:])
                found.append(flip(flat).reshape(window.shape))
    return np.stack(found)


def written(found):
    out = np.full(found.shape, 99, np.uint8)
    with scratch.Memory().clip():
        found.copy_to(out)
    return out


@pytest.mark.parametrize("crop", ["center", "three", "five", "ten", "full"])
@pytest.mark.parametrize("size", [(30, 41), (41, 30)])
@pytest.mark.parametrize("short_side_px", [30, 26, 37])
def test_views_are_the_windows_of_the_resized_clips(crop, size, short_side_px):
    frames = frames_of(3, *size)
    before = frames.copy()
    found = views.Views(frames, PLACES[..., None], crop, short_side_px, SIZE)
    np.testing.assert_array_equal(written(found), one_by_one(frames, PLACES, crop, short_side_px))
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize("crop", ["three", "ten", "full"])
def test_joined_fields_of_flow_are_those_stacked_afterwards(crop):
    fields = frames_of(2)
    places = np.array([[[0, 1], [1, 2], [4, 4]], [[3, 4], [2, 0], [0, 3]]])  # [clip,S,L]
    found = views.Views(fields, places, crop, 26, SIZE, geometry.flip_flow)
    expected = flow_sampling.stack(one_by_one(fields, places, crop, 26, geometry.flip_flow))
    np.testing.assert_array_equal(written(found), expected)


def test_five_views_are_the_first_five_of_ten():
    frames = frames_of(height=40, width=60)
    five, ten = (
        written(views.Views(frames, PLACES[:1, :, None], crop, 40, 32)) for crop in ("five", "ten")
    )
    np.testing.assert_array_equal(five, ten[:5])
    np.testing.assert_array_equal(five[4], frames[PLACES[0], 4:36, 14:46])


@pytest.mark.parametrize("crop", ["center", "three", "five", "ten", "full", "random"])
def test_flipped_views_are_the_mirror_images_of_the_others(crop):
    shares = np.array([[0.2, 0.9], [0.7, 0.1]])
    for channels, flip in ((3, geometry.flip), (2, geometry.flip_flow)):
        about = frames_of(channels, height=31), PLACES[..., None], crop, 27, SIZE, flip
        plain, flipped = (
            written(views.Views(*about, is_flipped=f, shares=shares)) for f in (False, True)
        )
        back = flip(flipped.reshape(-1, *flipped.shape[2:])).reshape(flipped.shape)
        np.testing.assert_array_equal(back, plain)
        assert not np.array_equal(plain, flipped)


def test_a_random_crop_lies_at_one_place_of_all_frames_of_a_clip():
    frames = frames_of(height=30, width=41)
    shares = np.array([[0, 0.999], [0.5, 0.25]])
    found = views.Views(frames, PLACES[..., None], "random", 30, SIZE, shares=shares)
    resting = written(found)
    room = (30 - SIZE + 1, 41 - SIZE + 1)
    for clip, (y, x) in enumerate([(0, room[1] - 1), (room[0] // 2, room[1] // 4)]):
        expected = frames[PLACES[clip], y : y + SIZE, x : x + SIZE]
        np.testing.assert_array_equal(resting[clip], expected)


def test_nothing_holds_the_views_a_second_time():
    frames, places = frames_of(), np.tile(np.arange(5), (40, 4))[..., None]
    found = views.Views(frames, places, "three", 36, SIZE)
    out = np.empty(found.shape, np.uint8)
    tracemalloc.start()
    try:
        found.copy_to(out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < out.nbytes / 4


def test_resizing_and_cropping_are_stages():
    found = views.Views(frames_of(), PLACES[..., None], "three", 26, SIZE)
    with stages.measure() as clock:
        written(found)
    assert clock.counts == {"resize": 5, "crop": 5}
    assert min(clock.seconds.values()) > 0
