"""Checkpoints of the MTNet release, converted by the command, give torch's logits."""

import jax
import numpy as np
import pytest

import tempo
from tempo.convert import families, mtnet_release, rules
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm
from tempo.models import two_stream_mtnet

torch = pytest.importorskip("torch")

from experiments.benchmarks import torch_nets as nets  # noqa: E402
from tests.convert import torch_mtnet  # noqa: E402
from tests.convert.torch_checks import (  # noqa: E402
    K,
    clip_of,
    converted,
    difference,
    run,
    torch_logits,
)

pytestmark = pytest.mark.parity

# Odd sides behind the stem and in every stage; 4, 2, 1 and 1 short frames, 2, 1, 1 and 1 long ones.
FRAMES, SIZE = 8, 70
SMALL = {"width": 16, "depths": (1, 1, 1, 1)}


def test_logits_are_those_of_torch(capsys):
    module = nets.filled(torch_mtnet.Net(K, ratio=0.75, **SMALL))
    data_parallel = torch.nn.Sequential()
    data_parallel.module = module
    flags = ["--frames", str(FRAMES), "--size", str(SIZE)]
    path = converted(data_parallel, "mtnet_release", *flags)
    assert "note       assumed: frames red first" in capsys.readouterr().out
    clip = clip_of(FRAMES, SIZE)
    assert difference(run(path, clip), torch_logits(module, clip)) < 1e-4
    backbone = tempo.load_model(path)[0].backbone
    assert (backbone.ratio, backbone.width, tuple(backbone.depths)) == (0.75, 16, (1, 1, 1, 1))


@pytest.mark.parametrize("pool", ["avg", "identity"])
def test_the_norm_of_both_inputs_of_the_long_stream_moves_twice(pool):
    torch.manual_seed(0)
    module = torch_mtnet.MTConv(8, 8, 0.75, pools=pool == "avg").train()
    rng = np.random.default_rng(0)
    streams = [
        rng.normal(size=(2, *shape)).astype(np.float32) for shape in ((6, 6, 4, 6), (3, 3, 2, 2))
    ]
    expected = module([torch.tensor(np.moveaxis(x, -1, 1).copy()) for x in streams])
    layer = two_stream_mtnet.TwoStreamConv(
        Conv, lambda name: BatchNorm(False, name=name), 8, 0.75, pool
    )
    state = {f"layer1.0.conv2.{k}": v.numpy() for k, v in module.state_dict().items()}
    variables = layer.init(jax.random.key(0), streams)
    params = rules.to_leaves(state, mtnet_release.ROWS).leaves
    prefix = "params/backbone/stage1_block1/conv3/"
    params = {
        name: {leaf: params[f"{prefix}{name}/{leaf}"] for leaf in leaves}
        for name, leaves in variables["params"].items()
    }
    actual, new = layer.apply({**variables, "params": params}, streams, mutable=["batch_stats"])
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(
            np.moveaxis(np.asarray(ours), -1, 1), theirs.detach().numpy(), atol=1e-5
        )
    for stream in ("short", "long"):
        theirs = getattr(module, f"norm_{stream}").running_mean.numpy()
        ours = new["batch_stats"][f"{stream}_norm"]["mean"]
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def of_meta(**kwargs):
    """Shapes of a network of the release, as arrays without values; and its parameters."""
    with torch.device("meta"):
        module = torch_mtnet.Net(200, **kwargs)
    state = module.state_dict()
    arrays = {k: np.broadcast_to(np.float32(0), tuple(v.shape)) for k, v in state.items()}
    return arrays, sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "depths", "millions"),
    [("s", (2, 2, 5, 3), 39.9), ("m", (3, 4, 6, 3), 43.9)],
)
def test_networks_of_the_release_are_known_by_their_shapes(name, depths, millions):
    arrays, num_params = of_meta(depths=depths)
    assert round(num_params / 1e6, 1) == millions  # the release's README, 200 classes
    (layout,) = mtnet_release.SOURCE.layouts
    mapped = rules.to_leaves(layout.unpack(arrays), layout.rows)
    assert not mapped.unmapped
    found = families.network(mapped, mtnet_release.SOURCE, layout.family)
    assert found.model() == {"name": f"mtnet_{name}_released"}
    assert found.num_classes == 200


def test_other_networks_of_the_code_are_told_by_their_fields():
    arrays, _ = of_meta(width=8, ratio=0.6, cell="lstm", layers=1)
    (layout,) = mtnet_release.SOURCE.layouts
    mapped = rules.to_leaves(layout.unpack(arrays), layout.rows)
    found = families.network(mapped, mtnet_release.SOURCE, layout.family)
    assert found.model()["backbone"] == {
        "depths": (1, 1, 1, 1), "width": 8, "ratio": 0.6, "cell": "lstm", "sr_layers": 1,
    }  # fmt: skip
    assert "pool=avg (--model)" in found.assumed[0]


def test_what_does_not_fit_is_said_in_one_line():
    arrays, _ = of_meta(width=16)
    (layout,) = mtnet_release.SOURCE.layouts

    def refused(match, arrays=arrays, asked=None):
        with pytest.raises(tempo.InputError, match=match) as error:
            mapped = rules.to_leaves(layout.unpack(arrays), layout.rows)
            families.network(mapped, mtnet_release.SOURCE, layout.family, asked)
        assert "\n" not in str(error.value)

    refused(
        r"mtnet_m_released does not fit: backbone.depths is \(3, 4, 6, 3\), that of the weights "
        r"\(1, 1, 1, 1\); leave --model out",
        asked={"name": "mtnet_m_released"},
    )
    refused(
        "slowonly_r50 does not fit: the weights are of the two-stream MTNet of its authors",
        asked={"name": "slowonly_r50"},
    )
    cut = {k: v for k, v in arrays.items() if not k.startswith("layer2.0.")}
    refused("The weights are cut: stage 2 of the network has no blocks", cut)
    refused("its keys begin with backbone.conv1; check --source", {"backbone.conv1": np.zeros(3)})
    odd = {"layer1.0.sr_short.op.weight_hh_l0": np.zeros((4, 2), np.float32)}
    refused("has 4 rows of gates for 2 channels, which is neither a GRU", odd)
    flat = {"layer1.0.sr_short.op.weight_hh_l0": np.zeros(6, np.float32)}
    refused(r"weight_hh_l0 of a recurrent layer must have two axes; it has \(6,\)", flat)
