"""The peer of the training-step benchmark is the same network, and both are in its row."""

import functools
import json

import pytest

import tempo
from experiments.benchmarks import peers, train_step
from tempo.models import size


class MadeUp:
    """A peer that takes no time to make."""

    num_threads, num_params = 2, 7

    def __init__(self, *args):
        self.args = args
        self.calls = []

    def step(self):
        self.calls.append("step")

    def forward(self):
        self.calls.append("forward")


def test_row_has_both_and_the_ratio(capsys, monkeypatch):
    shallow = functools.partial(tempo.create_model, backbone={"depths": (1, 1, 1, 1)})
    made = []
    monkeypatch.setattr(tempo, "create_model", shallow)
    monkeypatch.setattr(peers, "check", lambda model, dtype: None)
    monkeypatch.setattr(peers, "versions", lambda: {"torch": "2"})
    monkeypatch.setattr(peers, "Torch", lambda *args: made.append(MadeUp(*args)) or made[0])
    options = "--model tsn_r18 --clip 2x32 --batch 2 --classes 5 --peer torch"
    train_step.main(options.split())
    row = json.loads(capsys.readouterr().out)
    assert made[0].args == ("tsn_r18", (2, 32), 2, 5)
    assert made[0].calls == 6 * ["forward"] + 6 * ["step"]
    theirs, ours = row["peer"]["step_ms"]["median"], row["step_ms"]["median"]
    assert row["ratio"]["step"]["median"] == pytest.approx(theirs / ours, abs=1e-3)
    assert row["peer"]["versions"] == {"torch": "2"}
    assert "jax" in row["versions"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model tsn_r18", "No peer of preset 'tsn_r18' in PyTorchVideo; there is one of x3d_xs"),
        ("--model x3d_s --dtype bfloat16", "The peer computes in float32, not bfloat16"),
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
@pytest.mark.parametrize("name", ["x3d_xs", "slowonly_r50"])
def test_peer_is_the_same_network(name):
    pytest.importorskip("torch")
    pytest.importorskip("pytorchvideo")
    peer = peers.Torch(name, (4, 32), 1, 10)
    model = tempo.create_model(name, num_classes=10)
    assert peer.num_params == size.count_traced(model, (4, 32, 32, 3))[0]
