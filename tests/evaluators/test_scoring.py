"""Scores of a video from those of its views: averages, mirror images, and the protocol's words."""

import numpy as np
import pytest

from tempo import task as tasks
from tempo.evaluators import scoring
from tempo.types import ClipSpec, FlowSpec, ViewSpec

LOGITS = np.array([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)  # of two views


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def scored(task, logits, mirror_labels=None, **view):
    """Averages of `logits [N,V,K]`, whose views come in an order of their own, in two pieces."""
    view = ViewSpec(short_side_px=36, size_px=32, **view)
    scores = scoring.VideoScores(task, view, mirror_labels, len(logits), save_views=True)
    places = np.random.default_rng(0).permutation(logits.shape[0] * logits.shape[1])
    for part in (places[:1], places[1:]):
        video, own = np.divmod(part, logits.shape[1])
        given = logits[video, own]
        tags = np.stack([video, own, 0 * own], axis=1)
        scores.add(tags, {"logits": given, "probs": np.asarray(task.probs(given))})
    return scores.result()


@pytest.mark.parametrize(
    ("average", "expected"),
    [("probs", softmax(LOGITS).mean(0)), ("logits", softmax(LOGITS.mean(0)))],
)
def test_average_after_or_before_the_softmax(average, expected):
    found = scored(tasks.create("single", 3), LOGITS[None], num_clips=2, average=average)
    np.testing.assert_allclose(found.probs[0, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(found.logits[0, 0], [2.0, 0.5, 0.0])
    np.testing.assert_array_equal(found.view_logits[0, 0], LOGITS)


@pytest.mark.parametrize("average", ["probs", "logits"])
def test_thirty_views_in_any_order_and_one_alone(average):
    task, rng = tasks.create("single", 7), np.random.default_rng(1)
    logits = rng.normal(size=(2, 30, 7)).astype(np.float32)
    many = {"num_clips": 10, "crop": "three", "average": average}
    found = scored(task, logits, **many).probs
    for _ in range(3):
        shuffled = scored(task, logits[:, rng.permutation(30)], **many).probs
        np.testing.assert_allclose(shuffled, found, rtol=1e-6)
    alone = scored(task, logits[:, :1], average=average)
    np.testing.assert_allclose(alone.probs[0], softmax(logits[:, 0]), rtol=1e-6)


def test_every_group_of_a_joint_task_and_every_class_of_several_labels():
    joint = tasks.create("joint", 3, {"verb": 2, "noun": 1})
    found = scored(joint, LOGITS[None], num_clips=2)
    expected = np.append(softmax(LOGITS[:, :2]).mean(0), 1.0)
    np.testing.assert_allclose(found.probs[0, 0], expected, rtol=1e-6)
    found = scored(tasks.create("multi", 3), LOGITS[None], num_clips=2)
    np.testing.assert_allclose(found.probs[0, 0], sigmoid(LOGITS).mean(0), rtol=1e-6)


def test_videos_are_averaged_one_by_one():
    both = np.stack([LOGITS, LOGITS[::-1] * 2])
    found = scored(tasks.create("single", 3), both, num_clips=2, average="logits")
    np.testing.assert_allclose(found.probs[0], softmax(both.mean(1)), rtol=1e-6)
    assert not found.bad.any()
    both[1, 0, 2] = np.inf
    assert scored(tasks.create("single", 3), both, num_clips=2).bad.tolist() == [False, True]


@pytest.mark.parametrize("average", ["probs", "logits"])
def test_only_mirrored_views_change_classes(average):
    task, swapped = tasks.create("single", 3), np.array([1, 0, 2])
    logits = np.random.default_rng(1).normal(size=(2, 20, 3)).astype(np.float32)
    how = {"crop": "ten", "num_clips": 2, "average": average}
    found = scored(task, logits, swapped, **how)
    expected = logits.copy()
    for v in range(20):
        if v % 10 >= 5:
            expected[:, v] = logits[:, v][:, swapped]
    np.testing.assert_array_equal(found.view_logits[0], expected)
    np.testing.assert_allclose(found.logits[0], expected.mean(1), rtol=1e-4, atol=1e-6)
    probs = softmax(expected).mean(1) if average == "probs" else softmax(expected.mean(1))
    np.testing.assert_allclose(found.probs[0], probs, rtol=1e-5)
    np.testing.assert_array_equal(scored(task, logits, None, **how).view_logits[0], logits)


def test_a_view_that_is_missing_or_there_twice_is_noticed():
    task = tasks.create("single", 3)
    scores = scoring.VideoScores(task, ViewSpec(num_clips=2), None, 1)
    for _ in range(2):
        scores.add(np.array([[0, 1, 0]]), {"logits": LOGITS[:1], "probs": LOGITS[:1]})
    with pytest.raises(RuntimeError, match="1 views were not evaluated and 1 more than once"):
        scores.result()


def test_protocol_names_clips_frames_crops_and_average():
    clip = ClipSpec(num_frames=8, stride=4, fps=15, short="loop")
    view = ViewSpec(num_clips=10, crop="three", clip_starts="ticks", size_px=256)
    assert scoring.protocol(clip, view) == (
        "10 clip(s) of 8x4 frames at 15 fps, short videos loop (ticks) x 3 crop(s) (three, 256 px "
        "of short side 256), mean of probs"
    )
    view = ViewSpec(
        num_clips=10, clip_starts="random", crop="random", short_side_px=128, size_px=112,
        average="logits", is_flipped=True, stride=2, order="concat", seed=19,
    )  # fmt: skip
    assert scoring.protocol(view.clip_of(ClipSpec(num_frames=64, short="loop")), view) == (
        "10 clip(s) of 64x2 frames played forwards, then backwards, short videos loop (random) x "
        "1 crop(s) (random, 112 px of short side 128), mirrored, seed 19, mean of logits"
    )
    segments = scoring.protocol(ClipSpec(num_frames=8, sampling="segments"), ViewSpec(crop="full"))
    assert "8 segments" in segments and "full frame" in segments


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        (FlowSpec(num_snippets=1), "1 x 10 flow fields"),
        (FlowSpec(), "3 x 10 flow fields 5 apart"),
        (FlowSpec(stride_rule="gap", interval=2), "3 x 10 flow fields 2 apart by gap"),
        (FlowSpec(stride_rule="segments"), "3 x 10 flow fields of segments"),
    ],
)
def test_the_flow_of_a_clip_is_part_of_the_protocol(flow, said):
    clip = ClipSpec(num_frames=3, sampling="segments", frames_per_segment=6)
    text = scoring.protocol(clip, ViewSpec(), flow)
    assert text.startswith(f"1 clip(s) of 3 segments of 6 frames and {said} (linspace) x 1 crop")
