"""Heads: features to class scores."""

import jax.numpy as jnp
from flax import linen as nn


class PoolHead(nn.Module):
    """Global average pool, dropout, one linear layer; float32 from the pool on.

    Attributes:
      num_classes: K.
      dropout_prob: probability of dropping a pooled feature in training.
      fully_convolutional: score every location and average the scores instead of the features.
        Equal without dropout; kept because public test code of TPN does it this way.
    """

    num_classes: int
    dropout_prob: float = 0.5
    fully_convolutional: bool = False

    @nn.compact
    def __call__(self, x, *, train: bool):
        """`x [B,T,H,W,C]` -> logits `[B,K]` float32. Training needs the `dropout` rng."""
        x = x.astype(jnp.float32)
        axes = (1, 2, 3)
        if not self.fully_convolutional:
            x = x.mean(axes)
        x = nn.Dropout(self.dropout_prob, deterministic=not train, name="dropout")(x)
        x = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01),
            dtype=jnp.float32,
            name="fc",
        )(x)
        return x.mean(axes) if self.fully_convolutional else x
