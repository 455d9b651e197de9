"""Frames in other orders: which, the same for all views, and what becomes of the accuracy."""

import jax.numpy as jnp
import numpy as np
import pytest

from tempo.data import sampling
from tempo.errors import InputError
from tempo.evaluators import use_of_time
from tempo.evaluators.per_frame import PerFrame
from tempo.evaluators.tempo_robustness import TempoRobustness
from tempo.evaluators.use_of_time import UseOfTime
from tempo.types import ClipSpec, FlowSpec, ViewSpec
from tests.evaluators import numbered


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Numbers that rise in one class and fall in the other."""
    rising = [range(12), range(3, 15), range(5, 20)]
    videos = [("rise", numbers) for numbers in rising]
    videos += [("fall", list(numbers)[::-1]) for numbers in rising]
    return numbered.make_records(tmp_path_factory.mktemp("orders"), videos)


def rises(variables, video):
    """Score of `fall`, then of `rise`: from the order of all neighbours."""
    rise = jnp.sign(jnp.diff(numbered.numbers(video), axis=1)).sum(1, keepdims=True)
    return {"logits": jnp.concatenate([-rise, rise], axis=1) + variables}


def brightness(variables, video):
    """A network that ignores time."""
    mean = numbered.numbers(video).mean(1, keepdims=True)
    return {"logits": jnp.concatenate([mean, 12 - mean], axis=1) + variables}


def test_a_network_that_sees_time_loses_and_one_that_does_not_keeps(records, tmp_path):
    row, saved = numbered.evaluated(
        UseOfTime(), numbered.scorer(records, rises, num_classes=2), tmp_path
    )
    assert row["top1"] == row["variants"]["normal"] == 1.0
    assert row["variants"]["reversed"] == 0.0
    assert row["variants"]["single_frame"] == 0.0  # a tie is no hit
    assert saved["variants"].tolist() == ["normal", "shuffled", "reversed", "single_frame"]
    assert saved["probs"].shape == (4, 6, 2)
    np.testing.assert_allclose(saved["probs"][3], 0.5)
    np.testing.assert_allclose(saved["probs"][2], saved["probs"][0][:, ::-1], rtol=1e-5)
    assert "frames normal, shuffled, reversed, single_frame (seed 0)" in row["protocol"]
    row, saved = numbered.evaluated(
        UseOfTime(), numbered.scorer(records, brightness, num_classes=2), tmp_path
    )
    for variant in (1, 2):
        np.testing.assert_allclose(saved["probs"][variant], saved["probs"][0], rtol=1e-5)


@pytest.mark.parametrize("batch_size", [4, 12])
def test_every_view_of_a_video_has_the_same_order(records, batch_size):
    view = ViewSpec(num_clips=2, short_side_px=32, size_px=32)
    clip = ClipSpec(num_frames=4, stride=2)
    scorer = numbered.scorer(records, view=view, batch_size=batch_size, clip=clip)
    orders = use_of_time.make_orders(4, 2, seed=3)
    scores, _ = scorer.videos(0.0, orders=orders, num_orders=4, save_views=True)
    found = scores.view_logits
    split = records.split("test")
    for row in range(6):
        first = numbered.numbers(split[row].decode(np.arange(split[row].num_frames))[:, None])
        frames = sampling.eval_indices(split[row].num_frames, clip, 2)
        shown = np.asarray(first)[:, 0][frames]
        np.testing.assert_array_equal(found[0, row], shown)
        [_, [permutation], _, _] = orders(np.array([row]))
        np.testing.assert_array_equal(found[1, row], shown[:, permutation])
        np.testing.assert_array_equal(found[2, row], shown[:, ::-1])
        np.testing.assert_array_equal(found[3, row], np.repeat(shown[:, 2:3], 4, axis=1))


def test_permutations_depend_on_seed_and_row_alone_and_change_something():
    orders = use_of_time.make_orders(3, 1, seed=0)
    rows = np.arange(200)
    [_, shuffled, _, _] = orders(rows)
    found = {tuple(order) for order in shuffled.tolist()}
    assert found == {(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    np.testing.assert_array_equal(orders(rows[::-1])[1], shuffled[::-1])
    assert not np.array_equal(use_of_time.make_orders(3, 1, seed=1)(rows)[1], shuffled)


def test_one_frame_has_no_order(records):
    scorer = numbered.scorer(records, clip=ClipSpec(num_frames=1))
    with pytest.raises(InputError, match="eval.x .* clip.num_frames=1; .* at least 2"):
        UseOfTime().check("eval.x", scorer)
    with pytest.raises(InputError, match="shuffle_seed .* got -1"):
        UseOfTime(shuffle_seed=-1)


@pytest.mark.parametrize("kind", [UseOfTime, PerFrame, TempoRobustness])
def test_frames_are_not_chosen_anew_where_flow_or_neighbours_go_with_them(records, kind):
    for about, what in (
        ({"flow": FlowSpec()}, "optical flow, which cannot follow"),
        (
            {"clip": ClipSpec(num_frames=2, sampling="segments", frames_per_segment=6)},
            "differences of neighbouring frames",
        ),
    ):
        scorer = numbered.scorer(records, num_classes=2, **about)
        with pytest.raises(InputError, match=rf"eval.x \({kind.name}\) .* {what}.*leave the"):
            kind().check("eval.x", scorer)
