import dataclasses

import numpy as np
import pytest

from tempo import protocols
from tempo.data import sampling
from tempo.errors import InputError
from tempo.types import ClipSpec, FlowSpec, ViewSpec

NUM_VIEWS = {
    "center": 1,
    "k400_10x3_ticks": 30,
    "k400_10x3_linspace": 30,
    "ten_crop": 10,
    "full_2clip_ticks": 6,
    "full_2clip_linspace": 6,
}


@pytest.mark.parametrize("name", NUM_VIEWS)
def test_every_set_has_its_published_number_of_views_and_averages_probabilities(name):
    view = protocols.view_spec(name)
    assert view.num_views == NUM_VIEWS[name]
    assert view.average == "probs"
    assert (view.short_side_px, view.size_px) == (256, 256 if view.crop == "three" else 224)


def test_the_clips_of_kinetics_start_where_each_public_code_starts_them():
    clip = ClipSpec(num_frames=8, stride=8)

    def starts(name):
        view = protocols.view_spec(name)
        return sampling.dense_starts(300, clip, view.num_clips, view.clip_starts).tolist()

    # tick = (300 - 64 + 1) / 10 = 23.7
    ticks = [11, 35, 59, 82, 106, 130, 154, 177, 201, 225]
    assert starts("k400_10x3_ticks") == ticks
    assert starts("k400_10x3_linspace") == [27 * k for k in range(10)]


def test_two_clips_of_segments_lie_where_each_public_code_puts_them():
    def clips(name):
        view = protocols.view_spec(name)
        return sampling.eval_segments(160, 8, view.num_clips, view.clip_starts)

    centres_of_16 = np.arange(5, 160, 10)
    np.testing.assert_array_equal(
        clips("full_2clip_ticks"), [centres_of_16[0::2], centres_of_16[1::2]]
    )
    np.testing.assert_array_equal(
        clips("full_2clip_linspace"), [np.arange(10, 160, 20), np.arange(0, 160, 20)]
    )


# Table 3 of the VIPriors system (arXiv 2007.08180), entries 1 to 22: interval, crop, flip, order.
VIPRIORS = """
1 c 0 n|1 c 0 n|1 c 1 n|1 c 1 n|1 r 0 n|1 c 0 c|1 c 0 r|1 c 0 c|1 c 0 r|1 c 0 n|2 c 0 n|
1 r 0 n|1 c 1 n|1 c 0 r|2 c 0 n|2 c 0 n|2 c 1 n|2 c 1 n|2 r 0 n|2 c 0 c|2 c 0 r|2 c 0 c
"""


def test_the_entries_of_vipriors_are_those_of_its_table():
    entries = [name for name in protocols.VIEW_SETS if name.startswith("vipriors_")]
    assert entries == [f"vipriors_{i}" for i in range(1, 23)]
    orders = {"n": "normal", "r": "reverse", "c": "concat"}
    for i, row in enumerate(VIPRIORS.replace("\n", "").split("|"), 1):
        stride, crop, flip, order = row.split()
        assert protocols.view_spec(f"vipriors_{i}") == ViewSpec(
            num_clips=10,
            clip_starts="random",
            crop={"c": "center", "r": "random"}[crop],
            short_side_px=128,
            size_px=112,
            average="logits",
            is_flipped=flip == "1",
            stride=int(stride),
            order=orders[order],
            seed=i,
        )
    assert set(protocols.VIEW_SETS) == {*NUM_VIEWS, "tsn_25x10", *entries}


def test_tsn_averages_the_scores_of_25_single_frames_and_their_ten_crops():
    view = protocols.view_spec("tsn_25x10", num_snippets=1)
    assert (view.num_views, view.average) == (250, "logits")
    clip = ClipSpec(num_frames=3, sampling="segments")
    assert view.clip_of(clip) == dataclasses.replace(clip, num_frames=1)
    assert view.flow_of(FlowSpec()) == FlowSpec(num_snippets=1)
    assert protocols.view_spec("tsn_25x10").flow_of(FlowSpec()) == FlowSpec()
    with pytest.raises(InputError, match="num_snippets .* got -1"):
        ViewSpec(num_snippets=-1)


def test_fields_win_over_the_set_and_no_set_is_the_defaults():
    view = protocols.view_spec("k400_10x3_ticks", num_clips=4)
    expected = dataclasses.replace(protocols.view_spec("k400_10x3_ticks"), num_clips=4)
    assert view == expected
    assert protocols.view_spec() == ViewSpec()


def test_an_unknown_set_is_named_with_the_nearest():
    with pytest.raises(InputError, match="Unknown view set 'k400_10x3'.*k400_10x3_ticks"):
        protocols.view_spec("k400_10x3")
