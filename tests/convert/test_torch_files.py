import collections
import io
import pickle
import struct

import ml_dtypes
import numpy as np
import pytest

from tempo.convert import pickle_names, tensor_files, torch_files
from tempo.errors import InputError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

LAYOUTS = {"torch zip": {}, "torch legacy": {"_use_new_zipfile_serialization": False}}


def state():
    """Tensors of every dtype, views, shared storages, parameters."""
    torch.manual_seed(0)
    base = torch.arange(24, dtype=torch.float32)
    tied = torch.nn.Parameter(torch.randn(3, 2))
    weights = collections.OrderedDict(
        {f"of.{name}": torch.ones(2, 3).to(getattr(torch, name)) for name in pickle_names.DTYPES}
    )
    weights.update(
        whole=base, view=base[5:11].view(2, 3), transposed=base.view(4, 6).T, steps=base[1::5],
        scalar=torch.tensor(7), empty=torch.zeros(0, 4), parameter=tied, tied=tied,
        half=torch.linspace(-1, 1, 9).half(), bf=torch.linspace(-1, 1, 9).bfloat16()[2:],
        nan=torch.tensor([float("nan"), -0.0]), bools=torch.tensor([True, False]),
    )  # fmt: skip
    weights.update(
        torch.nn.Sequential(torch.nn.Conv3d(2, 3, 1), torch.nn.BatchNorm3d(3)).state_dict()
    )
    return weights


def array(tensor):
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def assert_same(got, want):
    assert list(got) == list(want)
    for name, tensor in want.items():
        assert got[name].dtype == array(tensor).dtype and got[name].shape == tensor.shape, name
        assert got[name].tobytes() == array(tensor).tobytes(), name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saved_is_read_bit_by_bit(tmp_path, layout, protocol):
    beside = {
        "epoch": 3, "arch": "r50", "size": torch.Size([1, 2]), "dtype": torch.float16,
        "device": torch.device("cpu"), "best": np.float64(0.5), "counts": np.arange(3),
        "optimizer": {"state": {0: {"m": torch.ones(3)}}, "lr": [0.1]},
    }  # fmt: skip
    path = tmp_path / "a.pth"
    value = beside | {"state_dict": state()}
    torch.save(value, path, pickle_protocol=protocol, **LAYOUTS[layout])
    read = tensor_files.read(path)
    assert_same(read.tensors, state())
    assert (read.format, read.wrappers, read.dropped) == (layout, ("state_dict",), ())
    assert read.meta == {
        "epoch": 3, "arch": "r50", "size": (1, 2), "dtype": "torch.float16", "device": "cpu",
        "best": 0.5, "optimizer": {"state": {0: {}}, "lr": [0.1]},
    }  # fmt: skip
    assert np.shares_memory(read.tensors["whole"], read.tensors["view"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_bare_state_dict(tmp_path, layout):
    torch.save(state(), tmp_path / "a.bin", **LAYOUTS[layout])
    read = tensor_files.read(tmp_path / "a.bin")
    assert_same(read.tensors, state())
    assert (read.wrappers, read.meta) == ((), {})


def test_tensors_with_attributes(tmp_path):
    marked = torch.ones(3)
    marked.note = "text"
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.note = "text"
    torch.save({"a": marked, "b": parameter}, tmp_path / "a.pth")
    read = tensor_files.read(tmp_path / "a.pth")
    assert_same(read.tensors, {"a": torch.ones(3), "b": torch.zeros(2)})


def test_what_is_written_torch_loads_with_weights_only(tmp_path):
    path = tmp_path / "a.pth"
    arrays = {name: array(tensor) for name, tensor in state().items()}
    tensor_files.write(path, arrays)
    for options in ({}, {"mmap": True}):
        loaded = torch.load(path, weights_only=True, **options)
        assert type(loaded) is collections.OrderedDict
        assert_same(arrays, loaded)
        assert all(t.is_contiguous() and t.data_ptr() % 16 == 0 for t in loaded.values())
    meta = {"meta": {"classes": ["a", "a"], "size": (1, 2)}, "epoch": 3}
    tensor_files.write(path, arrays, meta)
    loaded = torch.load(path, weights_only=True)
    assert_same(arrays, loaded.pop("state_dict"))
    assert loaded == meta


def test_other_kinds_of_tensors_are_refused_by_name(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.ones(2), "x": torch.eye(3).to_sparse()}, path)
    with pytest.raises(InputError, match="torch._utils._rebuild_sparse_tensor"):
        tensor_files.read(path)
    assert list(tensor_files.read(path, skip_unknown=True).tensors) == ["w"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_saved_network_is_refused_by_the_name_of_its_class(tmp_path, layout):
    path = tmp_path / "a.pth"
    torch.save(torch.nn.Conv3d(1, 1, 1), path, **LAYOUTS[layout])
    with pytest.raises(InputError, match="torch.nn.modules.conv.Conv3d"):
        tensor_files.read(path)
    with pytest.raises(InputError, match="no dict of tensors .it is a torch.nn.modules.conv"):
        tensor_files.read(path, skip_unknown=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_says_what_to_do(tmp_path):
    path = tmp_path / "a.pt"
    torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)).save(path)
    with pytest.raises(InputError, match="TorchScript.*state_dict"):
        tensor_files.read(path)


def test_a_pickle_of_tensors_without_torch_save_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": torch.ones(2)}))
    with pytest.raises(InputError, match="torch.storage._load_from_bytes.*torch.save"):
        tensor_files.read(tmp_path / "a.pkl")


def test_a_legacy_file_with_a_view_into_a_storage(tmp_path):
    # Torch before 0.4 stored storages that are parts of others; torch still reads such files.
    class Tensor:
        def __reduce__(self):
            args = (Storage(), 1, (2,), (1,), False, collections.OrderedDict())
            return torch._utils._rebuild_tensor_v2, args

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Storage):
                return ("storage", torch.FloatStorage, "root", "cpu", 8, ("part", 3, 4))
            return None

    def dumped(value):
        stream = io.BytesIO()
        Pickler(stream, 2).dump(value)
        return stream.getvalue()

    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    values = [0x1950A86A20F9469CFC6C, 1001, info, {"w": Tensor()}, ["root"]]
    raw = struct.pack("<q8f", 8, *range(8))
    path = tmp_path / "a.pth"
    path.write_bytes(b"".join(map(dumped, values)) + raw)
    read = tensor_files.read(path)
    assert read.format == "torch legacy"
    np.testing.assert_array_equal(read.tensors["w"], [4, 5])
    np.testing.assert_array_equal(torch.load(path, weights_only=False)["w"].numpy(), [4, 5])


def small(layout):
    stream = io.BytesIO()
    weights = collections.OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.ones(2).half())
    torch.save({"state_dict": weights, "epoch": 3}, stream, **LAYOUTS[layout])
    return stream.getvalue()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_cut_anywhere_is_an_input_error(tmp_path, layout):
    path, content = tmp_path / "a.pth", small(layout)
    for length in range(0, len(content), 1 + len(content) // 400):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            tensor_files.read(path)


@pytest.mark.parametrize("skip_unknown", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_spoilt_byte_is_an_input_error_or_read(tmp_path, layout, skip_unknown):
    path, content = tmp_path / "a.pth", small(layout)
    rng = np.random.default_rng(2)
    outcomes = set()
    for _ in range(400):
        spoilt = bytearray(content)
        spoilt[rng.integers(0, len(spoilt))] = rng.integers(0, 256)
        path.write_bytes(spoilt)
        try:
            tensor_files.read(path, skip_unknown=skip_unknown)
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_the_table_of_storages_is_torchs():
    for name, dtype in pickle_names.STORAGES.items():
        if name != "UntypedStorage":
            assert getattr(torch, name).dtype == getattr(torch, dtype)
    assert torch_files.LEGACY_MAGIC in pickle.dumps(torch.serialization.MAGIC_NUMBER, 2)
