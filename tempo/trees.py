"""Trees of arrays: leaf names, maps by name, parameter counts, and multiply-adds of a function."""

import collections
import functools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
from jax.extend import core as jex_core

from tempo.types import ClipShapes

_FIRST = ("params/", "ema_params/")


def leaf_names(tree: Any) -> list[str]:
    """Names of the leaves in flattening order, path parts joined by '/', such as `head/fc/bias`."""
    return [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def named(tree: Any) -> dict[str, Any]:
    """The leaves by name, in flattening order."""
    return dict(zip(leaf_names(tree), jax.tree.leaves(tree), strict=True))


def named_shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the leaves (arrays or `jax.ShapeDtypeStruct`s) by name."""
    return {name: tuple(leaf.shape) for name, leaf in named(tree).items()}


def differences(
    stored: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, tuple[int, ...]],
    where: str,
    *,
    fits: Callable[[tuple[int, ...], tuple[int, ...]], bool] = operator.eq,
) -> dict[str, str]:
    """Leaves that a file and a model do not have alike, each with a text for people.

    Parameters come first: they tell more than the statistics and the optimizer's copies of them.

    Args:
      stored: shapes by leaf name, of the file.
      wanted: the same, of the model.
      where: the file in a word, such as "checkpoint".
      fits: whether a stored shape (first) will do for a wanted one.
    """
    found = {}
    for name in {**wanted, **stored}:
        if name not in stored:
            found[name] = f"{name}: only in the model"
        elif name not in wanted:
            found[name] = f"{name}: only in the {where}"
        elif not fits(stored[name], wanted[name]):
            theirs, ours = list(stored[name]), list(wanted[name])
            found[name] = f"{name}: {theirs} in the {where}, {ours} in the model"
    return dict(sorted(found.items(), key=lambda x: (not x[0].startswith(_FIRST), x[0])))


def map_with_names(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """The tree of `function(name, leaf)`."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(_name(path), leaf), tree)


def mask(tree: Any, pattern: str) -> Any:
    """The tree of booleans that says which leaf names match the regular expression `pattern`."""
    compiled = re.compile(pattern)
    return map_with_names(lambda name, _: compiled.search(name) is not None, tree)


def clips_like(shape: ClipShapes) -> Any:
    """What a network is given, `[B,T,H,W,C]` or several streams, as `jax.ShapeDtypeStruct`s."""
    if isinstance(shape, Mapping):
        return {name: clips_like(own) for name, own in shape.items()}
    return jax.ShapeDtypeStruct(tuple(shape), "float32")


def clip_like(shape: ClipShapes) -> Any:
    """`clips_like` of one clip `[T,H,W,C]`."""
    if isinstance(shape, Mapping):
        return {name: clip_like(own) for name, own in shape.items()}
    return clips_like((1, *shape))


def count_params(tree: Any) -> int:
    """Number of scalars in the tree (of arrays or `jax.ShapeDtypeStruct`s)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def count_macs(function: Callable[..., Any], *args: Any) -> int:
    """Multiply-adds in the convolutions and matrix products of `function(*args)`.

    The function is traced, not run; `args` may be `jax.ShapeDtypeStruct`s. Additions, norms,
    activations and pools are not counted, as in the GMACs of the papers; one multiply-add is two
    FLOPs. Taps that fall on padding count, again as in the papers. The body of a loop counts once
    for every turn (`scan` only: a `while` has no known number of turns). What `uncounted` marks
    does not count.

    Trace a model with `lowering="plain"` for the number that papers state.
    """
    return _jaxpr_macs(jax.make_jaxpr(function)(*args).jaxpr)


def macs_by_scope(function: Callable[..., Any], *args: Any) -> dict[str, int]:
    """`count_macs` by the scope of each operation: the path of the flax module that it is in."""
    found: dict[str, int] = collections.defaultdict(int)
    for eqn in jax.make_jaxpr(function)(*args).eqns:
        found[str(eqn.source_info.name_stack)] += _eqn_macs(eqn)
    return dict(found)


def uncounted(function: Callable[..., Any], *, static: Iterable[str] = ()) -> Callable[..., Any]:
    """`function` under jit, with nothing in it for `count_macs` to find.

    For what moves, chooses or resizes and is written as a matrix product for speed alone. Being
    under jit it is traced once per shape and not once per call.

    Args:
      function: of arrays.
      static: names of its parameters that are none.
    """

    @functools.wraps(function)
    def marked(*args, **kwargs):
        return function(*args, **kwargs)

    marked.__name__ = _UNCOUNTED + function.__name__
    return jax.jit(marked, static_argnames=tuple(static))


_UNCOUNTED = "uncounted_"


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _jaxpr_macs(jaxpr: Any) -> int:
    return sum(map(_eqn_macs, jaxpr.eqns))


def _eqn_macs(eqn: Any) -> int:
    name = eqn.primitive.name
    if name == "dot_general":
        return _dot_macs(eqn)
    if name == "conv_general_dilated":
        return _conv_macs(eqn)
    if str(eqn.params.get("name", "")).startswith(_UNCOUNTED):
        return 0
    turns = eqn.params["length"] if name == "scan" else 1
    return turns * sum(map(_jaxpr_macs, _inner_jaxprs(eqn.params)))


def _dot_macs(eqn: Any) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    lhs = eqn.invars[0].aval
    return math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs.shape[i] for i in contracted)


def _conv_macs(eqn: Any) -> int:
    kernel = eqn.invars[1].aval.shape
    out_features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // out_features


def _inner_jaxprs(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, jex_core.ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, jex_core.Jaxpr):
                found.append(item)
    return found
