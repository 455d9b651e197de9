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


def test_mirrored_views_of_mirror_images_are_plain():
    assert ViewSpec(num_clips=2, is_flipped=True).mirrored == (True, True)
    assert ViewSpec(crop="ten", is_flipped=True).mirrored == (True,) * 5 + (False,) * 5


def test_views_have_a_stride_and_an_order_of_their_own():
    clip = ClipSpec(num_frames=8, stride=4, order="reverse", short="loop")
    assert ViewSpec().clip_of(clip) == clip
    found = ViewSpec(stride=2, order="concat").clip_of(clip)
    assert found == ClipSpec(num_frames=8, stride=2, order="concat", short="loop")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ClipSpec(num_frames=0), "num_frames must be a whole number, 1 or more; got 0"),
        (
            lambda: ClipSpec(num_frames=8, sampling="sparse"),
            "dense, segments, uniform; got 'sparse'",
        ),
        (lambda: ClipSpec(num_frames=8, fps=-1), "fps must be 0"),
        (lambda: ClipSpec(num_frames=8, train_strides=(1, 0)), "train_strides must be .* got 0"),
        (lambda: ClipSpec(num_frames=8, train_strides=(1,), sampling="uniform"), "has no stride"),
        (lambda: ClipSpec(num_frames=8, order="backwards"), "normal, reverse, concat; got 'back"),
        (lambda: ClipSpec(num_frames=8, reverse_prob=1.5), "reverse_prob must be 0 to 1; got 1.5"),
        (lambda: FlowSpec(num_snippets=0), "num_snippets must be a whole number, 1 or more; got 0"),
        (lambda: FlowSpec(interval=-1), "interval must be a whole number, 0 or more; got -1"),
        (lambda: FlowSpec(interval=10**20), "interval must be at most 10000 fields; got 1000000"),
        (lambda: FlowSpec(interval=0), "interval of 0 makes all 3 snippets the same; use 1 or"),
        (lambda: FlowSpec(train_intervals=(0, 3)), "train_intervals of 0 makes all 3 snippets"),
        (lambda: FlowSpec(interval=2.5), "interval must be a whole number, 0 or more; got 2.5"),
        (lambda: FlowSpec(num_fields=2.5), "num_fields must be a whole number.* got 2.5"),
        (lambda: FlowSpec(train_intervals=(1, 2.5)), r"whole numbers such as .* got \(1, 2.5\)"),
        (lambda: FlowSpec(train_intervals=(5, 1)), r"such as \(1, 10\); got \(5, 1\)"),
        (lambda: FlowSpec(stride_rule="centre"), "one of center, gap, segments; got 'centre'"),
        (lambda: ViewSpec(crop="four"), "ten, full, random; got 'four'"),
        (lambda: ViewSpec(size_px=300), "size_px=300 does not fit"),
        (lambda: ViewSpec(clip_starts="anywhere"), "linspace, ticks, tsn, random; got 'anywhere'"),
        (lambda: ViewSpec(is_flipped="yes"), "True or False; got 'yes'"),
        (lambda: ViewSpec(stride=-1), "stride .* must be a whole number, 0 or more; got -1"),
        (lambda: ViewSpec(num_frames=1.5), "num_frames .* whole number, 0 or more; got 1.5"),
        (lambda: ViewSpec(num_snippets="1"), "num_snippets .* whole number.*; got '1'"),
        (lambda: ViewSpec(size_px=0), "size_px must be a whole number, 1 or more; got 0"),
        (lambda: ViewSpec(order="both"), "normal, reverse, concat; got 'both'"),
        (lambda: ViewSpec(seed=2**32), "seed must be 0 to"),
        (
            lambda: ViewSpec(stride=2).clip_of(ClipSpec(num_frames=8, sampling="segments")),
            "stride=2 are of dense clips; sampling='segments' has no stride",
        ),
    ],
)
def test_values_out_of_range_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
