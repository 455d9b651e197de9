"""Late fusion: weighted sums of logits, and means of probabilities."""

import functools

import jax
import numpy as np
import pytest

import tempo
from tempo import models
from tempo.models.late_fusion import LateFusion

PAIR = {
    "variant": "two_stream",
    "spatial": {"variant": "c2d_r18"},
    "temporal": {"variant": "vgg16"},
}


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(2, t, 2, 2, c)).astype(np.float32) for t, c in ((1, 5), (3, 4)))


def test_scores_are_averaged_by_weight(maps):
    head = LateFusion(3, None, init_std=1.0)
    logits, variables = head.init_with_output(jax.random.key(0), maps, train=False)
    embedding, _ = head.apply(variables, maps, train=False, method="embed_and_score")
    pooled = [x.mean((1, 2, 3)) for x in maps]
    np.testing.assert_allclose(embedding, np.concatenate(pooled, -1), rtol=1e-5, atol=1e-6)
    scores = [
        x @ np.asarray(variables["params"][name]["fc"]["kernel"])
        for name, x in zip(("spatial", "temporal"), pooled, strict=True)
    ]
    np.testing.assert_allclose(logits, scores[0] + 1.5 * scores[1], rtol=1e-4, atol=1e-5)
    of_probabilities = LateFusion(3, None, late_weight=(1, 3), late_space="prob")
    got = jax.nn.softmax(of_probabilities.apply(variables, maps, train=False))
    first, second = (np.asarray(jax.nn.softmax(x)) for x in scores)
    np.testing.assert_allclose(got, (first + 3 * second) / 4, rtol=1e-4)


def test_heads_are_those_of_the_streams_on_their_own(maps):
    conv = models.create(2, backbone={"variant": "c2d_r18"}).backbone.conv
    big = tuple(np.zeros((1, 1, 7, 7, 2), np.float32) for _ in maps)  # which fc6 reads
    for name, layers in {"pool": {"fc"}, "vgg": {"fc6", "fc7", "fc"}}.items():
        head = LateFusion(3, conv, stream_head=name)
        shapes = jax.eval_shape(functools.partial(head.init, train=False), jax.random.key(0), big)
        found = {stream: set(own) for stream, own in shapes["params"].items()}
        assert found == {"spatial": layers, "temporal": layers}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"late_weight": (1.0,)}, "head.late_weight must be two numbers"),
        ({"late_weight": (0, 0)}, "not both 0"),
        ({"late_space": "logits"}, "Did you mean 'logit'"),
        ({"stream_head": "x3d"}, "Choose from: pool, vgg"),
    ],
)
def test_wrong_fields_are_told(fields, message):
    with pytest.raises(tempo.InputError, match=message):
        LateFusion(3, None, **fields)


def test_one_stream_is_refused(maps):
    with pytest.raises(tempo.InputError, match="reads one feature map; give a backbone of variant"):
        LateFusion(3, None).init(jax.random.key(0), maps[0], train=False)
    assert isinstance(
        models.create(2, backbone=PAIR, head={"name": "late_fusion"}).head, LateFusion
    )
