"""A model's shapes are traced once, however often they are asked for."""

from tempo import models
from tempo.models import tracing


def test_the_same_model_and_clip_are_traced_once(monkeypatch):
    made = []

    def create(*args, **arguments):
        made.append(arguments)
        return models.create(*args, **arguments)

    monkeypatch.setattr(tracing, "create", create)
    model = {"backbone": {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}}
    first = tracing.variable_shapes(2, model, (2, 32, 32, 3))
    again = tracing.variable_shapes(2, {"backbone": {**model["backbone"]}}, (2, 32, 32, 3))
    assert first == again and len(made) == 1
    other = tracing.variable_shapes(3, model, (2, 32, 32, 3))
    assert other["params"]["head"]["fc"]["bias"].shape == (3,) and len(made) == 2
