"""Heads: features to class scores."""

import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError

AXES = (1, 2, 3)  # T, H, W


class PoolHead(nn.Module):
    """Global average pool, dropout, one linear layer; float32 from the pool on.

    Of several feature maps (pathways) each is pooled and the pooled features are concatenated.

    Attributes:
      num_classes: K.
      dropout_prob: probability of dropping a pooled feature in training.
      fully_convolutional: score every location and average the scores instead of the features.
        Equal without dropout; kept because public test code of TPN does it this way. For one
        feature map only.
      use_bias: the linear layer has a bias.
    """

    num_classes: int
    dropout_prob: float = 0.5
    fully_convolutional: bool = False
    use_bias: bool = True

    def embed(self, x):
        """What the linear layer reads, before dropout: `[B,D]` float32.

        Args:
          x: `[B,T,H,W,C]`, D = C; or a tuple of such of any sizes, D the sum of their channels.
        """
        maps = x if isinstance(x, tuple) else (x,)
        return jnp.concatenate([m.astype(jnp.float32).mean(AXES) for m in maps], -1)

    @nn.compact
    def __call__(self, x, *, train: bool):
        """What `embed` takes -> logits `[B,K]` float32. Training needs the `dropout` rng.

        Raises:
          InputError: a fully convolutional head on several feature maps.
        """
        if not self.fully_convolutional:
            x = self.embed(x)
        elif isinstance(x, tuple):
            raise InputError(
                f"head.fully_convolutional scores the locations of one feature map; got {len(x)} "
                "pathways; leave it off."
            )
        x = x.astype(jnp.float32)
        x = nn.Dropout(self.dropout_prob, deterministic=not train, name="dropout")(x)
        x = nn.Dense(
            self.num_classes,
            use_bias=self.use_bias,
            kernel_init=nn.initializers.normal(0.01),
            dtype=jnp.float32,
            name="fc",
        )(x)
        return x.mean(AXES) if self.fully_convolutional else x
