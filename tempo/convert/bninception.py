"""BN-Inception of pictures (ImageNet) and of TSN, under Caffe's names and those made of them.

The names are those of TSN's deployments (github.com/yjxiong/temporal-segment-networks), in Caffe
with slashes: `inception_3a/3x3_reduce`, its norm with `_bn` behind that. In PyTorch they have
underscores: as they are (Cadene's pretrained-models), and behind `base_model.` (tsn-pytorch) or
`backbone.` (mmaction). Networks for frames were trained on pixels in the order blue, green, red;
the stem is turned round here, so that it reads red, green, blue.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tempo.convert import rules
from tempo.convert.families import STEMS
from tempo.convert.source import Defaults, Family, Layout, Protocol, Source
from tempo.errors import InputError
from tempo.models import bninception

CAFFE_MEAN = (123.0, 117.0, 104.0)
"""Of red, green and blue, as Caffe's networks of TSN's time have it; they divide by nothing."""

STEM = "conv1_7x7_s2"
_COLOURED = tuple(count for count, stem in STEMS.items() if stem.stream == "video")
_BRANCHES = {
    "b1x1": "1x1",
    "b3x3_reduce": "3x3_reduce",
    "b3x3": "3x3",
    "bd_reduce": "double_3x3_reduce",
    "bd_1": "double_3x3_1",
    "bd_2": "double_3x3_2",
    "pool_proj": "pool_proj",
}
_LAYERS = {
    STEM: "stem_conv",
    "conv2_3x3_reduce": "conv2_reduce",
    "conv2_3x3": "conv2",
    **{
        f"inception_{block.removeprefix('inc')}_{theirs}": f"{block}/{ours}"
        for block in bninception.BLOCKS
        for ours, theirs in _BRANCHES.items()
    },
}
BACKBONE: tuple[rules.Row, ...] = (
    *((theirs, ours, "biased_conv") for theirs, ours in _LAYERS.items()),
    *(
        (f"{theirs}_bn", "stem_norm" if theirs == STEM else f"{ours}_norm", "norm")
        for theirs, ours in _LAYERS.items()
    ),
)


def stem_turned_round(arrays: Mapping[str, np.ndarray], key: str) -> rules.Arrays:
    """The arrays, with the colours of the stem `key` `[F,C,...]` in the reverse order.

    Of stacked differences those of each; a stem of flow stays as it is.
    """
    kernel = arrays.get(key)
    if kernel is None or kernel.ndim != 4 or kernel.shape[1] not in _COLOURED:
        return dict(arrays)
    groups = kernel.reshape(len(kernel), -1, 3, *kernel.shape[2:])
    return {**arrays, key: groups[:, :, ::-1].reshape(kernel.shape)}


def _unpacked(prefix: str):
    """Arrays under one spelling, without sides of 1 around what a norm holds."""

    def unpack(arrays: Mapping[str, np.ndarray]) -> rules.Arrays:
        named = {key.replace("/", "_"): value for key, value in arrays.items()}
        for key, value in named.items():
            # Caffe's blobs of a norm are [1,C,1,1], those of tsn-pytorch [1,C].
            if "_bn." in key and value.ndim > 1 and value.size == max(value.shape):
                named[key] = value.reshape(-1)
        return stem_turned_round(named, f"{prefix}{STEM}.weight")

    return unpack


def _fields(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Fields of `bninception.BNInception` that the leaves tell."""
    for block in bninception.BLOCKS:
        if f"params/backbone/{block}/b3x3/kernel" not in shapes:
            raise InputError(f"The weights are cut: BN-Inception has {block}, and they have not.")
    return {"width": shapes["params/backbone/stem_conv/kernel"][-1]}


FAMILY = Family(
    about="BN-Inception",
    backbone=bninception.BNInception,
    read=_fields,
    defaults="segments",
    protocols={
        "tsn_bninception": Protocol(),
        "tsn_bninception_rgb_diff": Protocol(),
        "tsn_bninception_flow": Protocol(),
    },
)
"""What the arrays of BN-Inception tell."""


def _layout(prefix: str, *classifiers: str) -> Layout:
    return Layout(
        rows=(
            *rules.prefixed(BACKBONE, prefix, "backbone/"),
            *((name, "head/fc", "linear") for name in classifiers),
        ),
        marker=prefix,
        family=FAMILY,
        unpack=_unpacked(prefix),
    )


SOURCE = Source(
    about="BN-Inception (ImageNet or TSN, with Caffe's names)",
    layouts=(
        _layout("base_model.", "new_fc", "base_model.fc"),
        _layout("backbone.", "cls_head.fc_cls"),
        _layout("", "last_linear", "fc", "fc-action", "fc_action"),
    ),
    defaults={
        "segments": Defaults(clip={"num_frames": 3, "sampling": "segments"}, views="tsn_25x10"),
    },
    mean=CAFFE_MEAN,
    std=(1.0, 1.0, 1.0),
    is_image=True,
)
