"""Batch norm beside PyTorch's: momenta are one minus the other's, running variances differ."""

import jax
import numpy as np
import pytest

from tempo.layers.norm import BatchNorm

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity


def test_running_statistics_are_those_of_pytorch_but_for_the_bias_of_the_variance():
    rng = np.random.default_rng(0)
    clips = [rng.normal(2, 3, size=(2, 2, 2, 2, 4)).astype(np.float32) for _ in range(3)]
    theirs = torch.nn.BatchNorm3d(4, momentum=0.1)
    ours = BatchNorm(False, momentum=0.9)
    variables = ours.init(jax.random.key(0), clips[0])
    num = clips[0].size // 4
    for x in clips:
        expected = theirs(torch.tensor(np.moveaxis(x, -1, 1).copy())).detach().numpy()
        y, new = ours.apply(variables, x, mutable=["batch_stats"])
        variables = {**variables, **new}
        np.testing.assert_allclose(np.moveaxis(y, -1, 1), expected, atol=1e-5)
    stats = variables["batch_stats"]
    np.testing.assert_allclose(stats["mean"], theirs.running_mean.numpy(), rtol=1e-5)
    # What the three batches gave is n / (n - 1) of ours there; the initial ones are the same.
    initial = 0.9**3
    corrected = initial + (stats["var"] - initial) * num / (num - 1)
    np.testing.assert_allclose(corrected, theirs.running_var.numpy(), rtol=1e-5)
    assert np.abs(stats["var"] - theirs.running_var.numpy()).max() > 1e-2
    # In evaluation the running statistics are taken, so with theirs the outputs are theirs.
    told = {"mean": theirs.running_mean.numpy(), "var": theirs.running_var.numpy()}
    y = BatchNorm(True).apply({"params": variables["params"], "batch_stats": told}, clips[0])
    expected = theirs.eval()(torch.tensor(np.moveaxis(clips[0], -1, 1).copy())).detach().numpy()
    np.testing.assert_allclose(np.moveaxis(y, -1, 1), expected, atol=1e-5)
