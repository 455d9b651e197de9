"""The variants of a TPN recipe: documented options, and the sections of a config they make.

Sources: the paper, arXiv 2004.03548; the TPN release (decisionforce/TPN); mmaction2 1.2. Where they
differ, `like` chooses (section and file in brackets), and every difference has an option too:

| option   | like=paper                              | like=release                              |
|----------|-----------------------------------------|-------------------------------------------|
| `flow`   | `parallel` (4.1)                        | `cascade`: its bottom-up pass starts from |
|          |                                         | the top-down result; two pyramids         |
| `alphas` | T/2 and T: {16, 32} at 32x2 (4.1),      | T and T for ResNet-50 and for segments;   |
|          | {4, 8} at 8x8 (4.2); segments: not      | T/2 and T for I3D-101                     |
|          | stated, as the release                  |                                           |
| `steps`  | 100, 125 of 150 epochs (4, Kinetics)    | 75, 125                                   |
| `crop`   | short side 256 to 320, random 224 (4)   | random area 0.08 to 1, aspect 3/4 to 4/3  |
| `color`  | none mentioned                          | jitter, in mmaction2's form (the release  |
|          |                                         | tosses a coin per frame)                  |
| `shift`  | not stated: MIT's TSM                   | the projection shortcut reads the shifted |
|          |                                         | input too, every block shifts             |

mmaction2 is `like=release,shift=mit,starts=linspace,short=loop`, with alphas T and T. What the
paper does not mention comes from the code in both: Nesterov momentum, clipping of the gradient,
the two level fusions, 2048 channels after the spatial modulation (the paper says 1024), one
auxiliary head.
"""

import re
from collections.abc import Mapping
from typing import Any

from tempo.errors import InputError
from tempo.papers import arguments
from tempo.papers.arguments import Argument, Option
from tempo.papers.results import Row

_AS_LIKE = ""

LIKE: dict[str, dict[str, str]] = {
    "paper": {
        "flow": "parallel", "alphas": "paper", "steps": "paper", "crop": "paper",
        "color": "none", "shift": "mit",
    },
    "release": {
        "flow": "cascade", "alphas": "release", "steps": "release", "crop": "release",
        "color": "jitter", "shift": "release",
    },
}  # fmt: skip
"""What `like` stands for."""

OPTIONS: dict[str, Option] = {
    "like": Option(default="paper", choices=("paper", "release")),
    "backbone": Option(default="slowonly", choices=("slowonly", "tsn", "tsm")),
    "depth": Option(default="50", choices=("50", "101")),
    # 8x8: 8 frames at stride 8; 8: one frame of each of 8 segments.
    "frames": Option(
        default="8x8",
        pattern=r"[1-9]\d*(x[1-9]\d*)?",
        form="frames x stride such as 32x2, or a number of segments such as 8",
    ),
    # heads: no pyramid, the auxiliary heads alone.
    "neck": Option(default="tpn", choices=("tpn", "heads", "none")),
    "source": Option(default="res45", choices=("res45", "res5", "res345", "res2345")),
    "flow": Option(
        default=_AS_LIKE,
        choices=(
            "parallel", "cascade", "cascade_single", "top_down", "bottom_up", "isolation",
        ),
    ),
    "alphas": Option(
        default=_AS_LIKE,
        pattern=r"paper|release|rule|equal|[1-9]\d*(\+[1-9]\d*)*",
        form="paper, release, rule, equal or a number for each level such as 4+8",
    ),
    "pyramids": Option(default="flow", choices=("flow", "two")),
    "spatial": Option(default="conv", choices=("conv", "pool")),
    "temporal": Option(default="on", choices=("on", "off")),
    "single_depth": Option(default="sample", choices=("sample", "pool")),
    "aux": Option(default="second_top", choices=("second_top", "all_but_top", "none")),
    "steps": Option(default=_AS_LIKE, choices=("paper", "release")),
    "crop": Option(default=_AS_LIKE, choices=("paper", "release")),
    "color": Option(default=_AS_LIKE, choices=("none", "jitter")),
    "shift": Option(default=_AS_LIKE, choices=("mit", "release")),
    "starts": Option(default="ticks", choices=("ticks", "linspace")),
    "short": Option(default="hold_last", choices=("hold_last", "loop")),
    "init": Option(default="scratch", choices=("scratch", "imagenet")),
}  # fmt: skip
"""Options by name, with the defaults of Kinetics-400; "" takes what `like` says."""

_NECKS: dict[str, tuple[str, ...]] = {
    "tpn": (
        "source", "flow", "alphas", "pyramids", "spatial", "temporal", "single_depth", "aux",
    ),
    "heads": ("source", "aux"),
    "none": (),
}  # fmt: skip
"""Options that each neck has."""

RELEASE_ALPHAS: dict[str, str] = {"50": "equal", "101": "rule"}
"""The release's alphas of 3-D networks on dense clips, by depth; networks that see single frames
have equal ones at every depth."""

HOST_OPS: dict[str, tuple[Any, ...]] = {
    "paper": ({"name": "jitter_short_side", "min_px": 256, "max_px": 320}, "random_crop"),
    "release": ("random_resized_crop",),
}
"""Training crops by `crop`."""

DEVICE_OPS: dict[str, tuple[str, ...]] = {
    "none": ("normalize",),
    "jitter": ("color_jitter", "normalize"),
}
"""Ops inside the compiled step, by `color`."""


def read(
    arg: str | None, rows: Mapping[str, Row], *, without: tuple[str, ...] = (), **defaults: str
) -> Argument:
    """The argument of a TPN recipe, with a value for every option.

    Args:
      arg: what stands behind the colon of `--config`.
      rows: the recipe's named rows.
      without: options that this recipe does not have.
      **defaults: of options, where this recipe's are others.

    Raises:
      InputError: an unknown option, row or value; or an option of the neck with `neck=none`, or of
        a backbone that is not chosen.
    """
    options = {name: option for name, option in OPTIONS.items() if name not in without}
    for name, value in defaults.items():
        options[name] = Option(**{**vars(options[name]), "default": value})
    found = arguments.parse(arg, options, {name: row.arg for name, row in rows.items()})
    of_like = LIKE[found.values["like"]]
    values = {k: of_like[k] if v == _AS_LIKE else v for k, v in found.values.items()}
    for name in sorted(found.given):
        of_neck = _NECKS[values["neck"]]
        if name in _NECKS["tpn"] and name not in of_neck:
            raise InputError(
                f"The option {name!r} is of the neck, but neck={values['neck']}; leave it out."
            )
        if values["backbone"] != "tsm" and name == "shift":
            raise InputError(
                f"The option 'shift' is for backbone=tsm; this is {values['backbone']}, leave it "
                "out."
            )
        if values["source"] != "res5" and name == "single_depth":
            raise InputError("The option 'single_depth' is for source=res5; leave it out.")
    return Argument(found.row, values, found.given, found.named)


def is_segments(values: Mapping[str, str]) -> bool:
    """Whether a clip has one frame of each segment of the video, not frames at a stride."""
    return "x" not in values["frames"]


def clip(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `clip`."""
    if is_segments(values):
        return {"num_frames": int(values["frames"]), "sampling": "segments"}
    num_frames, stride = map(int, values["frames"].split("x"))
    return {
        "num_frames": num_frames,
        "stride": stride,
        "sampling": "dense",
        "short": values["short"],
    }


def backbone(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `model.backbone`."""
    kind, depth = values["backbone"], values["depth"]
    # mmaction2 alone starts the last norm of each block at zero, and only from scratch.
    section: dict[str, Any] = {"zero_init": values["init"] == "scratch"}
    if kind == "slowonly":
        return {"variant": f"slowonly_r{depth}", **section}
    section["variant"] = f"c2d_r{depth}"
    if kind == "tsm":
        of_release = values["shift"] == "release"
        section |= {
            "temporal": "tsm",
            "shift_shortcut": of_release,
            # MIT's TSM leaves out every second block of a deep net.
            "shift_every": 2 if depth == "101" and not of_release else 1,
        }
    return section


def neck(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `model.neck`; empty for none."""
    if values["neck"] == "none":
        return {}
    heads = {"source": values["source"], "aux_levels": values["aux"], "aux_dropout_prob": 0.5}
    if values["neck"] == "heads":
        return {"name": "aux", **heads}
    return {
        "name": "tpn",
        **heads,
        "flow": values["flow"],
        "alphas": _alphas(values),
        "force_two_pyramids": values["pyramids"] == "two",
        "spatial_modulation": values["spatial"] == "conv",
        "temporal_modulation": values["temporal"] == "on",
        "single_depth": values["single_depth"],
    }


def init_from(values: Mapping[str, str]) -> str:
    """The key `init_from`: a folder that `python -m tempo.convert` makes, or "" for scratch."""
    if values["init"] == "scratch":
        return ""
    return f"weights/r{values['depth']}_imagenet"


def fill(
    config: Any,
    chosen: Argument,
    *,
    dataset: str,
    total_epochs: float,
    weight_decay: float,
    clip_norm: float,
    boundaries_epochs: tuple[int, ...],
    views: str,
) -> Any:
    """What all recipes of the paper share, and their own numbers, written to an empty config.

    Args:
      config: a `ConfigDict`; returned.
      chosen: of `read`.
      dataset: as `python -m tempo.prepare` calls it; its records are sought in `data/<dataset>`.
      total_epochs: of the run.
      weight_decay: of all parameters.
      clip_norm: limit of the gradient's norm.
      boundaries_epochs: where the rate falls tenfold.
      views: of the evaluator `multi_view`, a row of `tempo.protocols.VIEW_SETS`.
    """
    values = chosen.values
    config.row = chosen.row
    config.init_from = init_from(values)
    config.seed = 0
    config.batch_size = 64
    config.total_epochs = total_epochs

    config.data = {"name": dataset, "dir": f"data/{dataset}", "num_workers": 8}
    config.clip = clip(values)
    config.input = {
        "size_px": 224,
        "host_ops": (*HOST_OPS[values["crop"]], "flip"),
        "device_ops": DEVICE_OPS[values["color"]],
    }
    config.loop = {"accumulate_steps": 1, "checkpoint_every_steps": 1000}
    clips_at_once = config.get_ref("batch_size") // config.loop.get_ref("accumulate_steps")
    config.model = {
        "backbone": backbone(values),
        "neck": neck(values),
        "head": {"dropout_prob": 0.5},
        "dtype": "float32",
        "norm_groups": (clips_at_once + 7) // 8,
        "remat": "none",
    }
    config.loss = {"label_smoothing": 0.0, "aux_weight": 0.5}
    config.optim = {"name": "sgd", "momentum": 0.9, "nesterov": True,
                    "weight_decay": weight_decay, "clip_norm": clip_norm}  # fmt: skip
    config.schedule = {"name": "steps", "base_lr": 0.01, "reference_batch": 64,
                       "boundaries_epochs": boundaries_epochs}  # fmt: skip
    config.multigrid = {"cycle": "none"}
    config.mesh = {"model": 1}
    config.eval = {
        "single_view": {"split": "val", "every_epochs": 5.0, "views": "center"},
        "multi_view": {"split": "val", "views": views, "batch_size": 8},
    }
    return config


def _alphas(values: Mapping[str, str]) -> str | tuple[int, ...]:
    alphas = values["alphas"]
    if re.fullmatch(r"[\d+]+", alphas):
        return tuple(map(int, alphas.split("+")))
    if alphas == "paper":
        return "equal" if is_segments(values) else "rule"
    if alphas == "release":
        is_dense = values["backbone"] == "slowonly" and not is_segments(values)
        return RELEASE_ALPHAS[values["depth"]] if is_dense else "equal"
    return alphas
