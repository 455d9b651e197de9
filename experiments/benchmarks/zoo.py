"""The convolutions of the models: which there are and of what sizes, read from the models.

Nothing is computed and no parameter is made. What holds no convolution, such as norms, is stepped
over, so that all of the presets take a minute or so.
"""

import collections
from collections.abc import Iterable
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import tempo
from tempo.layers import conv, recurrent
from tempo.layers.conv_spec import ConvSpec
from tempo.layers.lowerings import LOWERINGS
from tempo.layers.norm import NORMS
from tempo.models import presets
from tempo.types import ClipShapes

Found = collections.Counter[tuple[ConvSpec, tuple[int, ...]]]
"""How often each (geometry, input shape [B,T,H,W,C]) occurs."""

_WITHOUT_CONVOLUTIONS = (*NORMS.values(), recurrent.SqueezeRecursion)


def convolutions(model: str, shape: ClipShapes | None = None) -> Found:
    """The convolutions of a preset.

    Args:
      model: its name.
      shape: of a batch, `[B,T,H,W,C]`, per stream if it has several; None: one clip of its own.
    """
    made = tempo.create_model(model, num_classes=10)
    return _convolutions(made, shape or _own_clip(model, made.streams))


def of_models(names: Iterable[str]) -> Found:
    """The convolutions of presets, each on one clip of its own; networks that are equal once."""
    found: Found = collections.Counter()
    seen = set()
    for name in names:
        made = tempo.create_model(name, num_classes=10)
        shape = _own_clip(name, made.streams)
        network = repr((made.backbone, made.neck, made.head, shape))
        if network not in seen:
            seen.add(network)
            found += _convolutions(made, shape)
    return found


def _own_clip(name: str, streams) -> ClipShapes:
    """The batch of one clip that a preset is for."""
    own = presets.clip_shapes(name, streams, *presets.clip_of(name))
    if isinstance(own, dict):
        return {stream: (1, *shape) for stream, shape in own.items()}
    return (1, *own)


def _convolutions(model, shape: ClipShapes) -> Found:
    found: Found = collections.Counter()

    def record(x, kernel, *, strides, padding, groups=1, lowering="auto"):
        del lowering
        spec = ConvSpec(
            tuple(kernel.shape[:3]),
            tuple(strides),
            tuple(padding),
            groups,
            x.shape[-1],
            kernel.shape[-1],
        )
        found[spec, x.shape] += 1
        return jnp.zeros(output_shape(spec, x.shape), x.dtype)

    def step_over(function, args, kwargs, context):
        is_plain = isinstance(context.module, _WITHOUT_CONVOLUTIONS)
        if is_plain and context.method_name == "__call__":
            return args[0]
        return function(*args, **kwargs)

    with mock.patch.object(conv, "convolve", record), nn.intercept_methods(step_over):
        tempo.models.describe(model, shape)
    return found


def output_shape(spec: ConvSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what a convolution makes of an input of `shape`."""
    sizes = zip(shape[1:4], spec.padding, spec.kernel_size, spec.strides, strict=True)
    return (shape[0], *((n + 2 * p - k) // s + 1 for n, p, k, s in sizes), spec.features)


def few_windows(spec: ConvSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A small input of the same geometry: two windows or so along each axis, two clips.

    The extents leave over as much over a whole number of strides as those of `shape` do.
    """
    sizes = zip(shape[1:4], spec.kernel_size, spec.strides, strict=True)
    return (2, *(min(n, k + s + (n - k) % s) for n, k, s in sizes), spec.in_features)


def operands(spec: ConvSpec, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(input, kernel): random, float32."""
    rng = np.random.default_rng(0)
    kernel = (*spec.kernel_size, spec.in_features // spec.groups, spec.features)
    return rng.standard_normal(shape, np.float32), rng.standard_normal(kernel, np.float32)


def all_lowerings(spec: ConvSpec, x, kernel) -> dict[str, tuple]:
    """By each lowering that can compute it: output and gradients to input and kernel.

    The output's gradient is no constant, so that a mistake in the order of elements shows.
    """
    results = {}
    for name, lowering in LOWERINGS.items():
        if lowering.suits(spec):
            y, pullback = jax.vjp(
                lambda x, k, lowering=lowering: lowering.compute(x, k, spec), x, kernel
            )
            dy = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
            results[name] = (y, *pullback(dy))
    return results
