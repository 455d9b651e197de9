"""VGG-16 of pictures (ImageNet): torchvision's, whose layers have numbers, and Caffe's."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tempo.convert import rules
from tempo.convert.bninception import stem_turned_round
from tempo.convert.source import Family, Layout, Protocol
from tempo.errors import InputError
from tempo.models import vgg

_DEPTHS = vgg.VARIANTS["vgg16"]["depths"]
_BACKBONE = "params/backbone/"


def _names() -> dict[str, tuple[str, str]]:
    """Our convolutions -> (torchvision's number, Caffe's name)."""
    names, number = {}, 0
    for stage, depth in enumerate(_DEPTHS, start=1):
        for i in range(1, depth + 1):
            ours = "stem_conv" if (stage, i) == (1, 1) else f"stage{stage}/conv{i}"
            names[ours] = (f"features.{number}", f"conv{stage}_{i}")
            number += 2  # a ReLU stands behind it
        number += 1  # and a pool behind the stage
    return names


_HEAD = {
    "fc6": ("classifier.0", "fc6", "biased_conv"),
    "fc7": ("classifier.3", "fc7", "biased_conv"),
    "fc": ("classifier.6", "fc8", "linear"),
}


def _rows(which: int) -> tuple[rules.Row, ...]:
    return (
        *((names[which], f"backbone/{ours}", "biased_conv") for ours, names in _names().items()),
        *((names[which], f"head/{ours}", names[2]) for ours, names in _HEAD.items()),
    )


def _unpacked(which: int):
    """The wide layers as convolutions over the last map; of Caffe, red, green and blue pixels."""

    def unpack(arrays: Mapping[str, np.ndarray]) -> rules.Arrays:
        out = dict(arrays)
        last = f"{_names()['stage5/conv3'][which]}.weight"
        channels = out[last].shape[0] if last in out else 0
        for name in (_HEAD["fc6"][which], _HEAD["fc7"][which]):
            weight = out.get(f"{name}.weight")
            if weight is None or weight.ndim != 2:
                continue
            inputs = weight.shape[0] if name == _HEAD["fc7"][which] else channels
            side = round((weight.shape[1] / inputs) ** 0.5) if inputs else 0
            if inputs * side**2 == weight.shape[1]:
                out[f"{name}.weight"] = weight.reshape(weight.shape[0], inputs, side, side)
        return stem_turned_round(out, "conv1_1.weight")

    return unpack


def _fields(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Fields of `vgg.VGG` that the leaves tell."""
    for ours in _names():
        if f"{_BACKBONE}{ours}/kernel" not in shapes:
            raise InputError(f"The weights are cut, or of no VGG-16: they have no {ours}.")
    return {"width": shapes[f"{_BACKBONE}stem_conv/kernel"][-1], "depths": _DEPTHS}


def _head(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Fields of `vgg.VGGHead` that the leaves tell."""
    kernel = shapes.get("params/head/fc6/kernel")
    return {"features": kernel[-1], "side": kernel[1]} if kernel else {}


FAMILY = Family(
    about="VGG-16",
    backbone=vgg.VGG,
    read=_fields,
    read_head=_head,
    defaults="segments",
    protocols={"tsn_vgg16": Protocol(), "tsn_vgg16_flow": Protocol()},
)
"""What the arrays of VGG-16 tell."""

TORCHVISION = Layout(rows=_rows(0), marker="features.", family=FAMILY, unpack=_unpacked(0))
CAFFE = Layout(rows=_rows(1), marker="conv1_1", family=FAMILY, unpack=_unpacked(1))
