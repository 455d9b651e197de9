"""Differences of neighbouring frames as input, in the compiled step: residual frames, stacks."""

from collections.abc import Sequence

import jax.numpy as jnp

from tempo.data.ops import NO_MOTION, DeviceOp, check_output, check_std, normalized_flow
from tempo.errors import InputError
from tempo.types import Array, Batch

PADS = ("extra", "roll", "repeat")
SCALES = ("std", "half_shift")


def residual(
    *,
    pad: str = "extra",
    scale: str = "std",
    is_abs: bool = False,
    std: Sequence[float] = (58.395, 57.12, 57.375),
    dtype: str = "float32",
    flow_mean: float = NO_MOTION,
    flow_std: float = 1.0,
) -> DeviceOp:
    """Every frame becomes its difference to the next (arXiv 2007.08180; 2001.05661).

    Signed, and computed in float32: in uint8 it would wrap. Values of 0-255 go in, so this stands
    in place of `normalize`, after the colour ops and before mixing. A clip without motion gives 0.

    Args:
      pad: what makes T differences of the last frame. `extra`: one frame more is read
        (`device_ops.extra_frames`), so [B,T+1,H,W,C] -> [B,T,H,W,C]. `repeat`: the last difference
        stands twice. `roll`: every frame minus the one before it, the first minus the last.
      scale: `std` divides by `std` and subtracts no mean; `half_shift` maps -255..255 to 0..1.
      is_abs: whether the sign is dropped.
      std: per channel, of the frames.
      dtype: of the result.
      flow_mean: subtracted from flow, where there is any, as `normalize` does.
      flow_std: which flow is then divided by.
    """
    if pad not in PADS:
        raise InputError(f"residual: pad must be one of {', '.join(PADS)}; got {pad!r}.")
    if scale not in SCALES:
        raise InputError(f"residual: scale must be one of {', '.join(SCALES)}; got {scale!r}.")
    check_output("residual", dtype, std=std)
    check_std("residual", std, flow_std)

    def op(key: Array, batch: Batch) -> Batch:
        del key
        video = batch["video"].astype(jnp.float32)
        if video.shape[-4] < 2 and pad != "roll":
            raise InputError(
                f"residual: pad={pad!r} needs clips of at least 2 frames; got {video.shape[-4]}."
            )
        difference = _difference(video, pad)
        if is_abs:
            difference = jnp.abs(difference)
        if scale == "std":
            difference = difference * (1 / jnp.asarray(std, jnp.float32))
        else:
            # The sum is exact, so nothing is rounded to below 0 or above 1.
            difference = (difference + 255) / 510
        flow = normalized_flow(batch, flow_mean, flow_std, dtype)
        return batch | {"video": difference.astype(dtype)} | flow

    return op


def _difference(video: Array, pad: str) -> Array:
    """Along the frames of [...,T,H,W,C]."""
    if pad == "roll":
        return video - jnp.roll(video, 1, axis=-4)
    difference = jnp.diff(video, axis=-4)
    if pad == "extra":
        return difference
    return jnp.concatenate([difference, difference[..., -1:, :, :, :]], axis=-4)


def stack_differences(
    *,
    frames_per_segment: int = 6,
    std: Sequence[float] = (1.0, 1.0, 1.0),
    dtype: str = "float32",
    flow_mean: float = NO_MOTION,
    flow_std: float = 1.0,
) -> DeviceOp:
    """The differences of the F neighbouring frames of every segment as the channels of one frame.

    [B,T*F,H,W,3] -> [B,T,H,W,3*(F-1)], and so with views, in the order of time: TSN's RGB
    difference (arXiv 1608.00859, section 3.2). For clips of `ClipSpec.frames_per_segment`. Stands
    where `residual` would; signed, in float32, and without motion 0.

    Args:
      frames_per_segment: F, at least 2.
      std: per channel of the frames, which differences are divided by; TSN does not.
      dtype: of the result.
      flow_mean: subtracted from flow, where there is any, as `normalize` does.
      flow_std: which flow is then divided by.
    """
    if frames_per_segment < 2:
        raise InputError(
            f"stack_differences: frames_per_segment must be at least 2; got {frames_per_segment}."
        )
    check_output("stack_differences", dtype, std=std)
    check_std("stack_differences", std, flow_std)

    def op(key: Array, batch: Batch) -> Batch:
        del key
        video = batch["video"].astype(jnp.float32)
        *lead, frames, height, width, channels = video.shape
        if frames % frames_per_segment:
            raise InputError(
                f"stack_differences: {frames} frames are no whole segments of "
                f"{frames_per_segment}; set clip.frames_per_segment={frames_per_segment}."
            )
        segments = frames // frames_per_segment
        video = video.reshape(*lead, segments, frames_per_segment, height, width, channels)
        found = jnp.diff(video, axis=-4) * (1 / jnp.asarray(std, jnp.float32))
        found = jnp.moveaxis(found, -4, -2)
        stacked = found.reshape(*lead, segments, height, width, -1)
        flow = normalized_flow(batch, flow_mean, flow_std, dtype)
        return batch | {"video": stacked.astype(dtype)} | flow

    return op
