"""Combined scores: the weighted sum of numpy, what calibration changes, and what is compared."""

import dataclasses
import json

import numpy as np
import pytest

from tempo.analysis import ensembles, scores
from tempo.errors import InputError

NUM, CLASSES = 40, 6


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def member(seed, scale=1.0, **changed):
    """Scores that know something of the labels; of another seed, other scores."""
    labels = np.arange(NUM) % CLASSES
    logits = np.random.default_rng(seed).normal(size=(NUM, CLASSES)) + np.eye(CLASSES)[labels]
    made = scores.Scores(
        path=f"m{seed}.npz",
        name=f"m{seed}",
        kind="multi_view",
        ids=tuple(map(str, range(NUM))),
        labels=labels,
        class_names=tuple("abcdef"),
        checkpoint_step=seed,
        protocol=f"views {seed}",
        manifest_sha256="f" * 64,
        dataset="some",
        split="test",
        label_kind="single",
        label_groups={},
        facts=({},) * NUM,
        arrays={"logits": scale * logits, "probs": softmax(scale * logits)},
    )
    return dataclasses.replace(made, **changed)


MEMBERS = {"a": member(1), "b": member(2, scale=30.0), "c": member(3)}
LOGITS = {name: found.arrays["logits"] for name, found in MEMBERS.items()}


def test_scores_are_the_weighted_sum():
    found = ensembles.combine(MEMBERS, {"a": 4, "b": 1, "c": 2})
    total = 4 * LOGITS["a"] + LOGITS["b"] + 2 * LOGITS["c"]
    np.testing.assert_allclose(found.arrays["logits"], total / 7)
    np.testing.assert_allclose(found.arrays["probs"], softmax(total / 7))
    assert found.correct().tolist() == (total.argmax(axis=1) == found.labels).tolist()
    assert found.protocol == (
        "weighted mean of logits before softmax of 3 members: a x4, b x1, c x2"
    )
    assert found.checkpoint_step == 3


def test_a_member_of_weight_0_is_no_member():
    rest = ensembles.combine({k: MEMBERS[k] for k in "ac"}, {"a": 2, "c": 1})
    found = ensembles.combine(MEMBERS, {"a": 2, "b": 0, "c": 1})
    np.testing.assert_array_equal(found.arrays["logits"], rest.arrays["logits"])


def test_logits_and_probabilities_disagree():
    weights = dict.fromkeys(MEMBERS, 1.0)
    by_logits = ensembles.combine(MEMBERS, weights)
    by_probs = ensembles.combine(MEMBERS, weights, average="probs")
    expected = np.mean([softmax(x) for x in LOGITS.values()], axis=0)
    np.testing.assert_allclose(by_probs.arrays["probs"], expected)
    assert "logits" not in by_probs.arrays
    assert (expected.argmax(1) != by_logits.arrays["probs"].argmax(1)).any()


def test_calibrated_members_speak_equally_loud():
    pair = {k: MEMBERS[k] for k in "ab"}
    loud = ensembles.combine(pair, {"a": 1, "b": 1})
    equal = ensembles.combine(pair, {"a": 1, "b": 1}, calibrate="zscore")
    z = [(x - x.mean()) / x.std() for x in (LOGITS["a"], LOGITS["b"])]
    np.testing.assert_allclose(equal.arrays["logits"], (z[0] + z[1]) / 2, atol=1e-12)
    scaled = pair | {"b": member(2, scale=0.01)}
    again = ensembles.combine(scaled, {"a": 1, "b": 1}, calibrate="zscore")
    np.testing.assert_allclose(again.arrays["probs"], equal.arrays["probs"])
    assert (loud.arrays["probs"].argmax(1) != equal.arrays["probs"].argmax(1)).any()


def test_groups_of_classes_have_a_softmax_each():
    joint = {
        "labels": np.stack([np.arange(NUM) % 2, 2 + np.arange(NUM) % 4], axis=1),
        "label_kind": "joint",
        "label_groups": {"verb": 2, "noun": 4},
    }
    joint["labels"][0, 1] = -1  # not known
    found = ensembles.measure({"a": member(1, **joint)}, {"a": 1})
    probs = found.scores.arrays["probs"]
    np.testing.assert_allclose([probs[:, :2].sum(1), probs[:, 2:].sum(1)], 1)
    right = found.scores.correct()
    assert not right[0] and found.numbers["ensemble"]["top1"] == right[1:].mean()


def test_numbers_compare_with_the_best_member_that_counts():
    weights = {"a": 1, "b": 0, "c": 1}
    found = ensembles.measure(MEMBERS, weights, name="two")
    numbers = json.loads(json.dumps(found.numbers))
    top1 = {row["name"]: row["top1"] for row in numbers["members"]}
    right = {name: own.correct() for name, own in MEMBERS.items()}
    assert top1 == {name: hits.mean() for name, hits in right.items()}
    difference = numbers["difference"]
    best = max("ac", key=top1.get)
    assert (difference["against"], difference["is_best_member"]) == (best, True)
    whole = found.scores.correct()
    assert difference["top1"] == pytest.approx(whole.mean() - top1[best])
    assert difference["only_ensemble_right"] == (whole & ~right[best]).sum() > 0
    low, high = difference["ci95"]
    assert low < difference["top1"] < high and 0 < difference["mcnemar_p"] <= 1
    low, high = numbers["ensemble"]["ci95"]
    assert low < numbers["ensemble"]["top1"] == whole.mean() < high
    other = ensembles.measure(MEMBERS, weights, against=MEMBERS["b"]).numbers["difference"]
    assert (other["against"], other["is_best_member"]) == ("m2", False)
    assert other["top1"] == pytest.approx(whole.mean() - top1["b"])


def test_the_same_scores_twice_are_told():
    copied = MEMBERS | {"d": dataclasses.replace(MEMBERS["b"], path="copy.npz")}
    numbers = ensembles.measure(copied, dict.fromkeys(copied, 1)).numbers
    assert numbers["same_scores"] == [["b", "d"]]


@pytest.mark.parametrize(
    ("second", "how", "message"),
    [
        (member(2, labels=np.zeros(NUM, int)), {}, "33 of 40 labels differ, such as that of '1'"),
        (member(2, arrays={"probs": softmax(LOGITS["b"])}), {}, "m2.npz' holds no logits; eval"),
        (member(2, scale=np.nan), {}, "m2.npz' has logits that are not finite"),
        (member(2, scale=0), {"calibrate": "zscore"}, "all scores are 0; they have no scale"),
        (member(2), {"average": "logit"}, "Unknown average of an .* Did you mean 'logits'"),
        (member(2), {"calibrate": "z-score"}, "Unknown calibration .* Did you mean 'zscore'"),
        (member(2), {"weights": {"a": 1, "b": -1}}, "weight of b must be a number from 0 up; got"),
        (member(2), {"weights": {"a": 0, "b": 0}}, "All weights are 0"),
    ],
)
def test_what_cannot_be_combined(second, how, message):
    how = {"weights": {"a": 1, "b": 1}, **how}
    with pytest.raises(InputError, match=message):
        ensembles.combine({"a": MEMBERS["a"], "b": second}, **how)


def test_videos_with_any_number_of_labels_have_no_hits():
    multi = {"label_kind": "multi", "labels": np.eye(NUM, CLASSES, dtype=int)}
    with pytest.raises(InputError, match="has multi labels; its hits need"):
        ensembles.combine({"a": member(1, **multi)}, {"a": 1})
