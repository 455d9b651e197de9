"""Compact bilinear pooling: features fused by products, in the size of a sketch.

Sources: Gao et al., arXiv 1511.06062; Wang et al., arXiv 1903.01038 (the spatiotemporal operator,
of two inputs or more).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from tempo.errors import InputError, lookup
from tempo.layers.count_sketch import METHODS, TRANSFORMS

COLLECTION = "sketch"
"""Flax collection of the hashes: no optimiser, decay or average sees it; checkpoints keep it."""


NEARLY_DEAD = 1e-7
"""What fades out where features are normalised: values, and mean squares of vectors, below this.

Those of usual features are around 1. Without it the gradient at a nearly dead place of a map grows
as the inverse of its features, and where their squares vanish in float32 it is no number.
"""


def signed_sqrt(x):
    """`sign(x) sqrt(|x|)`, less by a relative `NEARLY_DEAD / 2|x|`; the gradient at 0 is 0."""
    size = jnp.abs(x)
    return jnp.sign(x) * size * lax.rsqrt(size + NEARLY_DEAD)


def l2_normalise(x, scale: float):
    """Scaled to a norm of `scale` over the last axis; zeros stay zeros, with a gradient of 0.

    The norm is less by a relative `NEARLY_DEAD / 2` over the mean square of x.
    """
    square = jnp.mean(jnp.square(x), -1, keepdims=True)
    factor = (scale / math.sqrt(x.shape[-1])) * lax.rsqrt(square + NEARLY_DEAD)
    return x * jnp.where(square == 0, 0.0, factor)


NORMALISATIONS: dict[str, Callable] = {
    "none": lambda x, scale: x,
    "l2": l2_normalise,
    "ssqrt_l2": lambda x, scale: l2_normalise(signed_sqrt(x), scale),
}
"""What stands behind the pooling: `(x [...,d], norm of the result) -> [...,d]`.

Signed square root and L2 norm are those of arXiv 1511.06062, section 4.1.
"""


class CompactBilinear(nn.Module):
    """The sketch of the outer product of m >= 2 feature vectors, at every place alike.

    `STCB(x_1, ..., x_m) = irfft(prod_i rfft(sketch_i(x_i)))` has d numbers in place of the
    p_1 ... p_m of the outer product, and its inner products are theirs in expectation: the product
    of those of the x_i, with a standard deviation of about sqrt(1/d).

    Variables, in the collection `sketch`: `h1`, `s1` to `hm`, `sm` (int32 and float32 `[p_i]`),
    drawn from the rng `params` and independent of each other also where two inputs are alike, and
    `dim`, d itself, by which stored hashes say what they are for. A classifier reads the output of
    the hashes that it was trained with and of no others.

    Attributes:
      dim: d of the output.
      method: a name of `METHODS`, or `auto`.
      transform: `fft`, or `dft`: matrix products, equal to a relative 1e-5.
      normalisation: a name of `NORMALISATIONS`.
      l2_scale: norm of the output; 0 is sqrt(d), which makes elements of order 1.
    """

    dim: int
    method: str = "auto"
    transform: str = "fft"
    normalisation: str = "none"
    l2_scale: float = 0.0

    def __post_init__(self):
        # The product k h of the matrix form must fit 32 bits.
        if not isinstance(self.dim, int) or not 1 <= self.dim < 2**15:
            raise InputError(
                f"The dimension of a compact bilinear pooling must be a whole number from 1 to "
                f"{2**15 - 1}, such as 4096; got {self.dim!r}."
            )
        lookup(dict.fromkeys(("auto", *METHODS)), self.method, "method of the count sketch")
        lookup(TRANSFORMS, self.transform, "transform of the count sketch")
        lookup(NORMALISATIONS, self.normalisation, "normalisation of the compact bilinear pooling")
        super().__post_init__()

    @nn.compact
    def __call__(self, *inputs):
        """Arrays `[...,p_i]`, m alike but for the last axis -> `[...,d]` float32.

        Everything is float32: the spectrum of a product has no half precision.

        Raises:
          InputError: fewer than two inputs, shapes that differ, or not as many inputs as the stored
            hashes are for.
        """
        self._check_inputs(inputs)
        hashes = [self._hash(i, x.shape[-1]) for i, x in enumerate(inputs, 1)]
        self.variable(COLLECTION, "dim", lambda: jnp.asarray(self.dim, jnp.int32))
        rows = [x.astype(jnp.float32).reshape(-1, x.shape[-1]) for x in inputs]
        z = TRANSFORMS[self.transform](rows, hashes, self.dim, self.method)
        z = z.reshape(*inputs[0].shape[:-1], self.dim)
        return NORMALISATIONS[self.normalisation](z, self.l2_scale or math.sqrt(self.dim))

    def _hash(self, i: int, width: int):
        """Places and signs of input i."""

        def places():
            return jax.random.randint(self.make_rng("params"), (width,), 0, self.dim, jnp.int32)

        def signs():
            return jax.random.rademacher(self.make_rng("params"), (width,), jnp.float32)

        h = self.variable(COLLECTION, f"h{i}", places).value
        return h, self.variable(COLLECTION, f"s{i}", signs).value

    def _check_inputs(self, inputs) -> None:
        where = f"Compact bilinear pooling {'/'.join(self.path)}"
        if len(inputs) < 2:
            raise InputError(f"{where} fuses two inputs or more; got {len(inputs)}.")
        places = [x.shape[:-1] for x in inputs]
        if len(set(places)) > 1:
            raise InputError(
                f"{where}: inputs must be alike but for their channels; got "
                f"{', '.join(str(x.shape) for x in inputs)}."
            )
        is_stored = self.has_variable(COLLECTION, "h1")
        m = len(inputs)
        fits = self.has_variable(COLLECTION, f"h{m}")
        if is_stored and (not fits or self.has_variable(COLLECTION, f"h{m + 1}")):
            stored = sum(name.startswith("h") for name in self.variables[COLLECTION])
            raise InputError(
                f"{where} has hashes for {stored} inputs and gets {m}; give as many "
                "snippets or maps as it was made for."
            )


def traced(init: Callable, *args) -> dict[str, Any]:
    """`jax.eval_shape(init, *args)`, in which each `dim` of the sketches is its number.

    Args:
      init: gives variables of a flax module, such as `lambda key: model.init(key, video)`. Not
        traced before.
      *args: of `init`.
    """
    dims: dict[tuple[str, ...], int] = {}

    def note(call, call_args, call_kwargs, context):
        if isinstance(context.module, CompactBilinear) and context.method_name == "__call__":
            dims[context.module.path] = context.module.dim
        return call(*call_args, **call_kwargs)

    with nn.intercept_methods(note):
        shapes = dict(jax.eval_shape(init, *args))
    for path, dim in dims.items():
        shapes[COLLECTION] = _with_dim(shapes[COLLECTION], path, dim)
    return shapes


def _with_dim(tree: Mapping[str, Any], path: Sequence[str], dim: int) -> dict[str, Any]:
    if not path:
        return {**tree, "dim": np.asarray(dim, np.int32)}
    return {**tree, path[0]: _with_dim(tree[path[0]], path[1:], dim)}


def check(
    stored: Mapping[str, Any] | None, own: Mapping[str, Any], where: str = "the weights"
) -> None:
    """Raises `InputError` unless stored hashes are those of a network like this one.

    Args:
      stored: the collection `sketch` of a file; None or empty if it has none.
      own: the collection of the network: arrays, or shapes as `traced` gives them. A `dim` that is
        a shape alone is not compared.
      where: what is read, for the message.
    """
    _check_tree(stored or {}, own, where, ())


def _check_tree(stored, own, where: str, path: tuple[str, ...]) -> None:
    for name in sorted({*own, *stored}):
        leaf = "/".join((*path, name))
        if name not in stored:
            raise InputError(
                f"{where}: no sketch {leaf!r}, without which what was trained on the pooled "
                "features means nothing; take weights that were saved with their sketches."
            )
        if name not in own:
            raise InputError(
                f"{where}: sketch {leaf!r} is none of this network's; build the network that the "
                "weights are of (levels and number of snippets)."
            )
        if isinstance(own[name], Mapping):
            _check_tree(stored[name], own[name], where, (*path, name))
    if "dim" in own:
        _check_hashes(stored, own, f"{where}: sketch {'/'.join(path)!r}")


def _check_hashes(stored, own, what: str) -> None:
    """Of one module: d first, which explains what else would be wrong."""
    dim = int(np.asarray(stored["dim"]))
    wanted = own["dim"]
    if not isinstance(wanted, jax.ShapeDtypeStruct) and int(np.asarray(wanted)) != dim:
        raise InputError(
            f"{what} is of {dim} dimensions and this network's of {int(np.asarray(wanted))}; give "
            f"the network a dimension of {dim}."
        )
    for name in (name for name in own if name != "dim"):
        values = np.asarray(stored[name])
        if values.shape != own[name].shape:
            raise InputError(
                f"{what}: {name} is for features of {values.shape} and this network's have "
                f"{own[name].shape}; build the network that the weights are of."
            )
        if name.startswith("h") and not ((values >= 0) & (values < dim)).all():
            bad = values[(values < 0) | (values >= dim)][0]
            raise InputError(
                f"{what}: {name} has the place {bad}, outside 0 to {dim - 1}; the file is damaged."
            )
        if name.startswith("s") and not (np.abs(values) == 1).all():
            bad = values[np.abs(values) != 1][0]
            raise InputError(
                f"{what}: {name} has the sign {bad}, not -1 or 1; the file is damaged."
            )
