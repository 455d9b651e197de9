"""The variants of the VIPriors recipe: its options, with what the report leaves to them.

Source: Luo, Xu, Zhang 2020, arXiv 2007.08180, the DeepBlue team's report on the VIPriors action
recognition challenge. It is short; what it does not say is an option, or stands here:

| what                    | the report                         | here                              |
|-------------------------|------------------------------------|-----------------------------------|
| optimizer               | SGD, decay 5e-4, batch 128, 1e-3,  | momentum 0.9 without Nesterov, no |
|                         | a tenth every 20 epochs            | warm-up, decay of all parameters  |
| length                  | -                                  | 60 epochs a stage                 |
| geometry                | 64 frames, 112x112                 | slow path every 16th, fast path   |
|                         |                                    | every 2nd (r1ch88/SlowFastNetworks|
|                         |                                    | has these numbers: `geometry`)    |
| base network            | trained to 50 % (TSM, one frame:   | `threshold`, of the centre crop   |
|                         | 53 %), then modules are added      | of one clip on the validation set |
| augmentation            | listed, not when                   | crops and flips from the start,   |
|                         |                                    | all of it from stage c            |
| backwards               | listed, not how often              | half of the clips; each video in  |
|                         |                                    | both orders, in epochs twice as   |
|                         |                                    | long, is left out: the same clips,|
|                         |                                    | and `total_epochs` has the length |
| random and corner crops | both                               | a corner half of the time         |
| POOL                    | "replace all the downsampling      | `downsample=pool_block`           |
|                         | convolution layers"                |                                   |
| 3*3+3*1+1*3             | "can be separated into three       | `conv_b=acb3d`: a sum, as the     |
|                         | parts"                             | notation of arXiv 1908.03930 says |
| 2plus1D                 | spatial, then temporal             | `inner=matched` (arXiv 1711.11248)|
| attention               | -                                  | CBAM over space and time          |
"""

from collections.abc import Mapping

from tempo.errors import InputError
from tempo.papers import arguments
from tempo.papers.arguments import Argument, Option
from tempo.papers.results import Row

_NUMBER = r"\d*\.?\d+(e-?\d+)?"

OPTIONS: dict[str, Option] = {
    "model": Option(default="slowfast", choices=("slowfast", "tsm")),
    "depth": Option(default="50", choices=("50", "101")),
    "input": Option(default="rgb", choices=("rgb", "diff")),
    "act": Option(default="relu", choices=("relu", "elu", "swish")),
    "downsample": Option(
        default="strided", choices=("strided", "pool_block", "pool_pre", "pool_shortcut")
    ),
    "conv_b": Option(
        default="plain", choices=("plain", "acb3d", "acb2d", "2plus1d", "3x3x3")
    ),
    "inner": Option(default="matched", choices=("matched", "equal")),
    "pathways": Option(default="both", choices=("both", "slow", "fast")),
    "nonlocal": Option(default="off", choices=("off", "dot_product", "softmax")),
    "tam": Option(default="off", choices=("off", "on")),
    "attention": Option(default="none", choices=("none", "cbam", "se")),
    "shift": Option(default="on", choices=("on", "off")),
    "geometry": Option(default="64f_112", choices=("64f_112", "r1ch88")),
    "slow_index": Option(default="stride", choices=("stride", "linspace")),
    "stages": Option(default="abcd", choices=("abcd", "abc", "ab", "none")),
    "threshold": Option(default="", pattern=_NUMBER, form="a share such as 0.5"),
    "lr_stage_a": Option(default="1e-3", pattern=_NUMBER, form="a rate such as 1e-2"),
    "decay": Option(default="all", choices=("all", "kernels")),
    "crop": Option(default="crop_then_resize", choices=("crop_then_resize", "resize_then_crop")),
    "corner_prob": Option(default="0.5", pattern=_NUMBER, form="a share such as 0.5"),
    "short": Option(default="loop", choices=("loop", "hold_last")),
    "scale": Option(default="unit", choices=("unit", "r1ch88")),
    "res_pad": Option(default="extra", choices=("extra", "roll", "repeat")),
    "res_scale": Option(default="std", choices=("std", "half_shift")),
    "res_abs": Option(default="off", choices=("off", "on")),
    "tta": Option(default="off", choices=("off", "on", "repeat")),
    "split": Option(default="val", choices=("val", "test")),
    "data": Option(default="mod_ucf101", choices=("mod_ucf101", "tempobench")),
    "size": Option(default="full", choices=("full", "small")),
}  # fmt: skip
"""Options by name."""

_ONLY: dict[str, tuple[str, str]] = {
    "inner": ("conv_b", "2plus1d"),
    "pathways": ("model", "slowfast"),
    "geometry": ("model", "slowfast"),
    "slow_index": ("model", "slowfast"),
    "shift": ("model", "tsm"),
    "res_pad": ("input", "diff"),
    "res_scale": ("input", "diff"),
    "res_abs": ("input", "diff"),
    "split": ("data", "mod_ucf101"),
}
"""Options that mean something with one value of another option only."""


def read(arg: str | None, rows: Mapping[str, Row]) -> Argument:
    """The argument of the recipe, with a value for every option.

    Args:
      arg: what stands behind the colon of `--config`.
      rows: the recipe's named rows.

    Raises:
      InputError: an unknown option, row or value; or an option that means nothing with the others.
    """
    found = arguments.parse(arg, OPTIONS, {name: row.arg for name, row in rows.items()})
    values = dict(found.values)
    for name in sorted(found.given):
        other, needed = _ONLY.get(name, ("", ""))
        if other and values[other] != needed:
            raise InputError(
                f"The option {name!r} is for {other}={needed}; this is {other}={values[other]}, "
                "leave it out."
            )
        if name in ("threshold", "lr_stage_a") and values["stages"] == "none":
            raise InputError(f"The option {name!r} is of stage a, but stages=none; leave it out.")
    if values["model"] == "tsm" and values["tam"] == "on" and values["shift"] == "on":
        raise InputError("A block has one temporal module: give tam=on with shift=off.")
    if values["pathways"] != "both" and values["conv_b"] == "plain":
        raise InputError("The option 'pathways' says where conv_b goes; give conv_b too.")
    values["threshold"] = values["threshold"] or {"slowfast": "0.5", "tsm": "0.53"}[values["model"]]
    return Argument(found.row, values, found.given, found.named)
