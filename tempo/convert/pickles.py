"""Pickles of tensors and plain containers, and no others: nothing that a file names is ever run.

A pickle is a program for a small stack machine (`pickletools` documents its instructions), and
`pickle.load` runs it with all of Python at hand. The machine here knows the instructions too, but
has no import, no getattr and no setattr: a name picks a row of a table, or is refused.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from tempo.convert import pickle_names as names
from tempo.errors import InputError


class _Machine:
    """The stack, the memo, and one method per group of instructions."""

    def __init__(self, where, persistent, skip_unknown, budget):
        self.where, self.persistent, self.skip_unknown = where, persistent, skip_unknown
        self.stack, self.below, self.memo, self.budget = [], [], {}, budget

    def unknown(self, name: str) -> names.Placeholder:
        name = name if name.isprintable() and len(name) < 200 else ascii(name[:200])[:200]
        if not self.skip_unknown:
            raise InputError(
                f"{self.where} wants {name}, which is no tensor and no plain container; nothing of "
                "it was run. Save the weights alone, torch.save(model.state_dict(), ...), or leave "
                "such objects out: --ignore-objects (skip_unknown=True)."
            )
        return names.Placeholder(name)

    def spend(self, num_bytes: int) -> None:
        """Copies are paid for: a short file cannot ask for a lot of memory by repeating one."""
        self.budget -= num_bytes
        names.need(self.budget >= 0, "it copies more than it holds")

    def find(self, module: Any, name: Any) -> Any:
        names.need(isinstance(module, str) and isinstance(name, str), "a name that is no text")
        return names.GLOBALS.get((module, name)) or self.unknown(f"{module}.{name}")

    def call(self, function: Any, args: Any) -> Any:
        if isinstance(function, names.Placeholder):
            return function
        names.need(isinstance(function, names.Function), f"a call of {type(function).__name__}")
        names.need(isinstance(args, tuple), "a call without arguments")
        unknown = next((a for a in args if isinstance(a, names.Placeholder)), None)
        return unknown or function.make(self, *args)

    def items(self) -> list:
        """What was pushed since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def append(self, items: list) -> None:
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(map(names.key, items))
        elif not isinstance(target, names.Placeholder):
            names.need(isinstance(target, list), f"items for a {type(target).__name__}")
            target.extend(items)

    def set_items(self, items: list) -> None:
        target = self.stack[-1]
        if not isinstance(target, names.Placeholder):
            names.need(isinstance(target, dict) and len(items) % 2 == 0, "items for no dict")
            target.update(self.pairs(items))

    def pairs(self, items: list) -> dict:
        return {names.key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, names.Array):
            names.set_array(self, target, state)
        elif isinstance(target, names.Dtype):
            names.set_dtype(self, target, state)
        else:  # attributes of a dict, such as `_metadata` of a state dict, are left out
            known = isinstance(target, dict | names.Placeholder)
            names.need(known, f"a state for {type(target).__name__}")

    def persist(self) -> Any:
        names.need(self.persistent, "a reference to another file")
        return self.persistent(self.stack.pop())

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.items()

    def tuple_of(self, count: int) -> tuple:
        names.need(len(self.stack) >= count, "a tuple of too little")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def run(self, name: str, arg: Any) -> None:
        if name in PUSHED:
            self.stack.append(arg)
        elif name in MAKES:
            value = MAKES[name](self, arg)  # may go back to the stack below
            self.stack.append(value)
        elif name in DOES:
            DOES[name](self, arg)
        else:
            raise names.Damage(f"the instruction {name}")


def _call_top(machine, _):
    args = machine.stack.pop()
    return machine.call(machine.stack.pop(), args)


def _call_with_keywords(machine, _):
    keywords, args, cls = (machine.stack.pop() for _ in range(3))
    names.need(isinstance(cls, names.Placeholder) or keywords == {}, "a call with keywords")
    return machine.call(cls, args)


def _call_object(machine, _):
    cls, *args = machine.items()
    return machine.call(cls, tuple(args))


def _global_on_stack(machine, _):
    name = machine.stack.pop()
    return machine.find(machine.stack.pop(), name)


def _split(arg: str) -> tuple[str, str]:
    module, _, name = arg.partition(" ")
    return module, name


def _mark(machine, _):
    machine.below.append(machine.stack)
    machine.stack = []


# Instructions by what they do: push their argument; push what they make; change the machine.
PUSHED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
MAKES = {
    "NONE": lambda m, _: None, "NEWTRUE": lambda m, _: True, "NEWFALSE": lambda m, _: False,
    "EMPTY_LIST": lambda m, _: [], "EMPTY_DICT": lambda m, _: {}, "EMPTY_SET": lambda m, _: set(),
    "EMPTY_TUPLE": lambda m, _: (), "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2), "TUPLE3": lambda m, _: m.tuple_of(3),
    "TUPLE": lambda m, _: tuple(m.items()), "LIST": lambda m, _: m.items(),
    "DICT": lambda m, _: m.pairs(m.items()),
    "FROZENSET": lambda m, _: frozenset(map(names.key, m.items())),
    "DUP": lambda m, _: m.stack[-1], "REDUCE": _call_top, "NEWOBJ": _call_top,
    "NEWOBJ_EX": _call_with_keywords, "OBJ": _call_object, "STACK_GLOBAL": _global_on_stack,
    "GLOBAL": lambda m, arg: m.find(*_split(arg)),
    "INST": lambda m, arg: m.call(m.find(*_split(arg)), tuple(m.items())),
    "GET": lambda m, arg: m.memo[arg], "BINGET": lambda m, arg: m.memo[arg],
    "LONG_BINGET": lambda m, arg: m.memo[arg], "BINPERSID": lambda m, _: m.persist(),
    "EXT1": lambda m, arg: m.unknown(f"extension {arg}"),
    "EXT2": lambda m, arg: m.unknown(f"extension {arg}"),
    "EXT4": lambda m, arg: m.unknown(f"extension {arg}"),
}  # fmt: skip


def _put(machine, index):
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


DOES = {
    "PROTO": lambda m, _: None, "FRAME": lambda m, _: None, "MARK": _mark,
    "POP": lambda m, _: m.pop(), "POP_MARK": lambda m, _: m.items(),
    "PUT": _put, "BINPUT": _put, "LONG_BINPUT": _put, "MEMOIZE": _put,
    "APPEND": lambda m, _: m.append([m.stack.pop()]), "APPENDS": lambda m, _: m.append(m.items()),
    "ADDITEMS": lambda m, _: m.append(m.items()), "BUILD": lambda m, _: m.build(),
    "SETITEM": lambda m, _: m.set_items(list(m.tuple_of(2))),
    "SETITEMS": lambda m, _: m.set_items(m.items()),
}  # fmt: skip


def load(
    stream: BinaryIO,
    where: str,
    *,
    size: int,
    persistent: Callable[[Any], Any] | None = None,
    skip_unknown: bool = False,
) -> Any:
    """The value of one pickle; the stream stands behind it afterwards.

    Args:
      stream: in memory (`io.BytesIO`, `mmap`), so that a length in the file that is longer than
        the file takes no memory.
      where: how the user knows the file, for messages.
      size: bytes of the file; copies may take four times as much.
      persistent: makes a `Storage` of torch's reference to one.
      skip_unknown: names that are not in `GLOBALS` become a `Placeholder`, which nothing is done
        to and which takes nothing in, instead of an error.

    Returns:
      None, bool, int, float, complex, str, bytes, NumPy scalars, and `Token`, `Tensor`, `Array`
      and `Placeholder`, in lists, tuples, sets and dicts.

    Raises:
      InputError: the pickle names something else; the message does too.
      ValueError, LookupError, TypeError, OverflowError: it is damaged.
    """
    machine = _Machine(where, persistent, skip_unknown, 4 * size + 2**20)
    for opcode, arg, _ in pickletools.genops(stream):
        if opcode.name != "STOP":
            machine.run(opcode.name, arg)
    names.need(len(machine.stack) == 1 and not machine.below, "it leaves no single value")
    return machine.stack[0]
