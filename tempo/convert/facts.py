"""What arrays tell of a residual network, field by field; the one place to add a slot.

Each fact is read twice, of the leaves of some weights and of the fields of a model, and has one
form however it was said: `3x3x3` kernels in every block are `conv_b`, whatever `inflate_style` is.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tempo.errors import InputError
from tempo.layers import slots
from tempo.layers.slots import Slot
from tempo.models import blocks, resnet

Shape = tuple[int, ...]
Places = frozenset[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Leaves:
    """The leaves of one residual network.

    Attributes:
      stem: shapes by name of the stem's kernels, `stem_conv` and `stem_conv_t`.
      blocks: per stage and block, shapes by leaf below the block, such as `conv1/kernel`.
      shifted: (stage, block), from 0, whose first convolution reads a temporal shift.
      nonlocal_blocks: as of `resnet.ResNet`.
    """

    stem: Mapping[str, Shape]
    blocks: tuple[tuple[Mapping[str, Shape], ...], ...]
    shifted: Places
    nonlocal_blocks: tuple[tuple[int, ...], ...]

    def having(self, leaf: str) -> Places:
        """(stage, block), from 0, of the blocks that have this leaf."""
        return frozenset(
            (s, b)
            for s, stage in enumerate(self.blocks)
            for b, block in enumerate(stage)
            if leaf in block
        )

    def last(self, leaf: str) -> Shape:
        """The shape of a leaf in the last block that has it, the widest."""
        stage, block = max(self.having(leaf))
        return self.blocks[stage][block][leaf]


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


def _block(leaves: Leaves) -> str:
    return "bottleneck" if leaves.having("conv3/kernel") else "basic"


def _features(leaves: Leaves, stage: int, conv: int) -> int:
    """Channels behind a convolution of the stage's first block, and the norm that follows it."""
    block = leaves.blocks[stage][0]
    for leaf in (f"norm{conv}/scale", f"conv{conv}/kernel"):
        if leaf in block:
            return block[leaf][-1]
    raise InputError(f"The weights are cut: stage {stage + 1}, block 1 has no conv{conv}.")


def _expansion(leaves: Leaves) -> int:
    num_convs = len(blocks.BLOCKS[_block(leaves)])
    return _features(leaves, 3, num_convs) // (_stem(leaves)[-1] * 8)


# Of a bottleneck the second convolution, of a basic block both.
_LEAF_OF_CONV_B = {
    "_t/kernel": "2plus1d",
    "_3x3x3/kernel": "acb3d",
    "_1x3x1/kernel": "acb2d",
    "_pointwise/kernel": "pointwise_depthwise",
}


def _conv_b(leaves: Leaves) -> Slot:
    block = _block(leaves)
    place = 2 if block == "bottleneck" else 1
    for end, name in _LEAF_OF_CONV_B.items():
        if leaves.having(f"conv{place}{end}"):
            return _two_plus_one(leaves, place) if name == "2plus1d" else name
    conv, features = f"conv{place}/kernel", _features(leaves, 3, place)
    if leaves.having(conv) and leaves.last(conv)[-2] == 1 < features:
        return "depthwise"
    return _kernels(leaves)["conv_b"]


def _two_plus_one(leaves: Leaves, place: int) -> Slot:
    """Of equal widths the order is not told: spatial first."""
    space, time = leaves.last(f"conv{place}/kernel"), leaves.last(f"conv{place}_t/kernel")
    features = _features(leaves, 3, place)
    is_spatial_first = time[-1] == features
    is_equal = (space[-1] if is_spatial_first else time[-1]) == features
    return {
        "name": "2plus1d",
        "order": "spatial_first" if is_spatial_first else "temporal_first",
        "width": "equal" if is_equal else "matched",
    }


def _form_of_conv_b(slot: Slot, network: resnet.ResNet) -> Slot:
    name = slots.name_of(slot)
    if name == "2plus1d":
        said = {} if isinstance(slot, str) else dict(slot)
        return {"name": name, "order": "spatial_first", "width": "matched", **said}
    return _kernels_of(network)["conv_b"] if name in _WHOLE else name


_WHOLE = ("plain", "3x3x3")
"""Rows of `block_conv.CONV_B` that are one convolution, told by its extent in time alone."""


def _kernels(leaves: Leaves) -> dict[str, Any]:
    num_convs = len(blocks.BLOCKS[_block(leaves)])
    names = [f"conv{i + 1}/kernel" for i in range(num_convs)]
    extents = [
        [tuple(block.get(name, (1,))[0] for name in names) for block in stage]
        for stage in leaves.blocks
    ]
    place = 2 if num_convs == 3 else 1
    is_whole = not any(leaves.having(f"conv{place}{end}") for end in _LEAF_OF_CONV_B)
    conv = f"conv{place}/kernel"
    is_whole &= not leaves.having(conv) or leaves.last(conv)[-2] > 1
    return _inflation(_block(leaves), extents, is_whole)


def _kernels_of(network: resnet.ResNet) -> dict[str, Any]:
    name = slots.name_of(network.conv_b)
    inflated = blocks.INFLATED[network.inflate_style][network.block]
    places = [row.side > 1 for row in blocks.BLOCKS[network.block]]
    extents = []
    for pattern, depth in zip(network.kernels_t, network.depths, strict=True):
        pattern = (pattern,) if isinstance(pattern, int) else pattern
        kernels = [pattern[i % len(pattern)] for i in range(depth)]
        extents.append(
            [
                tuple(
                    3 if name == "3x3x3" and is_place else k if is_inflated else 1
                    for is_place, is_inflated in zip(places, inflated, strict=True)
                )
                for k in kernels
            ]
        )
    return _inflation(network.block, extents, name in _WHOLE)


def _inflation(block: str, extents: list[list[tuple[int, ...]]], is_whole: bool) -> dict[str, Any]:
    """The fields that give convolutions these extents in time, per stage and block.

    Args:
      block: a name of `blocks.BLOCKS`.
      extents: of the convolutions of a block in order.
      is_whole: whether the 3x3 ones are of `_WHOLE`; others have extents of their own.
    """
    places = [i for i, row in enumerate(blocks.BLOCKS[block]) if row.side > 1]
    inner = {e[i] for stage in extents for e in stage for i in places}
    conv_b, style, told = "plain", "3x1x1", 0
    if not is_whole or inner == {3}:
        conv_b = "3x3x3" if is_whole else conv_b
        told = 0 if 0 not in places else None
    elif any(e[1] != 1 for stage in extents for e in stage):
        style, told = "3x3x3", 1
    kernels = [[1 if told is None else e[told] for e in stage] for stage in extents]
    return {"kernels_t": tuple(map(_shortest, kernels)), "inflate_style": style, "conv_b": conv_b}


def _shortest(kernels: list[int]) -> tuple[int, ...]:
    """The shortest pattern that repeats to `kernels`."""
    for n in range(1, len(kernels)):
        if all(k == kernels[i % n] for i, k in enumerate(kernels)):
            return tuple(kernels[:n])
    return tuple(kernels)


TAM = "temporal/global_fc1/kernel"
"""A leaf of a temporal adaptive module, `[T,...]`."""

_TAM_OPTIONS = {"kernel": 3, "expansion": 2, "reduction": 4}


def _temporal(leaves: Leaves) -> Slot:
    if leaves.having(TAM):
        frames, hidden = leaves.last(TAM)
        *_, channels, few = leaves.last("temporal/local_conv1/kernel")
        taps = leaves.last("temporal/global_fc2/kernel")[-1]
        return _tam({"kernel": taps, "expansion": hidden // frames, "reduction": channels // few})
    return "tsm" if leaves.shifted else "none"


def _form_of_temporal(slot: Slot, network: resnet.ResNet) -> Slot:
    del network
    if slots.name_of(slot) == "tam":
        return _tam({} if isinstance(slot, str) else slot)
    return slots.name_of(slot)


def _tam(options: Mapping[str, Any]) -> Slot:
    other = {k: options[k] for k, v in _TAM_OPTIONS.items() if options.get(k, v) != v}
    return {"name": "tam", **other} if other else "tam"


def _attention(leaves: Leaves) -> Slot:
    has_gate = leaves.having("attention/fc1/kernel")
    return "cbam" if leaves.having("attention/conv/kernel") else "se" if has_gate else "none"


def _shift_every(leaves: Leaves) -> int:
    places = leaves.shifted | leaves.having(TAM)
    if not places:
        return 1
    depths = [len(stage) for stage in leaves.blocks]
    for every in (1, 2):
        if places == {(s, b) for s, n in enumerate(depths) for b in range(0, n, every)}:
            return every
    raise InputError(
        f"The weights shift {len(places)} of {sum(depths)} blocks, which is neither every "
        "block nor every second one."
    )


def _stem(leaves: Leaves) -> Shape:
    return leaves.stem.get("stem_conv_t", leaves.stem["stem_conv"])


FACTS: dict[str, Fact] = {
    "block": Fact("kind of block", _block),
    "depths": Fact(
        "number of blocks per stage",
        lambda leaves: tuple(len(stage) for stage in leaves.blocks),
        lambda depths, _: tuple(depths),
    ),
    "width": Fact("width", lambda leaves: _stem(leaves)[-1]),
    "expansion": Fact(
        "expansion of the blocks",
        _expansion,
        lambda expansion, network: blocks.layout(network.block, expansion)[-1].expansion,
    ),
    "kernels_t": Fact(
        "extent in frames of the convolutions per stage",
        lambda leaves: _kernels(leaves)["kernels_t"],
        lambda _, network: _kernels_of(network)["kernels_t"],
    ),
    "inflate_style": Fact(
        "style of inflation",
        lambda leaves: _kernels(leaves)["inflate_style"],
        lambda _, network: _kernels_of(network)["inflate_style"],
    ),
    "conv_b": Fact("3x3 convolution of the blocks (conv_b)", _conv_b, _form_of_conv_b),
    "stem_kernel_t": Fact("extent in frames of the stem", lambda leaves: _stem(leaves)[0]),
    "stem_inner": Fact(
        "width inside the stem",
        lambda leaves: leaves.stem["stem_conv"][-1] if "stem_conv_t" in leaves.stem else 0,
    ),
    "temporal": Fact("temporal module", _temporal, _form_of_temporal),
    "shift_every": Fact(
        "distance in blocks between temporal modules",
        _shift_every,
        lambda every, network: 1 if slots.name_of(network.temporal) == "none" else every,
    ),
    "attention": Fact("attention", _attention, lambda slot, _: slots.name_of(slot)),
    "nonlocal_blocks": Fact(
        "list of blocks that a non-local block follows, per stage,",
        lambda leaves: leaves.nonlocal_blocks,
        lambda places, _: tuple(tuple(sorted(stage)) for stage in places),
    ),
}
"""By field of `resnet.ResNet`."""
