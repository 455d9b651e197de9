"""JPEG frames there and back, with and without simplejpeg."""

import numpy as np
import pytest
import simplejpeg

from tempo.data.video import jpeg


def test_jpeg_round_trip_and_what_is_no_jpeg(tiny):
    frames = [tiny.frame_array(i) for i in (3, 7)]
    got = jpeg.decode([jpeg.encode(f) for f in frames])
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - np.stack(frames)).mean() < 2
    wide = jpeg.encode(tiny.frame_array(0, width=80))
    with pytest.raises(ValueError):
        jpeg.decode([jpeg.encode(frames[0]), wide])
    with pytest.raises(ValueError):
        jpeg.decode([b"no picture"])


def test_colour_is_stored_at_half_size_as_videos_do(tiny):
    height, width, _, subsampling = simplejpeg.decode_jpeg_header(jpeg.encode(tiny.frame_array(3)))
    assert (height, width, subsampling) == (48, 64, "420")


def test_jpeg_without_simplejpeg_is_nearly_the_same(tiny, monkeypatch):
    frame = tiny.frame_array(3)
    fast = jpeg.decode([jpeg.encode(frame)])
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    slow = jpeg.decode([jpeg.encode(frame)])
    assert np.abs(fast.astype(int) - slow).mean() < 1
    with pytest.raises(ValueError):
        jpeg.decode([b"no picture"])


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [((48, 64), 24, (24, 32)), ((64, 48), 24, (32, 24)), ((48, 64), 0, (48, 64)),
     ((48, 64), 96, (48, 64)), ((51, 77), 32, (32, 48))],
)  # fmt: skip
def test_short_side_is_reduced_and_never_enlarged(size, short_side, expected):
    frame = np.zeros((*size, 3), np.uint8)
    assert jpeg.resize_short_side(frame, short_side).shape[:2] == expected
