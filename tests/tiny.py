"""A run small enough for a test: 24 training and 11 test videos, a network of four blocks."""

import os
import subprocess
import sys

from tempo.data.tempobench import embedded

TEMPOBENCH = {
    "config": "variance",
    "num_train": 24,
    "num_test": 11,
    "num_frames": 16,
    "height_px": 36,
    "width_px": 48,
}

CONFIG = """
import ml_collections

def get_config(arg=""):
    c = ml_collections.ConfigDict()
    c.row = "t1.base"
    c.batch_size = 8
    c.total_epochs = 4.0
    c.data = {"name": "folder", "dir": "DATA", "num_workers": 2}
    c.clip = {"num_frames": 4, "stride": 2}
    c.input = {"size_px": 32, "host_ops": ("random_crop",),
               "device_ops": ("normalize",)}
    c.model = {"backbone": {"variant": "slowonly_r18", "depths": (1, 1, 1, 1), "width": 4},
               "neck": {}, "head": {"dropout_prob": 0.5}}
    c.loss = {}
    c.optim = {"weight_decay": 1e-4}
    c.schedule = {"base_lr": 0.02}
    c.loop = {"log_every_steps": 2, "checkpoint_every_steps": 3}
    c.mesh = {}
    view = {"short_side_px": 36, "size_px": 32}
    c.eval = {"single_view": {"every_epochs": 2.0, **view},
              "multi_view": {"num_clips": 2, "crop": "three", "save_views": True, **view}}
    return c
"""


def make_records(folder, **changed):
    """TempoBench records of 24 + 11 tiny videos in `<folder>/records`; the path."""
    data_dir = os.path.join(folder, "records")
    embedded.make(data_dir, **{**TEMPOBENCH, **changed})
    return data_dir


def write_config(path, data_dir):
    """A config file that reads these records; its path as a string."""
    path.write_text(CONFIG.replace("DATA", str(data_dir)))
    return str(path)


def command(*flags):
    """The training command as a user types it."""
    return [sys.executable, "-m", "tempo.main", *map(str, flags)]


def run(*flags, **kwargs):
    """Runs the command to its end; the completed process with text output."""
    return subprocess.run(command(*flags), capture_output=True, text=True, **kwargs)
