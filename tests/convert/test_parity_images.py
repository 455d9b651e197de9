"""Image networks of Caffe's time, converted by the command, give torch's logits."""

import numpy as np
import pytest

import tempo
from tempo import trees
from tempo.convert import incoming, tensor_files
from tempo.data import device_ops
from tempo.types import FlowSpec, ViewSpec

torch = pytest.importorskip("torch")

from experiments.benchmarks import torch_nets  # noqa: E402
from tests.convert import torch_images  # noqa: E402
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


SMALL = incoming.Settings(size_px=32)


def state_of(net):
    return {key: value.numpy() for key, value in torch_nets.filled(net).state_dict().items()}


def read(arrays, source="bninception", **kwargs):
    tensor_files.write("weights.pth", arrays)
    return incoming.read(source, "weights.pth", settings=SMALL, **kwargs)


@pytest.fixture(scope="module")
def bninception():
    return state_of(torch_images.BNInception(4, K))


def same(found, other):
    """Whether two conversions are of the same leaves, and all of the file's."""
    ours, theirs = (trees.named(conversion.variables) for conversion in (found, other))
    assert ours and ours.keys() == theirs.keys()
    return all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize(
    ("prefix", "classifier"),
    [
        ("base_model.", "new_fc"),
        ("base_model.", "base_model.fc"),
        ("module.base_model.", "module.new_fc"),
        ("backbone.", "cls_head.fc_cls"),
        ("", "fc-action"),
    ],
)
def test_names_of_bninception(bninception, prefix, classifier):
    renamed = {
        key.replace("last_linear", classifier) if "last_linear" in key else prefix + key: value
        for key, value in bninception.items()
    }
    assert same(read(renamed), read(bninception))


def test_names_of_vgg_in_caffe():
    """Theirs, whose stem reads blue, green and red."""
    state = state_of(torch_images.VGG(4, 16, K))
    convolutions = [f"conv{i}_{j}" for i, depth in enumerate((2, 2, 3, 3, 3), 1)
                    for j in range(1, depth + 1)]  # fmt: skip
    names = dict.fromkeys(key.rpartition(".")[0] for key in state)
    names = dict(zip(names, [*convolutions, "fc6", "fc7", "fc8"], strict=True))
    renamed = {}
    for key, value in state.items():
        name, _, kind = key.rpartition(".")
        renamed[f"{names[name]}.{kind}"] = value[:, ::-1] if value.shape[1:2] == (3,) else value
    found, expected = read(renamed, "caffe"), read(state, "torchvision")
    assert same(found, expected)
    # An image network makes single frames of segments, of this kind as of ResNets.
    assert expected.info["config"]["clip"] == {"num_frames": 8, "sampling": "segments"}


def test_what_tsn_trained_on_differences_reads_their_colours_in_our_order(bninception):
    key = "conv1_7x7_s2.weight"
    stem = np.arange(4 * 15 * 49, dtype=np.float32).reshape(4, 15, 7, 7)
    found = read({**bninception, key: stem})
    config = found.info["config"]
    assert config["model"] == {"name": "tsn_bninception_rgb_diff", "backbone": {"width": 4}}
    clip = {"num_frames": 3, "sampling": "segments", "frames_per_segment": 6}
    assert config["clip"] == clip and "flow" not in config
    (op,) = config["input"]["device_ops"]
    assert (op["name"], op["frames_per_segment"]) == ("stack_differences", 6)
    kernel = found.variables["params"]["backbone"]["stem_conv"]["kernel"][0]
    theirs = stem.transpose(2, 3, 1, 0)
    for i in range(5):  # of each difference
        colours = theirs[:, :, [3 * i + 2, 3 * i + 1, 3 * i]]
        np.testing.assert_array_equal(kernel[:, :, 3 * i : 3 * i + 3], colours)
    # What the device makes of red, green and blue gives the file's numbers of blue, green and red.
    video = np.random.default_rng(0).integers(0, 256, size=(1, 6, 7, 7, 3)).astype(np.uint8)
    stack = device_ops.OPS["stack_differences"](**{k: v for k, v in op.items() if k != "name"})
    ours, bgr = (stack(None, {"video": x})["video"][0, 0] for x in (video, video[..., ::-1]))
    expected = np.einsum("hwc,fchw->f", bgr, stem)
    np.testing.assert_allclose(np.einsum("hwc,hwcf->f", ours, kernel), expected, rtol=1e-4)
    asked = {"name": "tsn_bninception_rgb_diff", "backbone": {"width": 4}}
    assert same(read({**bninception, key: stem}, model=asked), found)
    with pytest.raises(tempo.InputError, match="stem reads 15 channels, the five differences"):
        read({**bninception, key: stem}, model={**asked, "name": "tsn_bninception"})


def test_stems_of_other_channels_are_refused_unless_they_are_said_to_be_of_flow(bninception):
    def stem(channels):
        kernel = np.zeros((4, channels, 7, 7), np.float32)
        return {**bninception, "conv1_7x7_s2.weight": kernel}

    for channels in (18, 10, 1):
        with pytest.raises(tempo.InputError, match=f"stem reads {channels} channels; known are 3"):
            read(stem(channels))
    asked = {"name": "tsn_bninception_flow", "backbone": {"width": 4}}
    found = read(stem(10), model=asked)
    assert found.variables and found.info["config"]["flow"]["num_fields"] == 5
    with pytest.raises(tempo.InputError, match="--model is a network of flow"):
        read(stem(3), model=asked)
    vgg = state_of(torch_images.VGG(4, 16, K))
    with pytest.raises(tempo.InputError, match="no VGG-16 here does"):
        read({**vgg, "features.0.weight": np.zeros((4, 15, 3, 3), np.float32)}, "torchvision")


def test_what_tsn_trained_on_flow_is_a_network_of_flow():
    """Names of Caffe, norms with sides of 1, and a stem whose channels keep their order."""
    arrays = {}
    for key, value in state_of(torch_images.BNInception(4, K, channels=20)).items():
        key = key.replace("_bn.", "_bn.", 1).replace("last_linear", "fc-action")
        start = "inception_3a_"
        key = key.replace(start, "inception_3a/") if key.startswith(start) else key
        arrays[key] = value.reshape(1, -1, 1, 1) if "_bn." in key and value.ndim else value
    found = read(arrays)
    assert found.info["config"]["model"] == {
        "name": "tsn_bninception_flow", "backbone": {"width": 4},
    }  # fmt: skip
    assert found.info["config"]["flow"]["num_fields"] == 10
    # Fields are stored as whole numbers around 128 (no motion), and TSN divides by nothing.
    op = found.info["config"]["input"]["device_ops"][0]
    normalize = device_ops.normalize(**{k: v for k, v in op.items() if k != "name"})
    flow = np.full((1, 1, 2, 2, 20), 131, np.uint8)
    video = np.zeros((1, 1, 2, 2, 3), np.uint8)
    np.testing.assert_array_equal(normalize(None, {"video": video, "flow": flow})["flow"], 3)
    # Trained on three segments, tested on 25 snippets of which each is scored alone.
    view = ViewSpec(**found.info["config"]["eval"]["multi_view"])
    tested = view.flow_of(FlowSpec(**found.info["config"]["flow"]))
    assert (view.num_clips, view.num_frames, tested.num_snippets) == (25, 1, 1)
    kernel = found.variables["params"]["backbone"]["stem_conv"]["kernel"]
    theirs = arrays["conv1_7x7_s2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel[0], theirs)
