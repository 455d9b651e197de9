"""From the scores of a video's views to those of the video, and the protocol in words."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tempo.task import Task
from tempo.types import ClipSpec, FlowSpec, ViewSpec


@dataclasses.dataclass(frozen=True)
class Averages:
    """Scores of N videos, each the mean over its V views, for M orders of their frames.

    Attributes:
      probs: `[M,N,K]`; the mean of the views' probabilities, or the probabilities of the mean
        logits, as `ViewSpec.average` says.
      logits: means `[M,N,K]`.
      bad: videos with scores that are not finite, bool `[N]`.
      view_logits: `[M,N,V,K]`, if asked for.
      embedding: means `[M,N,D]`, if given.
    """

    probs: np.ndarray
    logits: np.ndarray
    bad: np.ndarray
    view_logits: np.ndarray | None = None
    embedding: np.ndarray | None = None


class VideoScores:
    """Averages in the making: scores of views, which may come in any order.

    Those of mirror images count for the classes of the video as it was before mirroring.
    """

    def __init__(
        self,
        task: Task,
        view: ViewSpec,
        mirror_labels: np.ndarray | None,
        num_videos: int,
        num_orders: int = 1,
        *,
        save_views: bool = False,
    ):
        """Nothing yet.

        Args:
          task: turns logits into probabilities.
          view: the views of a video, which are mirror images, and how they are averaged.
          mirror_labels: int `[K]`, class -> class of the mirrored video; None if it keeps its
            class.
          num_videos: N.
          num_orders: M, of the frames of a view.
          save_views: keep every view's logits.
        """
        self._task = task
        self._view = view
        self._mirror_labels = None if mirror_labels is None else np.asarray(mirror_labels)
        self._is_mirrored = np.asarray(view.mirrored)
        self._seen = np.zeros((num_orders, num_videos, view.num_views), np.int32)
        self._totals: dict[str, np.ndarray] = {}
        self._bad = np.zeros(num_videos, bool)
        self._view_logits = None
        if save_views:
            self._view_logits = np.zeros((*self._seen.shape, task.num_classes), np.float32)

    def add(self, tags: np.ndarray, found: Mapping[str, np.ndarray]) -> None:
        """Adds views.

        Args:
          tags: video, view and order of each, int `[n,3]`; the views of a video are clip 0 with
            its crops, clip 1 with its crops, ...
          found: `logits` and `probs` `[n,K]`, and `embedding [n,D]` if it is to be averaged.
        """
        video, view, order = tags.T
        is_mirrored = self._is_mirrored[view]
        for name, values in found.items():
            if name != "embedding" and self._mirror_labels is not None and is_mirrored.any():
                values = np.where(is_mirrored[:, None], values[:, self._mirror_labels], values)
            if name not in self._totals:
                size = (*self._seen.shape[:2], values.shape[1])
                self._totals[name] = np.zeros(size, np.float32)
            np.add.at(self._totals[name], (order, video), values)
            if name == "logits":
                self._bad[video[~np.isfinite(values).all(axis=1)]] = True
                if self._view_logits is not None:
                    self._view_logits[order, video, view] = values
        np.add.at(self._seen, (order, video, view), 1)

    def result(self) -> Averages:
        """The averages; raises `RuntimeError` unless every view was added once."""
        if not np.all(self._seen == 1):
            raise RuntimeError(
                f"{np.sum(self._seen == 0)} views were not evaluated and "
                f"{np.sum(self._seen > 1)} more than once; this is a bug in the reader."
            )
        means = {name: total / self._view.num_views for name, total in self._totals.items()}
        if self._view.average == "logits":
            means["probs"] = np.asarray(self._task.probs(means["logits"]))
        return Averages(**means, bad=self._bad, view_logits=self._view_logits)


ORDERS = {
    "normal": "",
    "reverse": "played backwards",
    "concat": "played forwards, then backwards",
}
"""Of `tempo.types.ORDERS`, in words."""


def counted(view: ViewSpec) -> str:
    """How many clips and crops a video has: `2 clips (linspace) x 3 crops = 6 views`."""
    counts = (view.num_clips, "clip"), (view.num_crops, "crop"), (view.num_views, "view")
    clips, crops, views = (f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts)
    return f"{clips} ({view.clip_starts}) x {crops} = {views}"


def protocol(clip: ClipSpec, view: ViewSpec, flow: FlowSpec | None = None) -> str:
    """What was averaged over what, in words: it belongs to every number.

    Args:
      clip: as the views show it, see `ViewSpec.clip_of`.
      view: the views of a video.
      flow: which flow goes with a clip of the views; None for none.
    """
    frames = (
        f"{clip.num_frames}x{clip.stride} frames"
        if clip.sampling == "dense"
        else f"{clip.num_frames} segments"
    )
    if clip.frames_per_segment > 1:
        frames += f" of {clip.frames_per_segment} frames"
    if clip.fps:
        frames += f" at {clip.fps:g} fps"
    if clip.order != "normal":
        frames += f" {ORDERS[clip.order]}"
    if clip.short != "hold_last":
        frames += f", short videos {clip.short}"
    if flow is not None:
        frames += f" and {_snippets(flow)}"
    size = "full frame" if view.crop == "full" else f"{view.size_px} px"
    return (
        f"{view.num_clips} clip(s) of {frames} ({view.clip_starts}) x {view.num_crops} crop(s) "
        f"({view.crop}, {size} of short side {view.short_side_px}){how_shown(view)}, mean of "
        f"{view.average}"
    )


def _snippets(flow: FlowSpec) -> str:
    """The flow of a clip in words: `3 x 10 flow fields 5 apart`."""
    fields = f"{flow.num_snippets} x {flow.num_fields} flow fields"
    if flow.num_snippets == 1:
        return fields
    if flow.stride_rule == "segments":
        return f"{fields} of segments"
    return f"{fields} {flow.interval} apart{' by gap' if flow.stride_rule == 'gap' else ''}"


def how_shown(view: ViewSpec) -> str:
    """Whether all views are mirror images, and what their draws depend on: `, mirrored, seed 3`."""
    return (", mirrored" if view.is_flipped else "") + (
        f", seed {view.seed}" if view.is_random else ""
    )
