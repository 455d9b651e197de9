"""X3D of PyTorchVideo's builder and PySlowFast's names, converted, give PyTorchVideo's logits."""

import types

import numpy as np
import pytest

import tempo
from tempo import trees
from tempo.convert import families, incoming, rules
from tempo.convert import x3d as convert_x3d

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

FRAMES, SIZE = 4, 40


@pytest.fixture(scope="module")
def x3d():
    """The builder, and the published networks."""
    modules = pytorchvideo("x3d", "hub")
    return types.SimpleNamespace(create=modules["x3d"].create_x3d, hub=modules["hub"].x3d)


@pytest.fixture(scope="module")
def small(x3d):
    """A narrow one of 1, 2, 1, 1 blocks with random weights and statistics."""
    net = x3d.create(
        input_clip_length=FRAMES,
        input_crop_size=SIZE,
        model_num_class=K,
        dropout_rate=0.0,
        width_factor=1.0,
        head_dim_out=24,
        head_activation=None,
        depth_factor=1.0,
    )
    for stage in (3, 4):
        net.blocks[stage].res_blocks = net.blocks[stage].res_blocks[:1]
    return nets.filled(net)


SLOWFAST_NAMES = {
    "blocks.0.conv.conv_t": "s1.pathway0_stem.conv_xy",
    "blocks.0.conv.conv_xy": "s1.pathway0_stem.conv",
    "blocks.0.norm": "s1.pathway0_stem.bn",
    "branch1_conv": "branch1",
    "branch1_norm": "branch1_bn",
    "branch2.conv_a": "branch2.a",
    "branch2.norm_a": "branch2.a_bn",
    "branch2.conv_b": "branch2.b",
    "branch2.norm_b.0": "branch2.b_bn",
    "branch2.norm_b.1.block.0": "branch2.se.fc1",
    "branch2.norm_b.1.block.2": "branch2.se.fc2",
    "branch2.conv_c": "branch2.c",
    "branch2.norm_c": "branch2.c_bn",
    "blocks.5.pool.pre_conv": "head.conv_5",
    "blocks.5.pool.pre_norm": "head.conv_5_bn",
    "blocks.5.pool.post_conv": "head.lin_5",
    "blocks.5.proj": "head.projection",
}


def slowfast_name(key):
    """A key of PyTorchVideo's as PySlowFast calls it."""
    parts = key.split(".")
    if "res_blocks" not in parts:
        module, _, leaf = key.rpartition(".")
        return f"{SLOWFAST_NAMES[module]}.{leaf}"
    module, leaf = ".".join(parts[4:-1]), parts[-1]
    return f"s{int(parts[1]) + 1}.pathway0_res{parts[3]}.{SLOWFAST_NAMES[module]}.{leaf}"


def saved(state):
    """The path of a file with a state dict, as both sources wrap it."""
    torch.save({"model_state": state}, "weights.pth")
    return "weights.pth"


def test_logits_are_those_of_pytorchvideo(small):
    path = converted(small, "pytorchvideo", "--size", str(SIZE), wrapper="model_state")
    clip = clip_of(FRAMES, SIZE)
    expected = torch_logits(small, clip)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    found = difference(run(path, clip), expected)
    assert found < 1e-4, found
    assert "norm_proj" not in tempo.load_model(path)[1]["params"]["backbone"]["stage1_block1"]


def test_scores_of_larger_clips_are_the_means_of_those_of_every_window(small):
    """Windows of 4x2x2 of the 6x3x3 features: the softmax of the logits is the public score."""
    path = converted(small, "pytorchvideo", "--size", str(SIZE), wrapper="model_state")
    clip = clip_of(FRAMES + 2, SIZE + 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small.blocks[5], "activation", torch.nn.Softmax(dim=1))
        expected = torch_logits(small, clip)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    found = np.exp(run(path, clip))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)


def test_a_further_norm_of_pyslowfast_is_known_by_its_key(small):
    """On the shortcut of res2; all else is the same under either names."""
    first = trees.named(incoming.read("pytorchvideo", saved(small.state_dict())).variables)
    state = {slowfast_name(k): v for k, v in small.state_dict().items()}
    width = state["s2.pathway0_res0.branch1.weight"].shape[0]
    for i, name in enumerate(("weight", "bias", "running_mean", "running_var"), start=1):
        state[f"s2.pathway0_res0.branch1_bn.{name}"] = torch.full((width,), float(i))
    read = incoming.read("pyslowfast", saved(state))
    leaves = trees.named(read.variables)
    assert read.info["config"]["model"]["backbone"]["shortcut_norm"] == "always"
    norm = "backbone/stage1_block1/norm_proj"
    further = {f"params/{norm}/scale": 1, f"params/{norm}/bias": 2,
               f"batch_stats/{norm}/mean": 3, f"batch_stats/{norm}/var": 4}  # fmt: skip
    assert leaves.keys() - first.keys() == further.keys()
    assert all((leaves[name] == value).all() for name, value in further.items())
    assert all((leaves[name] == value).all() for name, value in first.items())


@pytest.mark.parametrize(
    ("name", "num_keys", "clip", "preset"),
    [("x3d_s", 563, (16, 5, 224), "x3d_m"), ("x3d_l", 1141, (16, 5, 312), "x3d_l")],
)
def test_networks_of_the_model_zoo_are_known(name, num_keys, clip, preset, x3d):
    with torch.device("meta"):
        net = getattr(x3d.hub, name)()
    state = net.state_dict()
    made = tempo.create_model(name, 400)
    trained = {"x3d_s": (13, 160), "x3d_l": (16, 312)}[name]
    kernel = net.blocks[5].pool.pool.kernel_size
    assert convert_x3d.FAMILY.window(made.backbone, *trained) == list(kernel)
    assert len(state) == num_keys
    state = {k: np.broadcast_to(np.float32(0), tuple(v.shape)) for k, v in state.items()}
    theirs = {slowfast_name(k): v for k, v in state.items()}
    for source, arrays in (("pytorchvideo", state), ("pyslowfast", theirs)):
        public = incoming.SOURCES[source]
        layout = public.layout(list(arrays))
        mapped = rules.to_leaves(arrays, layout.rows)
        assert not mapped.unmapped
        found = families.network(mapped, public, layout.family)
        assert found.model() == {"name": preset}
        assert found.num_classes == 400
        assert (found.clip["num_frames"], found.clip["stride"], found.size_px) == clip
        is_told = preset == "x3d_l"
        assert is_told == (not any("x3d_s and x3d_xs too" in text for text in found.assumed))
        if not is_told:
            asked = families.network(mapped, public, layout.family, {"name": name})
            assert asked.model() == {"name": name}
            assert (asked.clip["num_frames"], asked.size_px) == (13, 160)
            assert asked.view == {"short_side_px": 182, "size_px": 182}
            assert not asked.assumed
            with pytest.raises(tempo.InputError, match=r"depths is \(5, 10, 25, 15\), that of the"):
                families.network(mapped, public, layout.family, {"name": "x3d_l"})
