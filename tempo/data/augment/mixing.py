"""Mixes clips with their neighbours in the batch, and paints boxes over them, inside the step.

The neighbour is found by a roll along B: with B spread over devices that is one
collective-permute, where a shuffle would gather the batch on every device.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from tempo.data.ops import DeviceOp, check_range
from tempo.errors import InputError
from tempo.types import Array, Batch

IMAGENET_MEAN = (123.675, 116.28, 103.53)
_STREAMS = ("video", "flow")


def mixup(*, num_classes: int, alpha: float = 0.8, shift: int = 1) -> DeviceOp:
    """Mixes every clip with its neighbour in the batch (arXiv 1710.09412).

    video = lam * video + (1 - lam) * neighbour, and the same for its flow and its labels, which
    become `label_probs` float32 [B,K]; lam ~ Beta(alpha, alpha), one draw per clip. Float32.

    Args:
      num_classes: K.
      alpha: above 0; small values mix little.
      shift: how far along B the neighbour is; `create` gives the number of clips per video, so
        that it is not another clip of the same.
    """
    _check("mixup", alpha, shift)

    def op(key: Array, batch: Batch) -> Batch:
        lam = jax.random.beta(key, alpha, alpha, batch["video"].shape[:1])
        return batch | {
            name: _weighted(lam, x, jnp.roll(x, shift, axis=0))
            for name, x in _streams(batch, num_classes).items()
        }

    return op


def cutmix(*, num_classes: int, alpha: float = 1.0, shift: int = 1) -> DeviceOp:
    """Pastes a box of the neighbour in the batch into every clip (arXiv 1905.04899).

    The box spans all frames and lies alike in the flow; it has the clip's aspect ratio and the area
    1 - lam, lam ~ Beta(alpha, alpha), and its centre is uniform. The labels are mixed by the area
    that was really covered and become `label_probs` float32 [B,K].

    Args:
      num_classes: K.
      alpha: above 0.
      shift: how far along B the neighbour is, as in `mixup`.
    """
    _check("cutmix", alpha, shift)

    def op(key: Array, batch: Batch) -> Batch:
        size_key, box_key = jax.random.split(key)
        shape = batch["video"].shape
        lam = jax.random.beta(size_key, alpha, alpha, shape[:1])
        share = jnp.sqrt(1 - lam)
        box = _boxes(box_key, shape, share, share)
        kept = 1 - box.mean(axis=(1, 2, 3, 4), dtype=jnp.float32)
        streams = _streams(batch, num_classes)
        probs = streams.pop("label_probs")
        mixed = {n: jnp.where(box, jnp.roll(x, shift, axis=0), x) for n, x in streams.items()}
        return batch | mixed | {"label_probs": _weighted(kept, probs, jnp.roll(probs, shift, 0))}

    return op


def erasing(
    *,
    prob: float = 0.25,
    area: Sequence[float] = (0.02, 1 / 3),
    aspect: Sequence[float] = (0.3, 10 / 3),
    fill: Sequence[float] = IMAGENET_MEAN,
) -> DeviceOp:
    """Paints a random box in all frames of some clips (random erasing, arXiv 1708.04896).

    Flow is left as it is.

    Args:
      prob: share of clips.
      area: range of the box's share of the frame, uniform. A box over the border is cut.
      aspect: range of height / width, log-uniform.
      fill: colour, 0-255; zeros if this stands after `normalize`.
    """
    check_range("erasing", "prob", prob, 1.0)
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


OPS = {"mixup": mixup, "cutmix": cutmix, "erasing": erasing}


def _check(op: str, alpha: float, shift: int) -> None:
    if shift < 1 or shift != int(shift):
        raise InputError(f"{op}: shift must be a whole number above 0; got {shift}.")
    if alpha <= 0:
        raise InputError(
            f"{op}: alpha must be above 0; got {alpha:g}. To switch it off, drop the op."
        )


def _weighted(lam: Array, x: Array, y: Array) -> Array:
    x, y = x.astype(jnp.float32), y.astype(jnp.float32)
    lam = lam.reshape(-1, *(1,) * (x.ndim - 1))
    return lam * x + (1 - lam) * y


def _streams(batch: Batch, num_classes: int) -> dict[str, Array]:
    """What is mixed: frames, flow if there is any, and the labels as probabilities."""
    streams = {name: batch[name] for name in _STREAMS if name in batch}
    return streams | {"label_probs": _label_probs(batch, num_classes)}


def _label_probs(batch: Batch, num_classes: int) -> Array:
    """Targets [B,K] of a batch; those of an earlier op, if there are any.

    One-hot of class numbers [B]; multi-hot labels [B,K] as they are; of one class of each of
    several groups [B,G], a one-hot per group, so that each group sums to 1.
    """
    if "label_probs" in batch:
        return batch["label_probs"]
    label = batch["label"]
    if label.ndim == 2 and label.dtype == jnp.uint8:
        return label.astype(jnp.float32)
    probs = jax.nn.one_hot(label, num_classes, dtype=jnp.float32)
    return probs if label.ndim == 1 else probs.sum(-2)


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
