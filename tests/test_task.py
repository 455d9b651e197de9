import jax
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


def loss_and_gradient(task, outputs, batch):
    (loss, metrics), gradient = jax.value_and_grad(task.loss, has_aux=True)(outputs, batch)
    return float(loss), metrics, jax.tree.map(np.asarray, gradient)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_an_unknown_label_gives_no_loss_and_no_gradient_in_any_head(smoothing):
    rows = jnp.array([[1.0, 0.0, 0.5, 0.0, -1.0], [0.0, 1.0, 0.0, 2.0, 0.0]])
    outputs = {"logits": rows, "aux_logits": (2 * rows,)}
    task = verb_and_noun(label_smoothing=smoothing)
    loss, metrics, gradient = loss_and_gradient(
        task, outputs, {"label": jnp.array([[0, -1], [1, 4]])}
    )
    for found in (gradient["logits"], gradient["aux_logits"][0]):
        np.testing.assert_array_equal(found[0, 2:], 0)
        assert np.all(found[0, :2]) and np.all(found[1])
    # The clip's own part is gone and all else is as it was.
    known, _, same = loss_and_gradient(task, outputs, {"label": jnp.array([[0, 2], [1, 4]])})
    np.testing.assert_array_equal(same["logits"][1], gradient["logits"][1])
    gone = [
        loss_and_gradient(task, {"logits": x}, {"label": jnp.array([[0, 2]])})[0]
        - loss_and_gradient(task, {"logits": x}, {"label": jnp.array([[0, -1]])})[0]
        for x in (rows[:1], 2 * rows[:1])
    ]
    np.testing.assert_allclose(known - loss, (gone[0] + 0.5 * gone[1]) / 2, rtol=1e-5)
    rates = {k: float(v) for k, v in metrics.items() if k.endswith("top1")}
    assert rates == {"train_top1": 0.0, "train_verb_top1": 1.0, "train_noun_top1": 0.0}


def test_clips_without_any_label_are_no_loss_and_no_hit():
    # Row 0 of every group scores highest, which is where an empty target would seem to point.
    logits = jnp.array([[1.0, 0.0, 0.5, 0.0, -1.0]])
    loss, metrics, gradient = loss_and_gradient(
        verb_and_noun(), {"logits": logits}, {"label": jnp.array([[-1, -1]])}
    )
    assert loss == 0
    np.testing.assert_array_equal(gradient["logits"], 0)
    assert {float(v) for k, v in metrics.items() if k.endswith("top1")} == {0.0}


def test_a_mixed_clip_counts_by_its_known_part():
    logits = jnp.array([[1.0, 0.0, 0.5, 0.0, -1.0]])
    part = {"label_probs": jnp.array([[0.75, 0.25, 0.0, 0.75, 0.0]])}  # the other noun is unknown
    whole = {"label": jnp.array([[0, 3]])}
    for smoothing in (0.0, 0.3):
        task = verb_and_noun(label_smoothing=smoothing, task_weights={"verb": 0.0})
        mixed = task.loss({"logits": logits}, part)[0]
        full = task.loss({"logits": logits}, whole)[0]
        np.testing.assert_allclose(mixed, 0.75 * full, rtol=1e-6)


def test_the_loss_of_a_group_reaches_its_own_rows_of_the_layer_only():
    features = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    batch = {"label": jnp.array([[0, 2], [0, 4]])}

    def loss(layer, **weights):
        logits = features @ layer["kernel"] + layer["bias"]
        return verb_and_noun(task_weights=weights).loss({"logits": logits}, batch)[0]

    layer = {"kernel": jnp.full((2, 5), 0.1), "bias": jnp.zeros(5)}
    both = jax.grad(loss)(layer)
    verb = jax.grad(lambda x: loss(x, noun=0.0))(layer)
    noun = jax.grad(lambda x: loss(x, verb=0.0))(layer)
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(verb[name][..., 2:], 0)
        np.testing.assert_array_equal(noun[name][..., :2], 0)
        np.testing.assert_array_equal(verb[name][..., :2], both[name][..., :2])
        np.testing.assert_array_equal(noun[name][..., 2:], both[name][..., 2:])
        assert np.any(verb[name]) and np.any(noun[name])


def test_weights_multiply_the_loss_of_their_group_in_every_head():
    logits = jnp.array([[1.0, 0.0, 0.5, 0.0, -1.0]])
    outputs = {"logits": logits, "aux_logits": (logits,)}
    batch = {"label": jnp.array([[0, 2]])}
    verb = verb_and_noun(task_weights={"noun": 0.0}).loss(outputs, batch)[0]
    noun = verb_and_noun(task_weights={"verb": 0.0}).loss(outputs, batch)[0]
    weighted = verb_and_noun(task_weights={"verb": 2.0, "noun": 0.5}).loss(outputs, batch)[0]
    np.testing.assert_allclose(weighted, 2 * verb + 0.5 * noun, rtol=1e-6)
    np.testing.assert_allclose(verb, 1.5 * softmax_ce([1.0, 0.0], 0), rtol=1e-6)


@pytest.mark.parametrize(
    "groups, weights, message",
    [
        ({"verb": 2, "noun": 3}, {"nouns": 1.0}, "no group 'nouns'. Did you mean 'noun'"),
        ({"verb": 2, "noun": 3}, {"noun": -1.0}, "task_weights.noun must be at least 0; got -1"),
        ({}, {"verb": 1.0}, "no group 'verb'.*one group; leave it out"),
    ],
)
def test_weights_that_fit_no_group(groups, weights, message):
    with pytest.raises(InputError, match=message):
        tasks.create("joint" if groups else "single", 5, groups, task_weights=weights)


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
