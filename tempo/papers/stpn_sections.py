"""The sections of a config that the options of the STPN recipe make: `fill` writes them all.

What is chosen where the sources (arXiv 1903.01038, arXiv 1608.00859) say nothing stands in
`tempo.papers.stpn`.
"""

from collections.abc import Mapping
from typing import Any

from tempo.papers.arguments import Argument

STAGES = {"spatial": "a_spatial", "temporal": "b_temporal", "last": "c_joint"}
"""Names of the stages: of the two networks, and of what fuses them."""

_BASES: dict[str, dict[str, Any]] = {
    "bninception": {"variant": "bninception"},
    "vgg16": {"variant": "vgg16"},
    "resnet50": {"variant": "c2d_r50"},
    "resnet152": {"variant": "c2d_r152"},
}
_SMALL_BASE = {"variant": "c2d_r18", "width": 8, "depths": (1, 1, 1, 1), "strides": (1, 2, 2, 1)}

# Norms but the first, their scales and biases: TSN's partial BN, arXiv 1608.00859, section 3.2.
_LATER_NORMS = r"/(?!stem_norm)[^/]*$"
_LATER_AFFINE = r"/(?!stem_norm)[^/]*norm[^/]*/(scale|bias)$"
# Learning-rate multipliers of TSN's files; the first match counts.
_NORMS = (r"norm[^/]*/(scale|bias)$", 1.0)
_FLOW_STEM = (("^backbone/stem_conv/bias$", 10.0), ("^backbone/stem_conv/kernel$", 5.0))
_BIASES = ("bias$", 2.0)
_NEW = (("^neck/.*bias$", 20.0), ("^neck/", 10.0))
# Behind the last level features have a norm of sqrt(d3), 64 or 16 by `SIZES`: at the rate of the
# rest the loss jumps about. Without a norm they have no bound, and the factor is the same.
_LAST_CLASSIFIER = ("^head/.*kernel$", 0.25)

SIZES: dict[str, dict[str, Any]] = {
    "full": {
        "size_px": 224, "short_side_px": 256, "batch_size": 128, "every_epochs": 10.0,
        "dropout": {"spatial": 0.8, "temporal": 0.7, "last": 0.5},
        "base_lr": {"spatial": 1e-3, "temporal": 5e-3, "last": 1e-3},
        "steps": {"spatial": 3500, "temporal": 18000, "last": 6000},
        "boundaries": {"spatial": (1500,), "temporal": (10000, 16000), "last": (3300, 5300)},
        "dims": {"d1": 1024, "d2": 2048, "d3": 4096},
        "num_clips": 25, "checkpoint_every_steps": 500, "log_every_steps": 20,
    },
    "small": {
        "size_px": 48, "short_side_px": 56, "batch_size": 16, "every_epochs": 0.0,
        "dropout": {"spatial": 0.0, "temporal": 0.0, "last": 0.0},
        "base_lr": {"spatial": 5e-2, "temporal": 5e-2, "last": 1e-2},
        "steps": {"spatial": 40, "temporal": 300, "last": 150},
        "boundaries": {"spatial": (30,), "temporal": (200, 270), "last": (100, 135)},
        "dims": {"d1": 128, "d2": 128, "d3": 256},
        "num_clips": 25, "checkpoint_every_steps": 50, "log_every_steps": 20,
    },
}  # fmt: skip
"""Numbers of a run by `size`."""

_SCALES = {"spatial": (1.0, 0.875, 0.75, 0.66), "temporal": (1.0, 0.875, 0.75)}
"""Scale jitter of each stream; both together have that of the frames."""

# A seventh of the time of its defaults on CPU cores; what is slow or fast stays so.
_SHORT_TVL1 = {
    "name": "tvl1_jax", "num_warps": 2, "num_outer": 1, "num_inner": 15, "median_radius_px": 0,
}  # fmt: skip

_CLIP_NORMS = {"spatial": 40.0, "temporal": 20.0, "last": 20.0}
_TSN_SEGMENTS = 3
_TSN_STREAMS = {
    "rgb": "spatial", "flow": "temporal", "rgb_diff": "spatial", "warped": "temporal",
}  # fmt: skip


def base(values: Mapping[str, str]) -> dict[str, Any]:
    """The backbone of one stream."""
    return dict(_SMALL_BASE if values["size"] == "small" else _BASES[values["base"]])


def stream_model(values: Mapping[str, str], stream: str) -> dict[str, Any]:
    """The section `model` of a network of one stream on its own."""
    dropout = SIZES[values["size"]]["dropout"][stream]
    return {
        "backbone": base(values),
        "head": {
            "name": "vgg" if _has_layers(values) else "pool",
            "init_std": 1e-3,
            "dropout_prob": dropout,
        },
        "stream": "flow" if stream == "temporal" else "video",
        **_partial_norms(values, values["init"] == "imagenet"),
    }


def fused_model(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `model` of what fuses snippets or streams."""
    kind = values["model"]
    dims = {name: dimension(values, name) for name in ("d1", "d2", "d3")}
    level1 = {"level1": values["fusion"], "level1_dim": dims["d1"]}
    whole: dict[str, Any] = {
        "head": {"init_std": 1e-3, "dropout_prob": SIZES[values["size"]]["dropout"]["last"]},
        # The networks have been trained: their statistics stay, from scratch or not.
        **_partial_norms(values, True),
    }
    if kind == "snippets":
        neck = {"name": "snippets", **level1, "normalisation": values["norm"]}
        return {"backbone": base(values), "stream": "flow", "neck": neck, **whole}
    pair = {"variant": "two_stream", "spatial": base(values), "temporal": base(values)}
    if kind == "A":
        late = {
            "name": "late_fusion",
            "late_weight": (1.0, float(values["late"])),
            "late_space": values["late_space"],
            "stream_head": "vgg" if _has_layers(values) else "pool",
        }
        return {"backbone": pair, **whole, "head": {**whole["head"], **late}}
    is_guided = kind in ("D", "attention")
    neck = {
        "name": "stpn",
        **level1,
        "guidance": "level1" if is_guided else "none",
        "level2_dim": dims["d2"],
        "level3": "attention" if kind == "attention" else "stcb",
        "level3_dim": dims["d3"],
        "normalisation": values["norm"],
        "aux_heads": float(values["aux"]) > 0,
    }
    return {"backbone": pair, "neck": neck, **whole}


def dimension(values: Mapping[str, str], name: str) -> int:
    """The dimension of a level: `d1`, `d2` or `d3`."""
    return int(values[name] or SIZES[values["size"]]["dims"][name])


def _partial_norms(values: Mapping[str, str], is_partial: bool) -> dict[str, Any]:
    return {"norm_frozen": _LATER_NORMS} if is_partial and not _has_layers(values) else {}


def _has_layers(values: Mapping[str, str]) -> bool:
    """Whether the network is VGG-16, with two linear layers and without norms."""
    return values["base"] == "vgg16" and values["size"] == "full"


def flow(values: Mapping[str, str], num_snippets: int) -> dict[str, Any]:
    """The section `flow`."""
    return {
        "num_snippets": num_snippets,
        "num_fields": 10,
        "interval": int(values["interval"]),
        "train_intervals": (1, 10),
        "stride_rule": values["stride_rule"],
    }


def _input(values: Mapping[str, str], scales: tuple[float, ...]) -> dict[str, Any]:
    """The section `input`: one window and one flip for all streams of a sample."""
    # Pixels as the public weights saw them: BN-Inception's are Caffe's, the others torchvision's,
    # which divide by about 57; flow is on the scale of the pixels.
    pixels: dict[str, Any] = {"flow_std": 32.0}
    if values["init"] == "imagenet" and values["base"] == "bninception":
        pixels = {"mean": (123.0, 117.0, 104.0), "std": (1.0, 1.0, 1.0)}
    elif values["init"] == "imagenet":
        pixels = {"flow_std": 57.375}
    crop = {
        "name": "multi_scale_crop",
        "scales": scales,
        "num_positions": int(values["positions"]),
    }
    return {
        "size_px": SIZES[values["size"]]["size_px"],
        "host_ops": (crop, "flip"),
        "device_ops": ({"name": "normalize", **pixels},),
    }


def _training(values: Mapping[str, str], stage: str, is_partial: bool) -> dict[str, Any]:
    """Sections and numbers of a stage's training; `stage` is a key of `STAGES`."""
    size = SIZES[values["size"]]
    multipliers = (_NORMS, _BIASES)
    if stage == "temporal" and values["init"] == "imagenet":
        multipliers = (*_FLOW_STEM, *multipliers)
    if stage == "last":
        is_product = values["model"] in ("B", "C", "D")
        slow = (_LAST_CLASSIFIER,) if is_product else ()
        multipliers = (_NORMS, *_NEW, *slow, _BIASES)
    is_frozen = is_partial and values["affine"] == "frozen"
    optim = {
        "clip_norm": _CLIP_NORMS[stage],
        "lr_multipliers": multipliers,
        "frozen_pattern": _LATER_AFFINE if is_frozen else "",
    }
    return {
        "total_steps": size["steps"][stage],
        "optim": optim,
        "schedule": {
            "base_lr": size["base_lr"][stage],
            "boundaries_steps": size["boundaries"][stage],
        },
    }


def stream_stage(values: Mapping[str, str], stream: str) -> dict[str, Any]:
    """What the config of a network of one stream has, on its own or before the fusion."""
    model = stream_model(values, stream)
    is_imagenet = values["init"] == "imagenet"
    own = {
        "model": model,
        "input": _input(values, _SCALES[stream]),
        "init_from": f"weights/{values['base']}_imagenet" if is_imagenet else "",
        **_training(values, stream, "norm_frozen" in model),
    }
    if stream == "temporal":
        own["flow"] = flow(values, 1)
        own["init_modality"] = values["cross"] if is_imagenet else ""
    return own


def joint_stage(values: Mapping[str, str]) -> dict[str, Any]:
    """What the config of the fusion of trained networks has."""
    model, is_flow_alone = fused_model(values), values["model"] == "snippets"
    own = {
        "model": model,
        "input": _input(values, _SCALES["temporal" if is_flow_alone else "spatial"]),
        "flow": flow(values, int(values["paths"])),
        "init_from": _trained(values),
        **_training(values, "last", "norm_frozen" in model),
    }
    if values["model"] == "A":
        # The two networks as they are: nothing is trained.
        return {**own, "total_steps": 0, "total_epochs": 0.0}
    if float(values["aux"]):
        own["loss"] = {"aux_weight": float(values["aux"])}
    own["optim"]["freeze_base_steps"] = int(values["warmup"])
    return own


def _trained(values: Mapping[str, str]) -> Any:
    """`init_from` of the fusion: stages of this run, or of another one."""
    folder = values["streams"]
    names = {
        name: f"{folder}/stages/{STAGES[name]}" if folder else STAGES[name]
        for name in ("spatial", "temporal")
    }
    return names["temporal"] if values["model"] == "snippets" else names


def segments_stage(values: Mapping[str, str]) -> dict[str, Any]:
    """What the training of TSN has: a snippet of each of three segments."""
    kind = values["input"]
    stream = _TSN_STREAMS[kind]
    own = stream_stage(values, stream)
    if stream == "temporal":
        own["flow"] |= {"num_snippets": _TSN_SEGMENTS, "stride_rule": "segments"}
        return own
    own["clip"] = {"num_frames": _TSN_SEGMENTS, "sampling": "segments"}
    if kind == "rgb_diff":
        own["clip"]["frames_per_segment"] = 6
        own["init_modality"] = values["cross"] if values["init"] == "imagenet" else ""
        own["input"]["device_ops"] = ("stack_differences",)
    return own


def stages(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What each stage has other than the rest of the config, by name; of one stage, "" is it."""
    kind = values["model"]
    if kind in ("spatial", "temporal"):
        return {"": stream_stage(values, kind)}
    if kind == "tsn":
        return {"": segments_stage(values)}
    needed = ("temporal",) if kind == "snippets" else ("spatial", "temporal")
    before = {} if values["streams"] else {STAGES[n]: stream_stage(values, n) for n in needed}
    return {**before, STAGES["last"]: joint_stage(values)} if before else {"": joint_stage(values)}


def data(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `data`."""
    if values["data"] != "tempobench":
        split = "{split}" if values["split"] == "all" else values["split"]
        kind = "_warped" if values["input"] == "warped" else ""
        folder = f"data/{values['data']}{kind}_split{split}"
        return {"name": values["data"], "dir": folder, "num_workers": 8}
    side = SIZES[values["size"]]["short_side_px"]
    is_shortened = values["size"] == "small" and values["flow"] == "tvl1_jax"
    flow_method = _SHORT_TVL1 if is_shortened else {"name": values["flow"]}
    return {
        "name": "tempobench_symmetric",
        "dir": f"runs/data/tempobench_{values['flow']}_{side}",
        "num_workers": 2,
        "generate": {
            "config": "symmetric",
            "level": "easy",
            "num_train": 240,
            "num_test": 60,
            "height_px": side,
            "width_px": side + side // 3 // 2 * 2,
            "flow": flow_method,
        },
    }


def evaluators(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Evaluators of every stage: TSN's 25 times and ten crops; one view during training."""
    size = SIZES[values["size"]]
    view = {"short_side_px": size["short_side_px"], "size_px": size["size_px"]}
    if values["model"] == "tsn":
        # Three segments are trained on, single snippets are scored.
        view |= {"num_frames": 1, "num_snippets": 1}
    whole = {"views": "tsn_25x10", "num_clips": size["num_clips"], **view}
    found = {"multi_view": {**whole, "save_embedding": values["data"] == "tempobench"}}
    if size["every_epochs"]:
        every = {"every_epochs": size["every_epochs"], "average": "logits"}
        found["single_view"] = {**view, **every}
    return found


def fill(config: Any, chosen: Argument) -> Any:
    """All sections of the recipe, written to an empty config, which is returned."""
    values = chosen.values
    size = SIZES[values["size"]]
    config.row = chosen.row
    config.seed = 0
    config.batch_size = size["batch_size"]
    config.data = data(values)
    config.clip = {"num_frames": 1}
    config.loss = {"label_smoothing": 0.0}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 5e-4,
        "decay_pattern": "kernel$",
    }
    config.schedule = {"name": "steps", "factor": 0.1}
    config.loop = {
        "accumulate_steps": 1,
        "checkpoint_every_steps": size["checkpoint_every_steps"],
        "log_every_steps": size["log_every_steps"],
    }
    config.multigrid = {"cycle": "none"}
    config.mesh = {}
    config.model = {"dtype": "float32", "remat": "none"}
    config.eval = evaluators(values)
    found = stages(values)
    for name, value in found.pop("", {}).items():
        if isinstance(value, dict) and name in config:
            config[name].update(value)
        else:
            config[name] = value
    config.stages = found
    return config
