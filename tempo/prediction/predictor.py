"""The model of a checkpoint, ready for video files: one compiled shape, a few clips at a time."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
import tqdm

from tempo import pretrained, recipe
from tempo import task as tasks
from tempo.data import clip_stream, device_ops, playback, sampling
from tempo.data.video import browse
from tempo.data.video.video_file import RefusedVideoError
from tempo.evaluators import scoring
from tempo.prediction import settings
from tempo.types import ClipSpec, ViewSpec

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
      clip: which frames make a clip.
      view: the views of a video.
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
        made = recipe.from_config({"data": {"dir": ""}, **info["config"], "mesh": {}})
        self.info = info
        self.clip: ClipSpec = made.clip
        self.view: ViewSpec = settings.views(info, views)
        self.class_names = settings.class_names(info, classes)
        self.task = tasks.create(
            settings.label_kind(info), info["num_classes"], info["label_groups"], **made.loss
        )
        playback.check(self.clip, stride_scale)
        ops = device_ops.without_augmentation(info["device_ops"])
        self._extra_frames = device_ops.extra_frames(ops)
        sampling.check(self.clip, self._extra_frames)
        self._mirror_labels = settings.mirror_labels(info, self.class_names)
        self._stride_scale = stride_scale
        self._windows = windows
        self._batch_size = _batch_size(self.view.num_views, batch_size, windows is not None)
        preprocess = device_ops.create(ops, info["num_classes"])

        def forward(variables, video):
            batch = preprocess(jax.random.key(0), {"video": video})
            return model.apply(variables, batch["video"], train=False)["logits"]

        self._forward = jax.jit(forward)

    @property
    def protocol(self) -> str:
        """Clips and crops of a video, and how they are averaged."""
        text = scoring.protocol(self.clip, self.view)
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
        clips = playback.view_indices(
            video.num_frames,
            self.clip,
            self.view,
            video.timestamps_s,
            self._extra_frames,
            self._stride_scale,
        )
        logits = scoring.unmirrored(
            self._logits(video, clips, self.view), self.view, self._mirror_labels
        )
        if not np.isfinite(logits).all():
            return Prediction(video.path, "the model's scores are not finite: it has diverged")
        probs, _ = scoring.averaged(self.task, logits, self.view.average)
        return Prediction(
            path=video.path,
            probs=probs,
            view_logits=logits,
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
        logits = self._logits(video, clips, view, title="windows")
        times = video.timestamps_s.astype(np.float64)
        return Timeline(
            start_s=times[clips.min(axis=1)],
            end_s=times[clips.max(axis=1)] + 1 / video.fps,
            probs=np.asarray(self.task.probs(logits)),
        )

    def _logits(
        self, video: browse.Video, clips: np.ndarray, view: ViewSpec, title: str = ""
    ) -> np.ndarray:
        """float32 [n * num_crops, K], clip by clip."""
        found = np.zeros((len(clips), view.num_crops, self.task.num_classes), np.float32)
        stream = clip_stream.views(video, clips, view)
        if title:
            stream = tqdm.tqdm(stream, title, len(clips), leave=False, disable=None)
        slots = (((row, i), crop) for row, crops in stream for i, crop in enumerate(crops))
        for places, logits in self._scored(slots):
            rows, crops = zip(*places, strict=True)
            found[rows, crops] = logits
        return found.reshape(-1, self.task.num_classes)

    def _scored(
        self, slots: Iterable[tuple[Any, np.ndarray]]
    ) -> Iterator[tuple[list[Any], np.ndarray]]:
        """(tags, logits [n,K]) of tagged views, one batch behind what the device works on."""
        slots, pending = iter(slots), None
        while held := list(itertools.islice(slots, self._batch_size)):
            tags, views = zip(*held, strict=True)
            # The last batch is filled up, so that all have one shape.
            missing = self._batch_size - len(views)
            video = np.stack([*views, *views[-1:] * missing])
            del held, views
            given = tags, self._forward(self._variables, video)
            if pending is not None:
                yield pending[0], np.asarray(pending[1])[: len(pending[0])]
            pending = given
        if pending is not None:
            yield pending[0], np.asarray(pending[1])[: len(pending[0])]


def _batch_size(num_views: int, limit: int, has_windows: bool) -> int:
    """Views in a batch: as few batches as `limit` allows, and as little padding in them."""
    if has_windows:
        return limit
    num_batches = -(-num_views // limit)
    return -(-num_views // num_batches)
