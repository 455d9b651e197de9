import json
import os
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from tempo.convert import pickle_names, tensor_files, torch_files
from tempo.errors import InputError

MAGIC = b"\x80\x02" + torch_files.LEGACY_MAGIC
FORMATS = [".pth", ".safetensors", ".pkl"]


def some_tensors():
    rng = np.random.default_rng(0)
    tensors = {f"of.{d}": rng.normal(size=(2, 3)).astype(d) for d in pickle_names.DTYPES.values()}
    return tensors | {
        "scalar": np.float32(3), "none": np.zeros((0, 3), np.int64), "a.last": np.ones(1),
        "transposed": rng.normal(size=(4, 5)).T, "every.other": np.arange(9)[::2],
        "big": np.arange(3, dtype=">f4"), "nan": np.array([np.nan, -0.0, np.inf], np.float32),
    }  # fmt: skip


def small_file(folder, ending):
    path = folder / f"small{ending}"
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.int8)}
    if ending == ".pkl":
        path.write_bytes(pickle.dumps({"state_dict": tensors, "epoch": 3}))
    else:
        tensor_files.write(path, tensors, {"epoch": 3})
    return path


def assert_same(got, want):
    assert list(got) == list(want)
    for name, array in want.items():
        array = np.asarray(array)
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
        assert got[name].shape == array.shape, name
        assert got[name].dtype == little.dtype, name
        assert got[name].tobytes() == little.tobytes(), name


@pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("meta", [None, {"epoch": 3, "meta": {"classes": ["a", "b"], "x": None}}])
def test_what_is_written_is_read_bit_by_bit_and_in_order(tmp_path, ending, meta):
    path = tmp_path / f"a{ending}"
    tensor_files.write(path, some_tensors(), meta)
    read = tensor_files.read(path)
    assert_same(read.tensors, some_tensors())
    assert read.meta == (meta or {}) and read.dropped == ()
    assert read.wrappers == (("state_dict",) if meta and ending != ".safetensors" else ())
    assert os.listdir(tmp_path) == [path.name]


def test_the_content_tells_the_format_not_the_name(tmp_path):
    formats = []
    for ending in FORMATS:
        path = small_file(tmp_path, ending).rename(tmp_path / "x.bin")
        formats.append(tensor_files.read(path).format)
    assert formats == ["torch zip", "safetensors", "pickle"]


def test_a_pth_keeps_plain_values_that_json_has_not(tmp_path):
    meta = {"size": (1, 2), "raw": b"\x00", "nested": {1: {2.5, None}}, "large": 10**30}
    tensor_files.write(tmp_path / "a.pth", {"w": np.ones(1)}, meta)
    assert tensor_files.read(tmp_path / "a.pth").meta == meta
    with pytest.raises(InputError, match="JSON"):
        tensor_files.write(tmp_path / "a.safetensors", {"w": np.ones(1)}, meta)


def test_equal_tensors_make_equal_files(tmp_path):
    for name in ("a.pth", "b.pth"):
        tensor_files.write(tmp_path / name, some_tensors())
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_safetensors_of_others_both_ways(tmp_path):
    theirs, ours = tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors"
    tensors = {"z": np.ones(2, np.float32), "b": np.arange(3).astype(ml_dtypes.bfloat16)}
    safetensors.numpy.save_file(tensors, theirs, {"format": "pt"})
    read = tensor_files.read(theirs)
    assert_same({n: read.tensors[n] for n in tensors}, tensors)
    assert read.meta == {"format": "pt"}
    tensor_files.write(ours, tensors)
    assert_same({n: safetensors.numpy.load_file(ours)[n] for n in tensors}, tensors)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = small_file(tmp_path, ".pth")
    before = path.read_bytes()
    for tensors, meta, match in [
        ({}, None, "at least one"),
        ({"c": np.ones(1, complex)}, None, "complex128"),
        ({1: np.ones(1)}, None, "a name is text"),
        ({"a\n": np.ones(1)}, None, "all of them printable"),
        ({"w": np.ones(1)}, {"x": eval}, "x .builtin_function"),
        ({"w": np.ones(1)}, {"state_dict": {}}, "other names"),
    ]:
        with pytest.raises(InputError, match=match):
            tensor_files.write(path, tensors, meta)
    with pytest.raises(InputError, match=r"\.pth, \.pt or \.safetensors"):
        tensor_files.write(tmp_path / "a.npz", {"w": np.ones(1)})
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("nest", "wrappers"),
    [
        (lambda w: w, ()),
        (lambda w: {"state_dict": w}, ("state_dict",)),
        (lambda w: {"model_state": w, "epoch": 1, "optimizer_state": {"m": np.ones(3)}},
         ("model_state",)),
        (lambda w: {"blobs": w, "cfg": "text"}, ("blobs",)),
        (lambda w: {"model": {"state_dict": w}}, ("model", "state_dict")),
        # Numbers beside the weights may be tensors too, and `model` may be something else.
        (lambda w: {"best_prec1": np.float64(0.5), "model": {"depth": 50}, "state_dict": w},
         ("state_dict",)),
    ],
)  # fmt: skip
def test_weights_are_found_below_their_wrappers(tmp_path, nest, wrappers):
    weights = {"w": np.arange(4.0), "b": np.float32(2)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(nest(weights), 2))
    read = tensor_files.read(tmp_path / "a.pkl")
    assert_same(read.tensors, weights)
    assert read.wrappers == wrappers


def test_metadata_is_plain_or_left_out(tmp_path):
    own = pickle_names.Token  # any class that the reader does not know by name
    state = {"w": np.ones(1), "note": "x"}
    value = {
        "state_dict": state, "epoch": np.int64(3), "arch": "r50",
        "meta": {"hook": own("a"), "t": (1,)}, "hub": [own("b")],
        "optimizer": {"lr": 0.1, "m": np.ones(2)},
    }  # fmt: skip
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match="tempo.convert.pickle_names.Token"):
        tensor_files.read(tmp_path / "a.pkl")
    read = tensor_files.read(tmp_path / "a.pkl", skip_unknown=True)
    assert_same(read.tensors, {"w": np.ones(1)})
    assert read.meta == {"epoch": 3, "arch": "r50", "meta": {"t": (1,)}, "optimizer": {"lr": 0.1}}
    assert type(read.meta["epoch"]) is int
    token = "(tempo.convert.pickle_names.Token)"
    assert read.dropped == (f"meta/hook {token}", f"hub {token}", "state_dict/note (str)")


def test_what_is_left_out_is_printable(tmp_path):
    value = {"state_dict": {"w": np.ones(1), "\x1b[2J\n": "x"}}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    (line,) = tensor_files.read(tmp_path / "a.pkl").dropped
    assert "x1b[2J" in line and line.isprintable()


def test_metadata_that_holds_itself_is_left_out(tmp_path):
    loop, wide = {"epoch": 1}, [0]
    loop["loop"] = loop
    for _ in range(40):
        wide = [wide, wide]
    value = {"state_dict": {"w": np.ones(1)}, "a": 1, "loop": loop, "wide": wide}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    read = tensor_files.read(tmp_path / "a.pkl")
    assert list(read.tensors) == ["w"] and read.meta["a"] == 1
    assert "wide" not in read.meta and any(d.startswith("wide (") for d in read.dropped)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"PK\x03\x04", "damaged or cut short"),
        (b"\x80", "damaged or cut short"),
        (b"just text, no tensors", "is no file of tensors"),
        (b"\x93NUMPY\x01\x00", "is no file of tensors"),
        (pickle.dumps({"a": 1, "b": {}}), "its keys are a, b"),
        (pickle.dumps([np.ones(2)]), "it is a list"),
        (pickle.dumps({1: np.ones(2)}), "named 1"),
        (safetensors.numpy.save({}), "no tensors"),
        # Tuples in tuples, of which a text would have 2^60 items, as a version and as keys.
        (MAGIC + b"\x80\x02)" + b"2\x86" * 60 + b".", "another version of torch's format"),
        (
            MAGIC
            + pickle.dumps(1001, 2)
            + pickle.dumps({}, 2) * 2
            + b"\x80\x02])"
            + b"\x85" * 2_000_000
            + b"a.",
            "odd storages",
        ),
        (pickle.dumps({("a" * 900,) * 8: 1}), "its keys are tuple"),
        *(
            (pickle.dumps({name: np.ones(1)}), rf"the name '{shown}.*printable")
            for name, shown in [("\x1b[2J", "."), ("a\nb", "a"), ("\ud800", "."), ("a" * 201, "a")]
        ),
        (safetensors.numpy.save({"a\nb": np.ones(1)}), r"the name 'a\\nb' of a tensor"),
    ],
)
def test_other_files_are_one_clear_line(tmp_path, content, match):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=match) as error:
        tensor_files.read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(InputError, match="No file"):
        tensor_files.read(tmp_path / "none.pth")
    with pytest.raises(InputError, match="Cannot read"):
        tensor_files.read(tmp_path)


def rewritten(path, changes, **options):
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in (entries | changes).items():
            if content is not None:
                archive.writestr(name, content)


@pytest.mark.parametrize(
    ("changes", "options", "match"),
    [
        ({"archive/constants.pkl": b"x"}, {}, "TorchScript"),
        ({"archive/code/net.py": b"x"}, {}, "TorchScript"),
        ({"archive/data.pkl": None}, {}, "none of torch's"),
        ({"other/data.pkl": b"x"}, {}, "none of torch's"),
        ({"archive/bomb": b"\0" * 10**6}, {"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"archive/data/0": None}, {}, "damaged"),
        ({"archive/data/0": b"\0" * 8}, {}, "storage 0 has 8 bytes, not 24"),
        ({"archive/byteorder": b"middle"}, {}, "byte order"),
    ],
)
def test_zips_that_are_not_as_torch_writes_them(tmp_path, changes, options, match):
    path = small_file(tmp_path, ".pth")
    rewritten(path, {})
    assert list(tensor_files.read(path).tensors) == ["a", "b"]
    rewritten(path, changes, **options)
    with pytest.raises(InputError, match=match):
        tensor_files.read(path)


def test_entries_that_lie_over_each_other_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    tensor_files.write(path, {"w": np.zeros(10_000)})
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(9):  # the same bytes under nine more names
            entry = zipfile.ZipInfo(f"archive/data/{i + 1}")
            same = archive.getinfo("archive/data/0")
            entry.header_offset, entry.CRC = same.header_offset, same.CRC
            entry.file_size = entry.compress_size = same.file_size
            archive.filelist.append(entry)
        archive._didModify = True
    with pytest.raises(InputError, match="larger than the file"):
        tensor_files.read(path)


def test_a_big_endian_file(tmp_path):
    path = tmp_path / "a.pth"
    tensors = {"f": np.arange(6, dtype="<f4").reshape(2, 3), "h": np.ones(3, ml_dtypes.bfloat16)}
    tensor_files.write(path, tensors)
    swapped = {
        "archive/byteorder": b"big",
        "archive/data/0": tensors["f"].byteswap().tobytes(),
        "archive/data/1": tensors["h"].view(np.uint16).byteswap().tobytes(),
    }
    rewritten(path, swapped)
    assert_same(tensor_files.read(path).tensors, tensors)


def tensor_of(offset, shape, strides, num_items=6, key="0"):
    """The value of a torch pickle: one float tensor on storage 0."""

    def plain(value):
        return pickle.dumps(value, 2)[2:-1]

    return (
        b"\x80\x02}" + plain("w") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + plain("storage")
        + b"ctorch\nFloatStorage\n" + plain(key) + plain("cpu") + plain(num_items)
        + b"tQ" + plain(offset) + plain(shape) + plain(strides) + b"\x89}tRs."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tensor", "want"),
    [
        ((0, (2, 3), (3, 1)), [[0, 1, 2], [3, 4, 5]]),
        ((0, (3, 2), (1, 3)), [[0, 3], [1, 4], [2, 5]]),
        ((1, (2,), (2,)), [1, 3]),
        ((5, (), ()), 5),
        ((0, (0, 3), (3, 1)), np.zeros((0, 3))),
        ((1, (6,), (1,)), None),
        ((6, (), ()), None),
        ((0, (2, 3), (4, 1)), None),
        ((0, (7,), (1,)), None),
        ((-1, (2,), (1,)), None),
        ((5, (2,), (-1,)), None),
        ((0, (-2,), (1,)), None),
        ((0, (2,), (1, 1)), None),
        ((0, (2**40, 2**40), (0, 0)), None),  # each item the same one
        ((0, (2**62, 4), (1, 1)), None),
        ((0.0, (2,), (1,)), None),
        ((0, "ab", (1,)), None),
        ((0, (7,), (1,), 7), None),  # the storage says more than it has
        ((0, (2**62,), (1,), 2**62), None),
        ((0, (1,), (1,), -1), None),
    ],
)
def test_tensors_stay_within_their_storages(tmp_path, tensor, want):
    path = small_file(tmp_path, ".pth")
    rewritten(path, {"archive/data.pkl": tensor_of(*tensor)})
    if want is None:
        with pytest.raises(InputError, match="damaged"):
            tensor_files.read(path)
    else:
        assert_same(tensor_files.read(path).tensors, {"w": np.array(want, np.float32)})


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_cut_anywhere_is_an_input_error(tmp_path, ending):
    path = small_file(tmp_path, ending)
    content = path.read_bytes()
    assert list(tensor_files.read(path).tensors) == ["a", "b"]
    for length in range(0, len(content), 1 + len(content) // 400):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            tensor_files.read(path)


@pytest.mark.parametrize("skip_unknown", [False, True])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_spoilt_byte_is_an_input_error_or_read(tmp_path, ending, skip_unknown):
    path = small_file(tmp_path, ending)
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(400):
        spoilt = bytearray(content)
        for position in rng.integers(0, len(spoilt), rng.integers(1, 4)):
            spoilt[position] = rng.integers(0, 256)
        path.write_bytes(spoilt)
        try:
            tensor_files.read(path, skip_unknown=skip_unknown)
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_only_the_weights_are_read_from_a_zip(tmp_path):
    # The optimizer's tensor lies in storage 9, which the file does not even have.
    path = small_file(tmp_path, ".pth")
    with zipfile.ZipFile(path) as archive:
        value = archive.read("archive/data.pkl")
    call = tensor_of(0, (6,), (1,), key="9").partition(b"ctorch._utils")[2].removesuffix(b"s.")
    beside = pickle.dumps("momentum", 2)[2:-1] + b"ctorch._utils" + call
    assert value.endswith(b"u.")  # the dict on top is filled
    rewritten(path, {"archive/data.pkl": value[:-2] + beside + b"u."})
    read = tensor_files.read(path)
    assert list(read.tensors) == ["a", "b"] and read.meta == {"epoch": 3}


@pytest.mark.parametrize(
    ("own", "match"),
    [
        ({"order": ["other"], "meta": {}}, "list of its names"),
        ({"order": ["w"], "meta": []}, "metadata 'tempo' is of another kind"),
        ([], "metadata 'tempo' is of another kind"),
    ],
)
def test_safetensors_with_other_metadata_than_is_written(tmp_path, own, match):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"w": np.ones(1)}, path, {"tempo": json.dumps(own)})
    with pytest.raises(InputError, match=match):
        tensor_files.read(path)


def test_many_views_of_one_storage_are_refused(tmp_path):
    path, one = tmp_path / "a.pkl", np.zeros(100_000, bool)
    path.write_bytes(pickle.dumps({f"w{i}": one for i in range(4)}))
    assert len(tensor_files.read(path).tensors) == 4
    path.write_bytes(pickle.dumps({f"w{i}": one for i in range(20)}))
    with pytest.raises(InputError, match="tensors of 2000000 bytes in a file of 1"):
        tensor_files.read(path)


def test_keys_of_metadata_are_told_in_short(tmp_path):
    deep = pickle_names.Token("a")
    for _ in range(40):
        deep = {"k" * 900: deep}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": np.ones(1), "deep": deep}))
    (line,) = tensor_files.read(tmp_path / "a.pkl", skip_unknown=True).dropped
    assert line.startswith("deep/kkk") and len(line) < 300
