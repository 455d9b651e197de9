"""Pixelwise and across-the-batch ops inside the compiled step: colours, mixing, normalisation.

An op is a pure `f(key, batch) -> batch` on `batch["video"]` [B,T,H,W,C]; `normalize`, `residual`
and `stack_differences` take [B,V,T,H,W,C] too. Every clip has its own draw, the same for all its
frames.
"""

import inspect
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
    flow_mean: float = ops_lib.NO_MOTION,
    flow_std: float = 1.0,
    dtype: str = "float32",
) -> DeviceOp:
    """(video - mean) / std per channel, as `dtype`; values of 0-255 go in, in any number type.

    So is flow, where there is any: 128 is no motion, and TSN does not divide.
    """
    ops_lib.check_output("normalize", dtype, mean=mean, std=std)
    ops_lib.check_std("normalize", std, flow_std)

    def op(key: Array, batch: Batch) -> Batch:
        del key
        # Mean and scale in float32: 255 / 58 has no exact bfloat16.
        video = batch["video"].astype(jnp.float32)
        video = (video - jnp.asarray(mean, jnp.float32)) * (1 / jnp.asarray(std, jnp.float32))
        flow = ops_lib.normalized_flow(batch, flow_mean, flow_std, dtype)
        return batch | {"video": video.astype(dtype)} | flow

    return op


OPS = {
    "normalize": normalize,
    "residual": residual.residual,
    "stack_differences": residual.stack_differences,
    "rand_augment": rand_augment.rand_augment,
    **color.OPS,
    **mixing.OPS,
}
# What evaluation does as well, for the network was trained on it; each normalises flow, too.
_FIXED = ("normalize", "residual", "stack_differences")
# They take values of 0-255, which nothing has after one of `_FIXED`.
_OF_PIXELS = (*_FIXED, "rand_augment", *color.OPS)
# They move what frames show, and would have to bend flow.
_BENDING = ("rand_augment",)


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


def check_clip(ops: Sequence[ops_lib.Row], frames_per_segment: int) -> None:
    """Raises `InputError` if clips of segments of several frames are not made one frame of each.

    Args:
      ops: rows of `OPS`.
      frames_per_segment: of the clips.
    """
    stacked = _frames_stacked(ops)
    if stacked == frames_per_segment:
        return
    if stacked == 1:
        raise InputError(
            f"clip.frames_per_segment={frames_per_segment} is for the device op "
            "'stack_differences'; add it in place of 'normalize', or leave it out."
        )
    raise InputError(
        f"Device op 'stack_differences' takes {stacked} frames of each segment, but "
        f"clip.frames_per_segment={frames_per_segment}; set it to {stacked}."
    )


def check_flow(ops: Sequence[ops_lib.Row]) -> None:
    """Raises `InputError` if these rows cannot make the input of a network that reads flow.

    Args:
      ops: rows of `OPS`.
    """
    names = [ops_lib.name_of(op) for op in ops]
    for name in names:
        if name in _BENDING:
            raise InputError(
                f"Device op {name!r} would bend frames and not the flow that the network reads; "
                "leave it out of config.input.device_ops."
            )
    if not set(names) & set(_FIXED):
        raise InputError(
            f"The network reads flow, but config.input.device_ops={tuple(names)} leave its values "
            f"at 0-255, where {ops_lib.NO_MOTION:g} is no motion; add 'normalize'."
        )


def network_shape(
    ops: Sequence[ops_lib.Row], num_frames: int, size_px: int
) -> tuple[int, int, int, int]:
    """[T,H,W,C] of `video` as the network is given it, after these ops.

    Args:
      ops: rows of `OPS`.
      num_frames: T of the clip; its segments, where each of these is several frames.
      size_px: side of the crops.
    """
    return (num_frames, size_px, size_px, 3 * max(_frames_stacked(ops) - 1, 1))


def _frames_stacked(ops: Sequence[ops_lib.Row]) -> int:
    """Frames that become one: F of `stack_differences`; 1 without it."""
    for op in ops:
        if ops_lib.name_of(op) == "stack_differences":
            default = inspect.signature(residual.stack_differences).parameters["frames_per_segment"]
            given = {} if isinstance(op, str) else op
            return given.get("frames_per_segment", default.default)
    return 1


def _check_order(names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        before = [n for n in names[:i] if n in _FIXED]
        if name in _OF_PIXELS and before:
            raise InputError(
                f"Device op {name!r} needs pixels of 0-255, but stands after {before[0]!r}; "
                + ("use one of them." if name in _FIXED else "put it before.")
            )
