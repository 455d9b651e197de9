"""The convolutions of the models: which there are and of what sizes, read from the models.

Nothing is computed and no parameter is made. What holds no convolution, such as norms, is stepped
over, and what was read before, such as the third block of a stage, is not read again.
"""

import collections
import dataclasses
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
    seen, known = set(), {}
    for name in names:
        made = tempo.create_model(name, num_classes=10)
        shape = _own_clip(name, made.streams)
        network = repr((made.backbone, made.neck, made.head, shape))
        if network not in seen:
            seen.add(network)
            found += _convolutions(made, shape, known)
    return found


def _own_clip(name: str, streams) -> ClipShapes:
    """The batch of one clip that a preset is for."""
    own = presets.clip_shapes(name, streams, *presets.clip_of(name))
    if isinstance(own, dict):
        return {stream: (1, *shape) for stream, shape in own.items()}
    return (1, *own)


def _convolutions(model, shape: ClipShapes, known: dict | None = None) -> Found:
    """The convolutions of a network.

    Args:
      model: the network.
      shape: of its clips.
      known: what modules were found to have, by what tells them apart; more are added.
    """
    found: Found = collections.Counter()
    known = {} if known is None else known

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
        if context.method_name != "__call__":
            return function(*args, **kwargs)
        module = context.module
        if isinstance(module, _WITHOUT_CONVOLUTIONS):
            return args[0]
        fields = _fields(module)
        key = _identity(module, fields, args, kwargs)
        if key not in known:
            before = found.copy()
            outputs = function(*args, **kwargs)
            # The fields too, lest another function gets the address that one has in the key.
            known[key] = found - before, jax.eval_shape(lambda: outputs), fields
            return outputs
        own, outputs, _ = known[key]
        found.update(own)
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), outputs)

    calls = mock.patch.object(conv, "convolve", record)
    parameters = mock.patch.object(nn.Module, "param", _zeros)
    with calls, parameters, nn.intercept_methods(step_over):
        tempo.models.describe(model, shape)
    return found


def _zeros(self, name, init_fn, *args, **kwargs):
    """In place of a parameter: to trace how one is drawn would be a third of the time."""
    del name
    return jnp.zeros(args[0], jnp.float32) if args else init_fn(self.make_rng("params"), **kwargs)


def _fields(module) -> dict:
    names = {field.name for field in dataclasses.fields(module)} - {"name", "parent"}
    return {name: getattr(module, name) for name in sorted(names)}


def _identity(module, fields, args, kwargs) -> tuple:
    """What two calls of modules have in common if they have the same convolutions."""
    leaves, structure = jax.tree.flatten((args, kwargs))
    inputs = [(x.shape, str(x.dtype)) if hasattr(x, "shape") else repr(x) for x in leaves]
    return type(module), repr(fields), structure, tuple(inputs)


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
