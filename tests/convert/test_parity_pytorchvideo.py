"""Networks of PyTorchVideo's builders, converted, give its logits."""

import json
import types

import numpy as np
import pytest

import tempo
from tempo.convert import incoming, recognise, rules

torch = pytest.importorskip("torch")
pytest.importorskip("pytorchvideo")

from experiments.benchmarks import torch_nets as nets  # noqa: E402
from tests.convert.torch_checks import (  # noqa: E402
    K,
    clip_of,
    converted,
    difference,
    pytorchvideo,
    run,
    torch_logits,
)

pytestmark = pytest.mark.parity

FRAMES, SIZE = 8, 40


@pytest.fixture(scope="module")
def builders():
    return types.SimpleNamespace(**pytorchvideo("csn", "hub", "r2plus1d", "resnet", "slowfast"))


def small(create, depths=(1, 1, 1, 1), **kwargs):
    """A network of one pathway and width 8; `depths` blocks are left of its stages."""
    net = create(
        model_num_class=K,
        stem_dim_out=8,
        dropout_rate=0.0,
        head_pool=torch.nn.AdaptiveAvgPool3d,
        head_activation=None,
        **kwargs,
    )
    stages = [block for block in net.blocks if hasattr(block, "res_blocks")]
    for stage, depth in zip(stages, depths, strict=True):
        stage.res_blocks = stage.res_blocks[:depth]
    return net


I3D = {
    "depths": (2, 2, 2, 2),
    "stem_conv_kernel_size": (5, 7, 7),
    "stage1_pool": torch.nn.MaxPool3d,
    "stage_conv_a_kernel_size": (
        (3, 1, 1), [(3, 1, 1), (1, 1, 1)], [(3, 1, 1), (1, 1, 1)], [(1, 1, 1), (3, 1, 1)],
    ),
}  # fmt: skip

CASES = {
    "resnet": lambda b: small(b.resnet.create_resnet),
    "i3d": lambda b: small(b.resnet.create_resnet, **I3D),
    "r2plus1d": lambda b: small(b.r2plus1d.create_r2plus1d),
    # Without a pool behind the stem, which csn_r101 of the model zoo has.
    "csn": lambda b: small(b.csn.create_csn),
}
MODELS = {
    "csn": {
        "name": "ir_csn_r101",
        "backbone": {"stem_pool": False, "depths": (1, 1, 1, 1), "width": 8},
    }
}


def check(module, net, *flags):
    """Converts the net and compares it with the module of torch that takes one clip."""
    path = converted(
        nets.filled(net), "pytorchvideo", "--frames", str(FRAMES), *flags, wrapper="model_state"
    )
    clip = clip_of(FRAMES, SIZE)
    found = difference(run(path, clip), torch_logits(module, clip))
    assert found < 1e-4, found
    return tempo.load_model(path)


@pytest.mark.parametrize("case", CASES)
def test_networks_of_one_pathway(case, builders):
    net = CASES[case](builders)
    check(net, net, *(["--model", json.dumps(MODELS[case])] if case in MODELS else []))


@pytest.mark.parametrize("kernel", [5, 7])
def test_slowfast(kernel, builders):
    net = builders.slowfast.create_slowfast(
        model_depth=18,
        model_num_class=K,
        stem_dim_outs=(16, 2),
        slowfast_fusion_conv_kernel_size=(kernel, 1, 1),
        head_pool=torch.nn.AdaptiveAvgPool3d,
    )

    def both_paths(clip):
        frames = torch.linspace(0, FRAMES - 1, FRAMES // 4).long()
        return net([clip[:, :, frames], clip])

    model, _, info = check(both_paths, net)
    assert (model.backbone.fusion_kernel, model.backbone.slow_stride) == (kernel, 4)
    assert info["preprocessing"]["mean"] == [114.75] * 3


# Of those that do not take the clips of their family.
CLIPS = {"slowfast.slowfast_16x8_r101_50_50": 64, "csn.csn_r101": 32, "r2plus1d.r2plus1d_r50": 16}


@pytest.mark.parametrize(
    ("create", "model"),
    [
        ("resnet.slow_r50", {"name": "slowonly_r50"}),
        (
            "slowfast.slowfast_r50",
            {"name": "slowfast_r50_8x8", "backbone": {"slow_index": "linspace"}},
        ),
        (
            "slowfast.slowfast_r101",
            {"name": "slowfast_r101_8x8", "backbone": {"slow_index": "linspace"}},
        ),
        (
            "slowfast.slowfast_16x8_r101_50_50",
            {"name": "slowfast_r101_16x8", "backbone": {"slow_index": "linspace"}},
        ),
        ("resnet.c2d_r50", {"name": "tsn_r50", "backbone": {"pool2_stride_t": 2}}),
        ("csn.csn_r101", {"name": "ir_csn_r101"}),
        ("r2plus1d.r2plus1d_r50", {"name": "r2plus1d_r50_ptv"}),
        (
            "resnet.i3d_r50",
            {"name": "i3d_r50", "backbone": {"stem_stride_t": 1, "pool1_stride_t": 1}},
        ),
    ],
)  # fmt: skip
def test_networks_of_the_model_zoo_are_known(create, model, builders):
    module, function = create.split(".")
    with torch.device("meta"):
        net = getattr(getattr(builders.hub, module), function)()
    state = {k: np.broadcast_to(np.float32(0), tuple(v.shape)) for k, v in net.state_dict().items()}
    source = incoming.SOURCES["pytorchvideo"]
    layout = source.layout(list(state))
    mapped = rules.to_leaves(state, layout.rows)
    assert not mapped.unmapped
    found = recognise.network(mapped, source, layout.fields)
    assert found.model() == model
    assert found.num_classes == 400
    assert found.clip.get("num_frames") == CLIPS.get(create)
