"""One recipe for the networks of the tempo study: SlowOnly alone, with TPN, and a per-frame TSN.

    python -m tempo.main --config experiments/tempo_robustness/config.py:tpn_parallel \
        --workdir runs/tempo_robustness/tpn_parallel_seed0 --config.seed=0

The argument is a row of `ROWS`; all rows share data, schedule and views, and differ in the network
alone. TempoBench `variance`, 7 classes that are motion patterns, each with its own spread of tempo
around one median period of 19.6 frames; 8 frames at a stride of 4 show 1.6 cycles of the median.
Only 20 training videos a class: with 80, SlowOnly alone reaches 0.996 and leaves nothing to gain.
"""

import ml_collections

from tempo.errors import lookup

_SLOWONLY = {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 8}
# Alphas of the ablation on 8 frames (arXiv 2004.03548, table 6): (4, 8).
_TPN = {"name": "tpn", "alphas": "rule", "groups": 8, "aux_dropout_prob": 0.0}

FLOWS = ("isolation", "bottom_up", "top_down", "cascade", "parallel")
ROWS = {
    "slowonly": {"backbone": _SLOWONLY},
    **{f"tpn_{flow}": {"backbone": _SLOWONLY, "neck": {**_TPN, "flow": flow}} for flow in FLOWS},
    # Scores single frames for the measurement of visual tempo.
    "tsn": {"backbone": {**_SLOWONLY, "variant": "c2d_r50"}},
}


def get_config(arg: str = "tpn_parallel") -> ml_collections.ConfigDict:
    """The config of a row."""
    model = lookup(ROWS, arg, "row of the tempo study")
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.batch_size = 16
    config.total_epochs = 30.0

    config.data = {
        "name": "tempobench_variance",
        "dir": "runs/data/tempobench_variance",
        "num_workers": 2,
        "generate": {
            "config": "variance",
            "level": "easy",
            "num_train": 140,
            "num_test": 560,
            "short_side_px": 64,
        },
    }
    config.clip = {"num_frames": 8, "stride": 4}
    config.input = {
        "size_px": 56,
        "host_ops": ("random_crop",),
        "device_ops": ("normalize",),
    }
    config.model = {**model, "head": {"dropout_prob": 0.0}}
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
    config.loop = {"log_every_steps": 20, "checkpoint_every_steps": 400, "keep_checkpoints": 1}
    config.mesh = {}

    view = {"short_side_px": 64, "size_px": 56}
    config.eval = {
        "multi_view": {"num_clips": 2, "crop": "center", **view},
    }
    return config
