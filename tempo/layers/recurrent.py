"""Recurrent gates: squeeze a clip to a vector per frame, recur over time, multiply; CELLS table.

Sources: arXiv 2011.03949 (equations 8 to 11) and 2006.08247 (the temporal gate); the cells are
flax's and so PyTorch's, but for the GRU that resets before its product (arXiv 1406.1078) and the
LSTM with peepholes (Gers and Schmidhuber, IJCNN 2000).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError, lookup


class ResetBeforeGRUCell(nn.GRUCell):
    """A GRU that resets the state before the product with it (arXiv 2011.03949, equation 10).

    `nn.GRUCell` resets what comes out of that product. Leaves: kernels ir, iz, in, hr, hz, hn and
    the biases of ir, iz and in.
    """

    @nn.compact
    def __call__(self, carry, inputs):
        """State `[B,C]` and input `[B,C]` -> the new state, twice."""
        of_input = functools.partial(nn.Dense, self.features, kernel_init=self.kernel_init)
        of_state = functools.partial(
            nn.Dense, self.features, use_bias=False, kernel_init=self.recurrent_kernel_init
        )
        r = self.gate_fn(of_input(name="ir")(inputs) + of_state(name="hr")(carry))
        z = self.gate_fn(of_input(name="iz")(inputs) + of_state(name="hz")(carry))
        n = self.activation_fn(of_input(name="in")(inputs) + of_state(name="hn")(r * carry))
        new = (1.0 - z) * n + z * carry
        return new, new


class PeepholeLSTMCell(nn.LSTMCell):
    """An LSTM whose gates see its memory too (Gers and Schmidhuber, IJCNN 2000).

    The gates i and f see the memory before the step, o that behind it, each channel its own.
    Leaves: those of `nn.LSTMCell` and the weights `pi`, `pf`, `po [C]`, which start at zero: a
    plain LSTM, at first.
    """

    @nn.compact
    def __call__(self, carry, inputs):
        """`(memory, state)` and input, each `[B,C]` -> `((memory, state), state)`."""
        memory, state = carry
        of_input = functools.partial(
            nn.Dense, self.features, use_bias=False, kernel_init=self.kernel_init
        )
        of_state = functools.partial(
            nn.Dense, self.features, kernel_init=self.recurrent_kernel_init
        )

        def gate(name, activation, seen=None):
            x = of_input(name=f"i{name}")(inputs) + of_state(name=f"h{name}")(state)
            if seen is not None:
                x += seen * self.param(f"p{name}", nn.initializers.zeros, (self.features,))
            return activation(x)

        i, f = gate("i", self.gate_fn, memory), gate("f", self.gate_fn, memory)
        memory = f * memory + i * gate("g", self.activation_fn)
        state = gate("o", self.gate_fn, memory) * self.activation_fn(memory)
        return (memory, state), state


CELLS: dict[str, Callable[..., nn.RNNCellBase]] = {
    "gru": nn.GRUCell,
    "gru_reset_before": ResetBeforeGRUCell,
    "rnn": nn.SimpleCell,
    "lstm": nn.OptimizedLSTMCell,
    "lstm_peephole": PeepholeLSTMCell,
}
"""Recurrent cells by name; each takes its `features`."""


class SqueezeRecursion(nn.Module):
    """`x` times what a recurrent net over its frames gives (arXiv 2011.03949, equations 8 to 11).

    The net reads the means over space, `[B,T,C]`, from a state of zero and forward in time; its
    output in (-1, 1) is the gate, with no activation behind it. It is computed in float32.

    Leaves: `layer{n}/` of the cell, n from 1.

    Attributes:
      cell: a name of `CELLS`.
      num_layers: cells one on the other.
      unroll: steps that are written out in a row; clips of at most so many frames need no loop.
    """

    cell: str = "gru"
    num_layers: int = 1
    unroll: int = 16

    def __post_init__(self):
        lookup(CELLS, self.cell, "recurrent cell")
        for field in ("num_layers", "unroll"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise InputError(
                    f"{field} of the recurrent gate must be a whole number of at least 1; got "
                    f"{value!r}."
                )
        super().__post_init__()

    @nn.compact
    def gates(self, x):
        """`[B,T,H,W,C]`, or means over space `[B,T,C]` -> `[B,T,C]` in (-1, 1), float32."""
        y = squeeze(x)
        for i in range(self.num_layers):
            cell = CELLS[self.cell](y.shape[-1], name=f"layer{i + 1}")
            y = nn.RNN(cell, unroll=min(self.unroll, y.shape[1]))(y)
        return y

    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`."""
        return x * self.gates(x).astype(x.dtype)[:, :, None, None]


class TemporalGate(nn.Module):
    """The gates of an LSTM over the frames, for clips whose frames they match (arXiv 2006.08247).

    A clip is multiplied by them if it and they are cyclically consistent in time, see
    `is_consistent`; else it passes as it is. There is no gradient through that choice. The authors'
    release switches it off in all of its networks (`is_gated=False` here) and finds matches in
    another way.

    Leaves: those of `SqueezeRecursion`, under `recursion/`.

    Attributes:
      cell, num_layers, unroll: as of `SqueezeRecursion`; the release has two layers.
      is_gated: only consistent clips are multiplied.
    """

    cell: str = "lstm"
    num_layers: int = 2
    is_gated: bool = True
    unroll: int = 16

    # Behind the block's last activation, the release's default.
    place = "final"

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`."""
        means = squeeze(x)
        recursion = SqueezeRecursion(self.cell, self.num_layers, self.unroll, name="recursion")
        gates = recursion.gates(means)
        if self.is_gated:
            gates = jnp.where(is_consistent(means, gates)[:, None, None], gates, 1.0)
        return x * gates.astype(x.dtype)[:, :, None, None]


def is_consistent(a, b) -> jax.Array:
    """Whether two sequences of vectors are cyclically consistent in time, bool `[B]`.

    Each frame of `a` goes to its soft nearest neighbour in `b`, the mean of b's frames by the
    softmax of minus their squared distances, and from there to the nearest frame of `a`. Consistent
    are sequences of which every frame comes back to itself, from `a` and from `b` (the cycle of
    arXiv 1904.07846, section 3; it is 2006.08247 that asks it of every frame).

    Args:
      a: `[B,T,C]`, float32.
      b: the same.
    """
    frames = jnp.arange(a.shape[1])

    def comes_back(start, over):
        weights = jax.nn.softmax(-_squared_distances(start, over), axis=-1)
        reached = jnp.einsum("bij,bjc->bic", weights, over)
        return jnp.all(jnp.argmin(_squared_distances(reached, start), axis=-1) == frames, axis=-1)

    return comes_back(a, b) & comes_back(b, a)


def _squared_distances(a, b):
    """`[B,T,C]`, `[B,S,C]` -> `[B,T,S]`; differences first, so that near frames stay apart."""
    return jnp.sum(jnp.square(a[:, :, None] - b[:, None]), axis=-1)


def squeeze(x) -> jax.Array:
    """Means over space, `[B,T,H,W,C] -> [B,T,C]`, float32; what has no space is passed on."""
    if x.ndim == 3:
        return x.astype(jnp.float32)
    return jnp.mean(x, axis=(2, 3), dtype=jnp.float32)
