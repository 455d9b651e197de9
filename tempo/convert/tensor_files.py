"""Files of tensors, read and written without torch: .pth and .pt, .pkl, .safetensors."""

import dataclasses
import json
import math
import mmap
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.numpy

from tempo import files
from tempo.convert import pickle_names, pickles, torch_files
from tempo.convert.pickle_names import Array, Placeholder, Tensor, Token, need
from tempo.errors import InputError

WRAPPERS = (
    "state_dict",
    "model_state",
    "model",
    "blobs",
)  # where the weights are, if below the top
MAX_PLAIN, MAX_DEPTH = 200_000, 64  # items of metadata, one in the other
MAX_NAME = 200  # characters of a tensor's name
OWN = "tempo"  # the entry of a safetensors file's metadata that `write` adds
PLAIN = f"give numbers, texts, lists and dicts under other names than {', '.join(WRAPPERS)}"

# What reading a damaged file raises, in this module and in those that it reads with.
DAMAGE = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, struct.error,
    zipfile.BadZipFile, RuntimeError, OSError, MemoryError, safetensors.SafetensorError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TensorFile:
    """What a file of tensors holds.

    Attributes:
      tensors: name -> array, in the file's order, with the file's shapes and layout (torch: conv
        kernels [out,in,...]); dtypes float16/32/64, bfloat16 (ml_dtypes), bool, (u)int8-64; may be
        read-only and may share memory where the file's tensors do.
      meta: plain values beside the tensors as they are nested in the file (`meta`, `epoch`,
        `arch`): None, bool, int, float, complex, str, bytes, list, tuple, set, dict; dtypes and
        devices as their names. Tensors in there (an optimizer's) are left out.
      format: `torch zip`, `torch legacy`, `pickle` or `safetensors`.
      wrappers: the keys that lead to the tensors, such as ("state_dict",); () = they are on top.
      dropped: `where/it/was (class)` of what skip_unknown left out, and of what stands under a
        wrapper among the tensors and is none.
    """

    tensors: dict[str, np.ndarray]
    meta: dict[str, Any]
    format: str
    wrappers: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def read(path: str, *, skip_unknown: bool = False) -> TensorFile:
    """Reads a file of tensors by its content, whatever its name; runs nothing that is in it.

    Known are torch's zip files (`torch.save` since 1.6) and its older ones, pickles of NumPy
    arrays (dicts of blobs from caffe2 too) and safetensors. The tensors are looked for under the
    keys of `WRAPPERS`, else on top. Only their bytes are read, not those of an optimizer beside.

    Args:
      path: the file.
      skip_unknown: objects of classes other than tensors and plain containers are left out, never
        made, instead of refused.

    Raises:
      InputError: there is no such file; it is empty, damaged, cut short or of another kind; it
        wants an object that is no tensor and no plain container (the message names it); it holds
        no tensors, or far more of them than bytes; a tensor's name cannot be printed or is longer
        than `MAX_NAME`.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            if not size:
                raise InputError(f"{path} is empty: fetch it again.")
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
                file = _read(path, f, data, skip_unknown)
        _check_names(path, file.tensors)
        return file
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"No file {path}: give a .pth, .pt, .pkl or .safetensors file.") from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"Cannot read {path}: {error.strerror}. Give a file.") from None
    except DAMAGE as error:
        what = _shown(" ".join(str(error).split()) or type(error).__name__)
        raise InputError(f"{path} is damaged or cut short ({what}): fetch it again.") from error


def write(path: str, tensors: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> None:
    """Writes a file of tensors, which `read` gives back bit by bit and in the same order.

    Args:
      path: ends in `.safetensors`, or in `.pth` or `.pt`: a zip file that
        `torch.load(path, weights_only=True)` reads. Replaced only by a whole file.
      tensors: name -> array of a dtype that `TensorFile` lists. In a .pth they are the top level,
        or with `meta` the entry `state_dict`.
      meta: plain values beside them, as in `TensorFile.meta`: further entries of the top level in
        a .pth, JSON in the metadata of a .safetensors.

    Raises:
      InputError: another ending; no tensors; a name, dtype or value that such a file cannot hold.
    """
    path = os.fspath(path)
    check_path(path)
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    if not arrays:
        raise InputError(f"Nothing to write to {path}: give at least one tensor.")
    for name, array in arrays.items():
        if not isinstance(name, str) or array.dtype.name not in pickle_names.DTYPES:
            raise InputError(
                f"Cannot write {name!r} of dtype {array.dtype} to {path}: a name is text, a dtype "
                f"one of {', '.join(pickle_names.DTYPES)}."
            )
        little = pickle_names.DTYPES[array.dtype.name]
        arrays[name] = np.require(array, little, "C")
    _check_names(path, arrays)
    plain = _Plain(skip=None)
    meta = plain.dict(meta or {}, "")
    bad = plain.dropped or [name for name in meta if name in WRAPPERS]
    if bad:
        raise InputError(f"Cannot write {bad[0]} to {path} as metadata: {PLAIN}.")
    if path.endswith(".safetensors"):
        text = json.dumps({"order": list(arrays), "meta": meta}, default=str)
        if json.loads(text)["meta"] != meta:
            raise InputError(f"Cannot write the metadata to {path}: give what JSON can hold.")
        content = safetensors.numpy.save(arrays, {OWN: text})
        with files.replacing(path, "wb") as f:
            f.write(content)
    else:
        with files.replacing(path, "wb") as f:
            torch_files.write_zip(f, arrays, meta)


def check_path(path: str) -> None:
    """Raises `InputError` unless `write` can write a file of this name."""
    if os.path.splitext(path)[1] not in (".pth", ".pt", ".safetensors"):
        raise InputError(f"Cannot write {path}: end the name in .pth, .pt or .safetensors.")
    if os.path.isdir(path):
        raise InputError(f"Cannot write {path}, which is a folder: give the name of a file.")


def _read(path: str, f: BinaryIO, data: mmap.mmap, skip_unknown: bool) -> TensorFile:
    head = data[:64]
    text = data[:512].lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(f"{path} is a web page, no checkpoint: fetch the file that it links to.")
    if text.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a pointer of Git LFS, no checkpoint: run `git lfs pull`.")
    if head.startswith(b"PK"):
        value, blocks = torch_files.read_zip(path, f, len(data), skip_unknown)
        kind = "torch zip"
    elif head[8:9] == b"{" and head[4:8] == b"\0\0\0\0":
        return _safetensors(path)
    elif torch_files.LEGACY_MAGIC in head:
        value, blocks = torch_files.read_legacy(path, data, skip_unknown)
        kind = "torch legacy"
    else:
        try:
            value = pickles.load(data, path, size=len(data), skip_unknown=skip_unknown)
        except DAMAGE as error:
            if isinstance(error, InputError) or head.startswith(b"\x80"):
                raise
            raise InputError(
                f"{path} is no file of tensors, or a damaged one: it begins with {head[:12]!r}. "
                "Read are .pth and .pt of torch, .pkl of NumPy arrays and .safetensors."
            ) from error
        kind, blocks = "pickle", _no_storages
    return _checkpoint(path, kind, value, blocks, len(data))


def _check_names(path: str, names: Iterable[str]) -> None:
    """Raises `InputError` unless all can be printed: tables and messages print them as they are."""
    bad = next((n for n in names if not n.isprintable() or not 0 < len(n) <= MAX_NAME), None)
    if bad is not None:
        raise InputError(
            f"{path}: the name {bad[:40]!a} of a tensor cannot be used; names have 1 to "
            f"{MAX_NAME} characters, all of them printable."
        )


def _no_storages(key: str) -> tuple[bytes, str]:
    raise ValueError(f"no storage {key}")


def _safetensors(path: str) -> TensorFile:
    with safetensors.safe_open(path, framework="np") as f:
        meta = dict(f.metadata() or {})
        names = list(f.offset_keys())
        if OWN in meta:  # the format orders tensors by their dtype; this is how they were given
            own = json.loads(meta.pop(OWN))
            whole = isinstance(own, dict) and isinstance(own.get("meta"), dict)
            need(whole, f"its metadata {OWN!r} is of another kind")
            need(sorted(own["order"]) == sorted(names), "the list of its names is another")
            names, meta = own["order"], own["meta"]
        if not names:
            raise InputError(f"{path} holds no tensors: {torch_files.REMEDY}.")
        return TensorFile({n: f.get_tensor(n) for n in names}, meta, "safetensors")


# From the value of a pickle to what is wanted of it.


def _is_tensor(value: Any) -> bool:
    if isinstance(value, Array):
        return isinstance(value.value, np.ndarray)
    return isinstance(value, Tensor | np.generic)


def _way(node: Any, depth: int = 0) -> tuple[str, ...] | None:
    """The keys that lead to tensors."""
    if not isinstance(node, dict) or depth > 3:
        return None
    for name in WRAPPERS:
        way = _way(node.get(name), depth + 1)
        if way is not None:
            return (name, *way)
    return () if any(map(_is_tensor, node.values())) else None


def _checkpoint(path: str, kind: str, value: Any, block: Callable, size: int) -> TensorFile:
    way = _way(value)
    if way is None:
        what = f"it is a {_kind(value)}"
        if isinstance(value, dict):
            what = f"its keys are {', '.join(_shown(k, 40) for k in list(value)[:8]) or 'none'}"
        raise InputError(f"{path} holds no dict of tensors ({what}): {torch_files.REMEDY}.")
    state = value
    for name in way:
        state = state[name]
    cache: dict[str, tuple[bytes, str]] = {}
    tensors, others = {}, {}
    for name, item in state.items():
        if not _is_tensor(item):
            others[name] = item
        elif not isinstance(name, str):
            raise InputError(
                f"{path} has a tensor named {_shown(name, 40)}, which is no text: "
                f"{torch_files.REMEDY}."
            )
        elif isinstance(item, Tensor):
            tensors[name] = _array(item, cache, block)
        else:
            tensors[name] = item.value if isinstance(item, Array) else np.asarray(item)
    # Of views of one storage only a few: copies of them are made later on.
    total = sum(array.nbytes for array in tensors.values())
    need(total <= 4 * size + 2**20, f"tensors of {total} bytes in a file of {size}")
    plain = _Plain(skip=state if way else None)
    meta = plain.dict(value if way else others, "")
    if way:
        where = "/".join(way)
        plain.dropped += [
            f"{where}/{_shown(name)} ({_shown(_kind(item))})" for name, item in others.items()
        ]
    return TensorFile(tensors, meta, kind, way, tuple(plain.dropped))


def _shown(value: Any, length: int = 200) -> str:
    """A text or a key of a file that may hold anything, to be printed in a terminal."""
    if not isinstance(value, str | int | float | np.generic):
        value = _kind(value)
    text = str(value)[:length]
    return text if text.isprintable() else ascii(text)


def _kind(value: Any) -> str:
    value = value.value if isinstance(value, Array) else value
    return value.name if isinstance(value, Placeholder | Token) else type(value).__name__


def _array(tensor: Tensor, cache: dict, block: Callable) -> np.ndarray:
    storage, itemsize = tensor.storage, tensor.dtype.itemsize
    if storage.key not in cache:
        cache[storage.key] = block(storage.key)
    raw, order = cache[storage.key]
    size = (storage.start + storage.num_items) * storage.dtype.itemsize
    need(size <= len(raw), f"storage {storage.key} has {len(raw)} bytes, not {size}")
    if not math.prod(tensor.shape):
        return np.zeros(tensor.shape, tensor.dtype)
    first = storage.start * storage.dtype.itemsize + tensor.offset * itemsize
    strides = [s * itemsize for s in tensor.strides]
    # The bounds were checked when the tensor was made; NumPy checks them again.
    array = np.ndarray(tensor.shape, f"<u{itemsize}", raw, first, strides)
    array = array if order == "little" else array.byteswap()
    return array != 0 if tensor.dtype == bool else array.view(tensor.dtype)


class _Plain:
    """Copies plain values; what is not plain is left out of the dict that it is in."""

    def __init__(self, skip: Any):
        self.skip, self.left, self.dropped = skip, MAX_PLAIN, []

    def dict(self, values: Mapping, where: str, depth: int = 0) -> dict:
        out = {}
        for key, value in values.items():
            if isinstance(value, Tensor | Array) or (value is self.skip and value is not None):
                continue
            here = f"{where}{_shown(key)}"[:200]
            try:
                out[self.value(key, here, depth)] = self.value(value, f"{here}/", depth + 1)
            except _NotPlain as error:
                self.dropped.append(f"{here} ({_shown(str(error))})")
        return out

    def value(self, value: Any, where: str, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            raise _NotPlain("too much of it, or too deep")
        if isinstance(value, np.generic):  # first: a np.float64 is a float too
            return value.item()
        if isinstance(value, pickle_names.SCALARS):
            return value
        if isinstance(value, Token):
            return value.name
        if isinstance(value, dict):
            return self.dict(value, where, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)([self.value(v, where, depth + 1) for v in value])
        if isinstance(value, bytearray):
            return bytes(value)
        raise _NotPlain(_kind(value))


class _NotPlain(Exception):
    pass
