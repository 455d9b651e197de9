"""What of a checkpoint found a place in a model, as a table, and what makes it an error."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from tempo.convert import rules
from tempo.errors import InputError

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The arrays of a file against the leaves of a model.

    Attributes:
      taken: leaf -> the key whose array it takes.
      unmapped: keys that no row knows.
      homeless: key -> leaf that the model does not have.
      unfilled: leaves that no array is for.
      mismatched: leaf -> (shape in the file, in the model), both in our layout.
      doubled: `key: leaf`, where two keys name one leaf.
      left_out: reason -> keys that are left out on purpose.
      initial: reason -> leaves that keep the values a new model starts from.
    """

    taken: Mapping[str, str]
    unmapped: Sequence[str]
    homeless: Mapping[str, str]
    unfilled: Sequence[str]
    mismatched: Mapping[str, tuple[Shape, Shape]]
    doubled: Sequence[str]
    left_out: Mapping[str, Sequence[str]]
    initial: Mapping[str, Sequence[str]]

    @property
    def initial_leaves(self) -> set[str]:
        """All leaves of `initial`."""
        return {leaf for leaves in self.initial.values() for leaf in leaves}


def compare(
    mapped: rules.Mapped,
    expected: Mapping[str, Shape],
    *,
    ignored: Mapping[str, str],
    initial: Mapping[str, str],
    partial: Sequence[str],
) -> Comparison:
    """Finds every key its leaf and every leaf its key.

    Args:
      mapped: the file's arrays under our names.
      expected: shapes of the model's leaves.
      ignored: pattern of keys (or leaves they would be) -> why they are left out.
      initial: pattern of leaves -> why they may start from initial values.
      partial: patterns of keys and leaves that the user allows to be missing on either side.

    Raises:
      InputError: one of `partial` is no pattern, or names nothing that is missing.
    """
    used: set[str] = set()
    asked = [(_compile(p), p) for p in partial]
    left_out: dict[str, list[str]] = collections.defaultdict(list)
    started: dict[str, list[str]] = collections.defaultdict(list)

    def allowed(name: str) -> str:
        hits = [text for pattern, text in asked if pattern.search(name)]
        used.update(hits)
        return f"--partial {hits[0]}" if hits else ""

    taken, homeless, mismatched, unmapped, unfilled = {}, {}, {}, [], []
    if mapped.counters:
        left_out["counters that evaluation does not read"] = list(mapped.counters)
    for key in mapped.unmapped:
        why = _reason(ignored, key) or allowed(key)
        left_out[why].append(key) if why else unmapped.append(key)
    named = set()
    for leaf, key in mapped.sources.items():
        if why := _reason(ignored, key) or _reason(ignored, leaf):
            left_out[why].append(key)
            continue
        named.add(leaf)
        if leaf not in expected:
            if why := allowed(key) or allowed(leaf):
                left_out[why].append(key)
            else:
                homeless[key] = leaf
        elif mapped.leaves[leaf].shape == tuple(expected[leaf]):
            taken[leaf] = key
        elif why := allowed(key) or allowed(leaf):
            left_out[why].append(key)
            started[why].append(leaf)
        else:
            mismatched[leaf] = (mapped.leaves[leaf].shape, tuple(expected[leaf]))
    for leaf in expected:
        if leaf not in named:
            why = _reason(initial, leaf) or allowed(leaf)
            started[why].append(leaf) if why else unfilled.append(leaf)
    idle = [text for _, text in asked if text not in used]
    if idle:
        raise InputError(
            f"--partial {idle[0]} names nothing that is missing or left over; leave it out."
        )
    return Comparison(
        taken, unmapped, homeless, unfilled, mismatched, mapped.doubled, left_out, started
    )


def check(comparison: Comparison, path: str) -> None:
    """Raises `InputError`, in one line, if anything is left over, missing or of another shape."""
    c = comparison
    shapes = [f"{n}: {list(a)} in the file, {list(b)}" for n, (a, b) in c.mismatched.items()]
    problems = [
        _problem(len(c.unmapped), "unknown keys", c.unmapped),
        _problem(len(c.homeless), "keys that the model has no place for", c.homeless),
        _problem(len(c.unfilled), "parts of the model that the file lacks", c.unfilled),
        _problem(len(shapes), "other shapes", shapes),
        _problem(len(c.doubled), "keys for one place", c.doubled),
    ]
    problems = [p for p in problems if p]
    if problems:
        raise InputError(
            f"{path} does not fit the model: {'; '.join(problems)}. Check --source and --model, or "
            "allow what is named with --partial REGEX."
        )


def table(comparison: Comparison) -> str:
    """Counts of what was taken by part of the model, then everything else by name."""
    c = comparison
    groups: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)
    for leaf, key in c.taken.items():
        groups[_part(leaf)].append((leaf, key))
    width = max(map(len, groups), default=4)
    lines = [f"mapped     {len(c.taken)} arrays"]
    for part, pairs in groups.items():
        lines.append(f"  {len(pairs):5}  {part:{width}}  <- {_common(key for _, key in pairs)}")
    for why, keys in c.left_out.items():
        few = f": {', '.join(keys)}" if len(keys) <= 4 else ""
        lines.append(f"left out   {len(keys)} ({why}){few}")
    for why, leaves in c.initial.items():
        parts = dict.fromkeys(map(_part, leaves))
        lines.append(f"initial    {len(leaves)} ({why}): {', '.join(parts)}")
    lines += [f"unmapped   {key}" for key in c.unmapped]
    lines += [f"unmapped   {key} (would be {leaf})" for key, leaf in c.homeless.items()]
    lines += [f"doubled    {text}" for text in c.doubled]
    lines += [f"missing    {leaf}" for leaf in c.unfilled]
    lines += [
        f"mismatched {leaf}: {list(a)} in the file, {list(b)} in the model"
        for leaf, (a, b) in c.mismatched.items()
    ]
    return "\n".join(lines)


def _compile(pattern: str) -> re.Pattern:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f"--partial {pattern!r} is no regular expression: {error}.") from None


def _reason(reasons: Mapping[str, str], name: str) -> str:
    return next((why for pattern, why in reasons.items() if re.search(pattern, name)), "")


def _problem(count: int, what: str, names: Iterable[str]) -> str:
    first = list(names)[:3]
    more = ", ..." if count > len(first) else ""
    return f"{count} {what} ({', '.join(first)}{more})" if count else ""


def _part(leaf: str) -> str:
    """`params/backbone/stage1_block2/conv1/kernel` -> `backbone/stage1`."""
    path = leaf.split("/")[1:-1]
    depth = 3 if path[:2] in (["backbone", "slow"], ["backbone", "fast"]) else 2
    return re.sub(r"_block\d+", "", "/".join(path[:depth]))


def _common(keys: Iterable[str]) -> str:
    keys = list(keys)
    prefix = keys[0]
    while not all(key.startswith(prefix) for key in keys):
        prefix = prefix[:-1]
    return prefix if len(keys) == 1 else f"{prefix}*"
