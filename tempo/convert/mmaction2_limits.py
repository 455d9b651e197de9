"""What networks mmaction2 has: which of ours can be written for it, and what its config must say.

Only what no array tells stands here; an array that mmaction2 lacks is found by its name.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import linen as nn

from tempo.convert import recognise
from tempo.convert.trunk import Trunk
from tempo.errors import InputError
from tempo.layers import slots
from tempo.models import blocks, resnet, tpn


class Part(NamedTuple):
    """A residual network of a model: its fields, its facts, and whether it becomes a 2-D one."""

    net: resnet.ResNet
    trunk: Trunk
    is_2d: bool

    @property
    def temporal(self) -> str:
        """Name of the temporal module."""
        return slots.name_of(self.net.temporal)

    @property
    def has_nonlocal(self) -> bool:
        """Whether a block has a non-local one behind it."""
        return any(self.trunk["nonlocal_blocks"])


def _has_kernels(part: Part) -> bool:
    """Whether blocks are inflated as `Bottleneck3d` and `BasicBlock3d` are: to 3 frames, once."""
    kernels = {k for stage in part.trunk["kernels_t"] for k in stage}
    if part.trunk["conv_b"] == "3x3x3":
        return kernels == {1}
    # Of a basic block both convolutions are inflated or neither.
    is_half = part.net.block == "basic" and part.trunk["inflate_style"] == "3x1x1"
    return kernels <= ({1} if is_half else {1, 3})


def _is_one(field: str) -> Callable[[Part], bool]:
    def check(part: Part) -> bool:
        value = getattr(part.net, field)
        return not part.is_2d or set(value if isinstance(value, list | tuple) else [value]) == {1}

    return check


_1_IN_2D = "1 in networks that see single frames"

LIMITS: dict[str, tuple[Callable[[Part], bool], str]] = {
    "act": (lambda part: part.net.act == "relu", "relu"),
    "downsample": (lambda part: part.net.downsample == "strided", "strided"),
    "pool_stem": (lambda part: not part.net.pool_stem, "False"),
    "stem_pool": (lambda part: part.net.stem_pool, "True"),
    "pool1_kernel_t": (lambda part: part.net.pool1_kernel_t == 1, "1"),
    "stem_stride_t": (_is_one("stem_stride_t"), _1_IN_2D),
    "pool1_stride_t": (_is_one("pool1_stride_t"), _1_IN_2D),
    "strides_t": (_is_one("strides_t"), _1_IN_2D),
    "strides": (lambda part: tuple(part.net.strides) == (1, 2, 2, 2), "(1, 2, 2, 2)"),
    "pool2_stride_t": (lambda part: part.net.pool2_stride_t in (1, 2), "1 and 2"),
    "expansion": (
        lambda part: part.trunk["expansion"] == blocks.layout(part.net.block)[-1].expansion,
        "4 of bottlenecks and 1 of basic blocks",
    ),
    "conv_b": (
        lambda part: slots.name_of(part.trunk["conv_b"]) in ("plain", "3x3x3"),
        "plain and 3x3x3",
    ),
    "kernels_t": (
        _has_kernels,
        "1 or 3 frames of one convolution of a bottleneck or both of a basic block",
    ),
    "temporal": (
        lambda part: part.temporal == "none" or part.is_2d,
        "none beside convolutions that see several frames",
    ),
    "nonlocal_blocks": (
        lambda part: (
            not (part.has_nonlocal and part.is_2d)
            or (part.temporal != "tam" and part.net.block == "bottleneck")
        ),
        "none with temporal='tam', and in 2-D none behind basic blocks",
    ),
    "nonlocal_pool": (
        lambda part: not part.has_nonlocal or part.net.nonlocal_pool != "none",
        "projections",
    ),
}
"""By field of `resnet.ResNet`: whether mmaction2 has the network's value, and what it has."""

NECK: dict[str, tuple[Any, ...]] = {
    "flow": ("cascade", "parallel"),
    "act": ("relu",),
    "force_two_pyramids": (False,),
    "spatial_modulation": (True,),
    "temporal_modulation": (True,),
    "td_gate": (1.0,),
}
"""By field of `tpn.TPN`: the values that mmaction2 has."""


def parts(backbone: nn.Module) -> dict[str, Part]:
    """The residual networks of a backbone, by the name their leaves are under."""
    networks, trunks = backbone.pathways(), recognise.trunks_of(backbone)
    return {
        path: Part(net, trunks[path], trunks[path].is_flat and len(trunks) == 1)
        for path, net in networks.items()
    }


def check(model: nn.Module) -> None:
    """Raises `InputError` if mmaction2 has no such network, whatever its arrays."""
    streams = getattr(model.backbone, "streams", ())
    if len(streams) > 1:
        raise InputError(
            f"mmaction2 has no network of several streams ({' and '.join(streams)}), and this "
            "model is one; keep it as a checkpoint of ours (--to tempo)."
        )
    if not model.backbone.pathways():
        raise InputError(
            "Only ResNets are written for mmaction2; the model's backbone is of the kind "
            f"{type(model.backbone).__name__}."
        )
    for path, part in parts(model.backbone).items():
        for field, (has, words) in LIMITS.items():
            if not has(part):
                _refuse(f"backbone.{f'{path}.' if path else ''}{field}", part.net, field, words)
    act = getattr(model.backbone, "lateral_act", "")
    # The activation of a lateral connection stands behind its norm, or nowhere.
    if act and act != ("relu" if model.backbone.lateral_norm else "identity"):
        _refuse("backbone.lateral_act", model.backbone, "lateral_act", "''")
    if model.neck is None:
        return
    if not isinstance(model.neck, tpn.TPN):
        raise InputError(
            f"mmaction2 has no neck {type(model.neck).__name__}, only TPN; keep the model as a "
            "checkpoint of ours (--to tempo)."
        )
    for field, values in NECK.items():
        if getattr(model.neck, field) not in values:
            _refuse(f"neck.{field}", model.neck, field, " and ".join(map(str, values)))


def _refuse(where: str, module: nn.Module, field: str, has: str) -> None:
    raise InputError(
        f"mmaction2 has no network with {where}={getattr(module, field)!r}; it has {has}. Such a "
        "model cannot be written for it."
    )


_MODES = {
    "dot_product": "mode='dot_product'",
    "softmax": "mode='embedded_gaussian', use_scale=True",
    "embedded_gaussian": "mode='embedded_gaussian', use_scale=False",
}


def notes(model: nn.Module, info: Mapping[str, Any]) -> list[str]:
    """What mmaction2's config must say for the same numbers, and what it cannot."""
    out = []
    for path, part in parts(model.backbone).items():
        out += [f"{path}: {text}" if path else text for text in _of_trunk(part)]
    if hasattr(model.backbone, "slow_stride"):
        alpha = model.backbone.slow_stride // model.backbone.fast_stride
        out.append(
            f"in mmaction2's config: backbone.resample_rate={model.backbone.slow_stride} and "
            f"speed_ratio={alpha}"
        )
        if model.backbone.slow_index != "stride":
            out.append("the model's slow pathway sees other frames than mmaction2's would")
    if isinstance(model.neck, tpn.TPN):
        frames = info["preprocessing"]["num_frames"]
        out.append(
            f"in mmaction2's config: neck.flow_type={model.neck.flow!r}, and scales of alphas="
            f"{model.neck.alphas!r} for {frames} frames"
        )
    return out


def _of_trunk(part: Part) -> list[str]:
    """`notes` of one residual network."""
    net, out = part.net, []
    if net.block == "bottleneck" and net.stride_on == "conv1":
        out.append("in mmaction2's config: backbone.style='caffe'")
    if net.shift_shortcut and part.temporal == "tsm":
        out.append(
            "the model's projection shortcuts read the shifted input, which mmaction2's do not: "
            "its numbers will differ"
        )
    options = net.temporal if isinstance(net.temporal, Mapping) else {}
    div = options.get("shift_div", net.shift_div)
    if part.temporal == "tsm" and div != 8:
        out.append(f"in mmaction2's config: backbone.shift_div={div}")
    every = 2 if part.temporal == "tsm" and net.depths[2] >= 23 else 1
    if part.temporal != "none" and net.shift_every != every:
        out.append(
            f"the model's temporal modules stand in every {net.shift_every}. block; mmaction2's "
            "stand in every block, and of TSM with 23 blocks in res4 in every second one"
        )
    if part.temporal == "tam" and options.keys() > {"name"}:
        said = {k: v for k, v in options.items() if k != "name"}
        out.append(f"in mmaction2's config: backbone.tam_cfg says what is here {said}")
    if part.has_nonlocal:
        mode = _MODES[net.nonlocal_mode]
        out.append(f"in mmaction2's config: backbone.non_local_cfg with sub_sample=True, {mode}")
        if part.is_2d and part.temporal == "none":
            out.append("in mmaction2's config: backbone.type='ResNetTSM', is_shift=False")
        if net.nonlocal_pool == "input":
            out.append(
                "the model's non-local blocks pool their input, where mmaction2's pool the "
                "projections: its numbers will differ"
            )
    if net.pool2_stride_t > 1:
        how = "type='C2D'" if part.is_2d else "with_pool2=True"
        out.append(f"in mmaction2's config: backbone.{how}, for the pool behind res2")
    return out
