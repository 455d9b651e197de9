"""A small SlowOnly + TPN on TempoBench `pairs` (easy), made on the spot: the README's command 1.

    python -m tempo.main --config configs/quickstart.py --workdir runs/quickstart

Fourteen classes, seven motions x slow or fast; no single frame tells slow from fast. Expected on
two CPU cores: a few minutes, multi-view top-1 of 0.99 or more. The same network on one frame per
clip, which has nothing to learn tempo from, stays near 0.09:

    python -m tempo.main --config configs/quickstart.py --workdir runs/single_frame \
        --config.clip.num_frames=1

`--config configs/quickstart.py:slowonly` leaves the pyramid out; `tempo.report` compares the two.

There is no flip: a mirrored clockwise circle runs counter-clockwise.
"""

import ml_collections

from tempo.errors import lookup

# Equal scales, so that the neck also takes one frame.
_TPN = {"name": "tpn", "alphas": "equal", "groups": 4, "aux_dropout_prob": 0.0}
NECKS = {"": _TPN, "slowonly": {}}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.batch_size = 16
    config.total_epochs = 16.0

    config.data = {
        "name": "tempobench_pairs",
        "dir": "runs/data/tempobench_pairs",
        "num_workers": 2,
        "generate": {
            "config": "pairs",
            "level": "easy",
            "num_train": 560,
            "num_test": 280,
            "short_side_px": 64,
        },
    }
    # 64 frames: two cycles of a slow motion, five of a fast one.
    config.clip = {"num_frames": 16, "stride": 4}
    config.input = {
        "size_px": 56,
        "host_ops": ("random_crop",),
        "device_ops": ("normalize",),
    }
    config.model = {
        "backbone": {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 4},
        "neck": lookup(NECKS, arg, "argument of configs/quickstart.py"),
        "head": {"dropout_prob": 0.0},
    }
    config.loss = {"aux_weight": 0.5}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "decay_pattern": "kernel$",
    }
    config.schedule = {
        "name": "cosine",
        "base_lr": 0.1,
        "warmup_epochs": 2.0,
        "warmup_factor": 0.04,
    }
    config.loop = {"log_every_steps": 20, "checkpoint_every_steps": 200}
    config.multigrid = {"cycle": "none"}
    config.mesh = {}

    view = {"short_side_px": 64, "size_px": 56}
    config.eval = {
        "single_view": {"every_epochs": 8.0, **view},
        "multi_view": {"num_clips": 2, "crop": "three", **view},
    }
    return config
