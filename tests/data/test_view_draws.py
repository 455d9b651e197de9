"""Draws of random views: of the seed, the video and the clip alone, the same in every process."""

import dataclasses

import numpy as np
import pytest

from tempo.data import view_draws
from tempo.types import ViewSpec

VIEW = ViewSpec(num_clips=10, clip_starts="random", crop="random", seed=3)


def drawn(video_id="a/b.mp4", **changed):
    draws = view_draws.draw(dataclasses.replace(VIEW, **changed), video_id)
    return np.concatenate([draws.starts[:, None], draws.corners], axis=1)


def test_draws_are_of_the_seed_the_video_and_the_clip():
    found = drawn()
    assert found.shape == (10, 3) and found.min() >= 0 and found.max() < 1
    assert len(np.unique(found)) == 30
    np.testing.assert_array_equal(drawn(), found)
    np.testing.assert_array_equal(drawn(num_clips=20)[:10], found)
    # Neither how clips are shown, nor which of the two is drawn.
    for same in ({"crop": "center"}, {"clip_starts": "ticks"}, {"is_flipped": True, "stride": 2}):
        np.testing.assert_array_equal(drawn(**same), found)
    assert not np.isin(drawn(seed=4), found).any()
    assert not np.isin(drawn("a/c.mp4"), found).any()
    # Of this version and all others: numbers that were published stay.
    np.testing.assert_allclose(found[0], PUBLISHED, rtol=1e-12)


PUBLISHED = [0.7914834480554945, 0.6775013068465543, 0.6597234817797258]


def test_without_anything_random_nothing_is_drawn():
    assert not drawn(clip_starts="linspace", crop="three").any()


@pytest.mark.parametrize("count", [1, 3, 7])
def test_every_place_is_picked_and_none_beyond(count):
    shares = np.append(np.linspace(0, 1, 50, endpoint=False), np.nextafter(1, 0))
    assert sorted(set(view_draws.pick(shares, count).tolist())) == list(range(count))
