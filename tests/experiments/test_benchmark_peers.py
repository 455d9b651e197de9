"""The peer of the training-step benchmark is the same network, and both are in its row."""

import functools
import json

import pytest

import tempo
from experiments.benchmarks import inference, peers, running, train_step
from tempo import peaks
from tempo.models import size


class MadeUp:
    """A peer that takes no time to make, and whose compiler is not there."""

    num_threads = 2

    def __init__(self, *args):
        self.args = args
        self.calls = []
        self.num_params = 1234

    def runs(self, kind, mode):
        def run():
            if mode == "compile":
                raise RuntimeError("no g++\nbelow that, a traceback")
            self.calls.append(kind)

        return run


@pytest.fixture
def made(monkeypatch):
    """The made-up peers, of a network of theirs that is as large as ours."""
    shallow = functools.partial(tempo.create_model, backbone={"depths": (1, 0, 0, 0), "width": 4})
    found = []
    monkeypatch.setattr(tempo, "create_model", shallow)
    monkeypatch.setattr(peers, "check", lambda model: None)
    monkeypatch.setattr(peers, "versions", lambda: {"torch": "2"})
    monkeypatch.setattr(peers, "create", lambda *args: found.append(MadeUp(*args)) or found[0])
    monkeypatch.setattr(running.Forward, "num_params", 1234)
    monkeypatch.setattr(peaks, "matmul_flops_per_s", lambda dtype: 5e9)
    monkeypatch.setattr(peaks, "copy_bytes_per_s", lambda: 2e9)
    return found


OPTIONS = "--model tsn_r18 --clip 1x32 --batch 2 --classes 5 --peer torch --peer-modes"


def test_row_has_both_and_the_ratio(capsys, made):
    inference.main([*OPTIONS.split(), "eager,compile", "--dtype", "bfloat16"])
    row = json.loads(capsys.readouterr().out)
    assert made[0].args == ("tsn_r18", (1, 32), 2, 5, "bfloat16")
    assert made[0].calls == 7 * ["forward"]
    theirs, ours = row["peer"]["ms"]["median"], row["ms"]["median"]
    assert row["ratio"]["median"] == pytest.approx(theirs / ours, abs=0.01)
    assert row["ratio"]["min"] <= row["ratio"]["max"]
    assert (row["peer"]["mode"], list(row["peer"]["modes_ms"])) == ("eager", ["eager"])
    assert row["peer"]["first_call_s"]["compile"] == "failed: no g++"
    assert row["peer"]["versions"] == {"torch": "2"}
    assert "jax" in row["versions"]


def test_a_peer_of_another_size_is_refused(capsys, made, monkeypatch):
    monkeypatch.setattr(running.Forward, "num_params", 1235)
    with pytest.raises(SystemExit):
        inference.main([*OPTIONS.split(), "eager"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: The peer of tsn_r18 has 1,234 parameters and ours 1,235")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model tsn_r18", "No peer of preset 'tsn_r18'; there is one of x3d_xs"),
        ("--model x3d_s --peer-modes jit", "--peer-modes has 'jit'; choose from eager, compile"),
    ],
)
def test_no_such_peer_is_one_line(options, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        train_step.main([*options.split(), "--peer", "torch"])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("name", [n for n in peers.TORCH if n not in ("x3d_xs", "x3d_m")])
def test_peer_is_the_same_network(name):
    torch = pytest.importorskip("torch")
    pytest.importorskip("pytorchvideo")
    from torch.utils import flop_counter

    from experiments.benchmarks import peers_torch

    spec = dict(peers.TORCH[name])
    with torch.device("meta"), torch.no_grad():  # shapes alone
        net, _ = peers_torch.BUILDERS[spec.pop("build")](16, 32, 10, **spec)
        with flop_counter.FlopCounterMode(display=False) as counter:
            net.eval()(torch.empty(1, 3, 16, 32, 32))
    model = tempo.create_model(name, num_classes=10, lowering="plain")
    found = sum(p.numel() for p in net.parameters()), counter.get_total_flops() // 2
    assert found == size.count_traced(model, (16, 32, 32, 3))  # multiply-adds too


@pytest.mark.parity
def test_peer_learns_in_every_head(monkeypatch):
    torch = pytest.importorskip("torch")
    from experiments.benchmarks import peers_torch, torch_nets

    def small(frames, side_px, classes):
        backbone = torch_nets.ResNet("mm", False, 8, (1, 1, 3, 3), blocks=(1, 1, 1, 1))
        return torch_nets.MMAction("mm", backbone, classes, (1, 2), "parallel"), False

    monkeypatch.setitem(peers_torch.BUILDERS, "tpn", small)
    peer = peers.create("tpn_slowonly_r50", (2, 32), 2, 5, "float32")
    before = [p.detach().clone() for p in peer.net.parameters()]
    peer.runs("forward", "eager")()
    assert all(torch.equal(a, b) for a, b in zip(before, peer.net.parameters(), strict=True))
    peer.runs("step", "eager")()
    assert not any(torch.equal(a, b) for a, b in zip(before, peer.net.parameters(), strict=True))
