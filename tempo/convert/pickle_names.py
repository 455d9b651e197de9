"""What the names in a pickle may stand for: tensors, arrays and plain containers, each checked.

A name only picks a row of `GLOBALS`, whose function is ours and stands for what the name is
elsewhere; extents, bounds, dtypes and the memory that copies take are checked. The functions take
the machine of `tempo.convert.pickles` first and then what comes from the file.
"""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

MAX_DIMS = 64  # numpy's own limit
MAX_KEY, MAX_ITEMS = 1000, 8  # characters of a key of a dict, items of one that is a tuple
SCALARS = (type(None), bool, int, float, complex, str, bytes)

# torch's names of the dtypes that are read, and the names of their storages.
DTYPES = {
    "float16": np.dtype("<f2"), "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype("<f4"), "float64": np.dtype("<f8"), "bool": np.dtype("?"),
    "int8": np.dtype("i1"), "int16": np.dtype("<i2"), "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"), "uint8": np.dtype("u1"), "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"), "uint64": np.dtype("<u8"),
}  # fmt: skip
STORAGES = {
    "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "FloatStorage": "float32",
    "DoubleStorage": "float64", "BoolStorage": "bool", "CharStorage": "int8",
    "ShortStorage": "int16", "IntStorage": "int32", "LongStorage": "int64", "ByteStorage": "uint8",
    "UntypedStorage": "uint8",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Token:
    """A name that means itself: a torch dtype, a device, a type."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Function:
    """A name that may be called; `make` is ours and stands for what the name is elsewhere."""

    name: str
    make: Callable


@dataclasses.dataclass(frozen=True, eq=False)
class Placeholder:
    """Stands for an object of an unknown class; whatever is done to it is not done."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """Where a tensor's items lie: `num_items` of `dtype`, `start` items into the block `key`."""

    key: str
    dtype: np.dtype
    num_items: int
    start: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A torch tensor whose bytes are still in the file; offset and strides count its items."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(eq=False)
class Array:
    """A NumPy array: None until the file gave its state, a `Placeholder` if that is unknown."""

    value: np.ndarray | Placeholder | None = None


@dataclasses.dataclass(eq=False)
class Dtype:
    """A NumPy dtype, or the `Placeholder` of one that is not read."""

    value: np.dtype | Placeholder


class Damage(ValueError):
    """The instructions make no sense; the caller says in which file."""


def need(condition: Any, what: str) -> None:
    """Raises `Damage` unless the condition holds.

    The text is made even where the condition holds: never put a container of the file into it, for
    a few bytes of tuples in tuples can stand for a text that fills the memory.
    """
    if not condition:
        raise Damage(what)


def _extents(values: Any) -> bool:
    return (
        isinstance(values, tuple | list)
        and len(values) <= MAX_DIMS
        and all(type(v) is int and 0 <= v < 2**63 for v in values)
    )


def key(value: Any) -> Any:
    """The value, which may be a key of a dict or an item of a set."""
    # Nested tuples are hashed without a limit on depth, so only flat ones may be keys; and keys
    # are told in messages, so only short ones.
    parts = value if isinstance(value, tuple) else (value,)
    need(len(parts) <= MAX_ITEMS, f"a key of {len(parts)} items")
    for part in parts:
        known = isinstance(part, (*SCALARS, np.generic, Token, Placeholder))
        need(known, f"a key of the kind {type(part).__name__}")
        long = isinstance(part, str | bytes) and len(part) > MAX_KEY
        need(not long, f"a key of more than {MAX_KEY} characters")
    return value


# What the known names make.


def _tensor(machine, storage, offset, size, stride, *_, dtype=None):
    need(isinstance(storage, Storage), "a tensor without a storage")
    need(_extents(size) and _extents(stride) and len(size) == len(stride), "a shape is no shape")
    need(type(offset) is int and offset >= 0, "a tensor's offset is negative")
    dtype = dtype or storage.dtype
    num_items, room = math.prod(size), storage.num_items * storage.dtype.itemsize
    if num_items:
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        fits = max(num_items, last + 1) * dtype.itemsize <= room
        need(fits, f"a tensor of shape {tuple(size)} is larger than its storage of {room} bytes")
    return Tensor(storage, dtype, offset, tuple(size), tuple(stride))


def _tensor_v3(machine, storage, offset, size, stride, requires_grad, hooks, dtype, *_):
    need(isinstance(dtype, Token), "a tensor without a dtype")
    name = dtype.name.removeprefix("torch.")
    if name not in DTYPES:
        return machine.unknown(dtype.name)
    return _tensor(machine, storage, offset, size, stride, dtype=DTYPES[name])


def _parameter(machine, data, *_):
    need(isinstance(data, Tensor), "a parameter without a tensor")
    return data


def _from_type(machine, function, cls, args, state):
    need(isinstance(function, Function), "a tensor made by something else than a function")
    need(function.make in (_tensor, _tensor_v3, _parameter), "a tensor that is none")
    return machine.call(function, args)


def _encode(machine, text, encoding="latin1"):
    need(isinstance(text, str) and encoding in ("latin1", "latin-1"), "bytes in an odd encoding")
    machine.spend(len(text))
    return text.encode("latin1")


def _bytes(machine, *args):
    need(not args, "bytes() of something")
    return b""


def _bytearray(machine, *args):
    data = _encode(machine, *args) if len(args) == 2 else (args or (b"",))[0]
    need(isinstance(data, bytes) and len(args) <= 2, "bytearray() of something else than bytes")
    machine.spend(len(data))
    return bytearray(data)


def _container(kind):
    def make(machine, items=()):
        need(isinstance(items, list | tuple | set | frozenset), f"{kind.__name__} of no container")
        machine.spend(8 * len(items))
        return kind(map(key, items)) if kind in (set, frozenset) else kind(items)

    return make


def _dict(machine, items=()):
    need(isinstance(items, dict | list | tuple), "a dict made of no container")
    machine.spend(64 * len(items))
    pairs = items.items() if isinstance(items, dict) else items
    need(all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs), "a dict of no pairs")
    return {key(k): v for k, v in pairs}


def _defaultdict(machine, factory=None, items=()):
    return _dict(machine, items)


def _complex(machine, real, imag):
    need(isinstance(real, float) and isinstance(imag, float), "a complex number of no numbers")
    return complex(real, imag)


def _device(machine, kind, index=None):
    need(isinstance(kind, str) and len(kind) < 100, "a device without a name")
    need(index is None or _extents([index]), "a device without a number")
    return Token(kind if index is None else f"{kind}:{index}")


def _dtype(machine, code, *_):
    if isinstance(code, Token) and code.name == "ml_dtypes.bfloat16":
        return Dtype(DTYPES["bfloat16"])
    code = code if isinstance(code, str) else getattr(code, "name", type(code).__name__)
    if not re.fullmatch(r"[iu][1248]|f[248]|b1", code):
        return Dtype(machine.unknown(f"numpy.dtype({code[:40]!r})"))
    return Dtype(np.dtype(code))


def set_dtype(machine, dtype, state):
    """Gives a `Dtype` its byte order."""
    if isinstance(dtype.value, Placeholder):
        return
    need(isinstance(state, tuple) and len(state) >= 5, "the state of a dtype")
    need(state[1] in ("<", ">", "|", "=") and state[2:5] == (None,) * 3, "a dtype of parts")
    if dtype.value != DTYPES["bfloat16"]:
        dtype.value = dtype.value.newbyteorder(state[1])


def _array(machine, raw, dtype, shape, order):
    """The array or, if its dtype is not read, a placeholder."""
    need(isinstance(dtype, Dtype) and _extents(shape), "an array without dtype or shape")
    if isinstance(dtype.value, Placeholder):
        return dtype.value
    raw = _encode(machine, raw) if isinstance(raw, str) else raw  # Python 2 has no bytes
    need(isinstance(raw, bytes | bytearray), "an array without bytes")
    size = math.prod(shape) * dtype.value.itemsize
    need(size == len(raw), f"an array of {size} bytes is given {len(raw)}")
    if not size:
        return np.zeros(shape, dtype.value.newbyteorder("="))
    array = np.frombuffer(raw, dtype.value).reshape(shape, order=order)
    if not array.dtype.isnative:
        machine.spend(size)
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _reconstruct(machine, cls, *_):
    need(isinstance(cls, Token) and cls.name == "numpy.ndarray", "an array of another type")
    return Array()


def set_array(machine, array, state):
    """Gives an `Array` its value."""
    need(isinstance(state, tuple) and len(state) in (4, 5), "the state of an array")
    shape, dtype, fortran, raw = state[-4:]
    array.value = _array(machine, raw, dtype, shape, "F" if fortran else "C")


def _from_buffer(machine, raw, dtype, shape, order):
    need(order in ("C", "F"), "an array in an odd order")
    return Array(_array(machine, raw, dtype, shape, order))


def _numpy_scalar(machine, dtype, raw=b""):
    array = _array(machine, raw, dtype, (), "C")
    return array if isinstance(array, Placeholder) else array[()]


def _globals() -> dict[tuple[str, str], Token | Function]:
    torch_types = ["Tensor", "nn.parameter.Parameter", *STORAGES, "storage.UntypedStorage"]
    names = [f"torch.{n}" for n in (*DTYPES, *torch_types)]
    names += [f"torch.cuda.{n}" for n in STORAGES]
    names += ["numpy.ndarray", "ml_dtypes.bfloat16"]
    python = {"set": _container(set), "frozenset": _container(frozenset), "bytes": _bytes,
              "list": _container(list), "tuple": _container(tuple), "dict": _dict,
              "bytearray": _bytearray, "complex": _complex}  # fmt: skip
    functions = {
        "collections.OrderedDict": _dict, "collections.Counter": _dict,
        "collections.defaultdict": _defaultdict, "_codecs.encode": _encode,
        "torch.Size": _container(tuple), "torch.device": _device,
        "torch._utils._rebuild_tensor": _tensor, "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _tensor_v3,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._tensor._rebuild_from_type_v2": _from_type, "numpy.dtype": _dtype,
    }  # fmt: skip
    for module in ("builtins", "__builtin__"):
        functions |= {f"{module}.{n}": f for n, f in python.items()}
        names += [f"{module}.{n}" for n in ("int", "float", "str", "bool", "unicode", "long")]
    for core in ("numpy.core", "numpy._core"):
        functions[f"{core}.multiarray._reconstruct"] = _reconstruct
        functions[f"{core}.multiarray.scalar"] = _numpy_scalar
        functions[f"{core}.numeric._frombuffer"] = _from_buffer
    rows = [Token(n) for n in names] + [Function(n, f) for n, f in functions.items()]
    # Keyed by the pair: a dotted name such as `_utils._rebuild_tensor` of `torch` is another one.
    return {tuple(row.name.rsplit(".", 1)): row for row in rows}


GLOBALS = _globals()
