"""From the logits of a video's views to its scores, and the protocol in words: pure functions."""

import numpy as np

from tempo.task import Task
from tempo.types import ClipSpec, ViewSpec


def unmirrored(logits: np.ndarray, view: ViewSpec, mirror_labels: np.ndarray | None) -> np.ndarray:
    """Logits `[...,V,K]` of all views, for the classes of the video as it was before mirroring.

    Args:
      logits: `[...,V,K]`, as the network gave them.
      view: says which views are mirror images.
      mirror_labels: int `[K]`, class -> class of the mirrored video; None if it keeps its class.
    """
    mirrored = np.asarray(view.mirrored)
    if mirror_labels is None or not mirrored.any():
        return logits
    return np.where(mirrored[:, None], logits[..., np.asarray(mirror_labels)], logits)


def averaged(task: Task, logits: np.ndarray, average: str) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, mean logits) of videos, float32 `[...,K]` each, from those of their views.

    Args:
      task: turns logits into probabilities.
      logits: `[...,V,K]`, unmirrored.
      average: `probs` takes the mean of the views' probabilities, `logits` the probabilities of
        their mean.
    """
    mean = logits.mean(axis=-2)
    if average == "probs":
        return np.asarray(task.probs(logits)).mean(axis=-2), mean
    return np.asarray(task.probs(mean)), mean


def protocol(clip: ClipSpec, view: ViewSpec) -> str:
    """What was averaged over what, in words: it belongs to every number."""
    frames = (
        f"{clip.num_frames}x{clip.stride} frames"
        if clip.sampling == "dense"
        else f"{clip.num_frames} segments"
    )
    if clip.fps:
        frames += f" at {clip.fps:g} fps"
    if clip.short != "hold_last":
        frames += f", short videos {clip.short}"
    size = "full frame" if view.crop == "full" else f"{view.size_px} px"
    return (
        f"{view.num_clips} clip(s) of {frames} ({view.clip_starts}) x {view.num_crops} crop(s) "
        f"({view.crop}, {size} of short side {view.short_side_px}), mean of {view.average}"
    )
