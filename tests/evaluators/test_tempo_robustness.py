"""The same network at other strides: the frames that it sees, and the curve of its accuracy."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from tempo.data import sampling
from tempo.errors import InputError, NonFiniteError
from tempo.evaluators.tempo_robustness import TempoRobustness
from tempo.types import ClipSpec, ViewSpec
from tests.evaluators import numbered

SPEEDS = {"a_slow": 1, "b_mid": 2, "c_fast": 4}
CLIP = ClipSpec(num_frames=4, stride=2)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Per class two videos of numbers that go up and down at its speed; 40 frames."""
    videos = []
    for name, speed in SPEEDS.items():
        for start in (0, 3):
            videos.append((name, [_bounced(start + speed * i) for i in range(40)]))
    return numbered.make_records(tmp_path_factory.mktemp("speeds"), videos)


def _bounced(number, top=40):
    return top - abs(number % (2 * top) - top)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Frames that say their own number; one video is shorter than the longest clips."""
    videos = [("ab"[i % 2], range(length)) for i, length in enumerate((45, 12, 20))]
    return numbered.make_records(tmp_path_factory.mktemp("counted"), videos)


def predict(variables, video):
    """The class whose speed explains best how far frames are apart at stride 2."""
    found = numbered.numbers(video)
    step = jnp.abs(jnp.diff(found, axis=1)).max(axis=1, keepdims=True)
    return {"logits": -((step - 2 * jnp.array([1.0, 2.0, 4.0])) ** 2) + variables}


def test_the_curve_falls_on_both_sides_and_is_zero_at_the_trained_stride(records, tmp_path):
    scorer = numbered.scorer(records, predict, num_classes=3, clip=CLIP)
    kind = TempoRobustness(strides=(1, 3, 4, 8))
    row, saved = numbered.evaluated(kind, scorer, tmp_path)
    # Nearest of 2, 4, 8 to speed x stride. Stride 1 gives 1, 2, 4, so slow alone stays what it is;
    # 3 gives 3 (a tie, which is no hit), 6 (a tie), 12; 4 gives 4, 8, 16; 8 gives 8, 16, 32.
    expected = {1: 1 / 3, 2: 1.0, 3: 1 / 3, 4: 1 / 3, 8: 1 / 3}
    assert {p["stride"]: pytest.approx(p["top1"]) for p in row["curve"]} == expected
    drops = {p["stride"]: p["drop"] for p in row["curve"]}
    assert drops[2] == 0
    assert all(drops[s] == pytest.approx(expected[s] - 1) for s in (1, 3, 4, 8))
    assert row["mean_abs_drop"] == pytest.approx(2 / 3)
    assert row["top1"] == 1.0 and row["trained_stride"] == 2 and row["kind"] == "tempo_robustness"
    assert "4x2 frames" in row["protocol"] and "at the strides 1, 2, 3, 4, 8" in row["protocol"]
    assert saved["strides"].tolist() == [1, 2, 3, 4, 8] and saved["trained_stride"] == 2
    assert saved["probs"].shape == (5, 6, 3)
    for point, probs in zip(row["curve"], saved["probs"], strict=True):
        best = np.max(np.where(np.eye(3)[saved["label"]] > 0, -1, probs), axis=1)
        own = np.take_along_axis(probs, saved["label"][:, None], 1)[:, 0]
        assert np.mean(own > best) == pytest.approx(point["top1"])


@pytest.mark.parametrize("starts", ["linspace", "ticks"])
def test_clips_start_anew_for_each_stride_and_hold_the_last_frame(counted, tmp_path, starts):
    view = ViewSpec(num_clips=3, clip_starts=starts, short_side_px=32, size_px=32, average="logits")
    scorer = numbered.scorer(counted, scaled, clip=CLIP, view=view)
    strides = (1, 2, 6, 14)
    _, saved = numbered.evaluated(TempoRobustness(strides=strides), scorer, tmp_path)
    lengths = [row["num_frames"] for row in counted.split("test").manifest]
    for stride, probs in zip(strides, saved["probs"], strict=True):
        clip = dataclasses.replace(CLIP, stride=stride)
        frames = [sampling.eval_indices(n, clip, 3, starts).mean(0) for n in lengths]
        np.testing.assert_allclose(probs, _softmax(np.array(frames) / 9), rtol=1e-4)
    # 4 frames at stride 14 do not fit 12: all that follows is the first, the only one reached.
    short = lengths.index(12)
    np.testing.assert_allclose(saved["probs"][-1, short], 0.25, rtol=1e-5)


def scaled(variables, video):
    return {"logits": numbered.numbers(video) / 9 + variables}


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_all_strides_share_one_compiled_shape(counted, tmp_path):
    shapes = []

    def traced(variables, video):
        shapes.append(video.shape)
        return scaled(variables, video)

    numbered.evaluated(TempoRobustness(), numbered.scorer(counted, traced, clip=CLIP), tmp_path)
    assert shapes == [(4, 4, 32, 32, 3)]


def test_multi_labels_have_a_curve_of_their_metric(counted, tmp_path, monkeypatch):
    split = counted.split("test")
    split.labels = np.eye(4, dtype=np.uint8)[split.labels]
    monkeypatch.setattr(type(counted), "split", lambda self, name: split)
    scorer = numbered.scorer(counted, label_kind="multi", clip=CLIP)
    row, _ = numbered.evaluated(TempoRobustness(strides=(1,)), scorer, tmp_path)
    low, trained = (point["mean_average_precision"] for point in row["curve"])
    assert row["curve"][0]["drop"] == pytest.approx(low - trained)
    assert row["mean_average_precision"] == trained


def test_what_cannot_be_compared_is_refused(counted, tmp_path):
    def make(kind, **clip):
        scorer = numbered.scorer(counted, clip=ClipSpec(num_frames=4, **clip))
        return numbered.evaluated(kind, scorer, tmp_path)

    with pytest.raises(InputError, match="eval.test .*sampling='segments' has none"):
        make(TempoRobustness(), sampling="segments")
    with pytest.raises(InputError, match="no other stride than clip.stride=8"):
        make(TempoRobustness(strides=[8]), stride=8)
    view = dataclasses.replace(numbered.VIEW, stride=2)
    with pytest.raises(InputError, match="strides of its own, .* set eval.test.stride=0"):
        numbered.evaluated(TempoRobustness(), numbered.scorer(counted, view=view), tmp_path)
    with pytest.raises(InputError, match="whole numbers from 1; got 0"):
        TempoRobustness(strides=(8, 0))
    assert not list(tmp_path.iterdir())


def test_weights_that_diverge_at_one_stride_only_are_no_result(records, tmp_path):
    def fails_fast(variables, video):
        logits = predict(variables, video)["logits"]
        return {"logits": jnp.where(jnp.abs(logits) > 190, jnp.nan, logits)}

    scorer = numbered.scorer(records, fails_fast, num_classes=3, clip=CLIP)
    with pytest.raises(NonFiniteError, match=r"\d of 6 videos .* weights of step 5"):
        numbered.evaluated(TempoRobustness(strides=(8,)), scorer, tmp_path)
