"""Weights of a network as those of another: 2-D as 3-D (arXiv 1705.07750, 2.1), RGB as flow."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from tempo.errors import InputError, lookup

INFLATIONS: dict[str, Callable[[int], Sequence[int]]] = {
    "repeat": range,
    "center": lambda kernel_t: (kernel_t // 2,),
    "two_frame": lambda kernel_t: range(max(kernel_t // 2 - 1, 0), kernel_t // 2 + 1),
}
"""Where a 2-D kernel goes along time, kernel_t -> taps; each has an equal part of it.

`repeat` is I3D's: every frame alike. `center` sees the frame itself only, so that the network
starts as the 2-D one, exactly and at the ends too. `two_frame` sees the frame and the one before
(of an even kernel, the two taps in the middle), so that it starts with a preference for short
tempos and an order that can be learned from.
"""


def inflate_kernel(kernel, kernel_t: int, how: str = "repeat"):
    """`[1,kh,kw,C,F]` -> `[kernel_t,kh,kw,C,F]`, on the taps of a row of `INFLATIONS`.

    The parts sum to the kernel: on a clip of equal frames the inflated convolution gives, away from
    the ends where padding enters, what the 2-D one gives for the frame. At `kernel_t=1` it is the
    kernel itself, bit by bit.

    Raises:
      InputError: a kernel that is 3-D already, or an unknown method.
    """
    taps = lookup(INFLATIONS, how, "inflation")(kernel_t)
    if kernel.ndim != 5 or kernel.shape[0] != 1:
        raise InputError(
            f"Only kernels [1,kh,kw,C,F] of a 2-D network inflate; got {kernel.shape}."
        )
    if len(taps) == kernel_t:
        return jnp.repeat(kernel, kernel_t, axis=0) / kernel_t
    empty = jnp.zeros((kernel_t, *kernel.shape[1:]), kernel.dtype)
    return empty.at[jnp.asarray(taps)].set(kernel / len(taps))


CROSS_MODALITY: dict[str, Callable[[int, int], float]] = {
    "mean": lambda colours, channels: 1.0,
    "mean_rescaled": lambda colours, channels: colours / channels,
}
"""Factor on the mean over the colours, (their number, that of channels of flow) -> factor.

`mean` is TSN's (arXiv 1608.00859, section 3.2): the same value in all channels of flow gives
channels / colours times what a grey picture of that value gave, which the norm behind it takes
back. `mean_rescaled` gives as much, for networks without norms.
"""


def cross_modality(kernel, channels: int = 20, method: str = "mean"):
    """`[...,C,F]` of a stem for pictures -> `[...,channels,F]` of one for stacked flow.

    The mean over the C colours for every channel alike, times a row of `CROSS_MODALITY`.

    Raises:
      InputError: an unknown method, or no kernel.
    """
    factor = lookup(CROSS_MODALITY, method, "cross-modality initialisation (init_modality)")
    if kernel.ndim < 2:
        raise InputError(f"A kernel [...,C,F] is needed; got the shape {kernel.shape}.")
    mean = jnp.mean(kernel, -2, keepdims=True) * factor(kernel.shape[-2], channels)
    return jnp.repeat(mean, channels, axis=-2)
