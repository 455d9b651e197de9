"""Renaming rules between a public checkpoint and ours: read both ways from the same rows.

A row is `(source module, our module, kind)`. Braces stand for a number, on our side with an offset:

    ("layer{s}.{b}.conv{n}", "backbone/stage{s}_block{b+1}/conv{n}", "conv")

says of every number that `layer1.0.conv2.weight` is `params/backbone/stage1_block1/conv2/kernel`.
The kind, a row of `KINDS`, knows a module's arrays. Layouts: PyTorch has `[out,in,t,h,w]`
(`[out,in,h,w]` in 2-D, `[out,in,t]` along time alone) and `[out,in]`, we have `[t,h,w,in,out]`
(sides of 1 for those that are not there) and `[in,out]`.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tempo.errors import InputError

Row = tuple[str, str, str]
Arrays = dict[str, np.ndarray]
Part = tuple[str, str, str]

_CONV: tuple[Part, ...] = (("weight", "params", "kernel"),)
KINDS: dict[str, tuple[Part, ...]] = {
    "conv": _CONV,
    # On a shifted input: the rows tell blocks with a temporal shift from those without.
    "shifted_conv": _CONV,
    "biased_conv": (*_CONV, ("bias", "params", "bias")),
    # `[out,in,t]`, along time alone.
    "conv_t": _CONV,
    "norm": (
        ("weight", "params", "scale"),
        ("bias", "params", "bias"),
        ("running_mean", "batch_stats", "mean"),
        ("running_var", "batch_stats", "var"),
    ),
    "linear": (("weight", "params", "kernel"), ("bias", "params", "bias")),
}
"""Arrays of a module: (name in PyTorch, our collection, our name)."""

FC = "params/head/fc/kernel"
"""Leaf of the classifier, `[D,K]`."""

COUNTER = "num_batches_tracked"
"""Of every norm in PyTorch, a count that evaluation does not read: left out, and written as 0."""


@dataclasses.dataclass(frozen=True)
class Mapped:
    """A checkpoint under our names.

    Attributes:
      leaves: arrays in our layout by leaf name, such as `params/head/fc/bias`.
      sources: the key each came from.
      kinds: the kind of row that named it.
      unmapped: keys that no row knows.
      doubled: `key: leaf` where another key had named the leaf already.
      counters: keys of `COUNTER`.
    """

    leaves: Arrays
    sources: dict[str, str]
    kinds: dict[str, str]
    unmapped: tuple[str, ...]
    doubled: tuple[str, ...]
    counters: tuple[str, ...]


def to_leaves(arrays: Mapping[str, np.ndarray], rows: Sequence[Row]) -> Mapped:
    """Names and lays out arrays of a public checkpoint as ours, float32; each key is used once."""
    leaves, sources, kinds = {}, {}, {}
    unmapped, doubled, counters = [], [], []
    for key, value in arrays.items():
        if key.split(".")[-1] == COUNTER:
            counters.append(key)
            continue
        found = _translate(key, rows, _forward)
        if found is None:
            unmapped.append(key)
            continue
        leaf, kind = found
        if leaf in leaves:
            doubled.append(f"{key}: {leaf}")
            continue
        leaves[leaf] = to_our_layout(np.asarray(value), leaf)
        sources[leaf], kinds[leaf] = key, kind
    return Mapped(leaves, sources, kinds, tuple(unmapped), tuple(doubled), tuple(counters))


def to_keys(
    leaves: Mapping[str, np.ndarray],
    rows: Sequence[Row],
    *,
    may_name: Callable[[Row, str], bool],
    is_flat: Callable[[str], bool],
) -> tuple[Arrays, list[str]]:
    """The inverse of `to_leaves`, with the counters of norms; also the leaves that no row knows.

    Args:
      leaves: arrays by leaf name.
      rows: the first that knows a leaf and may name it does.
      may_name: of a row and a leaf, for rows that do not name every leaf that they know.
      is_flat: of a leaf, whether its kernel is that of a 2-D convolution.
    """
    arrays: Arrays = {}
    unknown = []
    for leaf, value in leaves.items():
        found = _translate(leaf, [row for row in rows if may_name(row, leaf)], _backward)
        if found is None:
            unknown.append(leaf)
            continue
        key, kind = found
        value = from_our_layout(np.asarray(value), leaf, is_flat(leaf) and kind != "conv_t")
        arrays[key] = np.ascontiguousarray(value[..., 0, 0]) if kind == "conv_t" else value
        if kind == "norm":
            arrays[f"{key.rpartition('.')[0]}.{COUNTER}"] = np.zeros((), np.int64)
    return arrays, unknown


def to_our_layout(value: np.ndarray, leaf: str) -> np.ndarray:
    """An array of PyTorch as float32 in our layout; ours stands in the table at the top.

    Raises:
      InputError: a kernel of no known rank.
    """
    value = value.astype(np.float32, copy=False)
    if not leaf.endswith("/kernel"):
        return value
    if value.ndim == 5:
        return value.transpose(2, 3, 4, 1, 0)
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)[None]
    if value.ndim == 3:
        return value.transpose(2, 1, 0)[:, None, None]
    if value.ndim == 2:
        return value.T
    raise InputError(
        f"{leaf} needs a weight [out,in], [out,in,t], [out,in,h,w] or [out,in,t,h,w]; the file has "
        f"the shape {list(value.shape)}."
    )


def from_our_layout(value: np.ndarray, leaf: str, is_flat: bool) -> np.ndarray:
    """The inverse of `to_our_layout`; `is_flat` drops a kernel's time axis."""
    if leaf.endswith("/kernel"):
        if value.ndim == 5:
            value = value.transpose(4, 3, 0, 1, 2)
            value = value[:, :, 0] if is_flat else value
        else:
            value = value.T
    return np.ascontiguousarray(value)


def prefixed(rows: Iterable[Row], source: str = "", ours: str = "") -> tuple[Row, ...]:
    """The rows with text before both names: one network as a part of another."""
    return tuple((source + a, ours + b, kind) for a, b, kind in rows)


def without_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    """The arrays with `prefix` taken off their keys, if all have it (`module.` of DataParallel)."""
    if not all(key.startswith(prefix) for key in arrays):
        return dict(arrays)
    return {key.removeprefix(prefix): value for key, value in arrays.items()}


def _translate(name: str, rows: Iterable[Row], direction) -> tuple[str, str] | None:
    """`name` on the other side, and the kind of row that told; None if no row knows it."""
    for row in rows:
        for pattern, template in direction(row):
            match = pattern.fullmatch(name)
            if match:
                numbers = {k: int(v) for k, v in match.groupdict().items()}
                return _fill(template, numbers), row[2]
    return None


_HOLE = re.compile(r"\{(\w+?)([+-]\d+)?\}")


@functools.cache
def _forward(row: Row) -> tuple[tuple[re.Pattern, str], ...]:
    source, ours, kind = row
    return tuple(
        (_pattern(f"{source}.{name}"), f"{collection}/{ours}/{leaf}")
        for name, collection, leaf in KINDS[kind]
    )


@functools.cache
def _backward(row: Row) -> tuple[tuple[re.Pattern, str], ...]:
    source, ours, kind = row
    # The offset moves to the other side: {b+1} here is {b-1} there.
    offsets = {name: -int(offset or 0) for name, offset in _HOLE.findall(ours)}
    moved = _HOLE.sub(lambda m: f"{{{m[1]}{offsets[m[1]]:+d}}}", source)
    plain = _HOLE.sub(lambda m: f"{{{m[1]}}}", ours)
    return tuple(
        (_pattern(f"{collection}/{plain}/{leaf}"), f"{moved}.{name}")
        for name, collection, leaf in KINDS[kind]
    )


def _pattern(template: str) -> re.Pattern:
    pieces, end = [], 0
    for match in _HOLE.finditer(template):
        pieces += [re.escape(template[end : match.start()]), rf"(?P<{match[1]}>[0-9]{{1,4}})"]
        end = match.end()
    return re.compile("".join([*pieces, re.escape(template[end:])]))


def _fill(template: str, numbers: Mapping[str, int]) -> str:
    return _HOLE.sub(lambda m: str(numbers[m[1]] + int(m[2] or 0)), template)
