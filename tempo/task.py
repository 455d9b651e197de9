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

from tempo.errors import lookup
from tempo.types import Array, Batch

LINKS = {"single": "softmax", "multi": "sigmoid", "joint": "softmax"}
"""Label kind of a dataset (`tempo.types.LABEL_KINDS`) -> link function."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Cross entropy over one set of classes, or over several groups of them side by side.

    A verb and a noun are two groups of one list of classes: their two heads are one linear layer
    whose rows lie side by side, and each group has a softmax of its own.

    Attributes:
      num_classes: K, over all groups.
      link: `softmax` (labels are class indices `[B]`, or one of each group `[B,G]`; or
        probabilities `[B,K]` under the batch key `label_probs`, as mixup makes them) or `sigmoid`
        (labels are multi-hot `[B,K]`).
      groups: size of each group by name, in class order; empty is one group without a name.
      label_smoothing: mass spread evenly over the classes of a group, in [0, 1).
      aux_weight: weight of every auxiliary head's loss (TPN, arXiv 2004.03548, eq. 1: 0.5).
    """

    num_classes: int
    link: str = "softmax"
    groups: Mapping[str, int] = dataclasses.field(default_factory=dict)
    label_smoothing: float = 0.0
    aux_weight: float = 0.5

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
        """Share of clips with the right class in every group, and in each group if several."""
        hits = {
            name: jnp.argmax(logits[..., part], -1) == jnp.argmax(targets[..., part], -1)
            for name, part in self.slices.items()
        }
        rates = {f"train_{name}_top1": jnp.mean(hit) for name, hit in hits.items() if name}
        all_right = jnp.all(jnp.stack(list(hits.values())), axis=0)
        return {"train_top1": jnp.mean(all_right), **rates}

    def _targets(self, batch: Batch) -> Array:
        """Target probabilities `[B,K]`, smoothed."""
        if "label_probs" in batch:
            targets = batch["label_probs"].astype(jnp.float32)
        else:
            targets = one_hot(batch["label"], self.num_classes, self.kind)
        if self.link == "sigmoid":
            rest = self.label_smoothing / 2
        else:
            parts = self.slices.values()
            rest = jnp.concatenate(
                [
                    jnp.full(p.stop - p.start, self.label_smoothing / (p.stop - p.start))
                    for p in parts
                ]
            )
        return targets * (1 - self.label_smoothing) + rest

    def _cross_entropy(self, logits: Array, targets: Array) -> Array:
        logits = logits.astype(jnp.float32)
        if self.link == "sigmoid":
            return jnp.mean(jnp.sum(optax.sigmoid_binary_cross_entropy(logits, targets), -1))
        return sum(
            jnp.mean(optax.softmax_cross_entropy(logits[..., part], targets[..., part]))
            for part in self.slices.values()
        )


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
) -> Task:
    """The task for a dataset's label kind (`tempo.types.LABEL_KINDS`) and groups of classes."""
    return Task(
        num_classes=num_classes,
        link=lookup(LINKS, label_kind, "label kind"),
        groups=dict(groups),
        label_smoothing=label_smoothing,
        aux_weight=aux_weight,
    )
