"""Spatial attention that another map guides: where to look in one map is read off a second."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError


class GuidedAttention(nn.Module):
    """A weighted sum over the places of each frame, by a softmax of the guide (arXiv 1903.01038).

    Two 1x1 convolutions with a ReLU between give each place a score. The second starts at zero:
    weights are equal at first and the sum is the mean.

    Attributes:
      conv: factory of the convolutions.
      width: channels between the two.
    """

    conv: Callable
    width: int = 64

    @nn.compact
    def __call__(self, x, guide):
        """Features at the places that the guide points at.

        Args:
          x: `[B,T,H,W,C]`.
          guide: `[B,T,H,W,D]`.

        Returns:
          The weighted sums `[B,T,C]` and the weights `[B,T,H,W]`, float32; those of a frame sum to
          1.

        Raises:
          InputError: the two maps are not of the same places.
        """
        if x.shape[:-1] != guide.shape[:-1]:
            raise InputError(
                f"Guided attention {'/'.join(self.path)}: features {x.shape} and guide "
                f"{guide.shape} must be alike but for their channels; give both streams frames of "
                "one size and backbones of one stride."
            )
        scores = nn.relu(self.conv(self.width, use_bias=True, name="conv1")(guide))
        zeros = nn.initializers.zeros
        conv2 = self.conv(1, use_bias=True, dtype=jnp.float32, kernel_init=zeros, name="conv2")
        with jax.default_matmul_precision("highest"):  # TF32 would round what softmax exaggerates
            scores = conv2(scores.astype(jnp.float32))[..., 0]
        places = scores.reshape(*scores.shape[:2], -1)  # H W: over all of them, not over channels
        weights = jax.nn.softmax(places, axis=-1).reshape(scores.shape)
        # A sum and not a mean: the weights sum to 1 already.
        precision = jax.lax.Precision.HIGHEST
        pooled = jnp.einsum("bthw,bthwc->btc", weights, x.astype(jnp.float32), precision=precision)
        return pooled, weights
