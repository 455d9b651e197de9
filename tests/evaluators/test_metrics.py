import numpy as np
import pytest

from tempo import task as tasks
from tempo.errors import InputError
from tempo.evaluators import metrics

SCORES = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.4, 0.5, 0.1], [0.1, 0.2, 0.7]])
LABELS = np.array([0, 1, 0, 2])


def test_videos_with_an_unknown_label_do_not_count_in_its_group():
    rng = np.random.default_rng(0)
    task = tasks.create("joint", 7, {"verb": 3, "noun": 4})
    scores = np.concatenate([rng.dirichlet(np.ones(3), 40), rng.dirichlet(np.ones(4), 40)], 1)
    labels = np.stack([rng.integers(0, 3, 40), rng.integers(3, 7, 40)], 1)
    whole = metrics.accuracies(task, scores, labels)
    assert not any(key.endswith("videos") for key in whole)
    # Videos with a label missing are put between the others, with scores that look like hits.
    sure = np.tile([0.98, 0.01, 0.01, 0.97, 0.01, 0.01, 0.01], (10, 1))
    mixed = metrics.accuracies(
        task,
        np.concatenate([sure, scores]),
        np.concatenate([np.tile([0, -1], (10, 1)), labels]),
    )
    assert (mixed.pop("labelled_videos"), mixed.pop("noun_labelled_videos")) == (40, 40)
    changed = {key for key, value in whole.items() if value != mixed[key]}
    assert changed == {"verb_top1"}
    assert mixed["verb_top1"] == pytest.approx((10 + 40 * whole["verb_top1"]) / 50)
    with pytest.raises(InputError, match="No video of the evaluated split has a label of every"):
        metrics.accuracies(task, sure, np.tile([0, -1], (10, 1)))
