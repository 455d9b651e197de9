"""Networks with modules in their slots (PySlowFast, mmaction2, MIT TSM) give torch's logits."""

import pytest

import tempo

torch = pytest.importorskip("torch")

from experiments.benchmarks import torch_nets as nets  # noqa: E402
from tempo.convert import __main__ as convert  # noqa: E402
from tests.convert import torch_slots as slots  # noqa: E402
from tests.convert.torch_checks import (  # noqa: E402
    FRAMES,
    K,
    clip_of,
    converted,
    difference,
    run,
    torch_logits,
)

pytestmark = pytest.mark.parity

NONLOCAL = ((0, 0), (1, 0))
ALL = [(s, b) for s, n in enumerate(nets.BLOCKS) for b in range(n)]


def tsm_nonlocal(style):
    def wrap(block, channels):
        return slots.WithNonLocal(style, block, channels, FRAMES, "embedded_gaussian")

    if style == "tsm":
        net = nets.TSMRelease(8, K, FRAMES)
        slots.wrapped(net.module["base_model"], NONLOCAL, wrap)
        return net
    backbone = nets.ResNet("mm", True, 8, frames=FRAMES)
    return nets.MMAction("mm", slots.wrapped(backbone, NONLOCAL, wrap), K)


def tanet():
    def wrap(block, channels):
        return slots.WithTAM(block, channels // 4, FRAMES)

    backbone = nets.ResNet("mm", True, 8)
    return nets.MMAction("mm", slots.wrapped(backbone, ALL, wrap), K)


def slowfast():
    slow, fast = ((1,), (1,), (3,), (3,)), ((3,), (3,), (3,), (3,))
    paths = ((16, 1, slow), (2, 5, fast))
    return slots.PySlowFast(paths, K, nonlocal_blocks=NONLOCAL, mode="dot_product")


def i3d():
    path = (8, 5, ((3, 3), (3, 1), (3, 1), (1, 3)))
    return slots.PySlowFast((path,), K, nonlocal_blocks=NONLOCAL, pool_t=2)


CASES = {
    "tanet": (tanet, "mmaction2", FRAMES),
    "tsm_nonlocal": (lambda: tsm_nonlocal("mm"), "mmaction2", FRAMES),
    "tsm_release_nonlocal": (lambda: tsm_nonlocal("tsm"), "tsm_release", FRAMES),
    "slowfast_nonlocal": (slowfast, "pyslowfast", 16),
    "i3d_nonlocal": (i3d, "pyslowfast", FRAMES),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_torch(case):
    make, source, frames = CASES[case]
    module = nets.filled(make())
    if case == "slowfast_nonlocal":  # dot products of random weights make logits of hundreds
        module.head["projection"].weight.data.mul_(1e-3)
    path = converted(module, source, "--frames", str(frames), wrapper="model_state")
    clip = clip_of(frames)
    found = difference(run(path, clip), torch_logits(module, clip))
    assert found < 1e-4, found
    if source == "mmaction2":
        check_export(make, module, path, clip)


def check_export(make, module, path, clip):
    """The network that is written fits mmaction2's and gives the same logits."""
    assert convert.main(["--to", "mmaction2", "--checkpoint", path, "--out", "mm.pth"]) == 0
    again = make()
    again.load_state_dict(torch.load("mm.pth", weights_only=True)["state_dict"])
    assert difference(torch_logits(again.eval(), clip), torch_logits(module, clip)) < 1e-6


def test_a_temporal_adaptive_module_says_how_long_clips_are(capsys):
    module = nets.filled(tanet())
    torch.save(module.state_dict(), "weights.pth")
    flags = ["--source", "mmaction2", "--input", "weights.pth", "--out", "out", "--size", "32"]
    assert convert.main(flags) == 0
    assert tempo.load_model("out")[2]["preprocessing"]["num_frames"] == FRAMES
    assert convert.main([*flags, "--frames", "8"]) == 2
    assert "global_fc1/kernel: [4, 8] in the file, [8, 16]" in capsys.readouterr().err
