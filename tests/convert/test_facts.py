"""The arrays of a network and its fields tell the same of it."""

import numpy as np
import pytest

from tempo import models, trees
from tempo.convert import asked, incoming, recognise, rules, trunk
from tempo.convert.facts import FACTS
from tempo.errors import InputError
from tempo.models import tracing

TEMPORAL_FIRST = {"name": "2plus1d", "order": "temporal_first"}
EQUAL = {"name": "2plus1d", "width": "equal"}
BOTTLENECK, BASIC = {"variant": "c2d_r50"}, {"variant": "c2d_r18"}
SLOWONLY = {"variant": "slowonly_r50"}
NONLOCAL = {"nonlocal_blocks": ((), (0,), (0,), ())}


def shapes_of(backbone):
    made = models.create(5, backbone={"depths": (1, 1, 1, 1), "width": 16, **backbone})
    shapes = tracing.module_shapes(made, (4, 64, 64, 3))
    return made, trees.named_shapes(shapes)


@pytest.mark.parametrize(
    "backbone",
    [
        {"variant": "i3d_r50", "depths": (2, 2, 2, 2), "attention": "se"},
        {"variant": "slowonly_r18"},
        SLOWONLY | {"conv_b": "3x3x3"},
        SLOWONLY | {"inflate_style": "3x3x3"},
        SLOWONLY | {"conv_b": "acb3d", "attention": "cbam"},
        BOTTLENECK | {"inflate_style": "3x3x3", "kernels_t": (3, 3, 3, 3)},
        BOTTLENECK | {"conv_b": "acb2d", "temporal": {"name": "tam", "kernel": 5, "reduction": 2}},
        BOTTLENECK | {"conv_b": "depthwise", "temporal": "tam"},
        BOTTLENECK | {"conv_b": "pointwise_depthwise", "expansion": 2},
        BOTTLENECK | {"conv_b": "2plus1d"},
        BOTTLENECK | {"conv_b": TEMPORAL_FIRST},
        BOTTLENECK | {"conv_b": EQUAL},
        BASIC | {"conv_b": "2plus1d", "stem_inner": 5, "stem_kernel_t": 3},
        BASIC | {"conv_b": "3x3x3"},
        {"variant": "slowfast_r50", "slow_stride": 4, "conv_b": "acb3d", **NONLOCAL},
    ],
)
def test_arrays_and_fields_tell_the_same(backbone):
    made, shapes = shapes_of(backbone)
    for path, told in recognise.trunks_of(made.backbone).items():
        read = trunk.of_leaves(shapes, f"params/backbone/{path}{'/' if path else ''}")
        assert {k: read[k] for k in FACTS} == {k: told[k] for k in FACTS}
        assert read.num_frames == (4 if "tam" in str(backbone) else 0)


def test_a_model_with_something_else_in_a_slot_is_refused():
    _, shapes = shapes_of(SLOWONLY | {"conv_b": "acb3d"})
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    mapped = rules.Mapped(zeros, {}, {}, (), (), ())
    found = recognise.network(mapped, incoming.SOURCES["mmaction2"])
    small = {"depths": (1, 1, 1, 1), "width": 16}
    assert found.model() == {"backbone": {**SLOWONLY, **small, "conv_b": "acb3d"}}
    message = r"the 3x3 convolution .*\(conv_b\) is plain, that of the weights acb3d; leave --model"
    with pytest.raises(InputError, match=message):
        asked.agreed({"backbone": {**SLOWONLY, **small}}, found)
    own = {**SLOWONLY, **small, "conv_b": {"name": "acb3d", "zero_init": True}, "act": "elu"}
    agreed = asked.agreed({"backbone": own}, found)
    assert agreed.model()["backbone"]["act"] == "elu"
