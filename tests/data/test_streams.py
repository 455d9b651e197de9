"""Frames and flow of a video keep their places under every crop and flip.

Check 12 of the spatiotemporal pyramid network's list (arXiv 1903.01038).
"""

import numpy as np
import pytest

from tempo.data import flow_sampling, host_ops
from tempo.data.augment import crops, geometry
from tempo.errors import InputError
from tempo.types import ViewSpec

HEIGHT, WIDTH, SIZE = 60, 80, 56
X, Y = 200, 60  # what the flow says inside the marker


def streams_with_marker(top, left, side=14, num_fields=3):
    """A grey video and a still flow, both with a square marker in one place."""
    video = np.full((2, HEIGHT, WIDTH, 3), 20, np.uint8)
    flow = np.full((num_fields, HEIGHT, WIDTH, 2), 128, np.uint8)
    rows, columns = slice(top, top + side), slice(left, left + side)
    video[:, rows, columns] = 240
    flow[:, rows, columns] = X, Y
    return {"video": video, "flow": flow}


def masks(streams, is_mirrored):
    """Where the marker is in the frames, and in both components of the flow; [n,H,W] each."""
    x_inside, x_outside = (255 - X, 127) if is_mirrored else (X, 128)
    x = (streams["flow"][..., 0].astype(float) - x_outside) / (x_inside - x_outside)
    y = (streams["flow"][..., 1].astype(float) - 128) / (Y - 128)
    return (streams["video"][..., 0].astype(float) - 20) / 220, x, y


CROPS = [n for n in crops.OPS if n != "fixed_crop"]


@pytest.mark.parametrize("name", CROPS)
def test_a_marker_stays_in_one_place_in_frames_and_flow(name):
    ops = host_ops.create([name, "flip"], SIZE)
    mirrored = 0
    for seed in range(60):
        r = np.random.default_rng(seed)
        given = streams_with_marker(r.integers(HEIGHT - 14), r.integers(WIDTH - 14))
        got, is_mirrored = host_ops.run(ops, given, r)
        mirrored += is_mirrored
        frames, x, y = masks(got, is_mirrored)
        for field in (*x, *y):
            np.testing.assert_allclose(field, frames[0], atol=0.02)
        cells = [m.reshape(7, 8, 7, 8).mean((1, 3)) for m in (frames[0], x[0], y[0])]
        assert len({int(c.argmax()) for c in cells}) == 1  # the cell of a 7 x 7 map
    assert 15 < mirrored < 45


@pytest.mark.parametrize("crop", ["center", "three", "five", "ten"])
def test_views_of_flow_are_the_views_of_the_frames(crop):
    view = ViewSpec(crop=crop, short_side_px=HEIGHT, size_px=48)
    places = {"video": np.arange(2).reshape(1, 2, 1), "flow": np.arange(3).reshape(1, 3, 1)}
    views = host_ops.view_streams(streams_with_marker(20, 36), places, view)
    got = {name: np.empty(found.shape, np.uint8) for name, found in views.items()}
    for name, found in views.items():
        found.copy_to(got[name])
    for i, (frames, fields) in enumerate(zip(got["video"], got["flow"], strict=True)):
        frames, x, y = masks({"video": frames, "flow": fields}, view.mirrored[i])
        for field in (*x, *y):
            np.testing.assert_array_equal(field > 0.5, frames[0] > 0.5)
        assert frames.max() > 0.9


@pytest.mark.parametrize("shape", [(3, 8, 10, 2), (2, 8, 10, 20), (2, 3, 8, 10, 6)])
def test_mirrored_flow_has_its_columns_mirrored_and_x_turned(shape):
    flow = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    before = flow.copy()
    mirrored = geometry.flip_flow(flow)
    np.testing.assert_array_equal(mirrored[..., 0::2], 255 - flow[..., ::-1, 0::2])
    np.testing.assert_array_equal(mirrored[..., 1::2], flow[..., ::-1, 1::2])
    np.testing.assert_array_equal(geometry.flip_flow(mirrored), flow)
    np.testing.assert_array_equal(flow, before)


def test_two_flips_are_none():
    ops = host_ops.create([{"name": "flip", "prob": 1.0}] * 2, SIZE)
    given = streams_with_marker(3, 5)
    got, is_mirrored = host_ops.run(ops, given, np.random.default_rng(0))
    assert not is_mirrored
    for name in given:
        np.testing.assert_array_equal(got[name], given[name])


def test_flipping_before_or_after_stacking_is_the_same():
    fields = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 8, 2), dtype=np.uint8)
    flat = geometry.flip_flow(fields.reshape(-1, 6, 8, 2)).reshape(fields.shape)
    np.testing.assert_array_equal(
        flow_sampling.stack(flat), geometry.flip_flow(flow_sampling.stack(fields))
    )


@pytest.mark.parametrize("name", [*CROPS, "flip", "jitter_short_side"])
def test_frames_come_out_the_same_with_and_without_flow(name):
    row = {"name": name, "min_px": 40, "max_px": 70} if name == "jitter_short_side" else name
    ops = host_ops.create([row, "flip"], 32)
    both = streams_with_marker(10, 20)
    for seed in range(10):
        together, a = host_ops.run(ops, both, np.random.default_rng(seed))
        alone, b = host_ops.run(ops, {"video": both["video"]}, np.random.default_rng(seed))
        np.testing.assert_array_equal(together["video"], alone["video"])
        assert a == b and together["flow"].shape[1:3] == alone["video"].shape[1:3]


def test_streams_of_two_sizes_are_refused():
    streams = {"video": np.zeros((1, 8, 8, 3), np.uint8), "flow": np.zeros((1, 6, 8, 2), np.uint8)}
    with pytest.raises(InputError, match=r"one height and width.*\(8, 8\).*\(6, 8\)"):
        host_ops.run((), streams, np.random.default_rng(0))
