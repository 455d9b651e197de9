"""Pixelwise and across-the-batch ops inside the compiled step: colours, mixing, normalisation.

An op is a pure `f(key, batch) -> batch` on `batch["video"]` [B,T,H,W,C]; `normalize` and `residual`
take [B,V,T,H,W,C] too. Every clip has its own draw, the same for all its frames.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tempo.data import ops as ops_lib
from tempo.data.augment import color, mixing, rand_augment, residual
from tempo.data.ops import DeviceOp
from tempo.errors import InputError
from tempo.types import Array, Batch

IMAGENET_MEAN = mixing.IMAGENET_MEAN
IMAGENET_STD = (58.395, 57.12, 57.375)


def normalize(
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    flow_mean: float = 128.0,
    flow_std: float = 1.0,
    dtype: str = "float32",
) -> DeviceOp:
    """(video - mean) / std per channel, as `dtype`; values of 0-255 go in, in any number type.

    So is flow, where there is any: 128 is no motion, and TSN does not divide.
    """
    ops_lib.check_output("normalize", dtype, mean=mean, std=std)
    if min(*std, flow_std) <= 0:
        raise InputError(f"normalize: std must be above 0; got {tuple(std)} and {flow_std:g}.")

    def op(key: Array, batch: Batch) -> Batch:
        del key
        # Mean and scale in float32: 255 / 58 has no exact bfloat16.
        video = batch["video"].astype(jnp.float32)
        video = (video - jnp.asarray(mean, jnp.float32)) * (1 / jnp.asarray(std, jnp.float32))
        streams = {"video": video.astype(dtype)}
        if "flow" in batch:
            flow = (batch["flow"].astype(jnp.float32) - flow_mean) * (1 / flow_std)
            streams["flow"] = flow.astype(dtype)
        return batch | streams

    return op


OPS = {
    "normalize": normalize,
    "residual": residual.residual,
    "rand_augment": rand_augment.rand_augment,
    **color.OPS,
    **mixing.OPS,
}
# What evaluation does as well, for the network was trained on it.
_FIXED = ("normalize", "residual")
# They take values of 0-255, which nothing has after one of `_FIXED`.
_OF_PIXELS = (*_FIXED, "rand_augment", *color.OPS)


def create(
    ops: Sequence[str | Mapping[str, Any]], num_classes: int, clips_per_video: int = 1
) -> Callable[[Array, Batch], Batch]:
    """One `f(key, batch) -> batch` from names or dicts `{"name": ..., **arguments}`, in order.

    Op i uses `fold_in(key, i)`. `mixup` and `cutmix` add `label_probs` float32 [B,K].

    Args:
      ops: rows of `OPS`.
      num_classes: K.
      clips_per_video: neighbours in the batch that show one video; mixing looks beyond them.

    Raises:
      InputError: an unknown op, an unknown or missing argument, a value out of range, an op of
        pixels after they were normalised.
    """
    provided = {"num_classes": num_classes, "shift": clips_per_video}
    made = [ops_lib.make(op, OPS, "device op", **provided) for op in ops]
    _check_order([ops_lib.name_of(op) for op in ops])

    def run(key: Array, batch: Batch) -> Batch:
        for i, op in enumerate(made):
            batch = op(jax.random.fold_in(key, i), batch)
        return batch

    return run


def without_augmentation(ops: Sequence[ops_lib.Row]) -> tuple[ops_lib.Row, ...]:
    """The rows that evaluation runs too: those that change no video by chance."""
    return tuple(op for op in ops if ops_lib.name_of(op) in _FIXED)


def extra_frames(ops: Sequence[ops_lib.Row]) -> int:
    """Frames that have to be read beyond the T of a clip, since these rows use them up."""
    return sum(
        ops_lib.name_of(op) == "residual"
        and (isinstance(op, str) or op.get("pad", "extra") == "extra")
        for op in ops
    )


def _check_order(names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        before = [n for n in names[:i] if n in _FIXED]
        if name in _OF_PIXELS and before:
            raise InputError(
                f"Device op {name!r} needs pixels of 0-255, but stands after {before[0]!r}; "
                + ("use one of them." if name in _FIXED else "put it before.")
            )
