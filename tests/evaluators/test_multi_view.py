"""Every video counts once, whatever the batch; views are averaged as the protocol says."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo import sharding
from tempo import task as tasks
from tempo.data import pipeline
from tempo.errors import InputError, NonFiniteError
from tempo.evaluators.multi_view import MultiView
from tempo.types import ClipSpec, ViewSpec
from tests import tiny


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return pipeline.open_records(tiny.make_records(tmp_path_factory.mktemp("data")))


def predict(variables, video):
    """Seven logits from the brightness of the frames: differs by video, clip and crop."""
    level = video.astype(jnp.float32).mean((2, 3, 4))  # [B,T]
    return level[:, :1] * variables["weights"] / 50 + level.std(axis=1, keepdims=True)


VARIABLES = {"weights": jnp.sin(jnp.arange(7.0))}


def evaluator(records, tmp_path, batch_size=4, **view):
    mesh = sharding.make_mesh()
    return MultiView(
        "test",
        jax.jit(predict, out_shardings=sharding.replicated(mesh)),
        records=records,
        task=tasks.create("single", 7),
        mesh=mesh,
        clip=ClipSpec(num_frames=4, stride=2),
        view=ViewSpec(short_side_px=36, size_px=32, **view),
        extra_frames=0,
        split="test",
        every_epochs=0.0,
        batch_size=batch_size,
        num_workers=2,
        worker_kind="thread",
        scores_dir=str(tmp_path),
        save_views=True,
    )


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


def test_logits_are_those_of_the_views(records, tmp_path):
    _, saved = scores(records, tmp_path, num_clips=2, crop="three")
    view = ViewSpec(short_side_px=36, size_px=32, num_clips=2, crop="three")
    with pipeline.eval_batches(
        records.split("test"), clip=ClipSpec(num_frames=4, stride=2), view=view, batch_size=11
    ) as batches:
        [batch] = list(batches)
    for v in range(6):
        expected = predict(VARIABLES, batch["video"][:, v])
        np.testing.assert_allclose(saved["view_logits"][:, v], expected, rtol=1e-4, atol=1e-5)


def test_weights_that_diverged_are_no_result(records, tmp_path):
    with pytest.raises(NonFiniteError, match="11 of 11 videos .* weights of step 5"):
        evaluator(records, tmp_path).run({"weights": jnp.full(7, jnp.nan)}, 5)
    assert not list(tmp_path.iterdir())


def test_due_by_epochs_and_at_the_end(records, tmp_path):
    periodic = evaluator(records, tmp_path)
    periodic._every_epochs = 2.0
    assert [s for s in range(1, 15) if periodic.is_due(s, 3, 14)] == [6, 12, 14]
    assert not evaluator(records, tmp_path).is_due(14, 3, 14)


def test_batch_that_the_devices_do_not_divide(records, tmp_path):
    with pytest.raises(InputError, match="eval.test.batch_size=6 is not divisible by 4"):
        evaluator(records, tmp_path, batch_size=6)


def test_a_mirrored_view_is_scored_for_the_class_that_the_video_was_of(records, tmp_path):
    _, plain = scores(records, tmp_path, crop="ten")
    swapped = np.array([1, 0, 2, 3, 4, 6, 5], np.int32)
    directed = dataclasses.replace(records, mirror_labels=swapped)
    _, saved = scores(directed, tmp_path, crop="ten")
    first, last = np.split(plain["view_logits"], 2, axis=1)
    expected = np.concatenate([first, last[..., swapped]], axis=1)
    np.testing.assert_array_equal(saved["view_logits"], expected)
    assert not np.array_equal(saved["view_logits"], plain["view_logits"])
