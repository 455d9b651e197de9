"""Recurrent gates: squeeze a clip to a vector per frame, recur over time, multiply; CELLS table.

Sources: arXiv 2011.03949 (equations 8 to 11) and 2006.08247 (the temporal gate); the cells are
PyTorch's, but for the GRU that resets before its product (arXiv 1406.1078) and the LSTM with
peepholes (Gers and Schmidhuber, IJCNN 2000).
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from tempo.errors import InputError, lookup
from tempo.layers import gates as gates_lib


def _gru(x, product, state, _):
    """Resets what comes out of the product with the state."""
    (h,) = state
    u = product(h, "rzn")
    r, z = jax.nn.sigmoid(x["r"] + u["r"]), jax.nn.sigmoid(x["z"] + u["z"])
    n = jnp.tanh(x["n"] + r * u["n"])
    return ((1.0 - z) * n + z * h,)


def _gru_reset_before(x, product, state, _):
    """Resets the state before the product with it (arXiv 2011.03949, equation 10)."""
    (h,) = state
    u = product(h, "rz")
    r, z = jax.nn.sigmoid(x["r"] + u["r"]), jax.nn.sigmoid(x["z"] + u["z"])
    n = jnp.tanh(x["n"] + product(r * h, "n")["n"])
    return ((1.0 - z) * n + z * h,)


def _rnn(x, product, state, _):
    return (jnp.tanh(x[""] + product(state[0], ("",))[""]),)


def _lstm(x, product, state, peepholes):
    """The gates i and f see the memory before the step, o that behind it, if they do at all."""
    h, memory = state
    u = product(h, "ifgo")

    def gate(name, seen):
        seen = seen * peepholes[name] if name in peepholes else 0.0
        return jax.nn.sigmoid(x[name] + u[name] + seen)

    memory = gate("f", memory) * memory + gate("i", memory) * jnp.tanh(x["g"] + u["g"])
    return gate("o", memory) * jnp.tanh(memory), memory


@dataclasses.dataclass(frozen=True)
class Cell:
    """A recurrent cell: the gates it has parameters of, and its step.

    Attributes:
      step: `(x, product, state, peepholes) -> state`, of which the first array is the output. By
        gate, `x` are the input's products and `peepholes` weights `[C]`; `product(h, gates)` gives
        those of the state.
      gates: names; each has the kernels `i{name}/kernel` and `h{name}/kernel`, both `[C,C]`.
      input_bias, state_bias: gates that have `i{name}/bias` or `h{name}/bias`.
      peepholes: gates that have weights `p{name} [C]`.
      num_states: arrays that are handed on.
    """

    step: Callable
    gates: Sequence[str]
    input_bias: Sequence[str] = ()
    state_bias: Sequence[str] = ()
    peepholes: Sequence[str] = ()
    num_states: int = 1


CELLS: dict[str, Cell] = {
    "gru": Cell(_gru, "rzn", "rzn", "n"),
    "gru_reset_before": Cell(_gru_reset_before, "rzn", "rzn"),
    "rnn": Cell(_rnn, ("",), ("",)),
    "lstm": Cell(_lstm, "ifgo", (), "ifgo", num_states=2),
    # A plain LSTM at first: the weights start at zero.
    "lstm_peephole": Cell(_lstm, "ifgo", (), "ifgo", "ifo", num_states=2),
}
"""Recurrent cells by name; their leaves are those of flax's cells, where flax has them."""


class _Dense(nn.Module):
    """The parameters of `nn.Dense`."""

    kernel_init: Callable
    use_bias: bool

    @nn.compact
    def __call__(self, features: int):
        """`(kernel [C,C], bias [C] or None)`."""
        kernel = self.param("kernel", self.kernel_init, (features, features), jnp.float32)
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", nn.initializers.zeros, (features,), jnp.float32)


class _Layer(nn.Module):
    """A cell over the frames, from a state of zero.

    The products with the input are one of all gates and frames, those with the state one of as many
    gates as can be: a loop over flax's cells takes XLA five times as long to compile.
    """

    cell: Cell
    unroll: int

    @nn.compact
    def __call__(self, x):
        """`[B,T,C] -> [B,T,C]`, float32."""
        cell = self.cell
        batch, frames, features = x.shape
        of_input, of_state, biases = [], {}, {}
        for name in cell.gates:
            dense = _Dense(nn.initializers.lecun_normal(), name in cell.input_bias, name=f"i{name}")
            kernel, bias = dense(features)
            of_input.append(kernel)
            biases["i", name] = bias
            dense = _Dense(nn.initializers.orthogonal(), name in cell.state_bias, name=f"h{name}")
            of_state[name], biases["h", name] = dense(features)
        zeros = nn.initializers.zeros
        peepholes = {name: self.param(f"p{name}", zeros, (features,)) for name in cell.peepholes}
        xs = _product(x.reshape(batch * frames, features), of_input).reshape(batch, frames, -1)
        xs = xs.transpose(1, 0, 2)

        def step(state, x, is_first=False):
            def product(h, gates):
                zero = jnp.zeros((batch, len(gates) * features), x.dtype)
                u = zero if is_first else _product(h, [of_state[name] for name in gates])
                return _by_gate(u, gates, biases, "h")

            state = cell.step(_by_gate(x, cell.gates, biases, "i"), product, state, peepholes)
            return state, state[0]

        state = (jnp.zeros((batch, features), xs.dtype),) * cell.num_states
        if frames <= self.unroll:
            ys = []
            for t in range(frames):
                state, y = step(state, lax.index_in_dim(xs, t, keepdims=False), t == 0)
                ys.append(y[:, None])
            return lax.concatenate(ys, 1)
        _, ys = lax.scan(step, state, xs)
        return ys.transpose(1, 0, 2)


def _product(x, kernels):
    """`x [N,C]` with kernels `[C,C]` side by side."""
    return lax.dot(x, lax.concatenate(kernels, 1) if len(kernels) > 1 else kernels[0])


def _by_gate(products, gates, biases, side: str):
    """`[N, gates * C]` -> `[N,C]` by gate, with the biases that there are."""
    width = products.shape[-1] // len(gates)
    parts = {}
    for i, name in enumerate(gates):
        part = lax.slice_in_dim(products, i * width, (i + 1) * width, axis=-1)
        bias = biases[side, name]
        parts[name] = part if bias is None else part + bias
    return parts


class SqueezeRecursion(nn.Module):
    """`x` times what a recurrent net over its frames gives (arXiv 2011.03949, equations 8 to 11).

    The net reads the means over space, `[B,T,C]`, from a state of zero and forward in time; its
    output in (-1, 1) is the gate, with no activation behind it. It is computed in float32.

    Leaves: `layer{n}/` of the cell, n from 1.

    Attributes:
      cell: a name of `CELLS`.
      num_layers: cells one on the other.
      unroll: clips of at most so many frames need no loop: their steps are written out. On the CPU
        that is faster for 4 frames, and a loop for 8, which compiles in a third of the time.
    """

    cell: str = "gru"
    num_layers: int = 1
    unroll: int = 4

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
            y = _Layer(CELLS[self.cell], self.unroll, name=f"layer{i + 1}")(y)
        return y

    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H,W,C]`."""
        return gates_lib.gated(x, self.gates(x)[:, :, None, None])


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
    unroll: int = 4

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
        return gates_lib.gated(x, gates[:, :, None, None])


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
