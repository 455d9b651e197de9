"""A pure function of random keys computed part by part, so that equal parts are compiled once.

The initial values of a network are one draw per kernel. In one program the compiler meets the whole
random generator in each of them, which takes minutes for a deep network; yet kernels of one shape
differ in nothing but the number that is folded into the key. Here the function is traced, what its
results do not need is left out, and the rest falls into parts that share no operation: a kernel's
draw, a statistic's zeros. Parts that are alike but for folded numbers share one compiled program.

Random bits, most of the work that is left, come from programs of their own, one per power of four:
under `jax_threefry_partitionable` bit i depends on the key and on i alone, so that a draw of any
shape is the beginning of a longer one.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend import core
from jax.interpreters import partial_eval
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

_INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
}
"""Primitives that only call a function, and the parameter that holds it."""

_FEWEST_BITS = 1024


def run(function: Callable[..., Any], *args: Any, out_shardings: Any) -> Any:
    """The same bits as `jax.jit(function, out_shardings=out_shardings)(*args)`, compiled sooner.

    Args:
      function: pure. Results that depend on each other's operations are computed together.
      *args: trees of arrays; keys are typed ones.
      out_shardings: tree of `NamedSharding`s, one per result: each is born with its own. Besides
        the results there are only random bits in memory, at most four times the size of one
        result, and none of a result that is split over devices.
    """
    flat, out_tree = _traced(function, *args)
    leaves = out_tree.flatten_up_to(out_shardings)
    results: list[Any] = [None] * len(flat.outputs)
    programs = _Programs({})
    for part in _parts(flat):
        shardings = [leaves[i] for i in part.outputs]
        values = programs.part(part, flat, shardings)
        for i, value in zip(part.outputs, values, strict=True):
            results[i] = value
    return out_tree.unflatten(results)


@dataclasses.dataclass(frozen=True)
class _Flat:
    """A function as operations one after the other, without calls.

    Attributes:
      eqns: operations, all of which some result needs.
      values: of the inputs and constants.
      outputs: variables, or literals, of the results.
    """

    eqns: Sequence[core.JaxprEqn]
    values: Mapping[core.Var, Any]
    outputs: Sequence[Any]


@dataclasses.dataclass
class _Part:
    """Operations that share no variable with those of other parts, and numbers of their results."""

    eqns: list[core.JaxprEqn] = dataclasses.field(default_factory=list)
    outputs: list[int] = dataclasses.field(default_factory=list)


def _traced(function, *args) -> tuple[_Flat, Any]:
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    used = [True] * len(closed.jaxpr.outvars)
    needed, _ = partial_eval.dce_jaxpr(closed.jaxpr, used, instantiate=True)
    # Numbers folded into keys become inputs: what differs by them alone is the same program.
    folded, inputs = list(_folded(needed)), jax.tree.leaves(args)

    def inlined(inputs, folded):
        return _inlined(needed, closed.consts, inputs, iter(folded))

    again = jax.make_jaxpr(inlined)(inputs, folded)
    values = dict(zip(again.jaxpr.invars, (*inputs, *folded), strict=True))
    values |= zip(again.jaxpr.constvars, again.consts, strict=True)
    flat = _Flat(again.jaxpr.eqns, values, again.jaxpr.outvars)
    return flat, jax.tree.structure(shapes)


def _is_folding(eqn) -> bool:
    return eqn.primitive.name == "random_fold_in" and isinstance(eqn.invars[1], core.Literal)


def _called(eqn) -> core.ClosedJaxpr | None:
    """The function that an operation only calls, if that is what it does."""
    inner = eqn.params.get(_INLINED.get(eqn.primitive.name))
    return core.ClosedJaxpr(inner, ()) if isinstance(inner, core.Jaxpr) else inner


def _folded(jaxpr: core.Jaxpr) -> Iterator[np.ndarray]:
    """Numbers that are folded into keys, in the order of `_inlined`."""
    for eqn in jaxpr.eqns:
        inner = _called(eqn)
        if inner is not None:
            yield from _folded(inner.jaxpr)
        elif _is_folding(eqn):
            yield np.asarray(eqn.invars[1].val, eqn.invars[1].aval.dtype)


def _inlined(jaxpr: core.Jaxpr, consts, inputs, folded: Iterator[Any]) -> list[Any]:
    """Results of a jaxpr, its calls replaced by what they call and its `_folded` by `folded`."""
    env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))
    for eqn in jaxpr.eqns:
        operands = _read(env, eqn.invars)
        inner = _called(eqn)
        if inner is not None:
            results = _inlined(inner.jaxpr, inner.consts, operands, folded)
        else:
            if _is_folding(eqn):
                operands[1] = next(folded)
            results = _bind(eqn, operands)
        env.update(zip(eqn.outvars, results, strict=True))
    return _read(env, jaxpr.outvars)


def _read(env: Mapping[core.Var, Any], atoms) -> list[Any]:
    return [atom.val if isinstance(atom, core.Literal) else env[atom] for atom in atoms]


def _bind(eqn, operands) -> Sequence[Any]:
    results = eqn.primitive.bind(*operands, **eqn.primitive.get_bind_params(eqn.params))
    return results if eqn.primitive.multiple_results else [results]


def _parts(flat: _Flat) -> list[_Part]:
    """Operations and results by what they hang together with, in the order of the results."""
    count = len(flat.eqns)
    above = list(range(count + len(flat.outputs)))

    def top(i: int) -> int:
        while above[i] != i:
            above[i] = i = above[above[i]]
        return i

    maker = {var: i for i, eqn in enumerate(flat.eqns) for var in eqn.outvars}
    needs = [*(eqn.invars for eqn in flat.eqns), *([atom] for atom in flat.outputs)]
    for i, atoms in enumerate(needs):
        for var in _variables(atoms):
            if var in maker:
                above[top(i)] = top(maker[var])
    parts: dict[int, _Part] = {}
    for i in range(len(flat.outputs)):
        parts.setdefault(top(count + i), _Part()).outputs.append(i)
    for i, eqn in enumerate(flat.eqns):
        if top(i) in parts:  # else an effect without a result
            parts[top(i)].eqns.append(eqn)
    return list(parts.values())


def _variables(atoms) -> list[core.Var]:
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]


class _Programs:
    """Compiled programs of parts, by what they compute."""

    def __init__(self, compiled: dict[Any, Callable]):
        self._compiled = compiled

    def part(self, part: _Part, flat: _Flat, shardings: list[NamedSharding]) -> list[Any]:
        """Values of the part's results."""
        outputs = [flat.outputs[i] for i in part.outputs]
        if not part.eqns and not _variables(outputs):
            arrays = [np.asarray(o.val, o.aval.dtype) for o in outputs]
            return [jax.device_put(x, s) for x, s in zip(arrays, shardings, strict=True)]
        values = dict(flat.values)
        everywhere = NamedSharding(shardings[0].mesh, P())
        draws = _draws(part.eqns) if all(s.is_fully_replicated for s in shardings) else []
        keys = [eqn.invars[0] for eqn in draws]
        found = self._values(part.eqns, keys, values, [everywhere] * len(keys))
        for eqn, key in zip(draws, found, strict=True):
            values[eqn.outvars[0]] = _bits(key, _size(eqn.outvars[0]), everywhere)
        return self._values(part.eqns, outputs, values, shardings, draws)

    def _values(self, eqns, outputs, values, shardings, draws=()) -> list[Any]:
        """Values of `outputs`, given those of inputs and, flat and too many, of `draws`."""
        if not outputs:
            return []
        flat_bits = {eqn.outvars[0] for eqn in draws}
        eqns = _needed(eqns, outputs, flat_bits)
        inputs, spelling = _spelt(eqns, outputs)
        key = (spelling, tuple(var in flat_bits for var in inputs), tuple(shardings))
        if key not in self._compiled:
            compute = functools.partial(_computed, eqns, inputs, outputs, flat_bits)
            self._compiled[key] = jax.jit(compute, out_shardings=shardings)
        return self._compiled[key](*(values[var] for var in inputs))


def _computed(eqns, inputs, outputs, flat_bits, *values) -> list[Any]:
    """Values of `outputs`, given those of `inputs`; what is traced of a part."""
    env = dict(zip(inputs, values, strict=True))
    for var in flat_bits.intersection(env):
        env[var] = lax.slice(env[var], (0,), (math.prod(var.aval.shape),)).reshape(var.aval.shape)
    for eqn in eqns:
        env.update(zip(eqn.outvars, _bind(eqn, _read(env, eqn.invars)), strict=True))
    return _read(env, outputs)


def _needed(eqns, outputs, given) -> list[core.JaxprEqn]:
    """Those of the operations that `outputs` need when `given` variables are."""
    wanted, needed = set(_variables(outputs)) - given, []
    for eqn in reversed(eqns):
        if wanted.intersection(eqn.outvars):
            needed.append(eqn)
            wanted |= set(_variables(eqn.invars)) - given
    return needed[::-1]


def _spelt(eqns, outputs) -> tuple[list[core.Var], tuple]:
    """The inputs, in order of use, and what is the same for operations that do the same."""
    names: dict[core.Var, int] = {}
    inputs: list[core.Var] = []

    def spell(atom, is_made=False):
        if isinstance(atom, core.Literal):
            return repr(atom.val), str(atom.aval)
        if atom not in names:
            names[atom] = len(names)
            if not is_made:
                inputs.append(atom)
        return names[atom], str(atom.aval)

    rows = []
    for eqn in eqns:
        operands = tuple(spell(atom) for atom in eqn.invars)
        results = tuple(spell(var, is_made=True) for var in eqn.outvars)
        rows.append((eqn.primitive.name, _params(eqn), operands, results))
    return inputs, (tuple(rows), tuple(spell(atom) for atom in outputs))


def _params(eqn) -> tuple:
    """Parameters of an operation to compare; those without a value to compare are only themselves.

    The operations of a compiled part keep them alive, so that no other takes their `id`.
    """
    spelt = []
    for name, value in sorted(eqn.params.items()):
        try:
            hash(value)
        except TypeError:
            value = id(value)
        spelt.append((name, value))
    return tuple(spelt)


def _draws(eqns) -> list[core.JaxprEqn]:
    """Operations that draw bits which depend on their place alone, if no key depends on bits."""
    if not jax.config.jax_threefry_partitionable:
        return []
    draws = [
        eqn
        for eqn in eqns
        if eqn.primitive.name == "random_bits"
        and eqn.params["bit_width"] == 32
        and not eqn.invars[0].aval.shape
        and str(eqn.invars[0].aval.dtype) == "key<fry>"
    ]
    before = _needed(eqns, [eqn.invars[0] for eqn in draws], set())
    return [] if any(eqn.primitive.name == "random_bits" for eqn in before) else draws


def _size(bits: core.Var) -> int:
    """How many bits to draw for a variable of bits: a power of four, so that few programs do."""
    size = _FEWEST_BITS
    while size < math.prod(bits.aval.shape):
        size *= 4
    return size


def _bits(key, size: int, sharding: NamedSharding):
    return _bits_program(size, sharding)(key)


@functools.lru_cache
def _bits_program(size: int, sharding: NamedSharding) -> Callable:
    def random_bits(key):
        return jax.random.bits(key, (size,), "uint32")

    return jax.jit(random_bits, out_shardings=sharding)


def forget() -> None:
    """Forgets programs of random bits, as `jax.clear_caches` does others; for measurements."""
    _bits_program.cache_clear()
