"""A residual network as its arrays show it, and as the fields of a model do: the same facts."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from tempo.convert.facts import FACTS, TAM, Leaves, Shape
from tempo.errors import InputError
from tempo.layers import slots
from tempo.models import resnet

_DEPTH_NAMES = {
    ("basic", (2, 2, 2, 2)): "ResNet-18",
    ("basic", (3, 4, 6, 3)): "ResNet-34",
    ("bottleneck", (3, 4, 6, 3)): "ResNet-50",
    ("bottleneck", (3, 4, 23, 3)): "ResNet-101",
    ("bottleneck", (3, 8, 36, 3)): "ResNet-152",
}
_FLAT = ((1,), (1,), (1,), (1,))


@dataclasses.dataclass(frozen=True)
class Trunk:
    """A residual network.

    Attributes:
      facts: by field of `resnet.ResNet`, in one form however they were said; see `facts.FACTS`.
      num_frames: T of the clips that its temporal modules are for; 0 is any.
    """

    facts: Mapping[str, Any]
    num_frames: int = dataclasses.field(default=0, compare=False)

    def __getitem__(self, field: str) -> Any:
        return self.facts[field]

    def having(self, fields: Mapping[str, Any]) -> "Trunk":
        """The same with other values of those of the fields that are facts."""
        facts = {name: fields.get(name, value) for name, value in self.facts.items()}
        return dataclasses.replace(self, facts=facts)

    @property
    def is_flat(self) -> bool:
        """Whether no convolution in it sees more than a frame."""
        per_frame = slots.name_of(self["conv_b"]) in resnet.PER_FRAME_CONV_B
        return per_frame and self["kernels_t"] == _FLAT and self["stem_kernel_t"] == 1

    @property
    def sizes(self) -> tuple[Any, ...]:
        """Kind, number and width of the blocks."""
        return self["block"], self["depths"], self["width"]

    def __str__(self):
        block, depths, width = self.sizes
        name = _DEPTH_NAMES.get((block, depths), f"a ResNet of {block} blocks")
        wide = "" if width == 64 else f", width {width}"
        return f"{name} ({', '.join(map(str, depths))} blocks{wide})"


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
    nonlocal_blocks: tuple[set[int], ...] = (set(), set(), set(), set())
    pattern = re.compile(re.escape(prefix) + r"stage([1-4])_block(\d+)(_nonlocal)?/(.+)")
    shifted = set()
    for name, shape in shapes.items():
        if match := pattern.fullmatch(name):
            stage, block = int(match[1]) - 1, int(match[2])
            if match[3]:
                nonlocal_blocks[stage].add(block - 1)
                continue
            stages[stage].setdefault(block, {})[match[4]] = shape
            if kinds and kinds.get(name) == "shifted_conv":
                shifted.add((stage, block - 1))
    for stage, found in enumerate(stages, start=1):
        if not found or sorted(found) != list(range(1, len(found) + 1)):
            last = f", although the last one is number {max(found)}" if found else ""
            raise InputError(
                f"The weights are cut: stage {stage} of the residual network has "
                f"{len(found) or 'no'} blocks{last}."
            )
    leaves = Leaves(
        stem={
            name: shapes[f"{prefix}{name}/kernel"]
            for name in ("stem_conv", "stem_conv_t")
            if f"{prefix}{name}/kernel" in shapes
        },
        blocks=tuple(tuple(found[i] for i in sorted(found)) for found in stages),
        shifted=frozenset(shifted),
        nonlocal_blocks=tuple(tuple(sorted(found)) for found in nonlocal_blocks),
    )
    has_tam = leaves.having(TAM)
    num_frames = leaves.last(TAM)[0] if has_tam else 0
    return Trunk({field: fact.read(leaves) for field, fact in FACTS.items()}, num_frames)


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
