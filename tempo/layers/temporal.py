"""Temporal modules: what a 2-D block is given to see other frames; the TEMPORAL table.

The class attribute `place` of a module says where in a residual block it stands: `input`, on what
conv1 reads, or `conv1`, behind conv1, its norm and the activation.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError


class TemporalShift(nn.Module):
    """Moves 1/shift_div of the channels one frame back and as many one frame on (arXiv 1811.08383).

    Channels `[0, fold)` of frame t come from frame t+1, channels `[fold, 2 fold)` from frame t-1,
    `fold = C // shift_div`; frames outside the clip are zeros. No parameters.

    Attributes:
      shift_div: the reciprocal of the part of the channels that moves each way.
      num_segments: T that clips must have; 0 is any but 1, whose shifted channels would be zero.
    """

    shift_div: int = 8
    num_segments: int = 0

    place = "input"

    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`."""
        frames, channels = x.shape[1], x.shape[-1]
        fold = channels // self.shift_div if self.shift_div > 0 else 0
        if self.shift_div < 2 or fold == 0:
            raise InputError(
                f"shift_div={self.shift_div} must be at least 2 and at most the {channels} "
                "channels that are shifted; lower it or widen the network."
            )
        if self.num_segments not in (0, frames):
            raise InputError(
                f"The temporal shift is for num_segments={self.num_segments} frames and the clip "
                f"has {frames}; give clips of {self.num_segments} frames or set num_segments=0."
            )
        if frames == 1:
            raise InputError(
                f"The temporal shift would zero {2 * fold} of {channels} channels of a clip of 1 "
                "frame; set backbone.temporal='none' or give clips of more frames."
            )
        back, forth, rest = jnp.split(x, (fold, 2 * fold), axis=-1)
        return jnp.concatenate([_later(back, 1), _later(forth, -1), rest], axis=-1)


class TemporalAdaptive(nn.Module):
    """A temporal kernel made from the clip itself, for each channel (TAM, arXiv 2005.06803, 3.2).

    Both branches read the mean over space, `[B,T,C]`. The global one gives each channel its kernel
    over time, a softmax over the taps; the local one a weight in (0, 1) for every frame and
    channel. Output frame t is the sum over taps k of kernel[k] * (weight * x)[t + k - kernel // 2],
    zeros outside the clip. The branches are computed in float32.

    The global branch is a perceptron over time, so a trained module is for one T alone.

    Attributes:
      conv, norm: factories; `norm` has `train` bound.
      kernel: taps of the kernels, odd.
      expansion: hidden width of the global branch, in T.
      reduction: C in hidden channels of the local branch.
    """

    conv: Callable
    norm: Callable
    kernel: int = 3
    expansion: int = 2
    reduction: int = 4

    place = "conv1"

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`.

        Raises:
          InputError: T is not that of the parameters, or an even `kernel`.
        """
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"temporal 'tam': kernel={self.kernel} must be odd, such as 3.")
        self._check_frames(x.shape[1])
        means = jnp.mean(x, axis=(2, 3), dtype=jnp.float32)
        taps = self._kernel(means)
        weights = self._weights(means)
        # Kernel and weight together are one small factor per frame and tap, so that no product of
        # x's size stands between the two.
        reach = self.kernel // 2
        factors = [_later(weights, k - reach) * taps[:, None, :, k] for k in range(self.kernel)]
        # In float32, as in `gates.gated`.
        y = sum(
            _later(x, k - reach) * factor[:, :, None, None, :] for k, factor in enumerate(factors)
        )
        return y.astype(x.dtype)

    def _kernel(self, means):
        """Global branch: `[B,T,C] -> [B,C,taps]`, positive, with the sum 1 over taps."""
        dense = functools.partial(
            nn.Dense, use_bias=False, dtype=jnp.float32, kernel_init=nn.initializers.normal(1e-3)
        )
        y = dense(self.expansion * means.shape[1], name="global_fc1")(jnp.swapaxes(means, 1, 2))
        y = nn.relu(self.norm(dtype=jnp.float32, name="global_norm")(y))
        return jax.nn.softmax(dense(self.kernel, name="global_fc2")(y), axis=-1)

    def _weights(self, means):
        """Local branch: `[B,T,C] -> [B,T,C]` in (0, 1)."""
        channels = means.shape[-1]
        y = means[:, :, None, None, :]
        y = self.conv(
            max(1, channels // self.reduction), (3, 1, 1), dtype=jnp.float32, name="local_conv1"
        )(y)
        y = nn.relu(self.norm(dtype=jnp.float32, name="local_norm")(y))
        y = self.conv(channels, (1, 1, 1), dtype=jnp.float32, name="local_conv2")(y)
        return jax.nn.sigmoid(y[:, :, 0, 0])

    def _check_frames(self, frames: int):
        stored = self.get_variable("params", "global_fc1")
        if stored is not None and stored["kernel"].shape[0] != frames:
            raise InputError(
                f"The temporal adaptive module {'/'.join(self.path)} has weights for clips of "
                f"{stored['kernel'].shape[0]} frames and gets {frames}; give clips of that many."
            )


def _later(x, frames: int):
    """Frame t + `frames` of `x [B,T,...]` at t, zeros where there is none."""
    if frames == 0:
        return x
    zeros = jnp.zeros_like(x[:, : abs(frames)])
    parts = [x[:, frames:], zeros] if frames > 0 else [zeros, x[:, :frames]]
    return jnp.concatenate(parts, axis=1)


TEMPORAL = {"none": None, "tsm": TemporalShift, "tam": TemporalAdaptive}
"""Temporal modules by name, the one place to add one: the `temporal` slot of the backbones."""
