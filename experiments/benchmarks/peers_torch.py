"""Presets' networks in PyTorch, timed on the device that jax uses; see `peers`."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import torch
from torch import nn
from torch.nn import functional as F

from experiments.benchmarks import peers, torch_nets
from tempo.errors import InputError

R50 = (3, 4, 6, 3)


class Peer:
    """A network on one random batch: `runs` has what to call for a step or a forward pass.

    On the CPU as many threads as this process may have cores, which is what XLA takes. On a GPU
    cuDNN tries its algorithms and float32 products may be rounded to TF32, as jax does. bfloat16 is
    by autocast, with parameters in float32.

    Attributes:
      num_threads: of PyTorch.
      num_params: of the network.
      net: the network, in the layout that it is run in.
    """

    def __init__(self, spec: Mapping[str, Any], clip, batch: int, classes: int, dtype: str):
        self._device = _device()
        torch.manual_seed(0)
        self.num_threads = len(os.sched_getaffinity(0))
        torch.set_num_threads(self.num_threads)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high" if self._device == "cuda" else "highest")
        options = {name: value for name, value in spec.items() if name != "build"}
        net, flat = BUILDERS[spec["build"]](*clip, classes, **options)
        layout = torch.channels_last if flat else torch.channels_last_3d
        self.net = net.to(self._device, memory_format=layout)
        self.num_params = sum(p.numel() for p in self.net.parameters())
        video = torch.randn(batch, 3, clip[0], clip[1], clip[1], device=self._device)
        self._video = video.to(memory_format=torch.channels_last_3d)
        self._label = torch.arange(batch, device=self._device) % classes
        self._optimizer = torch.optim.SGD(self.net.parameters(), 0.01, momentum=0.9)
        self._autocast = {"device_type": self._device, "dtype": torch.bfloat16}
        self._autocast["enabled"] = dtype == "bfloat16"

    def runs(self, kind: str, mode: str) -> Callable[[], None]:
        """A step of training (`step`) or a pass in evaluation (`forward`), by a mode of `MODES`.

        It returns when the device is done. All of them are of one network.
        """
        net = torch.compile(self.net) if mode == "compile" else self.net
        work = {"step": self._step, "forward": self._forward}[kind]

        def run() -> None:
            work(net)
            if self._device == "cuda":
                torch.cuda.synchronize()

        return run

    def _step(self, net) -> None:
        self._set_training(True)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(**self._autocast):
            logits, *auxiliary = _as_tuple(net(self._video))
            loss = F.cross_entropy(logits, self._label)
            for more in auxiliary:
                loss = loss + 0.5 * F.cross_entropy(more, self._label)
        loss.backward()
        self._optimizer.step()

    def _forward(self, net) -> None:
        self._set_training(False)
        with torch.inference_mode(), torch.autocast(**self._autocast):
            net(self._video)

    def _set_training(self, training: bool) -> None:
        # Only where it changes: to walk all modules takes milliseconds of a network of many.
        if self.net.training != training:
            self.net.train(training)


def x3d(frames: int, side_px: int, classes: int, depth_factor: float, width_factor: float):
    """PyTorchVideo's X3D; and whether its convolutions are 2-D, as of all builders."""
    with peers.torchvision_stand_in():
        from pytorchvideo.models import x3d as builders
    net = builders.create_x3d(
        input_clip_length=frames,
        input_crop_size=side_px,
        model_num_class=classes,
        depth_factor=depth_factor,
        width_factor=width_factor,
        head_activation=None,
    )
    return net, False


def slow(frames: int, side_px: int, classes: int):
    """PyTorchVideo's slow path of a ResNet-50."""
    del frames, side_px
    with peers.torchvision_stand_in():
        from pytorchvideo.models import resnet
    net = resnet.create_resnet(
        model_num_class=classes,
        stem_conv_kernel_size=(1, 7, 7),
        head_pool=lambda kernel_size, stride, padding: nn.AdaptiveAvgPool3d(1),
        head_activation=None,
    )
    return net, False


class TwoRates(nn.Module):
    """A network of a slow and a fast path, of one clip."""

    def __init__(self, net, alpha: int):
        super().__init__()
        self.net, self.alpha = net, alpha

    def forward(self, clip):
        """`[N,3,T,H,W] -> [N,K]`."""
        return self.net([clip[:, :, :: self.alpha], clip])


def slowfast(frames: int, side_px: int, classes: int, alpha: int, kernel_t: int):
    """PyTorchVideo's SlowFast-R50."""
    del frames, side_px
    with peers.torchvision_stand_in():
        from pytorchvideo.models import slowfast as builders
    net = builders.create_slowfast(
        model_num_class=classes,
        slowfast_fusion_conv_kernel_size=(kernel_t, 1, 1),
        slowfast_fusion_conv_stride=(alpha, 1, 1),
        head_pool=nn.AdaptiveAvgPool3d,
    )
    return TwoRates(net, alpha), False


def tsm(frames: int, side_px: int, classes: int):
    """ResNet-50 on single frames in torchvision's layout, shifted in every block."""
    del side_px
    return torch_nets.TorchVision(64, classes, blocks=R50, frames=frames), True


def tpn(frames: int, side_px: int, classes: int):
    """The slow path of a ResNet-50 and the pyramid, in mmaction2's layout."""
    del side_px
    backbone = torch_nets.ResNet("mm", False, 64, (1, 1, 3, 3), blocks=R50)
    alphas = (frames // 2, frames)
    net = torch_nets.MMAction("mm", backbone, classes, alphas, "parallel", groups=32)
    return net, False


BUILDERS: dict[str, Callable] = {
    "x3d": x3d,
    "slow": slow,
    "slowfast": slowfast,
    "tsm": tsm,
    "tpn": tpn,
}
"""`(frames, side_px, classes, **options) -> (network, whether it is 2-D)`, by name."""


def _device() -> str:
    """The device of PyTorch that is the one jax computes on."""
    backend = jax.default_backend()
    if backend == "cpu":
        return "cpu"
    if backend != "gpu" or not torch.cuda.is_available():
        raise InputError(
            f"jax computes on {backend}, which this PyTorch cannot; install a CUDA build of it, "
            "or set JAX_PLATFORMS=cpu."
        )
    return "cuda"


def _as_tuple(outputs) -> tuple:
    return outputs if isinstance(outputs, tuple) else (outputs,)
