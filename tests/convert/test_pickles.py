import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict

import ml_dtypes
import numpy as np
import pytest

from tempo.convert import pickles, tensor_files
from tempo.errors import InputError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def load(data, **options):
    return pickles.load(io.BytesIO(data), "file", size=len(data), **options)


class Calls:
    """Pickled, it is the call of a function."""

    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced


def attacks(path):
    """Name -> (what a pickle of it calls, that object). Each one, run, creates the file `path`."""
    code = f"open({str(path)!r}, 'w').close()"
    return {
        f"{os.system.__module__}.system": Calls(os.system, f"touch {path}"),
        "builtins.eval": Calls(eval, code),
        "builtins.exec": Calls(exec, code),
        "io.open": Calls(open, str(path), "w"),
    }


NAMES = list(attacks("x"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_calls_is_refused_by_the_name_and_runs_nothing(tmp_path, name, protocol):
    sentinel = tmp_path / "sentinel"
    weights = {"w": np.ones(2, np.float32), "x": attacks(sentinel)[name]}
    data = pickle.dumps(weights, protocol)
    pickle.loads(data)
    assert sentinel.exists()  # the attack works where it is let
    sentinel.unlink()
    (tmp_path / "a.pkl").write_bytes(data)
    shown = name if protocol > 2 else name.replace("builtins", "__builtin__")
    with pytest.raises(InputError) as error:
        tensor_files.read(tmp_path / "a.pkl")
    # Below protocol 3 the standard library writes the names of Python 2.
    assert shown in str(error.value) or name in str(error.value)
    assert "\n" not in str(error.value)
    read = tensor_files.read(tmp_path / "a.pkl", skip_unknown=True)
    assert list(read.tensors) == ["w"]
    assert not sentinel.exists()


@pytest.mark.parametrize("skip_unknown", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_call_inside_a_torch_zip_is_not_run(tmp_path, name, skip_unknown):
    sentinel, path = tmp_path / "sentinel", tmp_path / "a.pth"
    tensor_files.write(path, {"w": np.arange(3.0)}, {"epoch": 1})
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    attack = pickle.dumps(attacks(sentinel)[name], 2)[2:-1]
    # {"state_dict": ..., "epoch": 1} gets one more entry before the dict is filled.
    assert entries["archive/data.pkl"].endswith(b"u.")
    spoilt = entries["archive/data.pkl"][:-2] + pickle.dumps("hub", 2)[2:-1] + attack + b"u."
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in (entries | {"archive/data.pkl": spoilt}).items():
            archive.writestr(entry, content)
    if skip_unknown:
        read = tensor_files.read(path, skip_unknown=True)
        np.testing.assert_array_equal(read.tensors["w"], np.arange(3.0))
        assert read.meta == {"epoch": 1}
        assert len(read.dropped) == 1 and read.dropped[0].startswith("hub (")
    else:
        with pytest.raises(InputError, match=name.split(".")[1]):
            tensor_files.read(path)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'true'\no.", "os.system"),
        (b"\x80\x02cos\nsystem\n)\x81.", "os.system"),
        (b"\x80\x04\x8c\x0ctorch._utils\x8c\x11__builtins__.eval\x93.", "__builtins__.eval"),
        (b"ctorch\n_utils._rebuild_tensor_v2\n.", None),
        (b"ctorch._utils\n__builtins__\n.", "torch._utils.__builtins__"),
        (b"ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"),
        (b"cnumpy.lib.npyio\nload\n.", "numpy.lib.npyio.load"),
        (b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.", "_reconstruct.__globals__"),
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"\x80\x02\x82\x01.", "extension 1"),
        (b"cmmengine.logging.message_hub\nMessageHub\n)\x81.", "mmengine.logging.message_hub"),
    ],
)
def test_other_ways_to_a_name_are_refused(data, name):
    # A name with a dot in it is not looked up in parts, even if the whole reads like a known one.
    with pytest.raises(InputError, match=name or "_rebuild_tensor_v2"):
        load(data)
    assert type(load(data, skip_unknown=True)).__name__ == "Placeholder"


@pytest.mark.parametrize(
    "data",
    [
        b"ccollections\nOrderedDict\n}(S'make'\nNub.",  # the state of a function
        b"ctorch\nFloatStorage\n)R.",  # a call of what is a type
        b"(lp0\n}(S'append'\nNub.",  # the state of a list
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
        b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.",  # bytes(2147483647)
        b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.",
        b"\x80\x02}((((tttNs.",  # a nested tuple as a key, which would be hashed without end
        b"Pcos.system\n.",  # a reference out of the file
        b"S'a'\nQ.",
        b"(.", b".", b"0.", b"a.", b"R.", b"h\x07.", b"N",
    ],
)  # fmt: skip
@pytest.mark.parametrize("skip_unknown", [False, True])
def test_instructions_that_make_no_sense_are_damage(data, skip_unknown):
    with pytest.raises((ValueError, LookupError, TypeError)):
        load(data, skip_unknown=skip_unknown)


def test_placeholders_take_everything_and_stay_what_they_are():
    made = b"ca\nB\n(S'x'\ntR" + b"}S'y'\nK\x01sb"  # by a call, and given a state
    filled = b"(K\x02K\x03e" + b"K\x04a" + b"S'k'\nK\x05s" + b"(S'm'\nK\x06u"
    value = load(made + filled + b".", skip_unknown=True)
    assert type(value).__name__ == "Placeholder" and vars(value) == {"name": "a.B"}


def test_copies_do_not_outgrow_the_file():
    text = "x" * 100_000
    many = b"\x80\x02]q\x02X" + len(text).to_bytes(4, "little") + text.encode() + b"q\x000"
    many += b"c_codecs\nencode\nq\x010" + b"(" + b"h\x01h\x00X\x06\x00\x00\x00latin1\x86R" * 100
    with pytest.raises(ValueError, match="copies more than it holds"):
        load(many + b"e.")


NEST, DOUBLE = b")" + b"\x85" * 2_000_000, b")" + b"2\x86" * 60  # ((((...)))), ((x, x), (x, x))
CALL = b"ccollections\nOrderedDict\n"


@pytest.mark.parametrize(
    "data",
    [
        CALL + b"]]" + NEST + b"aK\x01aa\x85R.",  # OrderedDict([[key, 1]])
        CALL + b"(" + NEST + b"K\x01\x86t\x85R.",
        b"\x80\x02}" + NEST + b"K\x01s.",
        b"\x80\x04\x8f(" + NEST + b"\x90.",
        b"ctorch\ndevice\n(S'cuda'\n" + DOUBLE + b"tR.",
        b"\x80\x02}(" + b"K\x01" * 9 + b"tNs.",  # a key of nine items
        b"\x80\x02}X" + (1001).to_bytes(4, "little") + b"x" * 1001 + b"Ns.",
    ],
)
def test_what_would_be_hashed_or_told_without_end_is_refused(data):
    # In another process: Python would not survive the hash of the first ones.
    code = (
        "import io, sys; from tempo.convert import pickle_names, pickles\n"
        "data = sys.stdin.buffer.read()\n"
        "try: pickles.load(io.BytesIO(data), 'file', size=len(data))\n"
        "except pickle_names.Damage as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert re.match(rb"a key of|a device without", run.stdout), run.stdout


PLAIN = {
    "none": None, "bools": [True, False], "ints": (0, 1, -1, 2**40, -(2**70)), "float": 1.5,
    "text": "\u00e9\n\u4e2d", "bytes": b"\x00\xff", "empty": [(), [], {}, set(), "", b""],
    "set": {1, "a"}, "frozen": frozenset([2]), "nested": {"a": {"b": [{1: (2, [3])}]}},
    "array": bytearray(b"ab"), "complex": 1 + 2j,
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_are_those_of_the_standard_library(protocol):
    data = pickle.dumps(PLAIN, protocol)
    assert load(data) == pickle.loads(data) == PLAIN


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_of_the_standard_library_become_dicts(protocol):
    kinds = [
        OrderedDict(b=1, a=2),
        Counter("aab"),
        defaultdict(list, {"x": [1]}),
        defaultdict(dict),
    ]
    value = load(pickle.dumps(kinds, protocol))
    assert value == [dict(kind) for kind in kinds]
    assert list(value[0]) == ["b", "a"]


DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", ">i2"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", [*DTYPES, ml_dtypes.bfloat16])
def test_arrays_of_numpy(protocol, dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    native = array.astype(array.dtype.newbyteorder("="))
    arrays = [array, array.T, array[::2, 1:], array[0, 0], np.zeros((0, 3), dtype), array[()]]
    for got, want in zip(load(pickle.dumps(arrays, protocol)), arrays, strict=True):
        got = np.asarray(getattr(got, "value", got))
        np.testing.assert_array_equal(got, want)
        assert (got.dtype, got.shape) == (native.dtype, np.shape(want))


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_both_names_of_numpys_core(core):
    data = pickle.dumps(np.arange(3), 2)
    assert data.count(b"numpy._core.multiarray") + data.count(b"numpy.core.multiarray") == 1
    for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        data = data.replace(name, f"{core}.multiarray".encode())
    np.testing.assert_array_equal(load(data).value, np.arange(3))


def test_a_pickle_of_python_2_keeps_its_bytes_as_text():
    raw = np.arange(64, 68, 0.5, dtype="<f4")
    data = (
        b"\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x08\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U" + bytes([raw.nbytes]) + raw.tobytes() + b"tbs."
    )
    np.testing.assert_array_equal(load(data)["w"].value, raw)


@pytest.mark.parametrize(
    "array", [np.array([{}, eval], object), np.zeros(2, "M8[s]"), np.zeros(1, [("a", "i4")])]
)
def test_arrays_of_other_dtypes_are_refused(array):
    with pytest.raises(InputError, match="numpy.dtype|builtins"):
        load(pickle.dumps(array))
    value = load(pickle.dumps(array), skip_unknown=True)
    assert type(getattr(value, "value", value)).__name__ == "Placeholder"


def state_of_an_array(shape, raw):
    class Array:
        def __reduce__(self):
            return (*np.zeros(1).__reduce__()[:2], (1, shape, np.dtype("f4"), False, raw))

    return pickle.dumps(Array(), 2)


@pytest.mark.parametrize(
    ("shape", "raw"),
    [((3,), b"\0" * 8), ((-1, -2), b"\0" * 8), ((2.0,), b"\0" * 8), ((1 << 62, 4), b""),
     (2, b"\0" * 8), ((1,) * 65, b"\0" * 4), ((True, 2), b"\0" * 8), ((2,), [0.0, 1.0])],
)  # fmt: skip
def test_an_array_is_as_large_as_its_bytes(shape, raw):
    assert load(state_of_an_array((2,), b"\0" * 8)).value.shape == (2,)
    with pytest.raises(ValueError):
        load(state_of_an_array(shape, raw))
