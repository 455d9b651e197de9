"""Two backbones side by side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import models, trees
from tempo.models import tracing

SMALL = {"variant": "c2d_r18", "depths": (1, 1, 1, 1), "width": 4}
BOTH = {"variant": "two_stream", "spatial": SMALL, "temporal": SMALL}


def clip_shape(num_snippets):
    return {"video": (1, 32, 32, 3), "flow": (num_snippets, 32, 32, 20)}


def test_snippets_share_one_set_of_weights():
    model = models.create(5, backbone=BOTH)
    assert model.streams == ("video", "flow")
    one, three = (tracing.module_shapes(model, clip_shape(n)) for n in (1, 3))
    assert trees.named_shapes(one) == trees.named_shapes(three)
    shapes = trees.named_shapes(three["params"])
    assert shapes["backbone/temporal/stem_conv/kernel"] == (1, 7, 7, 20, 4)
    spatial, temporal = (
        {n.removeprefix(f"backbone/{k}/") for n in shapes if n.startswith(f"backbone/{k}/")}
        for k in ("spatial", "temporal")
    )
    assert spatial == temporal
    rows = dict(models.describe(model, {k: (2, *s) for k, s in clip_shape(3).items()}))
    assert rows["spatial"][:2] == (2, 1) and rows["temporal"][:2] == (2, 3)


def test_each_pathway_is_the_backbone_alone(random_variables):
    model = models.create(5, backbone=BOTH)
    rng = np.random.default_rng(0)
    clips = {
        name: rng.normal(size=(2, *shape)).astype(np.float32)
        for name, shape in clip_shape(2).items()
    }
    variables = random_variables(model, clips, train=False)
    features = jax.jit(lambda v, x: model.apply(v, x, train=False)["features"])(variables, clips)
    for name, stream in (("spatial", "video"), ("temporal", "flow")):
        own = {c: tree["backbone"][name] for c, tree in variables.items() if "backbone" in tree}
        alone = models.create(5, backbone=SMALL, stream=stream).backbone
        x = jnp.asarray(clips[stream])
        expected = jax.jit(lambda v, x, m=alone: m.apply(v, x, train=False)["res5"])(own, x)
        np.testing.assert_allclose(features[name], expected, rtol=1e-5, atol=1e-5)


def test_a_preset_of_two_keeps_what_is_not_changed_of_either(monkeypatch):
    monkeypatch.setitem(models.MODELS, "both", {"backbone": BOTH})
    made = models.create(5, name="both", backbone={"temporal": {"width": 8}})
    assert (made.backbone.spatial.width, made.backbone.temporal.width) == (4, 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": {"variant": "two_stream", "spatial": SMALL}}, "A model needs a name"),
        ({"backbone": {**BOTH, "temporals": SMALL}}, "temporal"),
        ({"backbone": SMALL, "stream": "flows"}, "model.stream must be one of video, flow"),
    ],
)
def test_bad_parts_are_named(fields, message):
    with pytest.raises(tempo.InputError, match=message):
        models.create(5, **fields)


def test_a_pathway_ends_in_one_map():
    several = {"variant": "slowfast_r50", "depths": (1, 1, 1, 1), "width": 8}
    model = models.create(5, backbone={**BOTH, "spatial": several})
    with pytest.raises(tempo.InputError, match="backbone.spatial ends in 2 feature maps"):
        tracing.module_shapes(model, {"video": (32, 32, 32, 3), "flow": (1, 32, 32, 20)})
