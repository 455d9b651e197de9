"""Recurrent gates compute what PyTorch's layers do, with their weights renamed; and back."""

import jax
import numpy as np
import pytest

import tempo
from tempo.convert import recurrent as weights
from tempo.layers import recurrent

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

LAYERS = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}


def nested(leaves):
    tree = {}
    for name, leaf in leaves.items():
        *path, last = name.split("/")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = leaf
    return {"params": tree}


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_outputs_are_those_of_pytorch(cell, num_layers):
    torch.manual_seed(0)
    theirs = LAYERS[cell](6, 6, num_layers, batch_first=True)
    arrays = {key: value.detach().numpy() for key, value in theirs.state_dict().items()}
    leaves = weights.to_leaves(cell, arrays)
    x = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(np.float32)
    module = recurrent.SqueezeRecursion(cell, num_layers, unroll=5)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    assert jax.tree.map(np.shape, nested(leaves)) == jax.tree.map(np.shape, shapes)
    run = jax.jit(lambda x: module.apply(nested(leaves), x, method="gates"))
    for frames in (1, 4, 8):  # 8 takes the loop
        with torch.no_grad():
            expected = theirs(torch.from_numpy(x[:, :frames]))[0].numpy()
        np.testing.assert_allclose(run(x[:, :frames]), expected, atol=1e-6)
    back = weights.to_keys(cell, leaves)
    assert {key: value.shape for key, value in back.items()} == {
        key: value.shape for key, value in arrays.items()
    }
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in back.items()})
    with torch.no_grad():
        np.testing.assert_allclose(theirs(torch.from_numpy(x))[0].numpy(), expected, atol=1e-6)


def test_layers_are_found_and_refused_in_one_line():
    arrays = {
        f"layer1.sr.op.{key}": value.numpy()
        for key, value in torch.nn.GRU(2, 2).state_dict().items()
    }
    found = weights.layers({**arrays, "fc.weight": np.zeros(3)})
    assert list(found) == ["layer1.sr.op"]
    gru = found["layer1.sr.op"]
    assert len(weights.to_leaves("gru", gru)) == 10
    for cell, given, message in [
        ("lstm", gru, r"weight_ih_l0 has shape \(6, 2\), which are not the 4 gates of a lstm"),
        ("gru", {"weight_ih_l0": gru["weight_ih_l0"]}, "lacks weight_hh_l0; it has weight_ih_l0"),
        ("gru", {**gru, "bias_hh_l0": np.zeros(9)}, r"bias_hh_l0 has shape \(9,\).* 2 channels"),
        ("gru", {**gru, "weight_hh_l0": np.zeros((6, 3))}, r"shape \(6, 3\).* of 2 channels"),
        ("lstm_peephole", gru, "'lstm_peephole'.*There are|lstm_peephole"),
    ]:
        with pytest.raises(tempo.InputError, match=message):
            weights.to_leaves(cell, given)
