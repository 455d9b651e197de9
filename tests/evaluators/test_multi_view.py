"""Every video counts once, whatever the batch; views are averaged as the protocol says."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo.data import pipeline
from tempo.errors import NonFiniteError
from tempo.evaluators.evaluator import Evaluator
from tempo.evaluators.multi_view import MultiView
from tempo.types import ClipSpec, ViewSpec
from tests import tiny
from tests.evaluators import numbered


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return pipeline.open_records(tiny.make_records(tmp_path_factory.mktemp("data")))


def predict(variables, video):
    """Seven logits from the brightness of the frames: differs by video, clip and crop."""
    level = video.astype(jnp.float32).mean((2, 3, 4))  # [B,T]
    logits = level[:, :1] * variables["weights"] / 50 + level.std(axis=1, keepdims=True)
    return {"logits": logits, "embedding": level}


VARIABLES = {"weights": jnp.sin(jnp.arange(7.0))}


def evaluator(records, tmp_path, batch_size=4, save_views=True, **view):
    view = ViewSpec(short_side_px=36, size_px=32, **view)
    scorer = numbered.scorer(records, predict, num_classes=7, view=view, batch_size=batch_size)
    kind = MultiView(save_views=save_views, save_embedding=save_views)
    return Evaluator("test", kind, scorer, every_epochs=0.0, scores_dir=str(tmp_path))


def scores(records, tmp_path, **kwargs):
    row = evaluator(records, tmp_path, **kwargs).run(VARIABLES, 5)
    with np.load(tmp_path / "test.npz") as f:
        return row, dict(f)


@pytest.mark.parametrize("batch_size", [4, 8, 12])
def test_eleven_videos_count_eleven_times_for_any_batch(records, tmp_path, batch_size):
    row, saved = scores(records, tmp_path, batch_size=batch_size, num_clips=2, crop="three")
    assert row["num_videos"] == 11 and row["views"] == 6 and row["checkpoint_step"] == 5
    assert list(saved["id"]) == list(records.split("test").ids)
    np.testing.assert_array_equal(saved["label"], records.split("test").labels)
    _, reference = scores(records, tmp_path, batch_size=4, num_clips=2, crop="three")
    np.testing.assert_allclose(saved["view_logits"], reference["view_logits"], rtol=1e-5)


@pytest.mark.parametrize("average", ["probs", "logits"])
def test_views_are_averaged_after_or_before_the_softmax(records, tmp_path, average):
    row, saved = scores(records, tmp_path, num_clips=2, crop="three", average=average)
    logits = saved["view_logits"]
    if average == "probs":
        expected = np.asarray(jax.nn.softmax(logits)).mean(1)
    else:
        expected = np.asarray(jax.nn.softmax(logits.mean(1)))
    np.testing.assert_allclose(saved["probs"], expected, rtol=1e-5)
    assert f"mean of {average}" in row["protocol"]
    assert row["top1"] == np.mean(expected.argmax(1) == saved["label"])


def test_random_mirrored_views_of_another_stride_and_order(records, tmp_path):
    """Nothing but seed, video and clip decides; classes change places where views are mirrored."""
    how = {"num_clips": 3, "clip_starts": "random", "crop": "random", "average": "logits"}
    how |= {"stride": 1, "order": "concat", "seed": 7, "is_flipped": True}
    row, saved = scores(records, tmp_path, batch_size=12, **how)
    view = ViewSpec(short_side_px=36, size_px=32, **how)
    reader = {"clip": ClipSpec(num_frames=4, stride=2), "view": view, "batch_size": 1}
    with pipeline.eval_batches(records.split("test"), **reader) as batches:
        for batch, found in zip(batches, saved["view_logits"], strict=True):
            expected = predict(VARIABLES, batch["video"][0])["logits"]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert "4x1 frames played forwards, then backwards" in row["protocol"]
    assert "mirrored, seed 7, mean of logits" in row["protocol"]
    swapped = np.array([1, 0, 2, 3, 4, 6, 5], np.int32)
    directed = dataclasses.replace(records, mirror_labels=swapped)
    _, mapped = scores(directed, tmp_path, batch_size=4, **how)
    expected = saved["view_logits"][..., swapped]
    np.testing.assert_allclose(mapped["view_logits"], expected, rtol=1e-5)


def test_logits_are_those_of_the_views(records, tmp_path):
    _, saved = scores(records, tmp_path, num_clips=2, crop="three")
    view = ViewSpec(short_side_px=36, size_px=32, num_clips=2, crop="three")
    with pipeline.eval_batches(
        records.split("test"), clip=ClipSpec(num_frames=4, stride=2), view=view, batch_size=11
    ) as batches:
        [batch] = list(batches)
    for v in range(6):
        expected = predict(VARIABLES, batch["video"][:, v])["logits"]
        np.testing.assert_allclose(saved["view_logits"][:, v], expected, rtol=1e-4, atol=1e-5)
    levels = batch["video"].mean((1, 3, 4, 5))  # [b,T], over the views
    np.testing.assert_allclose(saved["embedding"], levels, rtol=1e-5)


def test_the_file_says_what_was_evaluated(records, tmp_path):
    row, saved = scores(records, tmp_path, num_clips=2)
    assert row["kind"] == str(saved["kind"]) == "multi_view"
    assert str(saved["protocol"]) == row["protocol"] and int(saved["checkpoint_step"]) == 5
    assert (str(saved["dataset"]), str(saved["split"])) == ("records", "test")
    assert str(saved["manifest_sha256"]) == records.manifest_sha256
    assert str(saved["label_kind"]) == "single" and json.loads(str(saved["label_groups"])) == {}
    assert tuple(saved["class_names"]) == records.class_names
    for text, known in zip(saved["facts"], records.split("test").manifest, strict=True):
        assert json.loads(text)["period_frames"] == known["metadata"]["period_frames"] > 0
    plain = evaluator(records, tmp_path, save_views=False, num_clips=2).run(VARIABLES, 5)
    assert plain | {"clips_per_s": 0} == row | {"clips_per_s": 0}
    with np.load(tmp_path / "test.npz") as f:
        assert not {"view_logits", "embedding"} & set(f) and {"probs", "logits"} <= set(f)


def test_weights_that_diverged_are_no_result(records, tmp_path):
    with pytest.raises(NonFiniteError, match="11 of 11 videos .* weights of step 5"):
        evaluator(records, tmp_path).run({"weights": jnp.full(7, jnp.nan)}, 5)
    assert not list(tmp_path.iterdir())


def test_a_mirrored_view_is_scored_for_the_class_that_the_video_was_of(records, tmp_path):
    _, plain = scores(records, tmp_path, crop="ten")
    swapped = np.array([1, 0, 2, 3, 4, 6, 5], np.int32)
    directed = dataclasses.replace(records, mirror_labels=swapped)
    _, saved = scores(directed, tmp_path, crop="ten")
    first, last = np.split(plain["view_logits"], 2, axis=1)
    expected = np.concatenate([first, last[..., swapped]], axis=1)
    np.testing.assert_array_equal(saved["view_logits"], expected)
    assert not np.array_equal(saved["view_logits"], plain["view_logits"])
    probs = np.asarray(jax.nn.softmax(expected)).mean(axis=1)
    np.testing.assert_allclose(saved["probs"], probs, rtol=1e-5)
    np.testing.assert_allclose(saved["logits"], expected.mean(axis=1), rtol=1e-5, atol=1e-6)
