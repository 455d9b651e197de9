"""Image networks of Caffe's time, converted by the command, give torch's logits."""

import numpy as np
import pytest

import tempo
from tempo.convert import incoming, tensor_files
from tempo.types import FlowSpec, ViewSpec

torch = pytest.importorskip("torch")

from tests.convert import torch_images, torch_nets  # noqa: E402
from tests.convert.torch_checks import (  # noqa: E402
    K,
    clip_of,
    converted,
    difference,
    run,
    torch_logits,
)

pytestmark = pytest.mark.parity


def caffe_resnet():
    """Its strides are on the first convolution of a block."""
    net = torch_nets.TorchVision(8, K)
    for block in net.modules():
        if isinstance(block, torch_nets.Block):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return net


# At 36 px one pool in ceil mode has an odd side before it and the other an even one.
CASES = {
    "bninception": (lambda: torch_images.BNInception(8, K), 36, True),
    "torchvision": (lambda: torch_images.VGG(4, 16, K, side=2), 64, False),
    "caffe": (caffe_resnet, 32, True),
}


@pytest.mark.parametrize("source", CASES)
def test_logits_are_those_of_torch(source):
    make, size, reads_bgr = CASES[source]
    module = torch_nets.filled(make())
    path = converted(module, source, "--frames", "2", "--size", str(size), wrapper="")
    clip = clip_of(2, size)
    expected = torch_logits(module, clip[..., ::-1] if reads_bgr else clip)
    assert difference(run(path, clip), expected) < 1e-4
    info = tempo.load_model(path)[2]
    normalize = info["config"]["input"]["device_ops"][0]
    assert (normalize["std"] == [1.0, 1.0, 1.0]) == reads_bgr


def test_what_tsn_trained_on_flow_is_a_network_of_flow():
    """Names of Caffe, norms with sides of 1, and a stem whose channels keep their order."""
    state = torch_nets.filled(torch_images.BNInception(4, K, channels=20)).state_dict()
    arrays = {}
    for key, value in state.items():
        value = value.numpy()
        key = key.replace("_bn.", "_bn.", 1).replace("last_linear", "fc-action")
        start = "inception_3a_"
        key = key.replace(start, "inception_3a/") if key.startswith(start) else key
        arrays[key] = value.reshape(1, -1, 1, 1) if "_bn." in key and value.ndim else value
    tensor_files.write("flow.pth", arrays)
    settings = incoming.Settings(size_px=32)
    found = incoming.read("bninception", "flow.pth", settings=settings)
    assert found.info["config"]["model"] == {
        "name": "tsn_bninception_flow", "backbone": {"width": 4},
    }  # fmt: skip
    assert found.info["config"]["flow"]["num_fields"] == 10
    # Trained on three segments, tested on 25 snippets of which each is scored alone.
    view = ViewSpec(**found.info["config"]["eval"]["multi_view"])
    tested = view.flow_of(FlowSpec(**found.info["config"]["flow"]))
    assert (view.num_clips, view.num_frames, tested.num_snippets) == (25, 1, 1)
    kernel = found.variables["params"]["backbone"]["stem_conv"]["kernel"]
    theirs = arrays["conv1_7x7_s2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel[0], theirs)
