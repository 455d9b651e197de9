"""Losses and metrics as pure functions of a model's outputs and a batch.

The task is the only code that knows what a label looks like; the training step and the evaluators
pass batches through it unopened.
"""

import dataclasses
import itertools
import types
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from tempo.errors import InputError, lookup, nearest
from tempo.types import Array, Batch

LINKS = {"single": "softmax", "multi": "sigmoid", "joint": "softmax"}
"""Label kind of a dataset (`tempo.types.LABEL_KINDS`) -> link function."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Cross entropy over one set of classes, or over several groups of them side by side.

    A verb and a noun are two groups of one list of classes: their two heads are one linear layer
    whose rows lie side by side, and each group has a softmax of its own.

    A class index of -1 says that this label of the clip is not known: the group gives the clip no
    loss, hence no gradient, in any head, and the clip does not count in the group's hit rates. The
    mean over the batch still divides by all its clips, so what one clip pulls does not depend on
    which others it is batched with.

    Attributes:
      num_classes: K, over all groups.
      link: `softmax` (labels are class indices `[B]`, or one of each group `[B,G]`; or
        probabilities `[B,K]` under the batch key `label_probs`, as mixup makes them) or `sigmoid`
        (labels are multi-hot `[B,K]`).
      groups: size of each group by name, in class order; empty is one group without a name.
      label_smoothing: mass spread evenly over the classes of a group, in [0, 1).
      aux_weight: weight of every auxiliary head's loss (TPN, arXiv 2004.03548, eq. 1: 0.5).
      task_weights: weight of each group's loss, by name, in every head; 1 where not given.
    """

    num_classes: int
    link: str = "softmax"
    groups: Mapping[str, int] = dataclasses.field(default_factory=dict)
    label_smoothing: float = 0.0
    aux_weight: float = 0.5
    task_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The row of `tempo.types.LABEL_KINDS` that its labels are of."""
        if self.link == "sigmoid":
            return "multi"
        return "joint" if self.groups else "single"

    @property
    def slices(self) -> dict[str, slice]:
        """Where the classes of each group are; the only group of a plain task is called ""."""
        sizes = self.groups or {"": self.num_classes}
        ends = itertools.pairwise(itertools.accumulate(sizes.values(), initial=0))
        return {name: slice(a, b) for name, (a, b) in zip(sizes, ends, strict=True)}

    def loss(self, outputs: dict[str, Array], batch: Batch) -> tuple[Array, dict[str, Array]]:
        """Total loss (float32 scalar) and a dict of scalar metrics, means over the batch."""
        targets = self._targets(batch)
        main = self._cross_entropy(outputs["logits"], targets)
        aux = [self._cross_entropy(logits, targets) for logits in outputs.get("aux_logits", ())]
        total = main + self.aux_weight * sum(aux)
        metrics = {"loss": total, "loss_main": main}
        if aux:
            metrics["loss_aux"] = sum(aux)
        if self.link == "softmax":
            metrics |= self._hit_rates(outputs["logits"], targets)
        return total, metrics

    def probs(self, logits: Array) -> Array:
        """Probabilities `[..., K]` in float32; those of each group add up to 1."""
        logits = logits.astype(jnp.float32)
        if self.link == "sigmoid":
            return jax.nn.sigmoid(logits)
        parts = [jax.nn.softmax(logits[..., part]) for part in self.slices.values()]
        return jnp.concatenate(parts, axis=-1)

    def _hit_rates(self, logits: Array, targets: Array) -> dict[str, Array]:
        """Share of clips with the right class in every group, and in each group if several.

        Of the clips whose label (or labels, for all groups together) is known; 0 if none is.
        """
        hits, known = {}, {}
        for name, part in self.slices.items():
            hits[name] = jnp.argmax(logits[..., part], -1) == jnp.argmax(targets[..., part], -1)
            known[name] = jnp.any(targets[..., part] > 0, axis=-1)
        rates = {f"train_{name}_top1": _share(hits[name], known[name]) for name in hits if name}
        all_right, all_known = (
            jnp.all(jnp.stack(list(found.values())), axis=0) for found in (hits, known)
        )
        return {"train_top1": _share(all_right, all_known), **rates}

    def _targets(self, batch: Batch) -> Array:
        """Target probabilities `[B,K]`, smoothed."""
        if "label_probs" in batch:
            targets = batch["label_probs"].astype(jnp.float32)
        else:
            targets = one_hot(batch["label"], self.num_classes, self.kind)
        smoothing = self.label_smoothing
        if self.link == "sigmoid":
            return targets * (1 - smoothing) + smoothing / 2
        smoothed = []
        for part in self.slices.values():
            own = targets[..., part]
            # All of a known label's mass, nothing of an unknown one's.
            mass = own.sum(-1, keepdims=True)
            smoothed.append(own * (1 - smoothing) + mass * (smoothing / (part.stop - part.start)))
        return jnp.concatenate(smoothed, axis=-1)

    def _cross_entropy(self, logits: Array, targets: Array) -> Array:
        logits = logits.astype(jnp.float32)
        if self.link == "sigmoid":
            return jnp.mean(jnp.sum(optax.sigmoid_binary_cross_entropy(logits, targets), -1))
        return sum(
            self.task_weights.get(name, 1.0)
            * jnp.mean(optax.softmax_cross_entropy(logits[..., part], targets[..., part]))
            for name, part in self.slices.items()
        )


def _share(hit: Array, counted: Array) -> Array:
    """Share of hits among what counts, 0 if nothing does."""
    return jnp.sum(hit & counted) / jnp.maximum(jnp.sum(counted), 1)


def one_hot(label: Array, num_classes: int, kind: str) -> Array:
    """Labels of a kind (`tempo.types.LABEL_KINDS`) as float32 `[B,K]`."""
    if kind == "multi":
        return label.astype(jnp.float32)
    ones = jax.nn.one_hot(label, num_classes, dtype=jnp.float32)
    return ones.sum(axis=-2) if kind == "joint" else ones


def create(
    label_kind: str,
    num_classes: int,
    groups: Mapping[str, int] = types.MappingProxyType({}),
    *,
    label_smoothing: float = 0.0,
    aux_weight: float = 0.5,
    task_weights: Mapping[str, float] = types.MappingProxyType({}),
) -> Task:
    """The task for a dataset's label kind (`tempo.types.LABEL_KINDS`) and groups of classes.

    Raises:
      InputError: unknown label kind, or a weight below 0 or of a group that is not there.
    """
    for name, weight in task_weights.items():
        if name not in groups:
            has = nearest(name, groups) if groups else " Its labels are of one group; leave it out."
            raise InputError(f"loss.task_weights: the dataset has no group {name!r}.{has}")
        if not 0 <= weight < float("inf"):
            raise InputError(f"loss.task_weights.{name} must be at least 0; got {weight}.")
    return Task(
        num_classes=num_classes,
        link=lookup(LINKS, label_kind, "label kind"),
        groups=dict(groups),
        label_smoothing=label_smoothing,
        aux_weight=aux_weight,
        task_weights=dict(task_weights),
    )
