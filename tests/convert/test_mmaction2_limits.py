"""What is written for mmaction2 is a network that it has."""

import flax.traverse_util
import numpy as np
import pytest

from tempo import models, pretrained, trees
from tempo.convert import mmaction2_limits, outgoing
from tempo.errors import InputError
from tempo.models import tracing

SMALL = {"depths": (1, 1, 1, 1), "width": 8}
FLAT, DEEP = {"variant": "c2d_r50", **SMALL}, {"variant": "slowonly_r50", **SMALL}
PATHS = {"variant": "slowfast_r50", **SMALL}
NONLOCAL = {"nonlocal_blocks": ((), (0,), (), ())}
TPN = {"name": "tpn", "groups": 4, "flow": "cascade"}


@pytest.mark.parametrize(
    ("backbone", "field"),
    [
        (FLAT | {"act": "elu"}, "act='elu'; it has relu"),
        (FLAT | {"downsample": "pool_block"}, "downsample"),
        (FLAT | {"pool_stem": True}, "pool_stem"),
        (FLAT | {"stem_pool": False}, "stem_pool"),
        (FLAT | {"strides": (2, 2, 2, 2)}, "strides"),
        (FLAT | {"strides_t": (1, 2, 1, 1)}, "strides_t"),
        (FLAT | {"expansion": 1}, "expansion"),
        (FLAT | {"conv_b": "depthwise"}, "conv_b"),
        (FLAT | NONLOCAL | {"temporal": "tam"}, "nonlocal_blocks"),
        (FLAT | NONLOCAL | {"nonlocal_pool": "none"}, "nonlocal_pool"),
        (DEEP | {"temporal": "tsm"}, "temporal"),
        (DEEP | {"conv_b": "3x3x3"}, "kernels_t"),
        (DEEP | {"block": "basic"}, "kernels_t"),
        (PATHS | {"act": "elu"}, "slow.act"),
        (PATHS | {"temporal": "tsm"}, "slow.temporal"),
        (PATHS | {"lateral_act": "elu"}, "lateral_act"),
    ],
    ids=str,
)
def test_networks_that_mmaction2_lacks_are_refused(backbone, field):
    with pytest.raises(InputError, match=f"no network with backbone.{field}") as error:
        mmaction2_limits.check(models.create(5, backbone=backbone))
    assert "\n" not in str(error.value)


def test_necks_that_mmaction2_lacks_are_refused():
    mmaction2_limits.check(models.create(5, backbone=DEEP, neck=TPN))
    for neck, message in (
        (TPN | {"flow": "top_down"}, "neck.flow='top_down'; it has cascade and parallel"),
        ({"name": "aux"}, "no neck AuxHeads, only TPN"),
        ({"name": "snippets"}, "no neck Snippets, only TPN"),
    ):
        with pytest.raises(InputError, match=message):
            mmaction2_limits.check(models.create(5, backbone=DEEP, neck=neck))


@pytest.mark.parametrize("parts", [{"neck": {"name": "stpn"}}, {"head": {"name": "late_fusion"}}])
def test_networks_of_two_streams_are_refused(parts):
    pair = {"variant": "two_stream", "spatial": FLAT, "temporal": FLAT}
    with pytest.raises(InputError, match="no network of several streams .video and flow.") as error:
        mmaction2_limits.check(models.create(5, backbone=pair, **parts))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("backbone", "note"),
    [
        (FLAT | {"temporal": {"name": "tsm", "shift_div": 4}}, "shift_div=4"),
        (FLAT | NONLOCAL | {"nonlocal_mode": "softmax"}, "use_scale=True"),
        (FLAT | NONLOCAL, "pool their input"),
        (FLAT | {"pool2_stride_t": 2}, "type='C2D'"),
        (PATHS | {"slow_index": "linspace"}, "slow pathway sees other frames"),
        (FLAT | {"stride_on": "conv1"}, "style='caffe'"),
    ],
    ids=str,
)
def test_what_the_config_of_mmaction2_must_say(backbone, note):
    model = models.create(5, backbone=backbone)
    mmaction2_limits.check(model)
    assert note in " ".join(mmaction2_limits.notes(model, {}))


def test_blocks_are_wrapped_in_2d_alone_and_a_classifier_has_a_bias(monkeypatch):
    for backbone, prefix in ((FLAT, "block.conv1"), (DEEP, "conv1")):
        model = models.create(5, backbone=backbone | NONLOCAL, head={"use_bias": False})
        shapes = trees.named_shapes(tracing.module_shapes(model, (4, 64, 64, 3)))
        zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
        loaded = (model, flax.traverse_util.unflatten_dict(zeros, sep="/"), {"class_names": []})
        monkeypatch.setattr(pretrained, "load_model", lambda _, loaded=loaded: loaded)
        arrays = outgoing.read("checkpoint").arrays
        assert f"backbone.layer2.0.{prefix}.conv.weight" in arrays
        assert "backbone.layer2.0.non_local_block.g.0.conv.weight" in arrays
        assert "backbone.layer1.0.conv1.conv.weight" in arrays
        assert arrays["cls_head.fc_cls.bias"].tolist() == [0] * 5
