"""The two layouts of torch's files: a zip with a pickle in it, and before 1.6 pickles in a row.

In both, a tensor in the pickle refers to a storage by its key, and the storages' bytes are apart.
"""

import io
import mmap
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from tempo.convert import pickle_names, pickles
from tempo.convert.pickle_names import Placeholder, Storage, Token, need
from tempo.errors import InputError

LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")  # a pickled number, then a stop
REMEDY = "save the weights: torch.save(model.state_dict(), ...)"

# The key of a storage -> its bytes and their order, `little` or `big`.
Block = Callable[[str], tuple[bytes, str]]


def read_zip(path: str, f: BinaryIO, size: int, skip_unknown: bool) -> tuple[Any, Block]:
    """The value in a file of `torch.save` since 1.6 and where its storages are."""
    archive = zipfile.ZipFile(f)
    names = archive.namelist()
    pickled = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
    if len(pickled) != 1:
        raise InputError(f"{path} is a zip file, but none of torch's: {REMEDY}.")
    top = pickled[0].removesuffix("data.pkl")
    if any(n.startswith((f"{top}constants.pkl", f"{top}code/")) for n in names):
        raise InputError(
            f"{path} is a TorchScript program, no checkpoint: open it by torch.jit.load, then "
            f"{REMEDY}."
        )
    # Blocks that are packed, or lie over each other, would grow when they are read.
    entries = archive.infolist()
    packed = any(e.compress_type != zipfile.ZIP_STORED for e in entries)
    if packed or sum(e.file_size for e in entries) > size:
        raise InputError(
            f"{path} holds blocks that are compressed or larger than the file, which torch never "
            f"writes: {REMEDY}."
        )
    order = archive.read(f"{top}byteorder").decode() if f"{top}byteorder" in names else "little"
    need(order in ("little", "big"), "an odd byte order")

    def persistent(reference):
        need(isinstance(reference, tuple) and len(reference) == 5, "an odd reference")
        _, kind, key, _, num_items = reference
        return _storage(kind, key, num_items)

    raw = io.BytesIO(archive.read(pickled[0]))
    value = pickles.load(raw, path, size=size, persistent=persistent, skip_unknown=skip_unknown)
    return value, lambda key: (archive.read(f"{top}data/{key}"), order)


def _storage(kind: Any, key: Any, num_items: Any, start: int = 0) -> Storage | Placeholder:
    if isinstance(kind, Placeholder):
        return kind
    name = kind.name.rsplit(".", 1)[-1] if isinstance(kind, Token) else None
    known = name in pickle_names.STORAGES and isinstance(key, str) and len(key) < 100
    need(known and _counts(num_items, start), "an odd storage")
    return Storage(key, pickle_names.DTYPES[pickle_names.STORAGES[name]], num_items, start)


def _counts(*values: Any) -> bool:
    return all(type(v) is int and v >= 0 for v in values)


def read_legacy(path: str, data: mmap.mmap, skip_unknown: bool) -> tuple[Any, Block]:
    """The value in a file of `torch.save` before 1.6 and where its storages are."""
    itemsizes: dict[str, int] = {}

    def persistent(reference):
        need(isinstance(reference, tuple) and reference, "an odd reference")
        if reference[0] == "module":  # a class, with the text of its source
            need(len(reference) == 4, "an odd reference")
            return reference[1]
        need(len(reference) == 6, "an odd reference")
        _, kind, key, _, num_items, view = reference
        storage = _storage(kind, key, num_items)
        if isinstance(storage, Storage):
            itemsizes.setdefault(key, storage.dtype.itemsize)
            if view is not None:
                need(isinstance(view, tuple) and len(view) == 3, "an odd view of a storage")
                storage = _storage(kind, key, view[2], view[1])
        return storage

    def load(**options):
        return pickles.load(data, path, size=len(data), skip_unknown=skip_unknown, **options)

    load()  # the magic number
    version = load()
    need(type(version) is int and version == 1001, "another version of torch's format")
    load()  # about the machine; the blocks are little-endian whatever it says
    value, keys = load(persistent=persistent), load()
    need(isinstance(keys, list) and all(isinstance(k, str) for k in keys), "odd storages")
    need(itemsizes.keys() >= set(keys), "storages without a tensor")
    blocks = {}
    for key in keys:
        (num_items,) = struct.unpack("<q", data.read(8))
        start, size = data.tell(), num_items * itemsizes[key]
        need(0 <= size <= len(data) - start, f"storage {key} ends behind the file's end")
        blocks[key] = (start, start + size)
        data.seek(start + size)
    return value, lambda key: (data[slice(*blocks[key])], "little")


# Writing: the few instructions that torch's reader expects, by hand.

ALIGNED = 64  # bytes; storages begin at multiples of it, so that they can be mapped into memory
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"  # an empty one
_STORAGE_OF = {d: name for name, d in pickle_names.STORAGES.items() if name != "UntypedStorage"}


def _plain(value: Any) -> bytes:
    # Without the version before it and the stop behind it, and with an empty memo if it can be.
    return pickletools.optimize(pickle.dumps(value, 2))[2:-1]


def _tensor(key: str, array: np.ndarray) -> bytes:
    name, num_items, tail = array.dtype.name, array.size, b""
    if name in _STORAGE_OF:
        make, kind = b"_rebuild_tensor_v2", b"\n" + _STORAGE_OF[name].encode()
    else:  # newer dtypes have no storage of their own
        make, kind, num_items = b"_rebuild_tensor_v3", b".storage\nUntypedStorage", array.nbytes
        tail = b"ctorch\n" + name.encode() + b"\n"
    strides, step = [], 1
    for extent in reversed(array.shape):
        strides.append(step)
        step *= max(extent, 1)
    kind = b"ctorch" + kind + b"\n"
    reference = b"(" + _plain("storage") + kind + _plain(key) + _plain("cpu") + _plain(num_items)
    shape = _plain(tuple(array.shape)) + _plain(tuple(reversed(strides)))
    # requires_grad, no hooks, and for the third version the dtype.
    args = reference + b"tQ" + _plain(0) + shape + _plain(False) + _ORDERED_DICT + tail
    return b"ctorch._utils\n" + make + b"\n(" + args + b"tR"


def write_zip(f: BinaryIO, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Writes little-endian contiguous arrays as `torch.save` would, and plain values beside them.

    Without `meta` the dict of tensors is the value, else its entry `state_dict` is.
    """
    keys = {name: str(i) for i, name in enumerate(arrays)}
    items = b"".join(_plain(n) + _tensor(keys[n], a) for n, a in arrays.items())
    value = _ORDERED_DICT + b"(" + items + b"u"
    if meta:
        beside = b"".join(_plain(k) + _plain(v) for k, v in meta.items())
        value = b"}(" + _plain("state_dict") + value + beside + b"u"
    with zipfile.ZipFile(f, "w") as archive:
        _entry(archive, "data.pkl", b"\x80\x02" + value + b".")
        _entry(archive, "byteorder", b"little")
        for name, array in arrays.items():
            _entry(archive, f"data/{keys[name]}", memoryview(array.reshape(-1).view(np.uint8)))
        _entry(archive, "version", b"3\n")


def _entry(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    entry = zipfile.ZipInfo(f"archive/{name}")  # of 1980, so that equal tensors are equal files
    before = archive.fp.tell() + 30 + len(entry.filename) + 4
    padding = -before % ALIGNED
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding  # FB is torch's own mark
    archive.writestr(entry, content)
