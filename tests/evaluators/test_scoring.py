"""Scores of a video from those of its views: averages, mirror images, and the protocol's words."""

import numpy as np
import pytest

from tempo import task as tasks
from tempo.evaluators import scoring
from tempo.types import ClipSpec, ViewSpec

LOGITS = np.array([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)  # of two views


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("average", "expected"),
    [("probs", softmax(LOGITS).mean(0)), ("logits", softmax(LOGITS.mean(0)))],
)
def test_average_after_or_before_the_softmax(average, expected):
    probs, mean = scoring.averaged(tasks.create("single", 3), LOGITS, average)
    np.testing.assert_allclose(probs, expected, rtol=1e-6)
    np.testing.assert_array_equal(mean, [2.0, 0.5, 0.0])


def test_every_group_of_a_joint_task_and_every_class_of_several_labels():
    joint = tasks.create("joint", 3, {"verb": 2, "noun": 1})
    probs, _ = scoring.averaged(joint, LOGITS, "probs")
    expected = np.append(softmax(LOGITS[:, :2]).mean(0), 1.0)
    np.testing.assert_allclose(probs, expected, rtol=1e-6)
    probs, _ = scoring.averaged(tasks.create("multi", 3), LOGITS, "probs")
    np.testing.assert_allclose(probs, (1 / (1 + np.exp(-LOGITS))).mean(0), rtol=1e-6)


def test_batches_of_videos_are_averaged_one_by_one():
    task = tasks.create("single", 3)
    both, _ = scoring.averaged(task, np.stack([LOGITS, LOGITS[::-1] * 2]), "logits")
    first, _ = scoring.averaged(task, LOGITS, "logits")
    np.testing.assert_allclose(both[0], first, rtol=1e-6)
    assert both.shape == (2, 3)


def test_only_mirrored_views_change_classes():
    view = ViewSpec(crop="ten", num_clips=2, short_side_px=36, size_px=32)
    logits = np.arange(2 * 20 * 3, dtype=np.float32).reshape(2, 20, 3)
    found = scoring.unmirrored(logits, view, np.array([1, 0, 2]))
    for v in range(20):
        swapped = logits[:, v][:, [1, 0, 2]] if v % 10 >= 5 else logits[:, v]
        np.testing.assert_array_equal(found[:, v], swapped)
    assert scoring.unmirrored(logits, view, None) is logits


def test_protocol_names_clips_frames_crops_and_average():
    clip = ClipSpec(num_frames=8, stride=4, fps=15, short="loop")
    view = ViewSpec(num_clips=10, crop="three", clip_starts="ticks", size_px=256)
    assert scoring.protocol(clip, view) == (
        "10 clip(s) of 8x4 frames at 15 fps, short videos loop (ticks) x 3 crop(s) (three, 256 px "
        "of short side 256), mean of probs"
    )
    segments = scoring.protocol(ClipSpec(num_frames=8, sampling="segments"), ViewSpec(crop="full"))
    assert "8 segments" in segments and "full frame" in segments
