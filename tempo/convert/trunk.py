"""A residual network as its arrays show it, and as the fields of a model do: the same facts."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from tempo.errors import InputError
from tempo.models import resnet

Shape = tuple[int, ...]

_DEPTH_NAMES = {
    ("basic", (2, 2, 2, 2)): "ResNet-18",
    ("basic", (3, 4, 6, 3)): "ResNet-34",
    ("bottleneck", (3, 4, 6, 3)): "ResNet-50",
    ("bottleneck", (3, 4, 23, 3)): "ResNet-101",
    ("bottleneck", (3, 8, 36, 3)): "ResNet-152",
}
_FLAT = ((1,), (1,), (1,), (1,))


@dataclasses.dataclass(frozen=True)
class Leaves:
    """The leaves of one residual network.

    Attributes:
      stem: shape of the stem's kernel.
      blocks: per stage and block, shapes by leaf below the block, such as `conv1/kernel`.
      shifted: (stage, block), from 0, whose first convolution reads a temporal shift.
    """

    stem: Shape
    blocks: tuple[tuple[Mapping[str, Shape], ...], ...]
    shifted: frozenset[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Trunk:
    """A residual network.

    Attributes:
      facts: by field of `resnet.ResNet`, in one form however they were said; see `FACTS`.
    """

    facts: Mapping[str, Any]

    def __getitem__(self, field: str) -> Any:
        return self.facts[field]

    def having(self, fields: Mapping[str, Any]) -> "Trunk":
        """The same with other values of those of the fields that are facts."""
        return Trunk({name: fields.get(name, value) for name, value in self.facts.items()})

    @property
    def is_flat(self) -> bool:
        """Whether no convolution in it sees more than a frame."""
        return self["kernels_t"] == _FLAT and self["stem_kernel_t"] == 1

    @property
    def sizes(self) -> tuple[Any, ...]:
        """Kind, number and width of the blocks."""
        return self["block"], self["depths"], self["width"]

    def __str__(self):
        block, depths, width = self.sizes
        name = _DEPTH_NAMES.get((block, depths), f"a ResNet of {block} blocks")
        wide = "" if width == 64 else f", width {width}"
        return f"{name} ({', '.join(map(str, depths))} blocks{wide})"


@dataclasses.dataclass(frozen=True)
class Fact:
    """One field of a `resnet.ResNet` that its arrays tell.

    Attributes:
      about: what it is, for messages.
      read: its value by the leaves.
      form: the value of the field of a network in the form that `read` gives.
    """

    about: str
    read: Callable[[Leaves], Any]
    form: Callable[[Any, resnet.ResNet], Any] = lambda value, network: value


def of_leaves(
    shapes: Mapping[str, Shape], prefix: str, kinds: Mapping[str, str] | None = None
) -> Trunk:
    """The residual network whose leaves begin with `prefix`.

    Args:
      shapes: by leaf name.
      prefix: ends with a slash.
      kinds: of `rules.Mapped`, by leaf name; without, nothing is shifted.

    Raises:
      InputError: a stage, or a block within one, is missing.
    """
    stages: tuple[dict[int, dict[str, Shape]], ...] = ({}, {}, {}, {})
    pattern = re.compile(re.escape(prefix) + r"stage([1-4])_block(\d+)/(.+)")
    shifted = set()
    for name, shape in shapes.items():
        if match := pattern.fullmatch(name):
            stage, block, leaf = match.groups()
            stages[int(stage) - 1].setdefault(int(block), {})[leaf] = shape
            if kinds and kinds.get(name) == "shifted_conv":
                shifted.add((int(stage) - 1, int(block) - 1))
    for stage, found in enumerate(stages, start=1):
        if not found or sorted(found) != list(range(1, len(found) + 1)):
            last = f", although the last one is number {max(found)}" if found else ""
            raise InputError(
                f"The weights are cut: stage {stage} of the residual network has "
                f"{len(found) or 'no'} blocks{last}."
            )
    blocks = tuple(tuple(found[i] for i in sorted(found)) for found in stages)
    leaves = Leaves(shapes[f"{prefix}stem_conv/kernel"], blocks, frozenset(shifted))
    return Trunk({field: fact.read(leaves) for field, fact in FACTS.items()})


def of_fields(network: resnet.ResNet) -> Trunk:
    """The residual network with these fields."""
    return Trunk({name: fact.form(getattr(network, name), network) for name, fact in FACTS.items()})


def differing(these: Mapping[str, Trunk], those: Mapping[str, Trunk]) -> dict[str, Any]:
    """Fields that give a backbone the trunks `these` where it has `those`; both by pathway."""
    fields: dict[str, Any] = {}
    for name in FACTS:
        values = {
            path: found[name] for path, found in these.items() if found[name] != those[path][name]
        }
        for path, value in values.items():
            (fields.setdefault(path, {}) if path else fields)[name] = value
    return fields


def _block(leaves: Leaves) -> str:
    three = any("conv3/kernel" in block for blocks in leaves.blocks for block in blocks)
    return "bottleneck" if three else "basic"


def _kernels_t(leaves: Leaves) -> tuple[tuple[int, ...], ...]:
    return tuple(
        _shortest([max(s[0] for n, s in b.items() if n.startswith("conv")) for b in blocks])
        for blocks in leaves.blocks
    )


def _patterns(kernels_t: Any, network: resnet.ResNet) -> tuple[tuple[int, ...], ...]:
    patterns = [(k,) if isinstance(k, int) else tuple(k) for k in kernels_t]
    return tuple(
        _shortest([p[i % len(p)] for i in range(n)])
        for p, n in zip(patterns, network.depths, strict=True)
    )


def _shortest(kernels: list[int]) -> tuple[int, ...]:
    """The shortest pattern that repeats to `kernels`."""
    for n in range(1, len(kernels)):
        if all(k == kernels[i % n] for i, k in enumerate(kernels)):
            return tuple(kernels[:n])
    return tuple(kernels)


def _shift_every(leaves: Leaves) -> int:
    if not leaves.shifted:
        return 1
    depths = [len(blocks) for blocks in leaves.blocks]
    for every in (1, 2):
        if leaves.shifted == {(s, b) for s, n in enumerate(depths) for b in range(0, n, every)}:
            return every
    raise InputError(
        f"The weights shift {len(leaves.shifted)} of {sum(depths)} blocks, which is neither every "
        "block nor every second one."
    )


FACTS: dict[str, Fact] = {
    "block": Fact("kind of block", _block),
    "depths": Fact(
        "number of blocks per stage",
        lambda leaves: tuple(len(blocks) for blocks in leaves.blocks),
        lambda depths, _: tuple(depths),
    ),
    "width": Fact("width of the stem", lambda leaves: leaves.stem[-1]),
    "kernels_t": Fact("extent in frames of the convolutions per stage", _kernels_t, _patterns),
    "stem_kernel_t": Fact("extent in frames of the stem", lambda leaves: leaves.stem[0]),
    "temporal": Fact("temporal module", lambda leaves: "tsm" if leaves.shifted else "none"),
    "shift_every": Fact(
        "distance in blocks between temporal modules",
        _shift_every,
        lambda every, network: 1 if network.temporal == "none" else every,
    ),
}
"""What arrays tell of a residual network: the one place to add a slot."""
