"""Checkpoints of a small network under public names, made without torch."""

import numpy as np

from tempo import trees
from tempo.convert import mmaction2, rules, tensor_files
from tempo.models import tracing

K = 5
SLOWONLY = {"backbone": {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 4}}
TPN = {**SLOWONLY, "neck": {"name": "tpn", "groups": 4, "alphas": "equal", "flow": "cascade"}}
SIZE = ["--size", "32", "--crop-size", "32", "--short-side", "32"]


def leaves(model, num_classes=K, clip=(8, 32, 32, 3)):
    """Random leaves of a model by name."""
    shapes = tracing.variable_shapes(num_classes, model, clip)
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(0.5, 1.5, size=s.shape).astype(np.float32)
        for name, s in trees.named(shapes).items()
    }


def state(model, rows=mmaction2.ROWS, **kwargs):
    """A state dict of mmaction2."""
    arrays, unknown = rules.to_keys(
        leaves(model, **kwargs),
        rows,
        may_name=lambda row, _: row[2] != "shifted_conv",
        is_flat=lambda leaf: False,
    )
    assert not unknown
    return arrays


def write(arrays, path="weights.pth", meta=None):
    """A file as mmaction2 saves it; its path."""
    tensor_files.write(path, arrays, meta={"meta": meta or {"epoch": 3}})
    return path
