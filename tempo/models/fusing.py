"""Asymmetric blocks made single convolutions for inference, with the same scores."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tempo.errors import InputError
from tempo.layers import block_conv, slots
from tempo.models.resnet import ResNet, block_name

FUSED = {"acb3d": "3x3x3", "acb2d": "plain"}
"""Rows of `block_conv.CONV_B` that can be fused, and the row that then stands in their place."""


def arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a backbone's arguments that fusing changes, with their new values.

    Args:
      backbone: `variant` and fields, those of a preset included.
    """
    changed: dict[str, Any] = {}
    if (name := slots.name_of(backbone.get("conv_b", "plain"))) in FUSED:
        changed["conv_b"] = FUSED[name]
    for path in {"slow", "fast"} & set(backbone):
        if own := arguments(backbone[path]):
            changed[path] = {**backbone[path], **own}
    return changed


def leaves(pathways: Mapping[str, ResNet], variables: Mapping[str, Any]) -> dict[str, Any]:
    """`params` and `batch_stats` of a backbone with the asymmetric blocks fused; others as given.

    Args:
      pathways: networks by the name that their leaves are under; "" is the backbone itself.
      variables: `params` and `batch_stats` of the backbone.

    Raises:
      InputError: a block that should have branches has none.
    """
    params, stats = (_copy(variables[c]) for c in ("params", "batch_stats"))
    for path, net in pathways.items():
        if slots.name_of(net.conv_b) not in FUSED:
            continue
        own = (params[path], stats[path]) if path else (params, stats)
        for stage, depth in enumerate(net.depths):
            for i in range(depth):
                _fuse_block(net, stage, i, *own)
    return {"params": params, "batch_stats": stats}


def _fuse_block(net: ResNet, stage: int, i: int, params: dict, stats: dict) -> None:
    """In place: the block's leaves with each of its 3x3 convolutions fused."""
    name = block_name(stage, i)
    if name not in params or name not in stats:
        raise InputError(
            f"The variables have no {name}, which the model has; give those of the same model."
        )
    kernels_t = net.block_kernels(stage, i)
    for number, (conv, kernel_t) in enumerate(zip(net.layout, kernels_t, strict=True), start=1):
        if conv.side > 1:
            suffix = str(number)
            params[name], stats[name] = block_conv.fuse(params[name], stats[name], suffix)
            kernel = params[name][f"conv{suffix}"]["kernel"]
            # A plain convolution may be inflated; the branches of one frame were not.
            is_plain = FUSED[slots.name_of(net.conv_b)] == "plain"
            around = (kernel_t - kernel.shape[0]) // 2 if is_plain else 0
            padded = np.pad(kernel, ((around, around), *((0, 0),) * 4))
            params[name] = {**params[name], f"conv{suffix}": {"kernel": padded}}


def _copy(tree: Any) -> Any:
    """Mappings as new dicts, arrays as they are."""
    return {k: _copy(v) for k, v in tree.items()} if isinstance(tree, Mapping) else tree
