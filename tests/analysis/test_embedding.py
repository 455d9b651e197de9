"""The plane of features: always the same, and apart where classes are; many are sampled."""

import numpy as np
import pytest

from tempo.analysis import embedding
from tempo.errors import InputError

LABELS = np.repeat([0, 1], 12)
FEATURES = np.random.default_rng(0).normal(size=(24, 6)) + 20 * LABELS[:, None]


def test_classes_that_are_apart_stay_apart_and_nothing_is_random():
    found = embedding.project(FEATURES, LABELS, seed=0)
    assert found.xy.shape == (24, 2) and found.same_class == 1
    assert found.perplexity == pytest.approx(23 / 3)  # limited by the number of videos
    middles = [found.xy[k == LABELS].mean(axis=0) for k in (0, 1)]
    spread = max(found.xy[k == LABELS].std() for k in (0, 1))
    assert np.linalg.norm(middles[0] - middles[1]) > 2 * spread
    np.testing.assert_array_equal(embedding.project(FEATURES, LABELS, seed=0).xy, found.xy)


def test_many_videos_are_sampled():
    found = embedding.project(FEATURES, LABELS, seed=0, max_videos=10)
    assert len(found.rows) == len(set(found.rows.tolist())) == 10
    assert found.xy.shape == (10, 2) and (np.diff(found.rows) > 0).all()


def test_few_features_or_constant_ones_have_a_place():
    assert np.isfinite(embedding.project(FEATURES[:4, :1], LABELS[:4]).xy).all()
    assert np.isfinite(embedding.project(np.ones((5, 3)), LABELS[:5]).xy).all()


def test_what_has_no_place_is_refused():
    with pytest.raises(InputError, match="at least 4 videos; got 3"):
        embedding.project(FEATURES[:3], LABELS[:3])
    with pytest.raises(InputError, match="not finite"):
        embedding.project(np.where(FEATURES > 21, np.nan, FEATURES), LABELS)
