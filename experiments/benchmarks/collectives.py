"""What devices exchange in one run of a compiled program, read from the text of its HLO."""

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence

from experiments.benchmarks import hlo_text

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)

_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\]")
_OP_NAME = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Collective:
    """One instruction by which devices exchange arrays.

    Attributes:
      kind: one of `KINDS`; the two halves of an asynchronous one are counted once.
      arrays: type and shape of each array of its result on one device.
      times: how often one run of the program runs it: more than once inside of loops. A loop that
        the compiler could not count is taken to run once.
      op_name: what it was made of; where the compiler joined several, one of them.
    """

    kind: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]
    times: int
    op_name: str

    @property
    def num_bytes(self) -> int:
        """Of its result on one device, each time it runs."""
        return sum(_bits(dtype) * math.prod(shape) for dtype, shape in self.arrays) // 8


def parse(hlo: str) -> list[Collective]:
    """The collectives of a program, in the order of the text.

    Args:
      hlo: `as_text()` of a compiled jax function.

    Raises:
      ValueError: the text has no entry computation, so it is no module of HLO.
    """
    program, found = hlo_text.Program(hlo), []
    for whole, own, times in program.executed():
        for one, _ in program.inside(whole, own):
            kind = one.operation.removesuffix("-start")
            if kind not in KINDS:
                continue
            arrays = tuple(_arrays(one.result))
            if one.operation in ("all-gather-start", "collective-permute-start"):
                arrays = arrays[1:2]  # of the operand, the result and what the device keeps
            op_name = _OP_NAME.search(one.rest)
            found.append(Collective(kind, arrays, times, op_name[1] if op_name else ""))
    return found


def summary(found: Sequence[Collective]) -> dict[str, dict[str, int]]:
    """By kind: how many run in one run of the program, and the bytes of their results together."""
    kinds = {}
    for one in found:
        row = kinds.setdefault(one.kind, {"count": 0, "bytes": 0})
        row["count"] += one.times
        row["bytes"] += one.times * one.num_bytes
    return kinds


def _arrays(result: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for dtype, shape in _ARRAY.findall(result):
        yield dtype, tuple(int(size) for size in shape.split(",") if size)


def _bits(dtype: str) -> int:
    """Of one element, as it stands in memory: `f32`, `bf16`, `f8e4m3fn`, `pred`, ..."""
    if dtype == "pred":
        return 8
    size = re.match(r"[a-z]+(\d+)", dtype)
    return int(size[1]) if size else 0  # a token has none
