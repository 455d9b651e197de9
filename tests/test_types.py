import pytest

from tempo.errors import InputError
from tempo.types import ClipSpec, ViewSpec


@pytest.mark.parametrize("crop, views", [("center", 2), ("three", 6), ("ten", 20), ("full", 2)])
def test_views_are_clips_times_crops(crop, views):
    assert ViewSpec(num_clips=2, crop=crop).num_views == views


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ClipSpec(num_frames=0), "num_frames must be at least 1; got 0"),
        (lambda: ClipSpec(num_frames=8, sampling="sparse"), "one of dense, segments; got 'sparse'"),
        (lambda: ClipSpec(num_frames=8, fps=-1), "fps must be 0"),
        (lambda: ViewSpec(crop="four"), "center, three, ten, full; got 'four'"),
        (lambda: ViewSpec(size_px=300), "size_px=300 does not fit"),
    ],
)
def test_values_out_of_range_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
