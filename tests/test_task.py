import jax.numpy as jnp
import numpy as np
import pytest

from tempo import task as tasks
from tempo.errors import InputError


def softmax_ce(logits, label):
    logits = np.asarray(logits, np.float64)
    return -(logits[label] - np.log(np.exp(logits).sum()))


def test_softmax_loss_is_the_mean_cross_entropy_plus_half_of_each_auxiliary_one():
    task = tasks.create("single", 3)
    logits, aux = [[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]], [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
    labels = [0, 2]
    loss, metrics = task.loss(
        {"logits": jnp.array(logits), "aux_logits": (jnp.array(aux),)}, {"label": jnp.array(labels)}
    )
    main = np.mean([softmax_ce(row, k) for row, k in zip(logits, labels, strict=True)])
    extra = np.mean([softmax_ce(row, k) for row, k in zip(aux, labels, strict=True)])
    np.testing.assert_allclose(loss, main + 0.5 * extra, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss_main"], main, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss_aux"], extra, rtol=1e-6)
    assert metrics["train_top1"] == 0.5


def test_label_smoothing_moves_mass_to_all_classes():
    logits = jnp.array([[2.0, 0.0, 0.0, 0.0]])
    plain = tasks.create("single", 4).loss({"logits": logits}, {"label": jnp.array([0])})[0]
    smooth = tasks.create("single", 4, label_smoothing=0.2)
    loss = smooth.loss({"logits": logits}, {"label": jnp.array([0])})[0]
    others = np.mean([softmax_ce(np.asarray(logits[0]), k) for k in range(4)])
    np.testing.assert_allclose(loss, 0.8 * plain + 0.2 * others, rtol=1e-6)


def test_mixed_labels_take_precedence():
    task = tasks.create("single", 2)
    logits = jnp.array([[1.0, 0.0]])
    batch = {"label": jnp.array([0]), "label_probs": jnp.array([[0.25, 0.75]])}
    expected = 0.25 * softmax_ce([1.0, 0.0], 0) + 0.75 * softmax_ce([1.0, 0.0], 1)
    np.testing.assert_allclose(task.loss({"logits": logits}, batch)[0], expected, rtol=1e-6)


def test_multi_label_loss_sums_over_classes():
    task = tasks.create("multi", 2)
    logits = jnp.array([[0.0, 1.0]])
    loss, metrics = task.loss({"logits": logits}, {"label": jnp.array([[1, 0]])})
    np.testing.assert_allclose(loss, np.log(2) + np.log(1 + np.e), rtol=1e-6)
    assert "train_top1" not in metrics
    np.testing.assert_allclose(task.probs(logits), [[0.5, 1 / (1 + np.exp(-1.0))]], rtol=1e-6)


def test_bfloat16_logits_are_scored_in_float32():
    probs = tasks.create("single", 2).probs(jnp.array([[3.0, 1.0]], jnp.bfloat16))
    assert probs.dtype == jnp.float32


def test_unknown_label_kind():
    with pytest.raises(InputError, match="Unknown label kind 'simple'.*single"):
        tasks.create("simple", 2)


def verb_and_noun(**kwargs):
    return tasks.create("joint", 5, {"verb": 2, "noun": 3}, **kwargs)


def test_a_verb_and_a_noun_have_a_softmax_each_and_their_losses_add_up():
    logits = jnp.array([[1.0, 0.0, 0.5, 0.0, -1.0], [0.0, 1.0, 0.0, 2.0, 0.0]])
    batch = {"label": jnp.array([[0, 2], [1, 4]])}
    loss, metrics = verb_and_noun().loss({"logits": logits}, batch)
    rows = np.asarray(logits)
    verb = np.mean([softmax_ce(rows[0, :2], 0), softmax_ce(rows[1, :2], 1)])
    noun = np.mean([softmax_ce(rows[0, 2:], 0), softmax_ce(rows[1, 2:], 2)])
    np.testing.assert_allclose(loss, verb + noun, rtol=1e-6)
    rates = {k: float(v) for k, v in metrics.items() if k.endswith("top1")}
    assert rates == {"train_top1": 0.5, "train_verb_top1": 1.0, "train_noun_top1": 0.5}
    probs = np.asarray(verb_and_noun().probs(logits))
    np.testing.assert_allclose(probs[:, :2].sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(probs[:, 2:].sum(-1), 1, rtol=1e-6)


def test_smoothing_of_groups_stays_inside_each_group():
    logits = jnp.array([[1.0, 0.0, 0.5, 0.0, -1.0]])
    loss = verb_and_noun(label_smoothing=0.3).loss(
        {"logits": logits}, {"label": jnp.array([[0, 2]])}
    )[0]
    row = np.asarray(logits[0])
    verb = 0.7 * softmax_ce(row[:2], 0) + 0.3 * np.mean([softmax_ce(row[:2], k) for k in range(2)])
    noun = 0.7 * softmax_ce(row[2:], 0) + 0.3 * np.mean([softmax_ce(row[2:], k) for k in range(3)])
    np.testing.assert_allclose(loss, verb + noun, rtol=1e-6)


@pytest.mark.parametrize(
    "kind, label, expected",
    [
        ("single", [2, 0], [[0, 0, 1], [1, 0, 0]]),
        ("multi", [[1, 0, 1], [0, 0, 0]], [[1, 0, 1], [0, 0, 0]]),
        ("joint", [[0, 2], [1, 2]], [[1, 0, 1], [0, 1, 1]]),
    ],
)
def test_labels_of_every_kind_as_target_vectors(kind, label, expected):
    label = jnp.asarray(label, jnp.uint8 if kind == "multi" else jnp.int32)
    targets = tasks.one_hot(label, 3, kind)
    assert targets.dtype == jnp.float32
    np.testing.assert_array_equal(targets, expected)
