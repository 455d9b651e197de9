"""Accuracy of a split from one or several views of each video (clips along time x crops)."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh

from tempo import files, sharding
from tempo.data import pipeline
from tempo.evaluators import metrics
from tempo.task import Task
from tempo.types import Array, Batch, ClipSpec, ViewSpec

Predict = Callable[[Any, Array], Array]
"""(variables, video uint8 `[B,T,H,W,C]`) -> logits `[B,K]`, whole on every device."""


def make_predict(
    model: nn.Module, preprocess: Callable[[Array, Batch], Batch], mesh: Mesh
) -> Predict:
    """The compiled forward pass; evaluators share one, which compiles once per clip shape."""

    def predict(variables, video):
        batch = preprocess(jax.random.key(0), {"video": video})
        return model.apply(variables, batch["video"], train=False)["logits"]

    return jax.jit(predict, out_shardings=sharding.replicated(mesh))


class MultiView:
    """Evaluates every video of a split exactly once.

    The views of a batch go through the network one after the other, so memory does not grow with
    their number and all views share one compiled function.
    """

    def __init__(
        self,
        name: str,
        predict: Predict,
        *,
        records: pipeline.Records,
        task: Task,
        mesh: Mesh,
        clip: ClipSpec,
        view: ViewSpec,
        split: str = "test",
        every_epochs: float = 0.0,
        batch_size: int = 16,
        num_workers: int = 2,
        worker_kind: str = "thread",
        save_views: bool = True,
        scores_dir: str = "",
    ):
        """Checks the split and the batch size; reads nothing yet.

        Args:
          name: of the evaluator; names its rows and its scores file.
          predict: see `make_predict`.
          records: the dataset.
          task: turns logits into probabilities.
          mesh: over all devices.
          clip: frames of a clip.
          view: views of a video and how they are averaged.
          split: of the records.
          every_epochs: interval during training; 0 is at the end only.
          batch_size: videos per batch over all devices.
          num_workers: of the reader.
          worker_kind: of the reader.
          save_views: store every view's logits.
          scores_dir: where `<name>.npz` goes; "" stores nothing.

        Raises:
          InputError: unknown split, or a batch size that the devices do not divide.
        """
        sharding.check_batch_size(f"eval.{name}.batch_size", batch_size, mesh)
        self.name = name
        self._predict = predict
        self._records = records
        self._split = records.split(split)
        self._split_name = split
        self._task = task
        self._sharding = sharding.batch_sharding(mesh)
        self._gather = jax.jit(lambda tree: tree, out_shardings=sharding.replicated(mesh))
        self._clip = clip
        self._view = view
        self._every_epochs = every_epochs
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._worker_kind = worker_kind
        self._save_views = save_views
        self._scores_dir = scores_dir

    @property
    def is_periodic(self) -> bool:
        """Whether it runs during training."""
        return self._every_epochs > 0

    def is_due(self, step: int, steps_per_epoch: int, total_steps: int) -> bool:
        """Whether to run after `step` during training."""
        interval = max(round(self._every_epochs * steps_per_epoch), 1)
        return self.is_periodic and (step % interval == 0 or step == total_steps)

    @property
    def protocol(self) -> str:
        """What was averaged over what, in words: it belongs to every number."""
        c, v = self._clip, self._view
        frames = (
            f"{c.num_frames}x{c.stride} frames"
            if c.sampling == "dense"
            else f"{c.num_frames} segments"
        )
        size = "full frame" if v.crop == "full" else f"{v.size_px} px"
        return (
            f"{v.num_clips} clip(s) of {frames} ({v.clip_starts}) x {v.num_crops} crop(s) "
            f"({v.crop}, {size} of short side {v.short_side_px}), mean of {v.average}"
        )

    def run(self, variables: Any, step: int) -> dict[str, Any]:
        """The row of `results.json` for these variables; writes the scores file beside it.

        Args:
          variables: `{"params", "batch_stats"}`.
          step: finished steps of the checkpoint.
        """
        labels, logits, clips_per_s = self._score(variables)
        probs = np.asarray(self._task.probs(logits))
        if self._view.average == "probs":
            scores = probs.mean(axis=1)
        else:
            scores = np.asarray(self._task.probs(logits.mean(axis=1)))
        if self._scores_dir and sharding.is_lead_process():
            self._save(scores, labels, logits, step)
        return {
            "name": self.name,
            "split": self._split_name,
            "protocol": self.protocol,
            "num_videos": len(labels),
            "views": self._view.num_views,
            **_accuracies(self._task, scores, labels),
            "clips_per_s": clips_per_s,
            "checkpoint_step": step,
            "dataset": self._records.name,
            "manifest_sha256": self._records.manifest_sha256,
        }

    def _score(self, variables: Any) -> tuple[np.ndarray, np.ndarray, float]:
        """(labels `[N]`, logits `[N,V,K]`, clips per second after the first batch)."""
        count = len(self._split)
        logits = np.zeros((count, self._view.num_views, self._task.num_classes), np.float32)
        labels = np.zeros((count, *self._split.labels.shape[1:]), self._split.labels.dtype)
        seen = np.zeros(count, np.int32)
        marks = [(time.perf_counter(), 0)]
        for index, label, mask, batch_logits in self._predicted(variables):
            rows = index[mask]
            logits[rows] = np.stack([np.asarray(x) for x in batch_logits], axis=1)[mask]
            labels[rows] = label[mask]
            np.add.at(seen, rows, 1)
            marks.append((time.perf_counter(), marks[-1][1] + int(mask.sum())))
        if not np.all(seen == 1):
            raise RuntimeError(
                f"{self.name}: {np.sum(seen == 0)} videos were not evaluated and "
                f"{np.sum(seen > 1)} more than once; this is a bug in the reader."
            )
        # The first batch compiles; it counts only if there is no other.
        (t0, n0), (t1, n1) = marks[min(1, len(marks) - 2)], marks[-1]
        return labels, logits, (n1 - n0) * self._view.num_views / max(t1 - t0, 1e-9)

    def _predicted(self, variables: Any) -> Iterator[tuple[Any, ...]]:
        """Batches as (index, label, mask, logits by view), one behind what the device works on."""
        pending = None
        with pipeline.eval_batches(
            self._split,
            clip=self._clip,
            view=self._view,
            batch_size=self._batch_size,
            num_workers=self._num_workers,
            worker_kind=self._worker_kind,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        ) as batches:
            for batch in batches:
                views = [
                    self._predict(
                        variables,
                        sharding.to_global({"video": batch["video"][:, v]}, self._sharding)[
                            "video"
                        ],
                    )
                    for v in range(self._view.num_views)
                ]
                facts = {k: batch[k] for k in ("index", "label", "mask")}
                facts = self._gather(sharding.to_global(facts, self._sharding))
                if pending is not None:
                    yield pending
                pending = (*(np.asarray(facts[k]) for k in ("index", "label", "mask")), views)
        if pending is not None:
            yield pending

    def _save(self, scores: np.ndarray, labels: np.ndarray, logits: np.ndarray, step: int) -> None:
        path = os.path.join(self._scores_dir, f"{self.name}.npz")
        views = {"view_logits": logits} if self._save_views else {}
        with files.replacing(path, "wb") as f:
            np.savez_compressed(
                f,
                id=np.asarray(self._split.ids),
                label=labels,
                probs=scores,
                class_names=np.asarray(self._records.class_names),
                checkpoint_step=step,
                protocol=self.protocol,
                manifest_sha256=self._records.manifest_sha256,
                **views,
            )
        logging.info("Scores of %d videos are in %s", len(labels), path)


def _accuracies(task: Task, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    if task.link == "sigmoid":
        return {"mean_average_precision": metrics.mean_average_precision(scores, labels)}
    return {
        "top1": metrics.top_k(scores, labels, 1),
        "top5": metrics.top_k(scores, labels, 5),
        "mean_class": metrics.mean_class(scores, labels),
        "ci95": metrics.bootstrap_ci95(metrics.hits(scores, labels, 1)),
    }
