"""Single frames at a fixed rate: which, what the network is shown, and whose probability it is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo import task as tasks
from tempo.data import sampling
from tempo.errors import InputError, NonFiniteError
from tempo.evaluators.per_frame import PerFrame
from tempo.types import ClipSpec
from tests.evaluators import numbered

LENGTHS = (45, 9, 20, 4, 33)
TIMES_MS = [0, 40, 300, 350, 800, 1600, 1700]  # a variable frame rate


@pytest.fixture(scope="module", params=["frames", "encoded"])
def records(tmp_path_factory, request):
    videos = [("ab"[i % 2], range(length)) for i, length in enumerate(LENGTHS)]
    videos.append(("a", range(len(TIMES_MS)), TIMES_MS))
    facts = {0: {"period_s": 1.5}}
    root = tmp_path_factory.mktemp("numbered")
    return numbered.make_records(root, videos, facts, kind=request.param)


def predict(variables, video):
    """K = 3: class 0 by the first frame's number, class 1 by T, class 2 by how frames differ."""
    found = numbered.numbers(video)
    count = jnp.full((len(found), 1), float(video.shape[1]))
    spread = jnp.ptp(found, axis=1, keepdims=True)
    return {"logits": jnp.concatenate([found[:, :1] / 10, count, 5 * spread], axis=1) + variables}


def expected(records, fps, copies):
    """(frame numbers, softmax) of every video."""
    rows = []
    split = records.split("test")
    for row in range(len(split)):
        frames = sampling.resample(split[row].timestamps, fps)
        logits = np.stack([frames / 10, np.full(len(frames), copies), 0 * frames], axis=1)
        rows.append((frames, np.asarray(jax.nn.softmax(logits))))
    return rows


@pytest.mark.parametrize(
    "clip, is_per_frame, copies, batch_size",
    [
        ("auto", True, 1, 4),
        ("auto", False, 4, 60),
        ("single", False, 1, 8),
        ("static", True, 4, 4),
    ],
)
def test_every_frame_is_scored_once(records, tmp_path, clip, is_per_frame, copies, batch_size):
    scorer = numbered.scorer(
        records, predict, num_classes=3, batch_size=batch_size, is_per_frame=is_per_frame
    )
    kind = PerFrame(frames_per_s=4.0, frame_clip=clip)
    row, saved = numbered.evaluated(kind, scorer, tmp_path)
    hits = []
    for i, (frames, probs) in enumerate(expected(records, 4.0, copies)):
        own = slice(saved["offsets"][i], saved["offsets"][i + 1])
        np.testing.assert_array_equal(saved["frames"][own], frames)
        np.testing.assert_allclose(saved["probs"][own], probs[:, saved["label"][i]], rtol=1e-4)
        np.testing.assert_array_equal(saved["predicted"][own], probs.argmax(1))
        # A tie is no hit.
        best = np.delete(probs, saved["label"][i], axis=1).max(1)
        hits += list(probs[:, saved["label"][i]] > best + 1e-6)
    assert saved["offsets"][-1] == row["num_frames"] == len(saved["probs"]) == len(hits)
    assert row["top1"] == pytest.approx(np.mean(hits)) and 0 < row["top1"] < 1
    assert row["frames_per_s"] == float(saved["fps"]) == 4.0
    assert row["kind"] == str(saved["kind"]) == "per_frame"
    words = "on their own" if copies == 1 else "as clips of 4 copies"
    assert f"frames at 4 per second {words}" in row["protocol"]
    assert saved["probs"].dtype == np.float32 and saved["predicted"].dtype == np.int32
    assert sorted(saved["facts"])[-1] == '{"period_s": 1.5}' and sorted(saved["facts"])[0] == ""


def test_frames_are_the_nearest_to_the_ticks_at_any_frame_rate(records, tmp_path):
    scorer = numbered.scorer(records, predict, num_classes=3)
    _, saved = numbered.evaluated(PerFrame(frames_per_s=5.0), scorer, tmp_path)
    lengths = [row["num_frames"] for row in records.split("test").manifest]
    at = lengths.index(len(TIMES_MS))
    own = slice(saved["offsets"][at], saved["offsets"][at + 1])
    # Ticks 0, 200, 400, ... ms until the last frame was shown; of two as near, the earlier.
    assert saved["frames"][own].tolist()[:9] == [0, 2, 3, 4, 4, 4, 4, 5, 5]
    at = lengths.index(20)  # 10 fps: every second frame
    own = slice(saved["offsets"][at], saved["offsets"][at + 1])
    assert saved["frames"][own].tolist() == list(range(0, 20, 2))


def test_memory_does_not_grow_with_the_length_of_a_video(records, tmp_path):
    shapes = []

    def traced(variables, video):
        shapes.append(video.shape)
        return predict(variables, video)

    scorer = numbered.scorer(records, traced, num_classes=3, batch_size=4)
    numbered.evaluated(PerFrame(frames_per_s=50.0), scorer, tmp_path)
    assert shapes == [(4, 4, 32, 32, 3)]


def joint_scorer(records, monkeypatch, unknown=()):
    """Of a verb and a noun per video, the verb of some of them not known; (scorer, split)."""
    split = records.split("test")
    split.labels = np.stack([split.labels, 2 + split.labels], axis=1).astype(np.int32)
    split.labels[list(unknown), 0] = -1
    monkeypatch.setattr(type(records), "split", lambda self, name: split)
    joint = dataclasses.replace(records, label_groups={"verb": 2, "noun": 2}, label_kind="joint")

    def verb_and_noun(variables, video):
        number = numbered.numbers(video)[:, :1]
        return {"logits": number * jnp.array([[0.1, -0.1, 0.2, 0.0]]) + variables}

    task = tasks.create("joint", 4, {"verb": 2, "noun": 2})
    return numbered.scorer(joint, verb_and_noun, task=task), split


def test_joint_labels_have_the_probability_of_the_pair(records, tmp_path, monkeypatch):
    scorer, split = joint_scorer(records, monkeypatch)
    row, saved = numbered.evaluated(PerFrame(), scorer, tmp_path)
    assert "labelled_videos" not in row
    of_video = np.repeat(np.arange(len(split)), np.diff(saved["offsets"]))
    logits = saved["frames"][:, None] * np.array([0.1, -0.1, 0.2, 0.0])
    verb, noun = (np.asarray(jax.nn.softmax(part)) for part in (logits[:, :2], logits[:, 2:]))
    label = split.labels[of_video, 0]
    pair = np.take_along_axis(verb * noun, label[:, None], 1)[:, 0]
    np.testing.assert_allclose(saved["probs"], pair, rtol=1e-4)
    assert saved["predicted"].shape == (row["num_frames"], 2)
    moved = saved["frames"] > 0
    np.testing.assert_array_equal(saved["predicted"][moved], [[0, 2]] * moved.sum())
    assert row["top1"] == pytest.approx(np.mean(moved & (label == 0)))


def test_videos_whose_label_is_not_known_have_no_probability(records, tmp_path, monkeypatch):
    scorer, split = joint_scorer(records, monkeypatch, unknown=(0, 3))
    row, saved = numbered.evaluated(PerFrame(), scorer, tmp_path)
    of_video = np.repeat(np.arange(len(split)), np.diff(saved["offsets"]))
    is_known = ~np.isin(of_video, (0, 3))
    np.testing.assert_array_equal(np.isfinite(saved["probs"]), is_known)
    hit = (saved["frames"] > 0) & (split.labels[of_video, 0] == 0)
    assert row["labelled_videos"] == len(split) - 2 and row["num_frames"] == len(of_video)
    assert row["top1"] == pytest.approx(hit[is_known].mean()) != hit.mean()
    split.labels[:, 1] = -1
    with pytest.raises(InputError, match="eval.x .* no label of split='test' is known"):
        PerFrame().check("eval.x", scorer)


def test_what_has_no_single_frames_is_refused(records):
    with pytest.raises(InputError, match="eval.x .* are multi; leave the evaluator out"):
        PerFrame().check("eval.x", numbered.scorer(records, label_kind="multi"))
    residual = numbered.scorer(records, clip=ClipSpec(num_frames=4), extra_frames=1)
    with pytest.raises(InputError, match="eval.x .* differences of frames"):
        PerFrame().check("eval.x", residual)
    with pytest.raises(InputError, match="above 0 and at most 1000; got 0"):
        PerFrame(frames_per_s=0)
    with pytest.raises(InputError, match="auto, single, static; got 'one'"):
        PerFrame(frame_clip="one")


def test_weights_that_diverged_are_no_result(records, tmp_path):
    scorer = numbered.scorer(records, predict, num_classes=3)
    with pytest.raises(NonFiniteError, match="6 of 6 videos"):
        numbered.evaluated(PerFrame(), scorer, tmp_path, variables=np.nan)
    assert not list(tmp_path.iterdir())
