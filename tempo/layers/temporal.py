"""Temporal modules: what a 2-D block puts on its input so that frames see each other."""

import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError


class TemporalShift(nn.Module):
    """Moves 1/shift_div of the channels one frame back and as many one frame on (arXiv 1811.08383).

    Channels `[0, fold)` of frame t come from frame t+1, channels `[fold, 2 fold)` from frame t-1,
    `fold = C // shift_div`; frames outside the clip are zeros. No parameters.

    Attributes:
      shift_div: the reciprocal of the part of the channels that moves each way.
    """

    shift_div: int = 8

    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`."""
        fold = x.shape[-1] // self.shift_div
        if self.shift_div < 2 or fold == 0:
            raise InputError(
                f"shift_div={self.shift_div} must be at least 2 and at most the {x.shape[-1]} "
                "channels that are shifted; lower it or widen the network."
            )
        back, forth, rest = jnp.split(x, (fold, 2 * fold), axis=-1)
        zeros = jnp.zeros_like(back[:, :1])
        back = jnp.concatenate([back[:, 1:], zeros], axis=1)
        forth = jnp.concatenate([zeros, forth[:, :-1]], axis=1)
        return jnp.concatenate([back, forth, rest], axis=-1)


TEMPORAL = {"none": None, "tsm": TemporalShift}
"""Temporal modules by name, the one place to add one: the `temporal` slot of the backbones."""
