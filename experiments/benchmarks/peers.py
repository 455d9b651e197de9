"""Networks of other libraries in training and in evaluation, which `train_step` times beside ours.

`torch`: PyTorchVideo's builders in PyTorch on the CPU, channels last, with SGD and momentum 0.9.

Not a part of tempo: pip install torch==2.13.0 pytorchvideo==0.1.5
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from tempo.errors import InputError

INSTALL = "pip install torch==2.13.0 pytorchvideo==0.1.5"


def _x3d(frames: int, side_px: int, classes: int, depth_factor: float, width_factor: float):
    from pytorchvideo.models import x3d

    return x3d.create_x3d(
        input_clip_length=frames,
        input_crop_size=side_px,
        model_num_class=classes,
        depth_factor=depth_factor,
        width_factor=width_factor,
        head_activation=None,
    )


def _slow(frames: int, side_px: int, classes: int):
    import torch
    from pytorchvideo.models import resnet

    return resnet.create_resnet(
        model_num_class=classes,
        stem_conv_kernel_size=(1, 7, 7),
        head_pool=lambda kernel_size, stride, padding: torch.nn.AdaptiveAvgPool3d(1),
        head_activation=None,
    )


TORCH: dict[str, tuple[Callable, dict[str, Any]]] = {
    "x3d_xs": (_x3d, {"depth_factor": 2.2, "width_factor": 2.0}),
    "x3d_s": (_x3d, {"depth_factor": 2.2, "width_factor": 2.0}),
    "x3d_m": (_x3d, {"depth_factor": 2.2, "width_factor": 2.0}),
    "x3d_l": (_x3d, {"depth_factor": 5.0, "width_factor": 2.0}),
    "slowonly_r50": (_slow, {}),
}
"""PyTorchVideo's builder of a preset's network, and its options, by name of the preset."""


def check(model: str, dtype: str) -> None:
    """Raises `InputError` unless there is a peer of preset `model`, and it can be imported."""
    if model not in TORCH:
        raise InputError(
            f"No peer of preset {model!r} in PyTorchVideo; there is one of {', '.join(TORCH)}."
        )
    if dtype != "float32":
        raise InputError(f"The peer computes in float32, not {dtype}; drop --dtype.")
    missing = [n for n in ("torch", "pytorchvideo") if importlib.util.find_spec(n) is None]
    if missing:
        raise InputError(f"The peer needs {' and '.join(missing)}: {INSTALL}")


class Torch:
    """PyTorchVideo's network of a preset on one random batch, in training and in evaluation.

    As many threads as this process may have cores, which is what XLA takes.

    Attributes:
      num_threads: of PyTorch.
      num_params: of the network.
    """

    def __init__(self, model: str, clip: tuple[int, int], batch: int, classes: int):
        import torch

        self._torch = torch
        torch.manual_seed(0)
        self.num_threads = len(os.sched_getaffinity(0))
        torch.set_num_threads(self.num_threads)
        create, options = TORCH[model]
        layout = {"memory_format": torch.channels_last_3d}
        with torchvision_stand_in():
            net = create(*clip, classes, **options)
        self._net = net.to(**layout)
        self.num_params = sum(p.numel() for p in self._net.parameters())
        self._video = torch.randn(batch, 3, clip[0], clip[1], clip[1]).to(**layout)
        self._label = torch.arange(batch) % classes
        self._optimizer = torch.optim.SGD(self._net.parameters(), 0.01, momentum=0.9)

    def step(self) -> None:
        """One step of training: forward, backward, SGD with momentum."""
        self._net.train()
        self._optimizer.zero_grad(set_to_none=True)
        logits = self._net(self._video)
        self._torch.nn.functional.cross_entropy(logits, self._label).backward()
        self._optimizer.step()

    def forward(self) -> None:
        """Logits of the batch in evaluation, without a graph for gradients."""
        self._net.eval()
        with self._torch.inference_mode():
            self._net(self._video)


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
