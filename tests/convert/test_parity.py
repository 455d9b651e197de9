"""Every public source: converted by the command, a network gives torch's logits."""

import jax
import numpy as np
import pytest

import tempo
from tempo import models, trees
from tempo.convert import __main__ as convert
from tempo.convert import mmaction2, recognise, rules, tpn_release
from tempo.models import tracing

torch = pytest.importorskip("torch")

from experiments.benchmarks import torch_nets as nets  # noqa: E402
from tests.convert.torch_checks import (  # noqa: E402
    FRAMES,
    SMALL,
    K,
    clip_of,
    converted,
    difference,
    run,
    torch_logits,
)

pytestmark = pytest.mark.parity


def mm(flat=False, alphas=None, flow="cascade", **kwargs):
    kernels_t = (1, 1, 1, 1) if flat else (1, 1, 3, 3)
    backbone = nets.ResNet("mm", flat, kwargs.pop("width", 8), kernels_t, **kwargs)
    return nets.MMAction("mm", backbone, K, alphas, flow)


def release(flat=False, alphas=(4, 4), **kwargs):
    kernels_t = (1, 1, 1, 1) if flat else (1, 1, 3, 3)
    shifts = {"frames": FRAMES, "shortcut": "shifted"} if flat else {}
    backbone = nets.ResNet("tv", flat, 8, kernels_t, **{**shifts, **kwargs})
    return nets.MMAction("tv", backbone, K, alphas)


CASES = {
    "torchvision": (lambda: nets.TorchVision(8, K), "torchvision", []),
    "torchvision_basic": (lambda: nets.TorchVision(8, K, expansion=1), "torchvision", []),
    "slowonly": (mm, "mmaction2", []),
    "tsn": (lambda: mm(flat=True), "mmaction2", []),
    "tsm_every_second": (
        lambda: mm(flat=True, frames=FRAMES, shift_every=2), "mmaction2", [],
    ),
    "tpn_slowonly": (lambda: mm(alphas=(4, 4)), "mmaction2", []),
    "tpn_slowonly_parallel": (
        lambda: mm(alphas=(2, 4), flow="parallel"), "mmaction2",
        ["--alphas", "2,4", "--flow", "parallel"],
    ),
    "tpn_tsm": (lambda: mm(flat=True, alphas=(4, 4), frames=FRAMES), "mmaction2", []),
    "release_slowonly": (release, "tpn_release", []),
    "release_slowonly_rule": (
        lambda: release(alphas=(2, 4)), "tpn_release", ["--alphas", "rule"],
    ),
    "release_tsm": (lambda: release(flat=True), "tpn_release", []),
    "tsm_release_every_second": (
        lambda: nets.TSMRelease(8, K, FRAMES, shift_every=2), "tsm_release", [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_torch(case):
    make, source, flags = CASES[case]
    module = nets.filled(make())
    path = converted(module, source, *flags)
    assert difference(run(path, clip_of()), torch_logits(module, clip_of())) < 1e-4
    if case in EXPORTED:
        check_export(make, module)


# One of each layout: 3-D; 2-D, some of it shifted; with a neck.
EXPORTED = ("slowonly", "tsm_every_second", "tpn_tsm")


@pytest.mark.parametrize(
    ("kernel", "alpha", "frames", "lateral_norm"), [(5, 8, 16, False), (7, 4, 8, True)]
)
def test_slowfast(kernel, alpha, frames, lateral_norm):
    def make():
        return nets.SlowFast(16, K, alpha, kernel, lateral_norm)

    module = nets.filled(make())
    path = converted(module, "mmaction2", "--frames", str(frames))
    assert tempo.load_model(path)[0].backbone.lateral_norm == lateral_norm
    clip = clip_of(frames)
    assert difference(run(path, clip), torch_logits(module, clip)) < 1e-4
    check_export(make, module)


def test_the_parallel_flow_on_cascade_weights_is_another_network():
    module = nets.filled(mm(alphas=(2, 4)))
    path = converted(module, "mmaction2", "--alphas", "2,4", "--flow", "parallel")
    assert difference(run(path, clip_of()), torch_logits(module, clip_of())) > 0.05


@pytest.mark.parametrize(
    ("module", "rows", "a", "b"),
    [
        (mmaction2, "mmaction2", "level_fusion_1", "level_fusion_2"),
        (tpn_release, "tpn_release", "level_fusion_op2", "level_fusion_op"),
    ],
)
def test_crossed_fusions_fail_parity(module, rows, a, b):
    made, flags = (mm(alphas=(4, 4)), []) if module is mmaction2 else (
        release(alphas=(2, 4)), ["--alphas", "rule"],
    )  # fmt: skip
    nets.filled(made)
    expected = torch_logits(made, clip_of())
    state = made.state_dict()
    crossed = {}
    for key, value in state.items():
        parts = ["@" if p == a else a if p == b else p for p in key.split(".")]
        crossed[".".join(b if p == "@" else p for p in parts)] = value
    assert crossed.keys() == state.keys()
    made.load_state_dict(crossed)
    path = converted(made, rows, *flags)
    assert difference(run(path, clip_of()), expected) > 1e-2


def test_the_shortcut_of_the_release_reads_the_shifted_input():
    module = nets.filled(release(flat=True, shortcut="plain", frames=FRAMES))
    # Where the shift is a wrapper, as in the other sources, and the shortcut reads around it.
    state = {k.replace(".conv1.net.", ".conv1."): v for k, v in module.state_dict().items()}
    torch.save(state, "weights.pth")
    flags = ["--source", "tpn_release", "--input", "weights.pth", *SMALL]
    assert convert.main([*flags, "--out", "out"]) == 0
    assert difference(run("out", clip_of()), torch_logits(module, clip_of())) > 1e-3


@pytest.mark.parametrize(
    ("preset", "classes", "flat", "num_params"),
    [("tpn_slowonly_r50", 400, False, 91_498_336), ("tpn_tsm_r50", 174, True, 82_445_724)],
)
def test_public_networks_at_full_size(preset, classes, flat, num_params, monkeypatch):
    """379 entries, each with a leaf of its shape; nothing has values."""
    monkeypatch.setattr(nets, "GROUPS", 32)
    kernels_t = (1, 1, 1, 1) if flat else (1, 1, 3, 3)
    with torch.device("meta"):
        backbone = nets.ResNet(
            "mm", flat, 64, kernels_t, blocks=(3, 4, 6, 3), frames=FRAMES if flat else 0
        )
        module = nets.MMAction("mm", backbone, classes, (8, 8))
    assert sum(p.numel() for p in module.parameters()) == num_params
    state = module.state_dict()
    assert len(state) == 379
    zeros = {k: np.broadcast_to(np.float32(0), tuple(v.shape)) for k, v in state.items()}
    mapped = rules.to_leaves(zeros, mmaction2.ROWS)
    assert recognise.network(mapped, mmaction2.SOURCE).model()["name"] == preset
    shapes = tracing.module_shapes(models.create(classes, name=preset), (8, 32, 32, 3))
    expected = trees.named(shapes)
    assert {n: v.shape for n, v in mapped.leaves.items()} == {
        n: s.shape for n, s in expected.items()
    }


def leaves_of(path):
    _, variables, _ = tempo.load_model(path)
    return trees.named(variables)


def same(a, b):
    a, b = leaves_of(a), leaves_of(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("flat", [False, True])
def test_from_the_release_to_mmaction2_and_back_is_the_same(flat):
    converted(nets.filled(release(flat=flat)), "tpn_release")
    assert convert.main(["--to", "mmaction2", "--checkpoint", "out", "--out", "mm.pth"]) == 0
    flags = ["--source", "mmaction2", "--input", "mm.pth", "--out", "back", *SMALL]
    assert convert.main(flags) == 0
    same("out", "back")


def check_export(make, module):
    """What is written of the checkpoint in `out` is the state dict it came from."""
    assert convert.main(["--to", "mmaction2", "--checkpoint", "out", "--out", "mm.pth"]) == 0
    state = torch.load("mm.pth", weights_only=True)["state_dict"]
    for key, value in module.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(state[key], value, rtol=0, atol=0)
    make().load_state_dict(state)  # strictly: no key too many, none too few


def test_to_mmaction2_and_back_is_the_same():
    converted(nets.filled(mm(flat=True, alphas=(4, 4), frames=FRAMES)), "mmaction2")
    flags = ["--to", "mmaction2", "--checkpoint", "out", "--out", "mm.safetensors"]
    assert convert.main(flags) == 0
    flags = ["--source", "mmaction2", "--input", "mm.safetensors", "--out", "back", *SMALL]
    assert convert.main(flags) == 0
    same("out", "back")


@pytest.mark.parametrize("inflation", ["repeat", "center", "two_frame"])
def test_an_image_network_starts_a_video_network(inflation):
    module = nets.filled(nets.TorchVision(8, K))
    model = '{"backbone": {"variant": "slowonly_r50", "depths": [2, 1, 1, 1], "width": 8}}'
    path = converted(
        module, "torchvision", "--model", model, "--inflate", inflation, "--frames", "8",
        wrapper=None,
    )  # fmt: skip
    loaded, variables, info = tempo.load_model(path)
    clip = np.repeat(clip_of(1), 8, axis=1)
    features = jax.jit(lambda v, x: loaded.apply(v, x, train=False)["features"])(variables, clip)
    with torch.no_grad():
        image = torch.tensor(np.moveaxis(clip[:, :1], -1, 1).copy())
        stages = super(nets.TorchVision, module).forward(image)
    for name, expected in (("res4", stages[2]), ("res5", stages[3])):
        middle = np.moveaxis(np.asarray(features[name][:, 4]), -1, 1)
        assert difference(middle, expected[:, :, 0].numpy()) < 1e-4
    assert "params/head/fc/kernel" in info["source"]["initial"]
    assert info["num_classes"] == 400
