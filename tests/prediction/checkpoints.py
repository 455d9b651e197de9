"""Checkpoints of networks with random weights, as small as a test needs them."""

import functools

import jax
import jax.numpy as jnp

from tempo import models, pretrained

CLIP = {"num_frames": 4, "stride": 2}
MODEL = {
    "backbone": {"variant": "slowonly_r18", "depths": (1, 1, 1, 1), "width": 4},
    "neck": {},
    "head": {"dropout_prob": 0.5},
}
HEAD_SCALE = 100.0
VIEW = {"short_side_px": 36, "size_px": 32}
EVAL = {
    "multi_view": {"num_clips": 2, "crop": "three", **VIEW},
    "single_view": VIEW,
}


@functools.lru_cache
def variables(num_classes, seed=0):
    """Random weights and statistics, so that no two videos score alike."""
    net = models.create(num_classes, **MODEL)
    init = jax.jit(lambda key: net.init(key, jnp.zeros((1, 4, 32, 32, 3)), train=False))
    found = init(jax.random.key(seed))
    return {
        "params": _scaled_head(found["params"]),
        "batch_stats": jax.tree.map(_noisy, found["batch_stats"]),
    }


def _noisy(statistics):
    return statistics + 0.2 * jax.random.uniform(jax.random.key(1), statistics.shape)


def _scaled_head(params):
    """Scores that differ between classes and videos, and that no softmax saturates."""
    kernel = params["head"]["fc"]["kernel"] * HEAD_SCALE
    return {**params, "head": {"fc": {**params["head"]["fc"], "kernel": kernel}}}


def write(path, num_classes=7, *, config=None, seed=0, **info):
    """A converted checkpoint at `path`; its path as a string."""
    base = {"model": MODEL, "clip": CLIP, "input": {"size_px": 32}, "eval": EVAL}
    config = base | (config or {})
    about = {"config": config, "class_names": [], "num_classes": num_classes} | info
    pretrained.save_model(str(path), variables(num_classes, seed), about)
    return str(path)
