"""How sure a network is of every single frame of a video: what visual tempo is measured from.

TPN, arXiv 2004.03548, section 4.3: the width of the peak of a video's per-frame probabilities is
its tempo. Frames are taken at one rate from all videos, so that widths can be compared.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from tempo import sharding
from tempo.data import frame_batches, sampling
from tempo.errors import InputError
from tempo.evaluators import metrics
from tempo.evaluators.evaluator import Measured, check_frames_alone
from tempo.evaluators.streaming import Rate, Scorer, shown
from tempo.types import Array, ClipSpec, ViewSpec

FRAME_CLIPS = ("auto", "single", "static")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerFrame:
    """The probability of the true class in every frame, each scored on its own.

    Frames nearest to the ticks of a clock, resized to the short side and cut at the centre. With
    joint labels (a verb and a noun) the probability is that of the pair: the product over the
    groups. A video of multi-hot labels has no true class, and is refused; of videos whose label is
    not known (-1) the probabilities are NaN, and they are not in the row.

    Its scores file holds `fps`, `offsets` int64 `[N+1]` (the frames of video i are at
    `[offsets[i], offsets[i + 1])`), `probs` float32 `[M]`, `predicted` int32 `[M]` (`[M,G]` of
    joint labels), `correct` bool `[M]` (whether that is the true class and no other ties with it)
    and `frames` int64 `[M]`, the number of each in its video. Its row has `top1`, the share of
    frames that are correct, and if the label of some video is not known `labelled_videos`, how many
    are.

    Attributes:
      frames_per_s: rate of the clock.
      frame_clip: what the network is shown of a frame: a clip of it alone (`single`), or of T
        copies (`static`); `auto` shows one to a network that scores frames on their own, which
        gives the same, and T to any other.
    """

    name: ClassVar[str] = "per_frame"
    view_keys: ClassVar[tuple[str, ...]] = ("short_side_px", "size_px")

    frames_per_s: float = 5.0
    frame_clip: str = "auto"

    def __post_init__(self):
        if not 0 < self.frames_per_s <= 1000:
            raise InputError(
                f"frames_per_s must be above 0 and at most 1000; got {self.frames_per_s}."
            )
        if self.frame_clip not in FRAME_CLIPS:
            raise InputError(
                f"frame_clip must be one of {', '.join(FRAME_CLIPS)}; got {self.frame_clip!r}."
            )

    def check(self, where: str, scorer: Scorer) -> None:
        """Raises `InputError` for labels without a true class, differences of frames, and flow."""
        check_frames_alone(where, self.name, scorer)
        if scorer.task.kind == "multi":
            raise InputError(
                f"{where} (per_frame) needs the one true class of a video, but the labels of "
                f"{scorer.records.data_dir!r} are multi; leave the evaluator out."
            )
        if scorer.extra_frames:
            raise InputError(
                f"{where} (per_frame) shows single frames, but the network reads differences of "
                "frames (device op `residual`); leave the evaluator out."
            )
        if not _is_known(scorer.split.labels).any():
            raise InputError(
                f"{where} (per_frame) needs the true class of a video, but no label of "
                f"split={scorer.split.name!r} is known; evaluate another split, or leave it out."
            )

    def protocol(self, scorer: Scorer) -> str:
        """The rate, the crop, and what a frame is shown as."""
        view, copies = scorer.view, self._copies(scorer)
        shown_as = "on their own" if copies == 1 else f"as clips of {copies} copies"
        return (
            f"frames at {self.frames_per_s:g} per second {shown_as}, 1 crop (center, "
            f"{view.size_px} px of short side {view.short_side_px})"
        )

    def views(self, view: ViewSpec) -> str:
        """See `tempo.evaluators.evaluator.Kind`."""
        shown_as = {
            "single": "each on its own",
            "static": "each as a clip of copies",
            "auto": "each on its own, or as a clip of copies where the network sees several",
        }[self.frame_clip]
        return f"frames at {self.frames_per_s:g} per second, {shown_as},"

    def clips(self, clip: ClipSpec, timestamps: np.ndarray) -> dict[str, ClipSpec]:
        """All frames that are shown, as one clip."""
        count = len(sampling.resample(timestamps, self.frames_per_s))
        return {"frames": ClipSpec(num_frames=count, fps=self.frames_per_s)}

    def measure(self, scorer: Scorer, variables: Any) -> Measured:
        """See `tempo.evaluators.evaluator.Kind`."""
        split, task = scorer.split, scorer.task
        offsets, numbers = frame_batches.sampled(split, self.frames_per_s)
        of_video = np.repeat(np.arange(len(split)), np.diff(offsets))
        is_known = _is_known(split.labels)
        probs = np.zeros(len(numbers), np.float32)
        predicted = np.zeros((len(numbers), *split.labels.shape[1:]), np.int32)
        correct, is_bad = np.zeros((2, len(numbers)), bool)
        seen = np.zeros(len(numbers), np.int32)
        rate = Rate()
        pieces = self._pieces(scorer, offsets, numbers)
        repeat = _repeat(self._copies(scorer), sharding.batch_sharding(scorer.mesh))
        for tags, found in scorer.stream(variables, pieces, prepare=repeat):
            places = tags[:, 0]
            label = split.labels[of_video[places]]
            column = np.maximum(label, 0).reshape(len(label), -1)  # any where it is not known
            own = np.take_along_axis(found["probs"], column, axis=1).prod(axis=1)
            probs[places] = np.where(is_known[of_video[places]], own, np.nan)
            best = [found["probs"][:, p].argmax(1) + p.start for p in task.slices.values()]
            predicted[places] = np.stack(best, axis=1).reshape(label.shape)
            correct[places] = metrics.task_hits(task, found["probs"], label, 1)
            is_bad[places] = ~np.isfinite(found["logits"]).all(axis=1)
            np.add.at(seen, places, 1)
            rate.add(len(places))
        if not np.all(seen == 1):
            raise RuntimeError("per_frame: a frame was not scored once; a bug in the reader.")
        row = {
            "top1": float(correct[is_known[of_video]].mean()),
            "frames_per_s": self.frames_per_s,
            "num_frames": len(numbers),
            "clips_per_s": rate.per_s,
        }
        if not is_known.all():
            row["labelled_videos"] = int(is_known.sum())
        arrays = {
            "fps": np.asarray(self.frames_per_s),
            "offsets": offsets,
            "frames": numbers,
            "probs": probs,
            "predicted": predicted,
            "correct": correct,
        }
        return Measured(row, arrays, np.logical_or.reduceat(is_bad, offsets[:-1]))

    def _copies(self, scorer: Scorer) -> int:
        """Frames of the clip that a frame is shown as."""
        is_single = self.frame_clip == "single" or (
            self.frame_clip == "auto" and scorer.is_per_frame
        )
        return 1 if is_single else scorer.clip.num_frames

    def _pieces(self, scorer: Scorer, offsets: np.ndarray, numbers: np.ndarray):
        """This process's frames as clips of one; their tag is their place."""
        with frame_batches.frame_batches(
            scorer.split,
            offsets,
            numbers,
            short_side_px=scorer.view.short_side_px,
            size_px=scorer.view.size_px,
            batch_size=scorer.batch_size,
            **scorer.reader,
        ) as batches:
            for batch in shown(batches, batches.num_batches, "frames"):
                places = np.where(batch["mask"], batch["place"], -1)
                yield batch["video"], places[:, None].astype(np.int32)


def _is_known(labels: np.ndarray) -> np.ndarray:
    """Videos whose label, of every group, is known: bool `[N]`."""
    return (labels >= 0).reshape(len(labels), -1).all(axis=1)


@functools.cache
def _repeat(copies: int, placed: jax.sharding.Sharding) -> Callable[[Array], Array]:
    """Clips `[B,1,H,W,C]` -> `[B,copies,H,W,C]`, on the devices that they are on."""
    if copies == 1:
        return lambda video: video
    return jax.jit(lambda video: jnp.repeat(video, copies, axis=1), out_shardings=placed)
