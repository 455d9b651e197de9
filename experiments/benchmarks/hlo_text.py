"""What a compiled program does, read from the text of its HLO: library calls, layouts, traffic."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

_COMPUTATION = re.compile(r"^(ENTRY )?%?([^\s(]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?(\S+) = (\(.*?\)|\S+) ([a-z][a-z0-9-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([\d,]*)(?::T\(([\d,]+)\))?)?")
_OPERAND = re.compile(r"%([^\s,)]+)")
_CALLED = re.compile(r"\b(?:body|to_apply|calls)=%?([^\s,)}]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_DIM_LABELS = re.compile(r"dim_labels=(\S+?)(?:,|$|\s)")

# Move nothing and compute nothing: other views of an array, and the bookkeeping of the program.
_FREE = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "after-all"}
_FREE |= {"copy-done", "slice-done", "async-done", "while", "call", "conditional"}
_LAYOUT = {"copy", "transpose", "copy-start"}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of HLO.

    Attributes:
      name: in its computation.
      result: type, shape and layout, as the text has them.
      operation: such as `fusion`.
      operands: names of instructions of the same computation.
      rest: all that follows the operands: attributes, metadata, backend_config.
    """

    name: str
    result: str
    operation: str
    operands: tuple[str, ...]
    rest: str


class Program:
    """A compiled program: computations by name, and which of them is where it starts."""

    def __init__(self, hlo: str):
        """`hlo`: `as_text()` of a compiled function; `ValueError` if it has no entry."""
        self.entry = ""
        self.computations: dict[str, dict[str, Instruction]] = {}
        own: dict[str, Instruction] = {}
        for line in hlo.splitlines():
            start = None if line.startswith(" ") else _COMPUTATION.match(line)
            if start:
                own = self.computations[start[2]] = {}
                self.entry = start[2] if start[1] else self.entry
            elif match := _INSTRUCTION.match(line):
                operands, rest = _split(match[4])
                names = tuple(_OPERAND.findall(operands))
                own[match[1]] = Instruction(match[1], match[2], match[3], names, rest)
        if not self.entry:
            raise ValueError("The text has no ENTRY computation; give as_text() of a program.")

    def executed(self) -> Iterator[tuple[Instruction, dict[str, Instruction], int]]:
        """Each instruction that runs by itself, its computation, and how often it runs.

        Those of fusions are parts of one; loops that the compiler could not count run once.
        """
        yield from self._executed(self.entry, 1)

    def inside(self, instruction: Instruction, own: dict[str, Instruction]) -> Iterator:
        """An instruction and, of a fusion, all that is fused into it, each with its computation."""
        yield instruction, own
        if instruction.operation in ("fusion", "async-start"):
            for called in _CALLED.findall(instruction.rest):
                computation = self.computations.get(called, {})
                for inner in computation.values():
                    yield from self.inside(inner, computation)

    def _executed(self, name: str, times: int):
        own = self.computations[name]
        for instruction in own.values():
            if instruction.operation in ("while", "call"):
                trips = _TRIPS.search(instruction.rest)
                for called in _CALLED.findall(instruction.rest):
                    yield from self._executed(called, times * (int(trips[1]) if trips else 1))
            elif instruction.operation not in _FREE:
                yield instruction, own, times


def by_scope(hlo: str, scopes: tuple[str, ...]) -> dict[str, dict]:
    """MiB of traffic, and instructions, of what was made in each part of a model.

    What the compiler joined from several parts counts for that which it names.

    Args:
      hlo: `as_text()` of a compiled function.
      scopes: names of modules, such as `stage1_block2`.
    """
    found = {scope: {"traffic_mib": 0.0, "instructions": 0} for scope in scopes}
    for instruction, own, times in Program(hlo).executed():
        name = _OP_NAME.search(instruction.rest)
        for scope in scopes:
            if name and f"/{scope}" in name[1]:
                found[scope]["traffic_mib"] += times * traffic(instruction, own) / 2.0**20
                found[scope]["instructions"] += times
    return {s: {n: round(v, 1) for n, v in row.items()} for s, row in found.items()}


def describe(hlo: str) -> dict:
    """A program in numbers.

    Returns:
      convolutions: how many there are of each kind, matrix products among them: what computes it
        (a library's name, `fused` or `alone`) and its spatial dimensions.
      conv_layouts: of their operands and results: from the axis that changes slowest.
      layout_changes: copies and transposes that stand alone, or fused with nothing else.
      instructions: how many run, and how many of them are fusions.
      traffic_mib: operands and results of all that runs, each read or written once, with the
        padding of the layout; an operand of which a fusion reads a part counts whole.
      cycles: the compiler's estimate, where it tells one.
    """
    program = Program(hlo)
    convolutions, layouts = collections.Counter(), collections.Counter()
    totals = collections.Counter()
    for instruction, own, times in program.executed():
        inner = list(program.inside(instruction, own))
        size = times * traffic(instruction, own)
        totals["instructions"] += times
        totals["fusions"] += times * (instruction.operation == "fusion")
        totals["traffic"] += size
        cycles = _CYCLES.search(instruction.rest)
        totals["cycles"] += times * int(cycles[1]) if cycles else 0
        if only_moves([one for one, _ in inner]):
            totals["moves"] += times
            totals["moved"] += size
        for one, computation in inner:
            if kind := _kind(one, instruction):
                convolutions[kind] += times
                layouts.update(_layouts(one, computation))
    mib = 2.0**20
    found = {
        "convolutions": dict(convolutions.most_common()),
        "layout_changes": {"count": totals["moves"], "mib": round(totals["moved"] / mib, 1)},
        "instructions": totals["instructions"],
        "fusions": totals["fusions"],
        "traffic_mib": round(totals["traffic"] / mib, 1),
    }
    if layouts:
        found["conv_layouts"] = dict(layouts.most_common())
    if totals["cycles"]:
        found["cycles"] = totals["cycles"]
    return found


def traffic(instruction: Instruction, own: dict[str, Instruction]) -> int:
    """Bytes of an instruction's operands, each counted once, and of its result."""
    if instruction.operation == "copy-start":  # its result is a pair of both ends
        return 2 * num_bytes(own[instruction.operands[0]].result)
    operands = {name for name in instruction.operands if name in own}
    return num_bytes(instruction.result) + sum(num_bytes(own[name].result) for name in operands)


def num_bytes(result: str) -> int:
    """In memory, of all arrays of a result: tiles of the layout are filled up."""
    total = 0
    for dtype, shape, order, tile in _ARRAY.findall(result):
        sizes = [int(n) for n in shape.split(",") if n]
        if tile:
            minor_first = [int(n) for n in order.split(",") if n]
            for n, axis in zip(reversed(tile.split(",")), minor_first, strict=False):
                sizes[axis] = -(-sizes[axis] // int(n)) * int(n)
        total += _bits(dtype) * math.prod(sizes) // 8
    return total


def only_moves(inner: list[Instruction]) -> bool:
    """Whether an instruction, given with what is fused into it, only lays an array out anew."""
    work = {i.operation for i in inner} - _FREE - {"fusion", "reshape", "slice", "async-start"}
    return bool(work) and work <= _LAYOUT


def _kind(one: Instruction, instruction: Instruction) -> str | None:
    """What a convolution or matrix product is computed by, and its dimensions; None of others."""
    if one.operation == "custom-call":
        target = _TARGET.search(one.rest)[1]
        if not re.search("conv|dot|gemm|matmul", target, re.IGNORECASE):
            return None
        by = target.strip("_").replace("$", " ")
    elif one.operation in ("convolution", "dot"):
        by = one.operation
        if one is not instruction:
            library = re.match(r"(ynn|onednn|triton|gemm)", instruction.name)
            by += f" in a fusion{f' of {library[1]}' if library else ''}"
    else:
        return None
    labels = _DIM_LABELS.search(one.rest)
    return f"{by} {len(re.sub('[^0-9]', '', labels[1].split('_')[0]))}d" if labels else by


def _layouts(one: Instruction, own: dict[str, Instruction]) -> Iterator[str]:
    """Axes of a convolution's operands and result as they lie in memory, slowest first."""
    labels = _DIM_LABELS.search(one.rest)
    if not labels:
        return
    lhs, rhs, out = re.fullmatch(r"(\w+)_(\w+)->(\w+)", labels[1]).groups()
    for what, axes, result in (
        ("input", lhs, own[one.operands[0]].result),
        ("kernel", rhs, own[one.operands[1]].result),
        ("output", out, one.result),
    ):
        order = _ARRAY.search(result)[3]
        if order:
            laid = "".join(axes[int(axis)] for axis in reversed(order.split(",")))
            yield f"{what} {laid}"


def _split(text: str) -> tuple[str, str]:
    """Operands and the rest of a line, from behind the bracket that opens the operands."""
    depth = 1
    for i, c in enumerate(text):
        depth += {"(": 1, ")": -1}.get(c, 0)
        if not depth:
            return text[:i], text[i + 1 :]
    return text, ""


def _bits(dtype: str) -> int:
    """Of one element in memory; 0 of a token."""
    if dtype == "pred":
        return 8
    size = re.match(r"[a-z]+(\d+)", dtype)
    return int(size[1]) if size else 0
