"""Losses and metrics as pure functions of a model's outputs and a batch.

The task is the only code that knows what a label looks like; the training step and the evaluators
pass batches through it unopened.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from tempo.errors import lookup
from tempo.types import Array, Batch

LINKS = {"single": "softmax", "multi": "sigmoid"}
"""Label kind of a dataset (`tempo.types.LABEL_KINDS`) -> link function."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Cross entropy over one set of classes.

    Attributes:
      num_classes: K.
      link: `softmax` (labels are class indices `[B]`, or probabilities `[B,K]` under the batch key
        `label_probs`, as mixup makes them) or `sigmoid` (labels are multi-hot `[B,K]`).
      label_smoothing: mass spread evenly over the classes, in [0, 1).
      aux_weight: weight of every auxiliary head's loss (TPN, arXiv 2004.03548, eq. 1: 0.5).
    """

    num_classes: int
    link: str = "softmax"
    label_smoothing: float = 0.0
    aux_weight: float = 0.5

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
            hits = jnp.argmax(outputs["logits"], -1) == jnp.argmax(targets, -1)
            metrics["train_top1"] = jnp.mean(hits.astype(jnp.float32))
        return total, metrics

    def probs(self, logits: Array) -> Array:
        """Probabilities `[..., K]` in float32."""
        logits = logits.astype(jnp.float32)
        return jax.nn.softmax(logits) if self.link == "softmax" else jax.nn.sigmoid(logits)

    def _targets(self, batch: Batch) -> Array:
        if "label_probs" in batch:
            targets = batch["label_probs"]
        elif self.link == "softmax":
            targets = jax.nn.one_hot(batch["label"], self.num_classes)
        else:
            targets = batch["label"]
        targets = targets.astype(jnp.float32)
        rest = self.label_smoothing / (self.num_classes if self.link == "softmax" else 2)
        return targets * (1 - self.label_smoothing) + rest

    def _cross_entropy(self, logits: Array, targets: Array) -> Array:
        logits = logits.astype(jnp.float32)
        if self.link == "softmax":
            return jnp.mean(optax.softmax_cross_entropy(logits, targets))
        return jnp.mean(jnp.sum(optax.sigmoid_binary_cross_entropy(logits, targets), -1))


def create(
    label_kind: str, num_classes: int, *, label_smoothing: float = 0.0, aux_weight: float = 0.5
) -> Task:
    """The task for a dataset's label kind (`single` or `multi`)."""
    return Task(
        num_classes=num_classes,
        link=lookup(LINKS, label_kind, "label kind"),
        label_smoothing=label_smoothing,
        aux_weight=aux_weight,
    )
