"""The sections of a config that the options of the MTNet recipe make: `fill` writes them all.

Where each number is from, and which are our choice, stands in `tempo.papers.mtnet`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tempo.papers.arguments import Argument


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What the recipe has for a dataset.

    Attributes:
      name: of the dataset, as `python -m tempo.prepare` calls it.
      split: measured.
      stride: frames of the video from one of a clip to the next.
      total_epochs: of the run; of one with multigrid, of its base shape.
      base_lr: for 64 clips.
      warmup_steps: iterations of the linear warm-up.
      lr_multipliers: of `tempo.optim.create`.
    """

    name: str
    split: str
    stride: int
    total_epochs: float
    base_lr: float
    warmup_steps: int = 8000
    lr_multipliers: tuple[tuple[str, float], ...] = ()


CONVOLUTIONS = r"conv[^/]*/kernel$"
"""Leaves that are weights of convolutions, of every network here."""

SOURCES: dict[str, Source] = {
    "hacs": Source(name="hacs", split="val", stride=2, total_epochs=120.0, base_lr=0.1),
    "k400": Source(name="kinetics400", split="val", stride=5, total_epochs=130.0, base_lr=0.05),
    "k700": Source(name="kinetics700", split="val", stride=5, total_epochs=130.0, base_lr=0.05),
    "mit": Source(name="moments", split="val", stride=3, total_epochs=110.0, base_lr=0.1),
    "ucf101": Source(
        name="ucf101", split="test", stride=4, total_epochs=150.0, base_lr=0.01,
        warmup_steps=0, lr_multipliers=((CONVOLUTIONS, 0.1),),
    ),
}  # fmt: skip
"""By the option `data`; `tempo_bench` is `fill_small`'s."""

TRAIN_PX = {"s": 182, "m": 224, "l": 224}
"""Side of training crops by size."""
TEST_PX = {"s": 182, "m": 256, "l": 256}
"""Side of test crops, and short side of test frames, by size."""

NETS: dict[str, dict[str, Any]] = {
    "r50_3d": {"model": "r3d_r50_x1"},
    "r50_2plus1d": {"model": "r2plus1d_r50_x1"},
    "multifiber": {"model": "mfnet"},
    # Table II has the numbers of table 5 of arXiv 1812.03982: 4 frames, 16 apart.
    "slowonly": {"model": "slowonly_r50", "num_frames": 4, "stride": 16},
    "slowfast": {"model": "slowfast_r50_4x16", "num_frames": 32, "stride": 2},
    "r50_mtconv": {"model": "mtnet_r50"},
}
"""Networks of table II: their presets, and their clips where they differ."""

# Compiling is most of a short run's time here, and grows with the number of blocks: two of them,
# in res2 and res3.
_SMALL_NET = {"depths": (1, 1, 0, 0), "widths": (12, 24, 48, 96)}
_SMALL = {
    "s": {"size_px": 32, "backbone": _SMALL_NET},
    "m": {"size_px": 40, "backbone": _SMALL_NET},
    "l": {"size_px": 40, "backbone": {**_SMALL_NET, "depths": (1, 2, 1, 0)}},
}


def backbone(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `model.backbone` of an MTNet."""
    pool, _, selection = values["pool"].partition("_")
    frames: Any = "pool"
    if selection:
        frames = {
            "name": "triplet",
            "select": values["select"],
            "square": values["square"] == "on",
            "border": values["border"],
        }
    return {
        "block": values["block"],
        "ratio": float(values["ratio"]),
        "cell": values["cell"],
        "sr_layers": int(values["layers"]),
        "use_se": values["se"] == "on",
        "is_last_activated": values["last"] == "relu",
        # Pooling is that of the prolonged branches; the stem selects frames all the same.
        "stem_frames": frames if selection else "triplet",
        "mtconv": {
            "pool": pool,
            "frames": frames,
            "input": values["input"],
            "lateral_from": values["lateral"],
            "share_norm": values["norms"] == "shared",
            "share_indices": values["indices"] == "shared",
        },
    }


def model(values: Mapping[str, str]) -> dict[str, Any]:
    """The section `model`, without `norm_groups`."""
    is_small = values["data"] == "tempo_bench"
    name, section = NETS.get(values["net"], {}).get("model"), {}
    if not name:
        name, section = f"mtnet_{values['size']}", backbone(values)
    if is_small:
        section |= _SMALL[values["size"]]["backbone"] if values["net"] == "mtnet" else {}
    return {
        "name": name,
        "backbone": section,
        "head": {"dropout_prob": 0.0 if is_small else 0.5},
        "dtype": "float32" if is_small else "bfloat16",
        "remat": "none",
    }


def multigrid(cycle: str) -> dict[str, Any]:
    """The section `multigrid`."""
    # The rule of the authors' code shows no more epochs than a plain run.
    epochs = {"epoch_factor": 1.0} if cycle == "per_epoch" else {}
    return {"cycle": "none" if cycle == "off" else cycle, **epochs}


def fill(config: Any, chosen: Argument) -> Any:
    """All sections of the recipe, written to an empty config, which is returned."""
    values = chosen.values
    config.row = chosen.row
    config.seed = 0
    config.init_from = f"runs/mtnet/t5.{values['size']}" if values["init"] == "hacs" else ""
    config.model = model(values)
    config.multigrid = multigrid(values["multigrid"])
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "decay_pattern": "kernel$",
    }
    config.mesh = {}
    (_fill_small if values["data"] == "tempo_bench" else _fill_full)(config, values)
    return config


def _fill_full(config: Any, values: Mapping[str, str]) -> None:
    """What depends on a dataset that is prepared."""
    source, net = SOURCES[values["data"]], NETS.get(values["net"], {})
    config.batch_size = 64
    config.total_epochs = source.total_epochs
    config.data = {"name": source.name, "dir": f"data/{source.name}", "num_workers": 8}
    config.clip = {
        "num_frames": net.get("num_frames", 16),
        "stride": net.get("stride", source.stride),
    }
    config.input = {
        "size_px": int(values["crop"] or TRAIN_PX[values["size"]]),
        "host_ops": ({"name": "resize_short_side", "short_side_px": 320}, "random_crop", "flip"),
        "device_ops": ("normalize",),
    }
    config.optim.lr_multipliers = source.lr_multipliers
    config.schedule = {
        "name": "cosine",
        "base_lr": source.base_lr,
        "reference_batch": 64,
        "warmup_steps": source.warmup_steps,
        "warmup_factor": 0.1,
    }
    config.loop = {"accumulate_steps": 1, "checkpoint_every_steps": 1000}
    # Of 64 clips on 4 GPUs, 16 share statistics; multigrid has groups of its own.
    is_plain = values["multigrid"] == "off"
    clips_at_once = config.get_ref("batch_size") // config.loop.get_ref("accumulate_steps")
    config.model.norm_groups = (clips_at_once + 15) // 16 if is_plain else 1
    side = TEST_PX[values["size"]]
    view = {"split": source.split, "short_side_px": side, "size_px": side}
    config.eval = {
        "single_view": {**view, "every_epochs": 5.0},
        "multi_view": {**view, "num_clips": 10, "crop": "three", "batch_size": 8},
    }


def _fill_small(config: Any, values: Mapping[str, str]) -> None:
    """TempoBench `pairs`, made on the spot, and a schedule for two CPU cores."""
    side = int(values["crop"] or _SMALL[values["size"]]["size_px"])
    stored = side + 8
    config.batch_size = 16
    config.total_epochs = 12.0
    config.data = {
        "name": "tempobench_pairs",
        "dir": f"runs/data/tempobench_pairs_{stored}",
        "num_workers": 2,
        "generate": {
            "config": "pairs",
            "level": "easy",
            "num_train": 560,
            "num_test": 280,
            "short_side_px": stored,
        },
    }
    # 64 frames: two cycles of a slow motion, five of a fast one.
    config.clip = {"num_frames": 16, "stride": 4}
    # No mirror images: a mirrored clockwise circle runs counter-clockwise.
    config.input = {
        "size_px": side,
        "host_ops": ("random_crop",),
        "device_ops": ("normalize",),
    }
    config.optim.lr_multipliers = ()
    config.schedule = {
        "name": "cosine",
        "base_lr": 0.1,
        "warmup_epochs": 1.0,
        "warmup_factor": 0.1,
    }
    config.loop = {"log_every_steps": 20, "checkpoint_every_steps": 50}
    view = {"short_side_px": stored, "size_px": side}
    config.eval = {
        "single_view": {**view, "every_epochs": 6.0},
        "multi_view": {**view, "num_clips": 2, "crop": "three"},
    }
