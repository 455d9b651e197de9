"""SlowOnly-R50 + TPN on your own folder of videos.

    python -m tempo.prepare --videos videos --out data/mine --short-side 256
    python -m tempo.main --config configs/tpn_folder.py --workdir runs/mine

It trains from scratch; the number of classes comes from the records. The numbers are those of the
Kinetics-400 recipe of the TPN release (8x8 frames at 224 px, SGD with Nesterov momentum, 150 epochs
with steps at 75 and 125, gradient clipping at 40), with the learning rate scaled to the batch.
Another model is `--config.model.name=tsm_r50` (see `tempo.list_models()`). Where mirroring changes
a class, set `--config.input.host_ops="('random_resized_crop',)"`.
"""

import ml_collections


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    del arg
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.batch_size = 16
    config.total_epochs = 150.0

    config.data = {"name": "folder", "dir": "data/mine", "num_workers": 2}
    config.clip = {"num_frames": 8, "stride": 8, "sampling": "dense"}
    config.input = {
        "size_px": 224,
        "host_ops": ("random_resized_crop", "flip"),
        "device_ops": ("normalize",),
    }
    config.model = {
        "name": "tpn_slowonly_r50",
        "backbone": {},
        "neck": {},
        "head": {"dropout_prob": 0.5},
        "dtype": "float32",
        "norm_groups": 1,
        "remat": "none",
    }
    config.loss = {"label_smoothing": 0.0, "aux_weight": 0.5}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "clip_norm": 40.0,
    }
    config.schedule = {
        "name": "steps",
        "base_lr": 0.01,
        "reference_batch": 64,
        "boundaries_epochs": (75, 125),
    }
    config.loop = {"accumulate_steps": 1, "ema_decay": 0.0, "checkpoint_every_steps": 500}
    config.multigrid = {"cycle": "none"}
    config.mesh = {"model": 1}
    config.eval = {
        "single_view": {"every_epochs": 5.0},
        "multi_view": {"num_clips": 10, "crop": "three", "size_px": 256, "batch_size": 4},
    }
    return config
