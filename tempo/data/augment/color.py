"""Colour ops inside the compiled step: one draw per clip, the same for all its frames.

All work on values of 0-255 in the order red, green, blue, and so stand before `normalize` and
`residual`. `lighting`, `brightness` and `contrast` do not clip: the difference of two frames stays
what it was, or is scaled.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from tempo.data.ops import DeviceOp, check_range
from tempo.errors import InputError
from tempo.types import Array, Batch

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# RGB to luminance and two colour differences; a turn of hue is a rotation of the latter (NTSC YIQ).
_TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
# Principal components of the colours of ImageNet (Krizhevsky et al. 2012; numbers of
# facebookarchive/fb.resnet.torch): a column for each value.
_PCA_VALUES = (55.4625, 4.7940, 1.1475)
_PCA_VECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


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
        check_range("color_jitter", name, value, most)

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


def lighting(*, alpha_std: float = 0.1) -> DeviceOp:
    """Adds one colour to all pixels of a clip, along the principal axes of ImageNet's colours.

    sum_i alpha_i * value_i * vector_i with alpha_i ~ N(0, alpha_std) (Krizhevsky et al. 2012,
    "ImageNet classification with deep convolutional neural networks", 4.1). Float32.

    Args:
      alpha_std: at least 0.
    """
    check_range("lighting", "alpha_std", alpha_std, float("inf"))

    def op(key: Array, batch: Batch) -> Batch:
        video = batch["video"].astype(jnp.float32)
        alpha = alpha_std * jax.random.normal(key, (video.shape[0], 3))
        # Written out: a matrix product of 3 may be rounded to fewer bits on an accelerator.
        color = ((alpha * jnp.asarray(_PCA_VALUES))[:, None] * jnp.asarray(_PCA_VECTORS)).sum(-1)
        return batch | {"video": video + color[:, None, None, None]}

    return op


def brightness(*, factor: Sequence[float] = (0.8, 1.2)) -> DeviceOp:
    """Scales all pixels of a clip by a number uniform in `factor`. Float32."""
    _check_factor("brightness", factor)

    def op(key: Array, batch: Batch) -> Batch:
        video = batch["video"].astype(jnp.float32)
        return batch | {"video": video * _draw_factor(key, video, factor)}

    return op


def contrast(*, factor: Sequence[float] = (0.8, 1.2)) -> DeviceOp:
    """Scales the distance of all pixels from the clip's mean grey by a number uniform in `factor`.

    Float32.
    """
    _check_factor("contrast", factor)

    def op(key: Array, batch: Batch) -> Batch:
        video = batch["video"].astype(jnp.float32)
        mean_grey = _grey(video).mean(axis=(1, 2, 3), keepdims=True)
        scaled = mean_grey + (video - mean_grey) * _draw_factor(key, video, factor)
        return batch | {"video": scaled}

    return op


OPS = {
    "color_jitter": color_jitter,
    "lighting": lighting,
    "brightness": brightness,
    "contrast": contrast,
}


def _check_factor(op: str, factor: Sequence[float]) -> None:
    if len(factor) != 2 or not 0 <= factor[0] <= factor[1]:
        raise InputError(
            f"{op}: factor must be the lowest and the highest, such as (0.8, 1.2); got "
            f"{tuple(factor)}."
        )


def _draw_factor(key: Array, video: Array, factor: Sequence[float]) -> Array:
    shape = (video.shape[0], 1, 1, 1, 1)
    return jax.random.uniform(key, shape, minval=factor[0], maxval=factor[1])


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
