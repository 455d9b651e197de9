"""The sections of a config that the options of the VIPriors recipe make: `fill` writes them all.

What is chosen where the report (arXiv 2007.08180) says nothing stands in `tempo.papers.vipriors`.
"""

from collections.abc import Mapping
from typing import Any

from tempo.papers.arguments import Argument
from tempo.papers.vipriors_results import ENSEMBLES, ENTRIES

STAGES = {"a": "a_base", "b": "b_modules", "c": "c_augment", "d": "d_concat"}
"""Names of the stages by letter."""

_FRESH: dict[tuple[str, str], str] = {
    ("conv_b", "acb3d"): r"/(conv|norm)2_3x",
    ("conv_b", "acb2d"): r"/(conv|norm)2_1x",
    # The 1x3x3 kernel has another number of channels out.
    ("conv_b", "2plus1d"): r"/(conv2|conv2_t|norm2_inner)/",
    ("nonlocal", "dot_product"): "_nonlocal/",
    ("nonlocal", "softmax"): "_nonlocal/",
    ("tam", "on"): "/temporal/",
    ("attention", "cbam"): "/attention/",
    ("attention", "se"): "/attention/",
}
"""Leaves that a module has and the base network lacks."""

_NO_NONLOCAL = ((), (), (), ())
_BASE = {
    "act": "relu",
    "downsample": "strided",
    "conv_b": "plain",
    "temporal": "none",
    "attention": "none",
    "nonlocal_blocks": _NO_NONLOCAL,
}
"""Slots of the network that stage a trains."""

# After which blocks of each stage a non-local one stands (PySlowFast's SLOWFAST_NLN), and in
# `small`.
_NONLOCAL = {"50": ((), (1, 3), (1, 3, 5), ()), "101": ((), (), (6, 13, 20), ())}
_SMALL_NONLOCAL = ((), (0,), (0,), ())

SIZES: dict[str, dict[str, Any]] = {
    "full": {
        "size_px": 112, "short_side_px": 128, "stored_px": 140, "batch_size": 128,
        "base_lr": 1e-3, "epochs": 60.0, "epochs_a": 60.0,
        "steps": (20.0, 40.0), "steps_a": (20.0, 40.0), "every_epochs": 5.0,
        "num_clips": 10, "dropout_prob": 0.5, "frames": {"slowfast": 64, "tsm": 16},
    },
    "small": {
        "size_px": 48, "short_side_px": 56, "stored_px": 60, "batch_size": 16,
        "base_lr": 5e-2, "epochs": 6.0, "epochs_a": 12.0,
        "steps": (3.0, 5.0), "steps_a": (8.0, 11.0), "every_epochs": 2.0,
        "num_clips": 4, "dropout_prob": 0.0, "frames": {"slowfast": 32, "tsm": 16},
    },
}  # fmt: skip
"""Numbers of a run by `size`."""

_SMALL_NET = {
    "slowfast": {"width": 8, "channel_ratio": 2, "slow_stride": 8, "fast_stride": 2},
    "tsm": {"width": 8},
}
_SMALL_DEPTHS = {"50": (1, 1, 1, 1), "101": (1, 1, 2, 1)}

# Values of 0 to 255: (x / 255 - 0.45) / 0.225, and (x - 128) / 128.
_SCALES = {"unit": (114.75, 57.375), "r1ch88": (128.0, 128.0)}


def model(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `model` of every stage but the first."""
    kind, depth, is_small = values["model"], values["depth"], values["size"] == "small"
    conv_b: Any = values["conv_b"]
    if conv_b in ("acb3d", "acb2d"):
        # Added branches start at nothing, so that the base network's scores are kept.
        conv_b = {"name": conv_b, "zero_init": values["stages"] != "none"}
    if conv_b == "2plus1d":
        conv_b = {"name": conv_b, "order": "spatial_first", "width": values["inner"]}
    has_nonlocal = values["nonlocal"] != "off"
    backbone = {
        "act": values["act"],
        "downsample": values["downsample"],
        "conv_b": conv_b,
        "temporal": "tam" if values["tam"] == "on" else "none",
        "attention": values["attention"],
        "nonlocal_blocks": _NO_NONLOCAL,
    }
    if has_nonlocal:
        backbone["nonlocal_mode"] = values["nonlocal"]
        backbone["nonlocal_blocks"] = _SMALL_NONLOCAL if is_small else _NONLOCAL[depth]
    if kind == "slowfast":
        section: dict[str, Any] = {"name": f"slowfast_r{depth}_{values['geometry']}"}
        backbone["slow_index"] = values["slow_index"]
        if values["pathways"] != "both":
            plain = {"slow": "fast", "fast": "slow"}[values["pathways"]]
            backbone[plain] = {"conv_b": "plain"}
    else:
        section = {"name": f"tsn_r{depth}"}
        backbone["zero_init"] = True
        if values["shift"] == "on" and values["tam"] == "off":
            backbone["temporal"] = "tsm"
            # MIT's TSM leaves out every second block of a deep net.
            backbone["shift_every"] = 2 if depth == "101" else 1
    if is_small:
        backbone |= {"depths": _SMALL_DEPTHS[depth], **_SMALL_NET[kind]}
    size = SIZES[values["size"]]
    return {
        **section,
        "backbone": backbone,
        "head": {"dropout_prob": size["dropout_prob"]},
        "dtype": "float32",
        "remat": "none",
    }


def init_fresh(values: Mapping[str, str]) -> str:
    """The key `init_fresh` of stage b: what its modules have and the network of stage a lacks."""
    return "|".join(pattern for (name, value), pattern in _FRESH.items() if values[name] == value)


def augmentation(values: Mapping[str, str], letter: str) -> dict[str, dict[str, Any]]:
    """Sections `clip` and `input` of a stage: crops and flips; all of it from stage c on."""
    size = SIZES[values["size"]]
    is_full = letter in "cd"
    clip = {
        "num_frames": size["frames"][values["model"]],
        "stride": 1,
        "train_strides": (1, 2) if is_full else (),
        "short": values["short"],
        "order": "concat" if letter == "d" else "normal",
        # A video followed by itself backwards is the same turned round.
        "reverse_prob": 0.5 if letter == "c" else 0.0,
    }
    if letter == "a" and values["model"] == "tsm":
        clip["num_frames"] = 1
    scale = (0.8, 1.25) if values["crop"] == "crop_then_resize" else (1.0, 1.25)
    crop: Any = "random_crop"
    if is_full:
        crop = {
            "name": values["crop"],
            "scale": scale,
            "corner_prob": float(values["corner_prob"]),
        }
    colors = ("lighting", "brightness", "contrast") if is_full else ()
    return {
        "clip": clip,
        "input": {
            "size_px": size["size_px"],
            "host_ops": (crop, "flip"),
            "device_ops": (*colors, _to_network(values)),
        },
    }


def data(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `data`."""
    if values["data"] == "mod_ucf101":
        return {"name": "mod_ucf101", "dir": "data/mod_ucf101", "num_workers": 8}
    size = SIZES[values["size"]]
    side = size["stored_px"]
    return {
        "name": "tempobench_symmetric",
        "dir": f"runs/data/tempobench_symmetric_{side}",
        "num_workers": 2,
        "generate": {
            "config": "symmetric",
            "level": "easy",
            "num_train": 400,
            "num_test": 200,
            "height_px": side,
            "width_px": side + side // 3 // 2 * 2,
        },
    }


def evaluators(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Evaluators of every stage: one clip, and several at equal distances."""
    size = SIZES[values["size"]]
    is_tempobench = values["data"] == "tempobench"
    view = {
        "short_side_px": size["short_side_px"],
        "size_px": size["size_px"],
        "order": "normal",
        "average": "logits",
    }
    # Stages stop at what they reach here, which must not be the test set.
    during = {"split": "test" if is_tempobench else "val", **view}
    last = {"split": "test" if is_tempobench else values["split"], **view}
    found = {"single_view": {**during, "every_epochs": size["every_epochs"]}}
    if values["split"] == "test":
        found["single_view_test"] = last
    return {**found, "multi_view": {**last, "num_clips": size["num_clips"]}}


def tta_evaluators(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Evaluators `tta01`, ... of the entries of table 3 that are of this network and input.

    `tta=repeat` adds `tta01_r2`, ...: independent repetitions, as many as an ensemble of table 4
    may ask for.
    """
    if values["tta"] == "off":
        return {}
    size = SIZES[values["size"]]
    found = {}
    for number, entry in ENTRIES.items():
        if (entry.model, entry.input) != (values["model"], values["input"]):
            continue
        shared = {
            "split": "test" if values["data"] == "tempobench" else values["split"],
            "views": f"vipriors_{number}",
            "short_side_px": size["short_side_px"],
            "size_px": size["size_px"],
        }
        found[f"tta{number:02d}"] = shared
        most = max(ensemble.stars.get(number, 1) for ensemble in ENSEMBLES.values())
        for repetition in range(2, most + 1) if values["tta"] == "repeat" else ():
            seed = 100 * (repetition - 1) + number
            found[f"tta{number:02d}_r{repetition}"] = {**shared, "seed": seed}
    return found


def stages(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The section `stages`: what each has other than the config, which is that of the last one."""
    letters = "" if values["stages"] == "none" else values["stages"]
    size = SIZES[values["size"]]
    found: dict[str, dict[str, Any]] = {}
    whole = augmentation(values, _last_letter(values))
    for letter in letters:
        own = {} if letter == letters[-1] else _changed(whole, augmentation(values, letter))
        if letter == "a" and size["epochs_a"] != size["epochs"]:
            own["total_epochs"] = size["epochs_a"]
        if letter == "a":
            slots = model(values)["backbone"]
            base = {key: value for key, value in _BASE.items() if slots[key] != value}
            own |= {"model": {"backbone": base}} if base else {}
            own["loop"] = {"stop_at": float(values["threshold"])}
            own["schedule"] = {
                "base_lr": _base_lr(values, letter),
                "boundaries_epochs": size["steps_a"],
            }
        if letter == "b" and init_fresh(values):
            own["init_fresh"] = init_fresh(values)
        if letter == letters[-1] and tta_evaluators(values):
            own["eval"] = tta_evaluators(values)
        found[STAGES[letter]] = own
    return found


def fill(config: Any, chosen: Argument) -> Any:
    """All sections of the recipe, written to an empty config, which is returned."""
    values = chosen.values
    size = SIZES[values["size"]]
    letter = _last_letter(values)
    config.row = chosen.row
    config.init_from = ""
    config.seed = 0
    config.batch_size = size["batch_size"]
    config.total_epochs = size["epochs"]
    config.data = data(values)
    for name, section in augmentation(values, letter).items():
        config[name] = section
    config.model = model(values)
    config.loss = {"label_smoothing": 0.0}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 5e-4,
        "decay_pattern": ".*" if values["decay"] == "all" else "kernel$",
    }
    config.schedule = {
        "name": "steps",
        "base_lr": _base_lr(values, letter),
        "boundaries_epochs": size["steps"],
        "factor": 0.1,
    }
    config.loop = {"accumulate_steps": 1, "checkpoint_every_steps": 500, "stop_at": 0.0}
    config.multigrid = {"cycle": "none"}
    config.mesh = {"model": 1}
    config.eval = evaluators(values)
    config.stages = stages(values)
    if values["stages"] == "none":
        config.eval.update(tta_evaluators(values))
    return config


def _last_letter(values: Mapping[str, str]) -> str:
    """The stage whose settings are those of the config itself; without stages, c."""
    return "c" if values["stages"] == "none" else values["stages"][-1]


def _base_lr(values: Mapping[str, str], letter: str) -> float:
    size = SIZES[values["size"]]
    if letter != "a":
        return size["base_lr"]
    # The option is a rate of the report's size; what is smaller keeps the ratio.
    return float(values["lr_stage_a"]) / SIZES["full"]["base_lr"] * size["base_lr"]


def _to_network(values: Mapping[str, str]) -> dict[str, Any]:
    """The device op that makes the network's input of pixels."""
    mean, std = _SCALES[values["scale"]]
    if values["input"] == "rgb":
        return {"name": "normalize", "mean": (mean,) * 3, "std": (std,) * 3}
    return {
        "name": "residual",
        "pad": values["res_pad"],
        "scale": values["res_scale"],
        "is_abs": values["res_abs"] == "on",
        "std": (std,) * 3,
    }


def _changed(
    whole: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The keys of `own` sections that differ from those of the `whole`."""
    found = {
        name: {key: value for key, value in section.items() if whole[name][key] != value}
        for name, section in own.items()
    }
    return {name: section for name, section in found.items() if section}
