"""A network of torch through a file and the command, and the scores on either side."""

import importlib
import json

import jax
import numpy as np
import torch

import tempo
from experiments.benchmarks import peers
from tempo.convert import __main__ as convert

K = 5
FRAMES = 4
SMALL = [
    "--size", "32", "--crop-size", "32", "--short-side", "32", "--frames", str(FRAMES),
]  # fmt: skip


def pytorchvideo(*names):
    """Modules of `pytorchvideo.models`, which ask for a layer of torchvision, for detection."""
    with peers.torchvision_stand_in():
        return {name: importlib.import_module(f"pytorchvideo.models.{name}") for name in names}


def torch_logits(module, clip):
    with torch.no_grad():
        return module(torch.tensor(np.moveaxis(clip, -1, 1).copy())).numpy()


def clip_of(frames=FRAMES, size=32):
    clip = np.random.default_rng(1).normal(size=(2, frames, size, size, 3))
    return clip.astype(np.float32)


def run(path, clip):
    """Logits of a converted checkpoint."""
    model, variables, info = tempo.load_model(path)
    # Compiled once for the cases that are one model; the first of the same config is as good.
    told = json.dumps(info["config"]["model"], sort_keys=True)
    if told not in _compiled:
        _compiled[told] = jax.jit(lambda v, x: model.apply(v, x, train=False)["logits"])
    with jax.default_matmul_precision("highest"):
        return np.asarray(_compiled[told](variables, clip))


_compiled = {}


def converted(module, source, *flags, wrapper="state_dict", out="out"):
    """The state dict through a file and the command; the folder."""
    state = module.state_dict()
    torch.save({wrapper: state, "meta": {"epoch": 3}} if wrapper else state, "weights.pth")
    status = convert.main(
        ["--source", source, "--input", "weights.pth", "--out", out, *SMALL, *flags]
    )
    assert status == 0
    return out


def difference(actual, expected):
    """Largest difference; of logits below 1, in parts of the largest."""
    return np.abs(actual - expected).max() / min(1, np.abs(expected).max())
