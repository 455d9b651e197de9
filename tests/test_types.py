import pytest

from tempo.errors import InputError
from tempo.types import ClipSpec, FlowSpec, ViewSpec


@pytest.mark.parametrize(
    "crop, views", [("center", 2), ("three", 6), ("five", 10), ("ten", 20), ("full", 2)]
)
def test_views_are_clips_times_crops(crop, views):
    view = ViewSpec(num_clips=2, crop=crop)
    assert view.num_views == len(view.mirrored) == views
    assert (
        view.mirrored == ((False,) * 5 + (True,) * 5) * 2
        if crop == "ten"
        else not any(view.mirrored)
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ClipSpec(num_frames=0), "num_frames must be at least 1; got 0"),
        (
            lambda: ClipSpec(num_frames=8, sampling="sparse"),
            "dense, segments, uniform; got 'sparse'",
        ),
        (lambda: ClipSpec(num_frames=8, fps=-1), "fps must be 0"),
        (lambda: ClipSpec(num_frames=8, train_strides=(1, 0)), "train_strides must be at least 1"),
        (lambda: ClipSpec(num_frames=8, train_strides=(1,), sampling="uniform"), "has no stride"),
        (lambda: ClipSpec(num_frames=8, order="backwards"), "normal, reverse, concat; got 'back"),
        (lambda: ClipSpec(num_frames=8, reverse_prob=1.5), "reverse_prob must be 0 to 1; got 1.5"),
        (lambda: FlowSpec(num_snippets=0), "num_snippets must be at least 1; got 0"),
        (lambda: FlowSpec(interval=-1), "interval must be at least 0; got -1"),
        (lambda: FlowSpec(train_intervals=(5, 1)), r"such as \(1, 10\); got \(5, 1\)"),
        (lambda: FlowSpec(stride_rule="centre"), "one of center, gap; got 'centre'"),
        (lambda: ViewSpec(crop="four"), "center, three, five, ten, full; got 'four'"),
        (lambda: ViewSpec(size_px=300), "size_px=300 does not fit"),
    ],
)
def test_values_out_of_range_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
