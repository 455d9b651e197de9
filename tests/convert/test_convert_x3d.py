"""What arrays tell of an X3D, and what is refused."""

import numpy as np
import pytest

from tempo import models, trees
from tempo.convert import families, mmaction2_limits, pytorchvideo, rules, x3d
from tempo.errors import InputError
from tempo.models import tracing

TINY = {"depths": (1, 2, 1, 1), "widths": (4, 8, 12, 16)}


def weights(backbone=None, head=None):
    """Shapes by leaf name."""
    model = {"name": "x3d_m", "backbone": TINY | (backbone or {}), "head": head or {}}
    return trees.named_shapes(tracing.variable_shapes(5, model, (2, 32, 32, 3)))


def read(shapes, asked=None):
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    mapped = rules.Mapped(zeros, dict.fromkeys(zeros, "key"), {}, (), (), ())
    return families.network(mapped, pytorchvideo.SOURCE, x3d.FAMILY, asked)


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        ({"expansion": 3.0, "se_every": 1, "se_ratio": 2}, {"features": 8}),
        ({"se_every": 0, "stem_kernel_t": 3, "shortcut_norm": "always"}, {"expansion": 2.0}),
    ],
)
def test_arrays_tell_the_fields_that_made_them(backbone, head):
    found = read(weights(backbone, head))
    assert found.model() == {"name": "x3d_m", "backbone": TINY | backbone, "head": head}
    assert found.num_classes == 5
    # They are those of no preset.
    assert found.assumed == ("x3d_m, with num_frames=16, stride=5, size_px=224 (--model)",)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("stage2_block1/", "cut: stage 2 of the network has 1 blocks, although the last one is"),
        ("stage4_block1/", "cut: stage 4 of the network has no blocks"),
        ("stem_conv_t/", "cut: X3D has params/backbone/stem_conv_t, and they have not"),
        ("stage3_block1/conv1/", "cut: X3D has params/backbone/stage3_block1/conv1"),
    ],
)
def test_cut_weights_are_refused(missing, message):
    shapes = {k: s for k, s in weights().items() if f"backbone/{missing}" not in k}
    with pytest.raises(InputError, match=message):
        read(shapes)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "tsn_r50"}, r"^tsn_r50 does not fit: the weights are of X3D; leave --model out"),
        ({"name": "x3d_s"}, r"^x3d_s does not fit: backbone.depths is \(3, 5, 11, 7\), that of"),
        (
            {"name": "x3d_s", "backbone": TINY | {"shortcut_norm": "always"}},
            "backbone.shortcut_norm is 'always', that of the weights 'on_change'",
        ),
    ],
)
def test_a_model_that_the_weights_are_not_of_is_refused(asked, message):
    with pytest.raises(InputError, match=message):
        read(weights(), asked)


def test_it_is_not_written_for_mmaction2():
    model = models.create(5, name="x3d_s")
    with pytest.raises(InputError, match="Only ResNets are written for mmaction2; .* X3D"):
        mmaction2_limits.check(model)


def test_there_is_nothing_to_fuse():
    with pytest.raises(InputError, match="nothing to fuse: backbone.conv_b is no field of it"):
        models.fuse({"name": "x3d_s"}, {})
