"""What devices exchange in one run of a compiled program, read from the text of its HLO."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)

# A computation's first line, and an instruction: its result, its operation, and all that follows.
_COMPUTATION = re.compile(r"^(ENTRY )?%?([^\s(]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?\S+ = (\(.*?\)|\S+) ([a-z][a-z0-9-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:body|to_apply|calls|\w+_computation)=%?([^\s,)}]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')

_Computations = Mapping[str, Sequence[tuple[str, str, str]]]


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
    entry, computations = _computations(hlo)
    times = _times(entry, computations)
    found = []
    for name, instructions in computations.items():
        for result, operation, rest in instructions:
            kind = operation.removesuffix("-start")
            if kind in KINDS and name in times:
                arrays = tuple(_arrays(result))
                if operation in ("all-gather-start", "collective-permute-start"):
                    arrays = arrays[1:2]  # of the operand, the result and what the device keeps
                op_name = _OP_NAME.search(rest)
                said = op_name[1] if op_name else ""
                found.append(Collective(kind, arrays, times[name], said))
    return found


def summary(found: Sequence[Collective]) -> dict[str, dict[str, int]]:
    """By kind: how many run in one run of the program, and the bytes of their results together."""
    kinds = {}
    for one in found:
        row = kinds.setdefault(one.kind, {"count": 0, "bytes": 0})
        row["count"] += one.times
        row["bytes"] += one.times * one.num_bytes
    return kinds


def _computations(hlo: str) -> tuple[str, _Computations]:
    """The entry's name, and the instructions of every computation by its name."""
    entry, computations, own = "", {}, []
    for line in hlo.splitlines():
        start = None if line.startswith(" ") else _COMPUTATION.match(line)
        if start:
            own = computations[start[2]] = []
            entry = start[2] if start[1] else entry
        elif instruction := _INSTRUCTION.match(line):
            own.append(instruction.groups())
    if not entry:
        raise ValueError("The text has no ENTRY computation; give as_text() of a compiled program.")
    return entry, computations


def _times(entry: str, computations: _Computations) -> dict[str, int]:
    """How often each computation runs that is reached from the entry."""
    times: dict[str, int] = {}

    def visit(name: str, count: int) -> None:
        times[name] = times.get(name, 0) + count
        for _, operation, rest in computations[name]:
            trips = _TRIPS.search(rest) if operation == "while" else None
            for called in _called(rest):
                if called in computations:
                    visit(called, count * (int(trips[1]) if trips else 1))

    visit(entry, 1)
    return times


def _called(rest: str) -> Iterator[str]:
    """Computations that an instruction runs; of conditionals each of the branches."""
    yield from (match[1] for match in _CALLED.finditer(rest))
    for match in _BRANCHES.finditer(rest):
        yield from (name.strip().lstrip("%") for name in match[1].split(","))


def _arrays(result: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for dtype, shape in _ARRAY.findall(result):
        yield dtype, tuple(int(size) for size in shape.split(",") if size)


def _bits(dtype: str) -> int:
    """Of one element, as it stands in memory: `f32`, `bf16`, `f8e4m3fn`, `pred`, ..."""
    if dtype == "pred":
        return 8
    size = re.match(r"[a-z]+(\d+)", dtype)
    return int(size[1]) if size else 0  # a token has none
