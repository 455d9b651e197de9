"""Reads a serialized `tf.train.Example` without parsing what is not asked for.

Only the wire format's outer layers are walked; byte strings are views of the input, so taking 8
frames of a 3 MB record copies nothing. Layout: Example{1: Features{1: map<name, Feature>}},
Feature{1: bytes_list | 2: float_list | 3: int64_list}, each a message whose field 1 repeats.
"""

import numpy as np

_BYTES = 2  # wire type "length-delimited"


def parse(record: bytes) -> dict[str, list[memoryview] | np.ndarray]:
    """The features of an example: views for bytes, float32 [n] or int64 [n] for numbers.

    Raises:
      ValueError: the record is no `tf.train.Example`.
    """
    view = memoryview(record)
    features = {}
    try:
        for _, message in _fields(view):
            for _, pair in _fields(message):
                named = dict(_fields(pair))
                features[str(named[1], "utf-8")] = _feature(named.get(2, b""))
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"not a tf.train.Example: {error!r}") from None
    return features


def _feature(view) -> list[memoryview] | np.ndarray:
    for kind, message in _fields(view):
        if kind == 1:
            return [value for _, value in _fields(message)]
        values = [value for _, value in _fields(message)]
        packed = b"".join(values)
        if kind == 2:
            return np.frombuffer(packed, "<f4")
        return _varints(packed)
    return []


def _fields(view):
    """(number, content) of each length-delimited field of a message."""
    at, end = 0, len(view)
    while at < end:
        tag = view[at]
        at += 1
        if tag & 7 != _BYTES or tag >= 0x80:
            raise ValueError("not a tf.train.Example: unexpected field")
        size = view[at]
        at += 1
        if size >= 0x80:
            size &= 0x7F
            shift = 7
            while True:
                byte = view[at]
                at += 1
                size |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
        stop = at + size
        if stop > end:
            raise ValueError("not a tf.train.Example: it is cut off")
        yield tag >> 3, view[at:stop]
        at = stop


def _varints(packed: bytes) -> np.ndarray:
    """Packed base-128 numbers as int64 (negative ones take ten bytes)."""
    data = np.frombuffer(packed, np.uint8)
    if not data.size:
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.flatnonzero(data < 0x80)[:-1] + 1])
    place = np.arange(data.size) - np.repeat(starts, np.diff([*starts, data.size]))
    parts = (data & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.bitwise_or.reduceat(parts, starts).astype(np.int64)
