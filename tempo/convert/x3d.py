"""X3D among public weights: what its arrays tell, and what its networks are fed with.

The arrays of `x3d_xs`, `x3d_s` and `x3d_m` have the same names and shapes: they differ in the clips
that they are trained and tested on.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tempo.convert import families
from tempo.convert.source import Family, Protocol
from tempo.errors import InputError
from tempo.models import heads, x3d

_BACKBONE = "params/backbone/"


def _protocol(num_frames: int, stride: int, size_px: int, test_px: int) -> Protocol:
    """Of three test crops of `test_px` from frames whose short side is as long."""
    return Protocol(
        clip={"num_frames": num_frames, "stride": stride},
        size_px=size_px,
        view={"short_side_px": test_px, "size_px": test_px},
    )


PROTOCOLS = {
    "x3d_m": _protocol(16, 5, 224, 256),
    "x3d_s": _protocol(13, 6, 160, 182),
    "x3d_xs": _protocol(4, 12, 160, 182),
    "x3d_l": _protocol(16, 5, 312, 356),
    # No weights are public; the paper's has the clips of x3d_l.
    "x3d_xl": _protocol(16, 5, 312, 356),
}
"""By preset, as PySlowFast's recipes and model zoo say."""


def _fields(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Fields of `x3d.X3D` that the leaves tell."""
    depths = families.blocks_of(shapes)
    first = [f"{_BACKBONE}stage{stage}_block1/" for stage in (1, 2, 3, 4)]
    needed = [
        f"{_BACKBONE}stem_conv_t",
        *(block + conv for block in first for conv in ("conv1", "conv3")),
    ]
    for name in needed:
        if f"{name}/kernel" not in shapes:
            raise InputError(f"The weights are cut: X3D has {name}, and they have not.")
    widths = tuple(shapes[f"{block}conv3/kernel"][-1] for block in first)
    inner = tuple(shapes[f"{block}conv1/kernel"][-1] for block in first)
    # Channels that each stage reads; a projection to as many is there for its strides alone.
    read = (shapes[f"{_BACKBONE}stem_conv/kernel"][-1], *widths[:-1])
    gates = [name for name in shapes if name.endswith("/se/fc1/kernel")]
    is_second = all(int(name.split("_block")[1].split("/")[0]) % 2 for name in gates)
    is_normed = any(
        f"{block}norm_proj/scale" in shapes and before == width
        for block, before, width in zip(first, read, widths, strict=True)
    )
    return {
        "depths": depths,
        "widths": widths,
        "expansion": _expansion(zip(widths, inner, strict=True)),
        "stem_kernel_t": shapes[f"{_BACKBONE}stem_conv_t/kernel"][0],
        "se_every": (2 if is_second else 1) if gates else 0,
        "se_ratio": _ratio([shapes[name][-2:] for name in gates]),
        "shortcut_norm": "always" if is_normed else "on_change",
    }


def _head(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Fields of `heads.X3DHead` that the leaves tell."""
    conv5, fc1 = (shapes.get(f"params/head/{name}/kernel") for name in ("conv5", "fc1"))
    if conv5 is None or fc1 is None:
        return {}
    usual = heads.X3DHead.expansion
    return {"expansion": _expansion([conv5[-2:]], usual), "features": fc1[-1]}


def _expansion(pairs: Iterable[tuple[int, int]], usual: float = x3d.X3D.expansion) -> float:
    """What widens the first number of each pair to the second; the usual one if it does."""
    pairs = list(pairs)
    return usual if all(int(usual * a) == b for a, b in pairs) else pairs[-1][1] / pairs[-1][0]


def _ratio(gates: list[tuple[int, int]]) -> int:
    """Of gates, (channels, those inside); the usual one if it fits, else that of the widest."""
    usual = x3d.X3D.se_ratio
    if all(x3d.round_width(channels / usual) == inside for channels, inside in gates):
        return usual
    channels, inside = max(gates)
    return max(1, round(channels / inside))


def _window(backbone: x3d.X3D, num_frames: int, size_px: int) -> list[int]:
    """Sides of the features of a training clip, which public code gives one score to."""
    side = math.ceil(size_px / (2 * math.prod(backbone.strides)))
    return [max(1, num_frames // math.prod(backbone.strides_t)), side, side]


FAMILY = Family(
    about="X3D",
    backbone=x3d.X3D,
    read=_fields,
    read_head=_head,
    # PySlowFast has a norm on the shortcut of res2 that PyTorchVideo leaves out.
    of_source=("shortcut_norm",),
    protocols=PROTOCOLS,
    window=_window,
)
"""What the arrays of X3D tell, and what no array does."""
