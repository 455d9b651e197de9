"""Recurrent layers of PyTorch as leaves of `layers.recurrent`, and back; numpy alone.

PyTorch stacks the gates of a layer n, from 0, along the rows of `weight_ih_l{n}` and
`weight_hh_l{n}`, in the order of `GATES`, and has two biases for each; flax has a kernel for each
gate and input, and the sum of the two biases where nothing stands between them.
"""

import re
from collections.abc import Mapping

import numpy as np

from tempo.errors import InputError, lookup

Arrays = dict[str, np.ndarray]

GATES: dict[str, tuple[str, ...]] = {
    "gru": ("r", "z", "n"),
    "lstm": ("i", "f", "g", "o"),
    "rnn": ("",),
}
"""Gates of a cell in PyTorch's order; with `i` or `h` before them our names. Other cells of
`layers.recurrent.CELLS` have no counterpart."""

_BIASES = {
    "gru": {"ir": "both", "iz": "both", "in": "ih", "hn": "hh"},
    "lstm": {"hi": "both", "hf": "both", "hg": "both", "ho": "both"},
    "rnn": {"i": "both"},
}
"""Which of PyTorch's biases our bias of each name is: the sum of both, or one."""

_KEY = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh)_l\d+)")


def layers(arrays: Mapping[str, np.ndarray]) -> dict[str, Arrays]:
    """The recurrent modules in a checkpoint: their arrays without the name before them, by it."""
    found: dict[str, Arrays] = {}
    for key, value in arrays.items():
        if match := _KEY.fullmatch(key):
            found.setdefault(match[1] or "", {})[match[2]] = np.asarray(value)
    return found


def to_leaves(cell: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Leaves of a `SqueezeRecursion`, such as `layer1/ir/kernel`, from a module of PyTorch.

    Args:
      cell: a name of `GATES`: what `nn.GRU`, `nn.LSTM` or `nn.RNN` with tanh is here.
      arrays: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, and so on for each layer.

    Raises:
      InputError: a cell that PyTorch does not have, a missing array or one of another shape.
    """
    gates = lookup(GATES, cell, "recurrent cell of PyTorch")
    leaves = {}
    hidden = None  # that of the first array is that of all
    for n in range(sum(key.startswith("weight_ih_l") for key in arrays)):
        parts = {}
        for name, ndim in (("weight_ih", 2), ("weight_hh", 2), ("bias_ih", 1), ("bias_hh", 1)):
            value = np.asarray(_get(arrays, f"{name}_l{n}"), np.float32)
            if value.ndim != ndim or len(value) % len(gates):
                raise InputError(
                    f"{name}_l{n} has shape {value.shape}, which are not the {len(gates)} gates of "
                    f"a {cell}; is it of another cell? There are: {', '.join(GATES)}."
                )
            hidden = hidden or len(value) // len(gates)
            columns = value.shape[1:] if name == "weight_hh" or (n and ndim == 2) else ()
            if (len(value) // len(gates), *columns) != (hidden, *[hidden] * len(columns)):
                raise InputError(
                    f"{name}_l{n} has shape {value.shape}, and the arrays before it are of a "
                    f"{cell} of {hidden} channels; is one of another layer?"
                )
            parts[name] = dict(zip(gates, np.split(value, len(gates)), strict=True))
        for side in "ih":
            for gate in gates:
                kernel = parts[f"weight_{side}h"][gate].T
                leaves[f"layer{n + 1}/{side}{gate}/kernel"] = np.ascontiguousarray(kernel)
        for name, kind in _BIASES[cell].items():
            sides = ("ih", "hh") if kind == "both" else (kind,)
            bias = sum(parts[f"bias_{side}"][name[1:]] for side in sides)
            leaves[f"layer{n + 1}/{name}/bias"] = bias
    return leaves


def to_keys(cell: str, leaves: Mapping[str, np.ndarray]) -> Arrays:
    """The inverse of `to_leaves`; a bias that is a sum goes to `bias_ih`, beside zeros.

    Raises:
      InputError: a cell that PyTorch does not have, or a missing leaf.
    """
    gates = lookup(GATES, cell, "recurrent cell of PyTorch")
    arrays = {}
    for n in range(len({leaf.split("/")[0] for leaf in leaves})):
        biases = {}
        for side in "ih":
            kernels = [_get(leaves, f"layer{n + 1}/{side}{gate}/kernel") for gate in gates]
            arrays[f"weight_{side}h_l{n}"] = np.concatenate([np.asarray(k).T for k in kernels])
            biases[f"{side}h"] = {g: np.zeros(kernels[0].shape[1], np.float32) for g in gates}
        for name, kind in _BIASES[cell].items():
            bias = np.asarray(_get(leaves, f"layer{n + 1}/{name}/bias"))
            biases["ih" if kind == "both" else kind][name[1:]] = bias
        for kind, values in biases.items():
            arrays[f"bias_{kind}_l{n}"] = np.concatenate([values[gate] for gate in gates])
    return arrays


def _get(arrays: Mapping[str, np.ndarray], key: str):
    if key not in arrays:
        raise InputError(f"A recurrent layer lacks {key}; it has {', '.join(sorted(arrays))}.")
    return arrays[key]
