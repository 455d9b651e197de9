"""The model of a checkpoint, ready for video files: one compiled shape, a few clips at a time."""

import dataclasses
import os
from collections.abc import Iterable, Iterator

import numpy as np
import tqdm

from tempo import pretrained, recipe, streams
from tempo import task as tasks
from tempo.data import (
    clip_stream,
    device_ops,
    flow_sampling,
    flow_stream,
    playback,
    sampling,
    view_draws,
)
from tempo.data.video import browse
from tempo.data.video.video_file import RefusedVideoError
from tempo.errors import InputError
from tempo.evaluators import scoring, streaming
from tempo.prediction import settings
from tempo.types import ClipSpec, FlowSpec, ViewSpec

BATCH_SIZE = 8
WINDOW_S = 4.0


@dataclasses.dataclass(frozen=True)
class Windows:
    """Sliding windows over a whole video; each is one clip of the model, cropped at the centre.

    Attributes:
      hop_s: seconds from one to the next; 0 is half a window.
      window_s: length of a window of a model whose clips are spread over a video (`segments`).
        Dense clips have a length of their own.
    """

    hop_s: float = 0.0
    window_s: float = WINDOW_S


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Scores of windows, in the order of their time in the video.

    Attributes:
      start_s: float64 [n], seconds at which each window begins.
      end_s: float64 [n], seconds at which each window's last frame ends.
      probs: float32 [n,K].
    """

    start_s: np.ndarray
    end_s: np.ndarray
    probs: np.ndarray


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of a video, or why it says nothing.

    Attributes:
      path: of the file.
      error: why there is no prediction; "" where there is one. All below is empty with an error.
      probs: float32 [K].
      view_logits: float32 [V,K], of clip 0 with its crops, clip 1 with its crops, ..., for the
        classes of the video as it is (mirror images count for the class before mirroring).
      num_frames: N of the file.
      duration_s: of the file.
      timeline: if it was asked for.
    """

    path: str
    error: str = ""
    probs: np.ndarray | None = None
    view_logits: np.ndarray | None = None
    num_frames: int = 0
    duration_s: float = 0.0
    timeline: Timeline | None = None


class Predictor:
    """A checkpoint's model; call it with one path after the other.

    Attributes:
      info: of `tempo.load_model`.
      class_names: [K].
      task: turns logits into probabilities; knows groups of classes.
      clip: which frames make a clip, at the stride and in the order of the views.
      view: the views of a video; draws of random ones depend on the name of the file.
      flow: which flow goes with a clip of them, made as that of the data the network was trained
        on; None for a network that reads none.
      protocol: what is averaged over what, in words.
    """

    def __init__(
        self,
        checkpoint: str,
        *,
        views: str = "",
        classes: str = "",
        stride_scale: float = 1.0,
        windows: Windows | None = None,
        batch_size: int = BATCH_SIZE,
    ):
        """Loads the checkpoint.

        Args:
          checkpoint: a run's workdir, a step of it, or a converted checkpoint.
          views: see `tempo.prediction.settings.views`.
          classes: a file with the names of the classes, in place of the checkpoint's.
          stride_scale: plays videos so many times faster; see `tempo.data.playback`.
          windows: also makes a timeline of every video.
          batch_size: views that go through the model together, at most.

        Raises:
          InputError: a checkpoint that cannot be used, or settings that do not fit it.
        """
        model, self._variables, info = pretrained.load_model(checkpoint)
        made = pretrained.stored_recipe(info["path"], info)
        self.info = info
        self.view: ViewSpec = settings.views(info, recipe.main_view(made), views)
        self.clip: ClipSpec = self.view.clip_of(made.clip)
        self.flow: FlowSpec | None = self.view.flow_of(streams.flow_spec(made))
        self.class_names = settings.class_names(info, classes)
        self.task = tasks.create(
            settings.label_kind(info), info["num_classes"], info["label_groups"], **made.loss
        )
        playback.check(self.clip, stride_scale)
        ops = device_ops.without_augmentation(info["device_ops"])
        self._extra_frames = device_ops.extra_frames(ops)
        sampling.check(self.clip, self._extra_frames)
        if self.flow is not None:
            flow_sampling.check(self.clip)
            _check_plain(stride_scale, windows)
            self._flow_making = settings.flow_making(info)
            self._stored_px = info.get("short_side_px", self.view.short_side_px)
        self._mirror_labels = settings.mirror_labels(info, self.class_names)
        self._stride_scale = stride_scale
        self._windows = windows
        self._batch_size = _batch_size(self.view.num_views, batch_size, windows is not None)
        preprocess = device_ops.create(ops, info["num_classes"])
        self._forward = streaming.make_predict(model, preprocess, self.task)

    @property
    def protocol(self) -> str:
        """Clips and crops of a video, and how they are averaged."""
        text = scoring.protocol(self.clip, self.view, self.flow)
        return text if self._stride_scale == 1 else f"{text}, stride x {self._stride_scale:g}"

    def __call__(self, path: str) -> Prediction:
        """The prediction for a file; one with an `error` where the file has none."""
        try:
            video = browse.look(path)
            try:
                return self._predict(video)
            except RefusedVideoError:
                if video.is_decoded:
                    raise
                # What its packets said may be wrong.
                return self._predict(browse.look(path, by_packets=False))
        except RefusedVideoError as error:
            return Prediction(path, browse.explained(error.reason))

    def _predict(self, video: browse.Video) -> Prediction:
        draws = view_draws.draw(self.view, os.path.basename(video.path))
        if self.flow is None:
            clips = playback.view_indices(
                video.num_frames,
                self.clip,
                self.view,
                video.timestamps_s,
                self._extra_frames,
                self._stride_scale,
                draws.starts,
            )
            found = self._scores(video, clips, self.view, draws)
        elif video.num_frames < 2:
            return Prediction(video.path, "one frame alone has no optical flow")
        else:
            found = self._scores_with_flow(video, draws)
        if found.bad.any():
            return Prediction(video.path, "the model's scores are not finite: it has diverged")
        return Prediction(
            path=video.path,
            probs=found.probs[0, 0],
            view_logits=found.view_logits[0, 0],
            num_frames=video.num_frames,
            duration_s=video.duration_s,
            timeline=None if self._windows is None else self._timeline(video),
        )

    def _timeline(self, video: browse.Video) -> Timeline:
        clips = playback.window_indices(
            video.num_frames,
            self.clip,
            video.timestamps_s,
            video.fps,
            self._extra_frames,
            self._stride_scale,
            hop_s=self._windows.hop_s,
            window_s=self._windows.window_s,
        )
        clips = clips[np.argsort(clips.min(axis=1), kind="stable")]  # of videos played backwards
        crop = "full" if self.view.crop == "full" else "center"
        view = dataclasses.replace(self.view, num_clips=1, crop=crop)
        found = self._scores(video, clips, view, title="windows")
        times = video.timestamps_s.astype(np.float64)
        return Timeline(
            start_s=times[clips.min(axis=1)],
            end_s=times[clips.max(axis=1)] + 1 / video.fps,
            probs=found.probs[0],
        )

    def _scores(
        self,
        video: browse.Video,
        clips: np.ndarray,
        view: ViewSpec,
        draws: view_draws.Draws | None = None,
        title: str = "",
    ) -> scoring.Averages:
        """Of the video or its windows: of every `view.num_clips` clips of `clips [n,T+E]`."""
        stream = clip_stream.views(video, clips, view, draws)
        if title:
            stream = tqdm.tqdm(stream, title, len(clips), leave=False, disable=None)
        return self._averages(stream, len(clips) // view.num_clips, view)

    def _scores_with_flow(self, video: browse.Video, draws: view_draws.Draws) -> scoring.Averages:
        """Of the video, from its frames and the flow between them."""
        view = self.view
        clips, fields = flow_sampling.eval_indices(
            video.num_frames,
            self.clip,
            self.flow,
            view.num_clips,
            view.clip_starts,
            video.timestamps_s,
            self._extra_frames,
            draws.starts,
        )
        about = self._flow_making, view, draws, self._stored_px
        return self._averages(flow_stream.views(video, clips, fields, *about), 1, view)

    def _averages(
        self,
        stream: Iterable[tuple[int, streaming.Clips]],
        num_videos: int,
        view: ViewSpec,
    ) -> scoring.Averages:
        """Of (row of a clip, its crops), each clip once."""
        scores = scoring.VideoScores(
            self.task, view, self._mirror_labels, num_videos, save_views=True
        )

        def pieces() -> Iterator[streaming.Piece]:
            for row, crops in stream:
                places = row * view.num_crops + np.arange(view.num_crops)
                tags = [places // view.num_views, places % view.num_views, 0 * places]
                yield crops, np.stack(tags, axis=1)

        def forward(clips, tags):
            return tags, self._forward(self._variables, clips)

        for tags, found in streaming.run(forward, pieces(), self._batch_size):
            scores.add(tags, found)
        return scores.result()


def _check_plain(stride_scale: float, windows: Windows | None) -> None:
    """Raises `InputError` for what cannot be done to the videos of a network that reads flow."""
    if stride_scale != 1 or windows is not None:
        raise InputError(
            "This checkpoint's network reads optical flow; a timeline (--timeline) and another "
            "speed (--stride-scale) are for networks of frames alone: leave them out."
        )


def _batch_size(num_views: int, limit: int, has_windows: bool) -> int:
    """Views in a batch: as few batches as `limit` allows, and as little padding in them."""
    if has_windows:
        return limit
    num_batches = -(-num_views // limit)
    return -(-num_views // num_batches)
