"""Networks of other libraries, in training and in evaluation, which benchmarks time beside ours.

`torch`: PyTorchVideo's builders, and own ones (`torch_nets`) of what it has not, in PyTorch on the
same device, channels last, with SGD and momentum 0.9.

Not a part of tempo: pip install torch==2.13.0 pytorchvideo==0.1.5
"""

import contextlib
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

import jax

from tempo.errors import InputError

INSTALL = "pip install torch==2.13.0 pytorchvideo==0.1.5"

_X3D = {"build": "x3d", "depth_factor": 2.2, "width_factor": 2.0}
TORCH: dict[str, dict[str, Any]] = {
    "x3d_xs": _X3D,
    "x3d_s": _X3D,
    "x3d_m": _X3D,
    "x3d_l": {**_X3D, "depth_factor": 5.0},
    "slowonly_r50": {"build": "slow"},
    "slowfast_r50_4x16": {"build": "slowfast", "alpha": 8, "kernel_t": 5},
    "slowfast_r50_8x8": {"build": "slowfast", "alpha": 4, "kernel_t": 7},
    "tsm_r50": {"build": "tsm"},
    "tpn_slowonly_r50": {"build": "tpn"},
}
"""Builder of a preset's network, a function of `peers_torch`, and its options, by preset."""

MODES = {"eager": "operation by operation", "compile": "torch.compile"}
"""Ways to run a network of PyTorch."""


def modes(text: str | None) -> list[str]:
    """Names of `MODES` by comma; None: on a CPU eager alone, which needs no compiler; else all.

    Raises:
      InputError: no such mode.
    """
    if text is None:
        return ["eager"] if jax.default_backend() == "cpu" else list(MODES)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in MODES:
            raise InputError(f"--peer-modes has {name!r}; choose from {', '.join(MODES)}.")
    return names


def check(model: str) -> None:
    """Raises `InputError` unless there is a peer of preset `model`, and it can be imported."""
    if model not in TORCH:
        raise InputError(f"No peer of preset {model!r}; there is one of {', '.join(TORCH)}.")
    missing = [n for n in ("torch", "pytorchvideo") if importlib.util.find_spec(n) is None]
    if missing:
        raise InputError(f"The peer needs {' and '.join(missing)}: {INSTALL}")


def create(model: str, clip: tuple[int, int], batch: int, classes: int, dtype: str):
    """The peer of preset `model` on one random batch, a `peers_torch.Peer`."""
    from experiments.benchmarks import peers_torch

    return peers_torch.Peer(TORCH[model], clip, batch, classes, dtype)


def versions() -> dict[str, str]:
    """Versions of the peer's packages."""
    return {name: importlib.metadata.version(name) for name in ("torch", "pytorchvideo")}


@contextlib.contextmanager
def torchvision_stand_in() -> Iterator[None]:
    """PyTorchVideo can be imported meanwhile, with torchvision or without.

    It asks for a layer of torchvision for its detection heads, which are not used here.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        yield
        return
    ops = types.ModuleType("torchvision.ops")
    ops.RoIAlign = None
    stand_ins = {"torchvision": types.ModuleType("torchvision"), "torchvision.ops": ops}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        # Left behind, it would be taken for the real one by whoever looks for that.
        for name in stand_ins:
            del sys.modules[name]
