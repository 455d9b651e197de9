"""Accuracy of a split from one or several views of each video (clips along time x crops)."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import tqdm
from jax.sharding import Mesh

from tempo import files, sharding
from tempo.data import pipeline
from tempo.errors import NonFiniteError
from tempo.evaluators import metrics, scoring
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
        extra_frames: int,
        split: str,
        every_epochs: float,
        batch_size: int,
        num_workers: int,
        worker_kind: str,
        save_views: bool,
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
          extra_frames: read beyond a clip's T, for `predict` to use up.
          split: of the records.
          every_epochs: interval during training; 0 is at the end only.
          batch_size: videos per batch over all devices.
          num_workers: of the reader.
          worker_kind: of the reader.
          save_views: store every view's logits.
          scores_dir: where `<name>.npz` goes, in place of an older one; "" stores nothing.

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
        self._mesh = mesh
        self._sharding = sharding.batch_sharding(mesh)
        self._gather = jax.jit(lambda tree: tree, out_shardings=sharding.replicated(mesh))
        self._clip = clip
        self._view = view
        self._extra_frames = extra_frames
        self._every_epochs = every_epochs
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._worker_kind = worker_kind
        self._save_views = save_views
        self._scores_dir = scores_dir

    @property
    def metric(self) -> str:
        """Key of its rows that says how good a checkpoint is."""
        return "mean_average_precision" if self._task.kind == "multi" else "top1"

    @property
    def main_metric(self) -> str:
        """That metric's name among all evaluators' metrics."""
        return f"{self.name}/{self.metric}"

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
        return scoring.protocol(self._clip, self._view)

    def run(self, variables: Any, step: int) -> dict[str, Any]:
        """The row of `results.json` for these variables; writes the scores file beside it.

        Args:
          variables: `{"params", "batch_stats"}`.
          step: finished steps of the checkpoint.
        """
        scores, clips_per_s = self._score(variables)
        labels, probs = scores["label"], scores["probs"]
        bad = ~np.isfinite(scores["logits"]).all(axis=1)
        if bad.any():
            some = ", ".join(self._split.ids[i] for i in np.flatnonzero(bad)[:3])
            raise NonFiniteError(
                f"eval.{self.name}: {bad.sum()} of {len(bad)} videos have scores that are not "
                f"finite ({some}, ...); the weights of step {step} have diverged."
            )
        if self._scores_dir and sharding.is_lead_process():
            self._save(scores, step)
        return {
            "name": self.name,
            "split": self._split_name,
            "protocol": self.protocol,
            "num_videos": len(labels),
            "views": self._view.num_views,
            **_accuracies(self._task, probs, labels),
            "clips_per_s": clips_per_s,
            "checkpoint_step": step,
            "dataset": self._records.name,
            "manifest_sha256": self._records.manifest_sha256,
        }

    def _score(self, variables: Any) -> tuple[dict[str, np.ndarray], float]:
        """Scores of all videos, and clips per second after the first batch, which compiles.

        The scores are `label [N]`, `probs [N,K]`, the mean over the views `logits [N,K]` and, with
        `save_views`, `view_logits [N,V,K]`.
        """
        count, num_classes = len(self._split), self._task.num_classes
        shapes = {"probs": (num_classes,), "logits": (num_classes,)}
        if self._save_views:
            shapes["view_logits"] = (self._view.num_views, num_classes)
        found = {name: np.zeros((count, *shape), np.float32) for name, shape in shapes.items()}
        labels = self._split.labels
        found["label"] = np.zeros(labels.shape, labels.dtype)
        seen = np.zeros(count, np.int32)
        marks = [(time.perf_counter(), 0)]
        for index, label, mask, batch_logits in self._predicted(variables):
            rows, logits = index[mask], batch_logits[mask]  # [b,V,K]
            probs, mean = scoring.averaged(self._task, logits, self._view.average)
            values = {"probs": probs, "logits": mean, "view_logits": logits, "label": label[mask]}
            for name, array in found.items():
                array[rows] = values[name]
            np.add.at(seen, rows, 1)
            marks.append((time.perf_counter(), seen.sum()))
        if not np.all(seen == 1):
            raise RuntimeError(
                f"{self.name}: {np.sum(seen == 0)} videos were not evaluated and "
                f"{np.sum(seen > 1)} more than once; this is a bug in the reader."
            )
        (start, before), (end, after) = marks[min(1, len(marks) - 2)], marks[-1]
        return found, float(after - before) * self._view.num_views / (end - start)

    def _predicted(self, variables: Any) -> Iterator[tuple[Any, ...]]:
        """(index, label, mask, logits `[b,V,K]`) by batch, one behind what the device works on."""
        process_index, process_count = sharding.process_slot(self._mesh)
        pending = None

        def fetched():
            *facts, views = pending
            logits = np.stack(jax.device_get(views), axis=1)
            logits = scoring.unmirrored(logits, self._view, self._records.mirror_labels)
            return *(np.asarray(fact) for fact in facts), logits

        with pipeline.eval_batches(
            self._split,
            clip=self._clip,
            view=self._view,
            extra_frames=self._extra_frames,
            batch_size=self._batch_size,
            num_workers=self._num_workers,
            worker_kind=self._worker_kind,
            process_index=process_index,
            process_count=process_count,
        ) as batches:
            for batch in tqdm.tqdm(
                batches,
                total=batches.num_batches,
                desc=self.name,
                unit="batch",
                leave=False,
                disable=not sharding.is_lead_process(),
            ):
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
                    yield fetched()
                pending = (facts["index"], facts["label"], facts["mask"], views)
        if pending is not None:
            yield fetched()

    def _save(self, scores: dict[str, np.ndarray], step: int) -> None:
        path = os.path.join(self._scores_dir, f"{self.name}.npz")
        with files.replacing(path, "wb") as f:
            np.savez(
                f,
                id=np.asarray(self._split.ids),
                class_names=np.asarray(self._records.class_names),
                checkpoint_step=step,
                protocol=self.protocol,
                manifest_sha256=self._records.manifest_sha256,
                **scores,
            )


def _accuracies(task: Task, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    if task.kind == "multi":
        return {"mean_average_precision": metrics.mean_average_precision(scores, labels)}
    if task.kind == "joint":
        return _joint_accuracies(task, scores, labels)
    return {
        "top1": metrics.top_k(scores, labels, 1),
        "top5": metrics.top_k(scores, labels, 5),
        "mean_class": metrics.mean_class(scores, labels),
        "ci95": metrics.bootstrap_ci95(metrics.hits(scores, labels, 1)),
    }


def _joint_accuracies(task: Task, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Of all groups together (the action of a verb and a noun), then of each group."""
    parts = task.slices
    within = labels - np.array([part.start for part in parts.values()])
    groups = {name: scores[:, part] for name, part in parts.items()}
    top1, top5 = (metrics.joint_hits(list(groups.values()), within, k) for k in (1, 5))
    row = {
        "top1": float(top1.mean()),
        "top5": float(top5.mean()),
        "ci95": metrics.bootstrap_ci95(top1),
    }
    for (name, group), own in zip(groups.items(), within.T, strict=True):
        row |= {f"{name}_top{k}": metrics.top_k(group, own, k) for k in (1, 5)}
    return row
