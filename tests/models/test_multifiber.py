"""The multi-fiber network: its published size, its stages, and what its units keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import models, trees
from tempo.models import size

TINY = {"variant": "mfnet", "depths": (1, 2, 1, 1), "width": 8, "stem_width": 4, "num_fibers": 4}


def test_published_size():
    """arXiv 1807.11195: 8.0 M parameters and 11.1 G at 16 frames of 224 px."""
    params, macs = size.count(400, {"name": "mfnet"}, (16, 224, 224, 3))
    assert params == 7_996_368
    assert macs / 1e9 == pytest.approx(11.1, rel=0.01)


def test_stages_and_leaves():
    model = models.create(3, backbone=TINY)
    rows = dict(models.describe(model, (1, 8, 64, 64, 3)))
    assert [rows[f"res{i}"] for i in range(2, 6)] == [
        (1, 4, 16, 16, 8),
        (1, 4, 8, 8, 16),
        (1, 4, 4, 4, 32),
        (1, 4, 2, 2, 64),
    ]
    video = jax.ShapeDtypeStruct((1, 8, 64, 64, 3), jnp.float32)
    tree = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)
    leaves = trees.named_shapes(tree["params"]["backbone"])
    kernels = {k.removesuffix("/kernel"): v for k, v in leaves.items() if k.endswith("kernel")}
    assert {k.split("/")[1]: v for k, v in kernels.items() if k.startswith("stage2_block1")} == {
        "conv1": (1, 1, 1, 8, 4),
        "conv2": (1, 1, 1, 4, 8),
        "conv3": (3, 3, 3, 2, 16),
        "conv4": (1, 1, 1, 16, 16),
        "conv_proj": (1, 1, 1, 8, 16),
    }
    assert kernels["stage2_block2/conv4"] == (1, 3, 3, 4, 16)
    assert "stage2_block2/conv_proj" not in kernels


def test_units_end_in_a_sum_and_the_network_in_its_norm():
    model = models.create(3, backbone={**TINY, "depths": (1, 0, 0, 0)}).backbone
    clip = np.random.default_rng(0).normal(size=(1, 2, 8, 8, 3)).astype(np.float32)
    run = jax.jit(lambda key, x: model.init_with_output(key, x, train=False)[0])
    features = run(jax.random.key(0), clip)
    assert features["res2"].min() < 0 <= features["res5"].min()
    # A norm that has seen nothing divides by sqrt(1 + epsilon).
    expected = np.maximum(features["res4"], 0) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(features["res5"], expected, rtol=1e-5, atol=1e-6)


def test_widths_that_fibers_do_not_divide_are_refused():
    with pytest.raises(tempo.InputError, match="width=10 cannot be parted into .*num_fibers=4"):
        models.create(3, backbone={**TINY, "width": 10})
