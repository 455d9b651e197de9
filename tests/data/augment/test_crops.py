"""Windows of the published sizes at the published places (tests of whole crops: test_host_ops)."""

import numpy as np
import pytest

from tempo.data import host_ops
from tempo.data.augment import crops, geometry
from tempo.errors import InputError


def rng(seed=0):
    return np.random.default_rng(seed)


def boxes(op, height, width, num=4000):
    r = rng()
    return np.array([op.draw((1, height, width, 3), r) for _ in range(num)])


def test_scale_jitter_takes_the_sizes_of_tsn():
    op = crops.MultiScaleCrop(224)
    assert op.sides(256) == [256, 224, 192, 168]  # int(256 * 0.66) = 168
    got = {(h, w) for _, _, h, w in boxes(op, 256, 340).tolist()}
    expected = {
        (a, b)
        for i, a in enumerate(op.sides(256))
        for j, b in enumerate(op.sides(256))
        if abs(i - j) <= 1
    }
    assert got == expected and len(got) == 10


def test_sides_close_to_the_size_become_it():
    # Short side 258: 0.875 gives 225, which is less than 3 px off; 259 gives 226 (snaps too), 260
    # gives 227.
    for short_side, side in ((258, 224), (259, 224), (260, 227), (253, 221), (254, 224)):
        assert crops.MultiScaleCrop(224).sides(short_side)[1] == side
    assert crops.MultiScaleCrop(224).sides(222)[0] == 222  # 224 would not fit


@pytest.mark.parametrize("num_positions", [5, 13])
def test_scale_jitter_lies_on_a_grid_of_quarters(num_positions):
    op = crops.MultiScaleCrop(224, scales=(0.875,), num_positions=num_positions)
    got = boxes(op, 256, 340)
    places = {tuple(p) for p in (got[:, :2] // [(256 - 224) // 4, (340 - 224) // 4]).tolist()}
    five = {(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)}
    eight = {(2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)}
    assert places == (five if num_positions == 5 else five | eight)
    assert (got[:, :2] % [8, 29] == 0).all()


def test_no_distortion_makes_squares():
    got = boxes(crops.MultiScaleCrop(224, max_distort=0), 256, 340, 300)
    assert (got[:, 2] == got[:, 3]).all() and len(set(got[:, 2])) == 4


def test_crop_then_resize_covers_its_scales_and_stays_inside():
    got = boxes(crops.CropThenResize(112), 140, 187)
    top, left, side, again = got.T
    assert (side == again).all() and side.min() == 90 and side.max() == 140
    assert (top >= 0).all() and (top + side <= 140).all() and (left + side <= 187).all()
    assert len(set(side)) == 51
    small = boxes(crops.CropThenResize(112), 100, 130, 200)
    assert small[:, 2].max() == 100


def test_a_share_of_the_squares_lies_in_corners_or_the_centre():
    for corner_prob in (0.0, 0.5, 1.0):
        got = boxes(crops.CropThenResize(64, scale=(1.0, 1.0), corner_prob=corner_prob), 100, 200)
        places = {(0, 0), (0, 136), (36, 0), (36, 136), (18, 68)}
        share = np.mean([tuple(p) in places for p in got[:, :2].tolist()])
        assert abs(share - corner_prob) < 0.03
    assert {tuple(p) for p in got[:, :2].tolist()} == places


def test_resize_then_crop_scales_up_and_cuts_the_size():
    op, r = crops.ResizeThenCrop(32), rng()
    clip = r.integers(0, 256, (2, 36, 48, 3), dtype=np.uint8)
    sides = set()
    for _ in range(200):
        short_side, top, left = op.draw(clip.shape, r)
        scaled = geometry.resize_short_side(clip, short_side)
        np.testing.assert_array_equal(
            op.apply(clip, (short_side, top, left)),
            scaled[:, top : top + 32, left : left + 32],
        )
        sides.add(short_side)
    assert sides == set(range(32, 41))


def test_corner_crops_are_the_five_places():
    clip = rng().integers(0, 256, (1, 40, 60, 3), dtype=np.uint8)
    op, r = crops.CornerCrop(32), rng()
    got = [op.apply(clip, op.draw(clip.shape, r)).tobytes() for _ in range(1000)]
    expected = {crops.FixedCrop(32, place).map(clip).tobytes() for place in crops.PLACES}
    assert set(got) == expected and len(expected) == 5
    assert min(got.count(e) for e in expected) > 140


@pytest.mark.parametrize("name", [n for n in crops.OPS if n != "fixed_crop"])
def test_every_random_crop_gives_the_size_from_any_frame(name):
    r = rng()
    for height, width in ((48, 64), (64, 48), (32, 32), (20, 90)):
        (op,) = host_ops.create([name], 32)
        clip = np.full((2, height, width, 3), 7, np.uint8)
        for _ in range(20):
            got = op.apply(clip, op.draw(clip.shape, r))
            assert got.shape == (2, 32, 32, 3) and (got == 7).all()


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 20])
def test_clips_of_any_number_of_channels_are_scaled_and_mirrored_channel_by_channel(channels):
    clip = rng().integers(0, 256, (3, 30, 40, channels), dtype=np.uint8)
    scaled = geometry.resize(clip, 21, 25)
    np.testing.assert_array_equal(geometry.flip(clip), clip[:, :, ::-1])
    for c in range(channels):
        np.testing.assert_array_equal(
            scaled[..., c : c + 1], geometry.resize(clip[..., c : c + 1].copy(), 21, 25)
        )


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ({"name": "multi_scale_crop", "scales": [1.2]}, "scales above 0, up to 1"),
        ({"name": "multi_scale_crop", "num_positions": 9}, "5 or 13 positions"),
        ({"name": "multi_scale_crop", "max_distort": -1}, "max_distort >= 0; got -1"),
        ({"name": "crop_then_resize", "scale": [1.2, 0.8]}, r"scale\[0\] <= scale\[1\]"),
        ({"name": "crop_then_resize", "corner_prob": 2}, "corner_prob must be 0 to 1; got 2"),
        ({"name": "resize_then_crop", "scale": [0.8, 1.2]}, r"1 <= scale\[0\]"),
        ({"name": "flip", "prob": -0.5}, "prob must be 0 to 1; got -0.5"),
    ],
)
def test_crops_that_cannot_be_made(op, message):
    with pytest.raises(InputError, match=message):
        host_ops.create([op], 32)
