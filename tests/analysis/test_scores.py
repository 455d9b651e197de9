"""Score files: what is read from them, and one clear line for every one that cannot be used."""

import dataclasses
import json

import numpy as np
import pytest

from tempo.analysis import accuracy, scores
from tempo.errors import InputError

PROBS = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], np.float32)
COMMON = {
    "id": np.array(["a.mp4", "b.mp4", "c.mp4", "d.mp4"]),
    "label": np.array([0, 1, 0, 2], np.int32),
    "class_names": np.array(["Bounce", "Slide", "Spin"]),
    "checkpoint_step": 560,
    "protocol": "1 clip(s) of 8x4 frames",
    "manifest_sha256": "f" * 64,
}
FACTS = {
    "dataset": "tempobench_variance",
    "split": "test",
    "label_kind": "single",
    "facts": np.array(['{"period_s": 0.5, "pattern": "spin"}', "", "{}", '{"period_s": 2}']),
}
KINDS = {
    "multi_view": {"probs": PROBS, "logits": np.log(PROBS)},
    "tempo_robustness": {
        "probs": np.stack([PROBS, PROBS[::-1]]),
        "strides": np.array([4, 8]),
        "trained_stride": 8,
    },
    "per_frame": {
        "probs": np.linspace(0.1, 1, 7, dtype=np.float32),
        "fps": 5.0,
        "offsets": np.array([0, 3, 3, 5, 7]),
        "predicted": np.array([0, 1, 0, 0, 2, 2, 1], np.int32),
    },
    "use_of_time": {
        "probs": np.stack([PROBS] * 4),
        "variants": np.array(["normal", "shuffled", "reversed", "single_frame"]),
    },
}


def written(path, kind="multi_view", *, without=(), **changed):
    arrays = {"kind": kind, **COMMON, **FACTS, **KINDS[kind], **changed}
    np.savez(path, **{k: v for k, v in arrays.items() if k not in without})
    return path


@pytest.mark.parametrize("kind", scores.KINDS)
def test_every_kind_is_read_with_what_it_holds(tmp_path, kind):
    found = scores.load(written(tmp_path / "some_name.npz", kind), kind)
    assert (found.name, found.kind, len(found), found.num_classes) == ("some_name", kind, 4, 3)
    assert found.ids == ("a.mp4", "b.mp4", "c.mp4", "d.mp4")
    assert found.class_names == ("Bounce", "Slide", "Spin")
    assert (found.dataset, found.split, found.label_kind, found.checkpoint_step) == (
        "tempobench_variance", "test", "single", 560,
    )  # fmt: skip
    assert set(found.arrays) == set(KINDS[kind])
    np.testing.assert_array_equal(found.labels, [0, 1, 0, 2])
    np.testing.assert_array_equal(found.arrays["probs"], KINDS[kind]["probs"])


def test_facts_of_videos(tmp_path):
    found = scores.load(written(tmp_path / "x.npz"))
    np.testing.assert_array_equal(found.fact("period_s"), [0.5, np.nan, np.nan, 2])
    assert found.facts[0]["pattern"] == "spin"
    assert np.isnan(found.fact("pattern")).all()  # no number
    assert np.isnan(found.fact("no_such_fact")).all()


def test_older_files_without_kinds_load(tmp_path):
    path = written(tmp_path / "old.npz", without=("kind", *FACTS))
    found = scores.load(path)
    assert (found.kind, found.split, found.label_kind) == ("multi_view", "", "single")
    assert np.isnan(found.fact("period_s")).all()
    scores.check_comparable(found, scores.load(written(tmp_path / "new.npz")))
    assert found.row == ""
    scores.save(dataclasses.replace(found, row="t1.base"), tmp_path / "row.npz")
    assert scores.load(tmp_path / "row.npz").row == "t1.base"


def test_hits(tmp_path):
    found = {kind: scores.load(written(tmp_path / f"{kind}.npz", kind)) for kind in KINDS}
    assert found["multi_view"].correct().tolist() == [True, True, False, True]
    assert found["multi_view"].correct(3).all()
    assert found["tempo_robustness"].correct().tolist() == [
        [True, True, False, True],
        [False, True, False, False],
    ]
    assert found["use_of_time"].correct().shape == (4, 4)
    # Frames of a: 3, b: none, c: 2, d: 2.
    assert found["per_frame"].correct().tolist() == [True, False, True, True, False, True, False]
    with pytest.raises(InputError, match="best class only; asked for top-5"):
        found["per_frame"].correct(5)


def test_frames_of_groups_are_hits_if_all_groups_are(tmp_path):
    labels = np.array([[0, 1], [0, 1], [0, 2], [0, 2]])
    predicted = np.array([[0, 1], [0, 2], [0, 1], [0, 2], [0, 1], [0, 2], [0, 2]])
    path = written(
        tmp_path / "x.npz", "per_frame", label=labels, label_kind="joint", predicted=predicted
    )
    assert scores.load(path).correct().tolist() == [True, False, True, True, False, True, True]


def test_hits_are_those_of_the_evaluators(tmp_path):
    rng = np.random.default_rng(0)
    probs = np.round(rng.uniform(size=(40, 6)), 1)  # with ties
    labels = rng.integers(0, 6, 40)
    some = {
        "id": np.arange(40).astype(str), "class_names": np.array(list("abcdef")), "label": labels,
        "probs": probs, "facts": np.array([""] * 40),
    }  # fmt: skip
    found = scores.load(written(tmp_path / "x.npz", without=["logits"], **some))
    grouped = some | {
        "label": np.stack([labels % 2, 2 + labels % 4], axis=1),
        "label_kind": "joint",
        "label_groups": json.dumps({"verb": 2, "noun": 4}),
    }
    joint = scores.load(written(tmp_path / "y.npz", without=["logits"], **grouped))
    for k in (1, 2, 5):
        np.testing.assert_array_equal(found.correct(k), accuracy.hits(probs, labels, k))
        within = grouped["label"] - [0, 2]
        expected = accuracy.joint_hits([probs[:, :2], probs[:, 2:]], within, k)
        np.testing.assert_array_equal(joint.correct(k), expected)
        assert 0 < expected.sum() < 40
    probs[3, labels[3]] = np.nan
    np.testing.assert_array_equal(
        scores.load(written(tmp_path / "nan.npz", without=["logits"], **some)).correct(6),
        np.arange(40) != 3,
    )


def test_hits_of_groups_need_all_right_and_multi_labels_have_none(tmp_path):
    joint = {
        "label": np.array([[0, 1], [0, 2], [0, 1], [0, 2]]),
        "label_kind": "joint",
        "label_groups": json.dumps({"verb": 1, "noun": 2}),
    }
    found = scores.load(written(tmp_path / "joint.npz", **joint))
    assert found.correct().tolist() == [True, False, True, True]
    unnamed = scores.load(written(tmp_path / "unnamed.npz", **{**joint, "label_groups": "{}"}))
    with pytest.raises(InputError, match="has joint labels; its hits need"):
        unnamed.correct()
    multi = scores.load(
        written(tmp_path / "multi.npz", label=np.eye(4, 3, dtype=np.uint8), label_kind="multi")
    )
    with pytest.raises(InputError, match="has multi labels; its hits need"):
        multi.correct()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"without": ["probs"]}, "of kind 'multi_view' has no 'probs'; evaluate again"),
        ({"without": ["id"]}, "is no score file: it has no 'id'"),
        ({"probs": PROBS[:3]}, r"probs has shape \(3, 3\), but 4 videos and 3 classes need \(4, 3"),
        ({"logits": PROBS[:, :2]}, r"logits has shape \(4, 2\)"),
        ({"label": np.array([0, 1])}, r"label has shape \(2,\)"),
        ({"label": np.array([0, 1, 3, 0])}, "has labels 0 to 3, not 0 to 2"),
        ({"id": np.array(["a"] * 4)}, "holds a video twice"),
        ({"facts": np.array(["[1", "", "", ""])}, "facts that are no JSON object: '.1'"),
        ({"facts": np.array(["{}"])}, r"facts has shape \(1,\)"),
        ({"id": np.array([]), "label": np.array([])}, "holds no video"),
        ({"kind": "multiview"}, "Unknown kind of scores in .* Did you mean 'multi_view'"),
    ],
)
def test_files_that_do_not_fit(tmp_path, changed, message):
    path = tmp_path / "x.npz"
    arrays = {"kind": "multi_view", **COMMON, **FACTS, **KINDS["multi_view"]} | changed
    without = arrays.pop("without", [])
    np.savez(path, **{k: v for k, v in arrays.items() if k not in without})
    with pytest.raises(InputError, match=message):
        scores.load(path)


@pytest.mark.parametrize("offsets", [[0, 3, 3, 5], [1, 3, 3, 5, 7], [0, 4, 3, 5, 7]])
def test_offsets_that_do_not_fit(tmp_path, offsets):
    path = written(tmp_path / "x.npz", "per_frame", offsets=np.array(offsets))
    with pytest.raises(InputError, match="offsets must rise from 0 and be one more than its 4"):
        scores.load(path)


def test_frames_hit_as_the_evaluator_says_and_never_without_a_probability(tmp_path):
    # In the first frame the true class ties with a later one: the evaluator calls that a miss.
    correct = np.array([False, False, True, True, False, True, False])
    found = scores.load(written(tmp_path / "x.npz", "per_frame", correct=correct))
    assert found.correct().tolist() == correct.tolist()
    probs = KINDS["per_frame"]["probs"].copy()
    probs[3:5] = np.nan  # the video whose label is not known
    for more in ({"correct": correct}, {}):
        unknown = scores.load(written(tmp_path / "y.npz", "per_frame", probs=probs, **more))
        assert not unknown.correct()[3:5].any() and unknown.correct()[[2, 5]].all()
    with pytest.raises(InputError, match=r"correct has shape \(6,\)"):
        scores.load(written(tmp_path / "z.npz", "per_frame", correct=correct[:6]))


def test_frames_that_do_not_fit(tmp_path):
    path = written(tmp_path / "x.npz", "per_frame", predicted=np.zeros(6, np.int32))
    with pytest.raises(InputError, match=r"predicted has shape \(6,\)"):
        scores.load(path)


def test_no_file_and_no_scores_file(tmp_path):
    with pytest.raises(InputError, match="There is no score file .* To write it, evaluate again"):
        scores.load(tmp_path / "single_view.npz")
    written(tmp_path / "single_view.npz")
    with pytest.raises(InputError, match="Did you mean 'single_view.npz'"):
        scores.load(tmp_path / "singleview.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "single_view.npz").read_bytes()[:300])
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "objects.npz", id=np.array([{}], dtype=object))
    for name in ("cut", "text", "objects"):
        with pytest.raises(InputError, match="is damaged or no score file; evaluate again"):
            scores.load(tmp_path / f"{name}.npz")
    with pytest.raises(InputError, match="holds scores of kind 'multi_view', but 'per_frame'"):
        scores.load(tmp_path / "single_view.npz", "per_frame")


def test_all_scores_of_a_run(tmp_path):
    with pytest.raises(InputError, match="has no scores of single videos .*; evaluate again"):
        scores.load_all(tmp_path)
    (tmp_path / "scores").mkdir()
    with pytest.raises(InputError, match="has no scores of single videos"):
        scores.load_all(tmp_path)
    for kind in KINDS:
        written(tmp_path / "scores" / f"{kind}.npz", kind)
    (tmp_path / "scores" / ".half.npz").write_text("being written")
    assert list(scores.load_all(tmp_path)) == sorted(KINDS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"manifest_sha256": "0" * 64}, "manifest_sha256 is '000000000000', not 'ffffffffffff'"),
        ({"split": "val"}, "split is 'val', not 'test'"),
        ({"class_names": np.array(["A", "Slide", "Spin"])}, r"class_names is 3 \(A, Slide, Spin"),
        ({"id": np.array(["a.mp4", "b.mp4", "c.mp4", "e.mp4"])}, "2 videos are in one only, such"),
        ({"id": COMMON["id"][::-1]}, "their videos stand in another order"),
        ({"label": np.array([0, 1, 0, 1])}, "1 of 4 labels differ, such as that of 'd.mp4'"),
        ({"label_kind": "joint"}, "label_kind is 'joint', not 'single'"),
    ],
)
def test_scores_of_other_videos_are_not_compared(tmp_path, changed, message):
    first = scores.load(written(tmp_path / "a.npz"))
    second = scores.load(written(tmp_path / "b.npz", **changed))
    with pytest.raises(InputError, match=f"b.npz' cannot be compared .*{message}"):
        scores.check_comparable(first, second)
    scores.check_comparable(first, scores.load(written(tmp_path / "c.npz", "per_frame")))


@pytest.mark.parametrize("kind", ["multi_view", "use_of_time"])
def test_what_is_saved_is_what_was_read(tmp_path, kind):
    first = scores.load(written(tmp_path / "x.npz", kind))
    scores.save(first, tmp_path / "again" / "x.npz")
    again = scores.load(tmp_path / "again" / "x.npz")
    for field in dataclasses.fields(first):
        here, there = getattr(first, field.name), getattr(again, field.name)
        if field.name != "path":
            np.testing.assert_equal(here, there)
