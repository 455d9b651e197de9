"""Pixelwise and across-the-batch ops inside the compiled step: normalise, jitter, mix, erase.

An op is a pure `f(key, batch) -> batch` on `batch["video"]` [B,T,H,W,C] (or [B,V,T,H,W,C] where
only normalising). Videos are mixed with their neighbour along B, by a roll: with B spread over
devices that is one collective-permute, where a shuffle would gather the batch on every device.
Colour ops work on values of 0-255, so they stand before `normalize`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tempo.data import ops as ops_lib
from tempo.errors import InputError
from tempo.types import Array, Batch

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# RGB to luminance and two colour differences; a turn of hue is a rotation of the latter (NTSC YIQ).
_TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))

DeviceOp = Callable[[Array, Batch], Batch]


def create(
    ops: Sequence[str | Mapping[str, Any]], num_classes: int
) -> Callable[[Array, Batch], Batch]:
    """One `f(key, batch) -> batch` from names or dicts `{"name": ..., **arguments}`, in order.

    Op i uses `fold_in(key, i)`. `mixup` and `cutmix` add `label_probs` float32 [B,K].

    Args:
      ops: rows of `OPS`.
      num_classes: K.

    Raises:
      InputError: an unknown op, an unknown or missing argument, a value out of range.
    """
    made = [ops_lib.make(op, OPS, "device op", num_classes=num_classes) for op in ops]

    def run(key: Array, batch: Batch) -> Batch:
        for i, op in enumerate(made):
            batch = op(jax.random.fold_in(key, i), batch)
        return batch

    return run


def without_augmentation(ops: Sequence[ops_lib.Row]) -> tuple[ops_lib.Row, ...]:
    """The rows that evaluation runs too: those that change no video by chance."""
    return tuple(op for op in ops if ops_lib.name_of(op) == "normalize")


def normalize(
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    dtype: str = "float32",
) -> DeviceOp:
    """(video - mean) / std per channel, as `dtype`; values of 0-255 go in, in any number type."""
    if min(std) <= 0:
        raise InputError(f"normalize: std must be above 0; got {tuple(std)}.")

    def op(key: Array, batch: Batch) -> Batch:
        del key
        # Mean and scale in float32: 255 / 58 has no exact bfloat16.
        video = batch["video"].astype(jnp.float32)
        video = (video - jnp.asarray(mean, jnp.float32)) * (1 / jnp.asarray(std, jnp.float32))
        return batch | {"video": video.astype(dtype)}

    return op


def color_jitter(
    *,
    brightness: float = 0.5,
    contrast: float = 0.5,
    saturation: float = 0.5,
    hue: float = 0.1,
    prob: float = 1.0,
) -> DeviceOp:
    """Random colours, the same for all frames of a clip (mmaction2's `ColorJitter`).

    In this order: brightness (factor 1 +- `brightness`), contrast (about the clip's mean grey,
    factor 1 +- `contrast`), saturation (about each pixel's grey, factor 1 +- `saturation`), hue (a
    turn of +- `hue` of the colour circle, in YIQ). Clipped to 0-255; float32.

    Args:
      brightness: 0 to 1.
      contrast: 0 to 1.
      saturation: 0 to 1.
      hue: 0 to 0.5 turns.
      prob: share of clips that are changed.
    """
    for name, value, most in (
        ("brightness", brightness, 1.0),
        ("contrast", contrast, 1.0),
        ("saturation", saturation, 1.0),
        ("hue", hue, 0.5),
        ("prob", prob, 1.0),
    ):
        _check_range("color_jitter", name, value, most)

    def op(key: Array, batch: Batch) -> Batch:
        video = batch["video"].astype(jnp.float32)
        *keys, chosen_key = jax.random.split(key, 5)
        shape = (video.shape[0], 1, 1, 1, 1)
        bright, contrasted, saturated = (
            jax.random.uniform(k, shape, minval=1 - s, maxval=1 + s)
            for k, s in zip(keys, (brightness, contrast, saturation), strict=False)
        )
        turns = jax.random.uniform(keys[3], shape[:1], minval=-hue, maxval=hue)
        x = jnp.clip(video * bright, 0, 255)
        mean_grey = _grey(x).mean(axis=(1, 2, 3), keepdims=True)
        x = jnp.clip(mean_grey + (x - mean_grey) * contrasted, 0, 255)
        grey = _grey(x)
        x = jnp.clip(grey + (x - grey) * saturated, 0, 255)
        turn = jax.vmap(_hue_matrix)(turns)
        x = jnp.clip(jnp.einsum("bthwc,bdc->bthwd", x, turn), 0, 255)
        chosen = jax.random.bernoulli(chosen_key, prob, shape)
        return batch | {"video": jnp.where(chosen, x, video)}

    return op


def mixup(*, num_classes: int, alpha: float = 0.8) -> DeviceOp:
    """Mixes every clip with its neighbour in the batch (arXiv 1710.09412).

    video = lam * video + (1 - lam) * neighbour, and the same for `label_probs`; lam ~ Beta(alpha,
    alpha), one draw per clip. Float32.

    Args:
      num_classes: K.
      alpha: above 0; small values mix little.
    """
    _check_alpha("mixup", alpha)

    def op(key: Array, batch: Batch) -> Batch:
        video = batch["video"].astype(jnp.float32)
        lam = jax.random.beta(key, alpha, alpha, (video.shape[0],))
        mixed = _weighted(lam, video, jnp.roll(video, 1, axis=0))
        return batch | {"video": mixed, "label_probs": _mixed_labels(batch, lam, num_classes)}

    return op


def cutmix(*, num_classes: int, alpha: float = 1.0) -> DeviceOp:
    """Pastes a box of the neighbour in the batch into every clip (arXiv 1905.04899).

    The box spans all frames, has the clip's aspect ratio and the area 1 - lam, lam ~ Beta(alpha,
    alpha), and its centre is uniform; the labels are mixed by the area that was really covered.

    Args:
      num_classes: K.
      alpha: above 0.
    """
    _check_alpha("cutmix", alpha)

    def op(key: Array, batch: Batch) -> Batch:
        video = batch["video"]
        size_key, box_key = jax.random.split(key)
        lam = jax.random.beta(size_key, alpha, alpha, (video.shape[0],))
        share = jnp.sqrt(1 - lam)
        box = _boxes(box_key, video.shape, share, share)
        mixed = jnp.where(box, jnp.roll(video, 1, axis=0), video)
        kept = 1 - box.mean(axis=(1, 2, 3, 4), dtype=jnp.float32)
        return batch | {"video": mixed, "label_probs": _mixed_labels(batch, kept, num_classes)}

    return op


def erasing(
    *,
    prob: float = 0.25,
    area: Sequence[float] = (0.02, 1 / 3),
    aspect: Sequence[float] = (0.3, 10 / 3),
    fill: Sequence[float] = IMAGENET_MEAN,
) -> DeviceOp:
    """Paints a random box in all frames of some clips (random erasing, arXiv 1708.04896).

    Args:
      prob: share of clips.
      area: range of the box's share of the frame, uniform. A box over the border is cut.
      aspect: range of height / width, log-uniform.
      fill: colour, 0-255; zeros if this stands after `normalize`.
    """
    _check_range("erasing", "prob", prob, 1.0)
    if not 0 < area[0] <= area[1] <= 1 or not 0 < aspect[0] <= aspect[1]:
        raise InputError(
            "erasing needs 0 < area[0] <= area[1] <= 1 and 0 < aspect[0] <= aspect[1]; got "
            f"{tuple(area)}, {tuple(aspect)}."
        )

    def op(key: Array, batch: Batch) -> Batch:
        video = batch["video"]
        chosen_key, area_key, aspect_key, box_key = jax.random.split(key, 4)
        size = video.shape[:1]
        share = jax.random.uniform(area_key, size, minval=area[0], maxval=area[1])
        low, high = jnp.log(aspect[0]), jnp.log(aspect[1])
        ratio = jnp.exp(jax.random.uniform(aspect_key, size, minval=low, maxval=high))
        # In shares of a square; the frame's own aspect ratio comes in through its two sides.
        frame_ratio = jnp.sqrt(ratio * video.shape[3] / video.shape[2])
        box = _boxes(
            box_key, video.shape, jnp.sqrt(share) * frame_ratio, jnp.sqrt(share) / frame_ratio
        )
        chosen = jax.random.bernoulli(chosen_key, prob, (*size, 1, 1, 1, 1))
        return batch | {"video": jnp.where(box & chosen, jnp.asarray(fill, video.dtype), video)}

    return op


OPS = {
    "normalize": normalize,
    "color_jitter": color_jitter,
    "mixup": mixup,
    "cutmix": cutmix,
    "erasing": erasing,
}


def _check_range(op: str, name: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise InputError(f"{op}: {name} must be 0 to {most:g}; got {value:g}.")


def _check_alpha(op: str, alpha: float) -> None:
    if alpha <= 0:
        raise InputError(
            f"{op}: alpha must be above 0; got {alpha:g}. To switch it off, drop the op."
        )


def _grey(video: Array) -> Array:
    return (video * jnp.asarray(_LUMA)).sum(-1, keepdims=True)


def _hue_matrix(turns: Array) -> Array:
    """The matrix on RGB that turns the colour circle, leaving luminance as it is, [3,3]."""
    to_yiq = jnp.asarray(_TO_YIQ)
    cos, sin = jnp.cos(2 * jnp.pi * turns), jnp.sin(2 * jnp.pi * turns)
    zero, one = jnp.zeros_like(cos), jnp.ones_like(cos)
    turn = jnp.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]).reshape(3, 3)
    exact = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    return exact(exact(jnp.linalg.inv(to_yiq), turn), to_yiq)


def _weighted(lam: Array, x: Array, y: Array) -> Array:
    lam = lam.reshape(-1, *(1,) * (x.ndim - 1))
    return lam * x + (1 - lam) * y


def _mixed_labels(batch: Batch, lam: Array, num_classes: int) -> Array:
    """`label_probs` [B,K] after mixing with the neighbour; mixes what an earlier op has mixed."""
    probs = batch.get("label_probs")
    if probs is None:
        probs = jax.nn.one_hot(batch["label"], num_classes, dtype=jnp.float32)
    return _weighted(lam, probs, jnp.roll(probs, 1, axis=0))


def _boxes(key: Array, shape: Sequence[int], height: Array, width: Array) -> Array:
    """Boxes with uniform centres, cut at the border, as bool [B,1,H,W,1].

    Args:
      key: random key.
      shape: of the video, [B,T,H,W,C].
      height: [B], share of H.
      width: [B], share of W.
    """
    masks = []
    for k, size, share in zip(jax.random.split(key), shape[2:4], (height, width), strict=True):
        center = jax.random.uniform(k, (shape[0], 1), maxval=size)
        length = share[:, None] * size
        at = jnp.arange(size) + 0.5
        masks.append((at >= center - length / 2) & (at < center + length / 2))
    return masks[0][:, None, :, None, None] & masks[1][:, None, None, :, None]
