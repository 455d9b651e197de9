"""SlowFast: a wide network on few frames, fed by a narrow one on many (arXiv 1812.03982).

The geometry is that of the paper's table 1 and section 3; the norm and activation on the lateral
connections and the index tables are those of the public code, which differs: see `SlowFast`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import linen as nn
from jax import numpy as jnp

from tempo.errors import InputError, check_keys, lookup
from tempo.layers import conv as conv_lib
from tempo.layers.slots import Slot
from tempo.models import fields
from tempo.models.resnet import R34_50, R101, ResNet

VARIANTS: dict[str, dict[str, Any]] = {
    "slowfast_r50": {"depths": R34_50},
    "slowfast_r101": {"depths": R101},
}
"""Geometry by name: rows of `SlowFast` fields, each of which can be overridden."""

SLOW_INDEX: dict[str, Callable[[int, int], Sequence[int]]] = {
    "stride": lambda num_fast, num_slow: range(0, num_fast, num_fast // num_slow),
    "linspace": lambda num_fast, num_slow: tuple(
        i * (num_fast - 1) // max(num_slow - 1, 1) for i in range(num_slow)
    ),
}
"""Which of the fast frames the slow path sees: (their number, the slow path's) -> places.

`stride` takes every alpha-th one (the paper, mmaction2); `linspace` spreads them from the first to
the last and rounds down (PySlowFast and PyTorchVideo).
"""

SHARED = (
    "depths",
    "act",
    "temporal",
    "shift_div",
    "shift_shortcut",
    "shift_every",
    "conv_b",
    "downsample",
    "pool_stem",
    "attention",
    "zero_init",
)
"""Fields of `ResNet` that `SlowFast` gives to both paths."""

SLOW_ALONE = ("nonlocal_blocks", "nonlocal_mode", "nonlocal_pool")
"""Fields of `ResNet` that `SlowFast` gives to the slow path."""

_WHOLE = ("width", "channel_ratio", "slow_stride", "fast_stride", "fusion_kernel")


class SlowFast(nn.Module):
    """Two `ResNet`s over one clip; the fast one's features join the slow one's before each stage.

    The clip of T frames holds every frame that either path sees. The fast path takes frames 0,
    fast_stride, 2 fast_stride, ...; the slow one T / slow_stride of those, see `slow_index`. In the
    paper's terms alpha = slow_stride / fast_stride, beta = 1 / channel_ratio, and tau is
    slow_stride times the clip's own stride in the video. With the defaults a clip of 32 frames
    taken at stride 2 gives the fast path all 32 and the slow path frames 0, 8, 16, 24: 4x16.

    Attributes:
      conv, norm, dtype, remat: as of `ResNet`.
      depths: blocks per stage, of both paths.
      width: channels of the slow path's stem.
      channel_ratio: width of the slow path, in widths of the fast one; divides `width`.
      slow_stride: frames of the clip per frame of the slow path; a multiple of `fast_stride` that
        divides T.
      fast_stride: frames of the clip per frame of the fast path.
      slow_index: a name of `SLOW_INDEX`.
      fusion_kernel: temporal extent of the lateral convolutions, odd. They have stride alpha and
        twice the channels of the fast features they read.
      lateral_norm: a norm behind each lateral convolution, as in PySlowFast and PyTorchVideo, and
        in mmaction2 where its config says so; the weights it publishes have none.
      lateral_act: a name of `conv.ACTIVATIONS`; "" is the slow path's `act` where there is a norm
        and none where there is not.
      slow_kernels_t, fast_kernels_t: `kernels_t` of each path's `ResNet`.
      slow_stem_kernel_t, fast_stem_kernel_t: temporal extent of their stems.
      act, temporal, shift_div, shift_shortcut, shift_every, conv_b, downsample, pool_stem: of both
        paths, as of `ResNet`.
      attention, zero_init: the same. Zero is how the public code starts.
      nonlocal_blocks, nonlocal_mode, nonlocal_pool: of the slow path, as in the public code.
      slow, fast: further fields of the `ResNet` of one path; they win over all of the above.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: str
    depths: Sequence[int] = R34_50
    width: int = 64
    channel_ratio: int = 8
    slow_stride: int = 8
    fast_stride: int = 1
    slow_index: str = "stride"
    fusion_kernel: int = 5
    lateral_norm: bool = True
    lateral_act: str = ""
    slow_kernels_t: Sequence[int | Sequence[int]] = (1, 1, 3, 3)
    fast_kernels_t: Sequence[int | Sequence[int]] = (3, 3, 3, 3)
    slow_stem_kernel_t: int = 1
    fast_stem_kernel_t: int = 5
    act: str = "relu"
    temporal: Slot = "none"
    shift_div: int = 8
    shift_shortcut: bool = False
    shift_every: int = 1
    conv_b: Slot = "plain"
    downsample: str = "strided"
    pool_stem: bool = False
    attention: Slot = "none"
    nonlocal_blocks: Sequence[Sequence[int]] = ((), (), (), ())
    nonlocal_mode: str = "dot_product"
    nonlocal_pool: str = "input"
    zero_init: bool = True
    slow: Mapping[str, Any] = nn.FrozenDict()
    fast: Mapping[str, Any] = nn.FrozenDict()

    top = ("res5", "fast_res5")

    def __post_init__(self):
        fields.check_whole(self, _WHOLE)
        lookup(SLOW_INDEX, self.slow_index, "slow_index (config.backbone.slow_index)")
        activations = {"": None, **conv_lib.ACTIVATIONS}
        lookup(activations, self.lateral_act, "activation (config.backbone.lateral_act)")
        if self.fast_stride < 1 or self.slow_stride < 1 or self.slow_stride % self.fast_stride:
            raise InputError(
                f"backbone.slow_stride={self.slow_stride} must be a multiple of "
                f"backbone.fast_stride={self.fast_stride}, both at least 1."
            )
        if self.channel_ratio < 1 or self.width % self.channel_ratio:
            raise InputError(
                f"backbone.channel_ratio={self.channel_ratio} must divide "
                f"backbone.width={self.width}."
            )
        if self.fusion_kernel < 1 or self.fusion_kernel % 2 == 0:
            raise InputError(
                f"backbone.fusion_kernel={self.fusion_kernel} must be odd, such as 5 or 7."
            )
        self.pathways()  # made to be refused here, with the model, if their fields are wrong
        super().__post_init__()

    def pathways(self) -> dict[str, ResNet]:
        """`slow` and `fast`, each with all its fields; not to be run."""
        return {path: self._pathway(path, parent=None) for path in ("slow", "fast")}

    def frames(self, num_frames: int) -> tuple[Sequence[int], Sequence[int]]:
        """Frames of a clip of `num_frames` that the slow and the fast path see, in order.

        Raises:
          InputError: `slow_stride` does not divide the number of frames.
        """
        if num_frames < 1 or num_frames % self.slow_stride:
            raise InputError(
                f"backbone.slow_stride={self.slow_stride} must divide the clip's {num_frames} "
                f"frames; give clips of a multiple of {self.slow_stride} frames or lower it."
            )
        fast = range(0, num_frames, self.fast_stride)
        places = SLOW_INDEX[self.slow_index](len(fast), num_frames // self.slow_stride)
        if isinstance(places, range):
            return fast[places.start : places.stop : places.step], fast
        return tuple(fast[i] for i in places), fast

    @nn.compact
    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> `res2` to `res5` of the slow path and `fast_res2` to `fast_res5`.

        Shapes are `[B,T',H/s,W/s,C']`, s = 4, 8, 16, 32, with the frames of each path; features of
        the slow path are those before the fast path's join them.

        Raises:
          InputError: `slow_stride` does not divide T.
        """
        slow_frames, fast_frames = self.frames(x.shape[1])
        fast = self._pathway("fast").stages(_take(x, fast_frames), train=train)
        laterals = [
            self._lateral(i, fast[name], train=train)
            for i, name in enumerate(("stem", "res2", "res3", "res4"))
        ]
        slow = self._pathway("slow").stages(_take(x, slow_frames), train=train, laterals=laterals)
        names = [f"res{i}" for i in range(2, 6)]
        return {name: slow[name] for name in names} | {f"fast_{name}": fast[name] for name in names}

    def _pathway(self, path: str, **kwargs) -> ResNet:
        own = {
            "slow": {
                "width": self.width,
                "kernels_t": self.slow_kernels_t,
                "stem_kernel_t": self.slow_stem_kernel_t,
                **{name: getattr(self, name) for name in SLOW_ALONE},
                **self.slow,
            },
            "fast": {
                "width": self.width // self.channel_ratio,
                "kernels_t": self.fast_kernels_t,
                "stem_kernel_t": self.fast_stem_kernel_t,
                **self.fast,
            },
        }
        given = {**{name: getattr(self, name) for name in SHARED}, **own[path]}
        resnet = functools.partial(ResNet, self.conv, self.norm, self.dtype, self.remat)
        check_keys(f"backbone.{path}", given, resnet)
        return resnet(**given, name=path, **kwargs)

    def _lateral(self, i: int, x, *, train: bool):
        act = self.lateral_act
        if not act:
            act = self.slow.get("act", self.act) if self.lateral_norm else "identity"
        norm = functools.partial(self.norm, use_running_average=not train)
        return Lateral(
            conv=self.conv,
            norm=norm if self.lateral_norm else None,
            act=conv_lib.ACTIVATIONS[act],
            kernel_t=self.fusion_kernel,
            stride_t=self.slow_stride // self.fast_stride,
            name=f"lateral_{i}",
        )(x)


class Lateral(nn.Module):
    """Features of the fast path at the slow path's rate: a convolution strided in time (3.4).

    Attributes:
      conv, norm: factories; `norm` has `train` bound, or is None.
      act: activation function.
      kernel_t, stride_t: temporal extent and stride of the convolution.
    """

    conv: Callable
    norm: Callable | None
    act: Callable
    kernel_t: int
    stride_t: int

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T/stride_t,H,W,2C]`."""
        x = self.conv(2 * x.shape[-1], (self.kernel_t, 1, 1), (self.stride_t, 1, 1), name="conv")(x)
        return self.act(x if self.norm is None else self.norm(name="norm")(x))


def _take(x, frames: Sequence[int]):
    """`x[:, frames]` by slices, for a gather is slower."""
    if isinstance(frames, range):
        return x[:, frames.start : frames.stop : frames.step]
    return jnp.stack([x[:, i] for i in frames], axis=1)
