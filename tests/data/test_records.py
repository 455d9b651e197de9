"""Opening datasets, lazy frames, and reading them with TFDS alone."""

import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tempo.data import pipeline, specs
from tempo.errors import InputError, RecordError


@pytest.fixture
def copy(frames_dir, tmp_path):
    return shutil.copytree(frames_dir, tmp_path / "copy")


def test_what_a_dataset_says_of_itself(frames_dir, encoded_dir):
    frames, encoded = pipeline.open_records(frames_dir), pipeline.open_records(str(encoded_dir))
    assert (frames.kind, encoded.kind) == ("frames", "encoded")
    assert frames.class_names == ("Class0", "Class1", "Class2") and frames.num_classes == 3
    assert frames.splits == ("train", "test")
    assert [len(frames.split(s)) for s in frames.splits] == [10, 5]
    assert frames.name == "records" and frames.short_side_px == 0
    assert frames.manifest_sha256 != encoded.manifest_sha256
    assert pipeline.is_complete(frames_dir) and not pipeline.is_complete(frames_dir / "x")


@pytest.mark.parametrize("kind", ["frames_dir", "encoded_dir"])
def test_frames_are_those_asked_for_in_any_order_and_shape(kind, request, tiny):
    split = pipeline.open_records(request.getfixturevalue(kind)).split("train")
    for row in (0, 3, 9):
        record = split[row]
        assert record.id == split.ids[row] and record.label == split.labels[row]
        assert record.num_frames == split.manifest[row]["num_frames"] == 12 + row % 5
        np.testing.assert_allclose(record.timestamps, np.arange(record.num_frames) / 25, atol=1e-6)
        wanted = np.array([[7, 2], [2, 11]])
        frames = record.decode(wanted)
        assert frames.shape == (2, 2, 48, 64, 3)
        np.testing.assert_array_equal(tiny.numbers(frames), wanted)


def test_a_split_pickles_without_its_manifest(train):
    other = pickle.loads(pickle.dumps(train))
    assert other.ids == train.ids
    np.testing.assert_array_equal(other[4].decode([3]), train[4].decode([3]))
    assert len(pickle.dumps(train)) < 2000


def test_rows_outside_a_split(train):
    for row in (-1, 10):
        with pytest.raises(IndexError):
            train[row]


def test_a_frame_that_is_not_there(train):
    with pytest.raises(RecordError, match=train.ids[0]):
        train[0].decode([99])


def test_a_misspelt_split(frames_dir):
    with pytest.raises(InputError, match="Did you mean 'train'"):
        pipeline.open_records(frames_dir).split("trian")


def test_nothing_there_or_not_finished(tmp_path, copy):
    with pytest.raises(InputError, match=r"no prepared dataset; run: python -m tempo\.prepare"):
        pipeline.open_records(tmp_path / "nowhere")
    with pytest.raises(InputError, match="--videos DIR --dataset mod_ucf101 --short-side 140"):
        pipeline.open_records(tmp_path / "nowhere", "mod_ucf101")
    (copy / "manifest.json").unlink()
    (copy / ".build").mkdir()
    with pytest.raises(InputError, match="an unfinished dataset"):
        pipeline.open_records(copy)


def test_damaged_files_are_noticed(copy):
    shard = copy / "videos-train.array_record-00001-of-00003"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="00001-of-00003' is cut or changed"):
        pipeline.open_records(copy)
    shard.unlink()
    with pytest.raises(InputError, match="00001-of-00003' is missing"):
        pipeline.open_records(copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json' is damaged"):
        pipeline.open_records(copy)
    (copy / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="has format 99"):
        pipeline.open_records(copy)


def test_flipped_bytes_inside_a_record_are_noticed(copy):
    shard = copy / "videos-train.array_record-00000-of-00003"
    data = bytearray(shard.read_bytes())
    at = data.index(b"\xff\xd8\xff") + 200
    data[at] ^= 0xFF
    shard.write_bytes(bytes(data))
    record = pipeline.open_records(copy).split("train")[0]
    with pytest.raises(RecordError, match=r"_00\.mp4: cannot decode frames: frame 0 is damaged \("):
        record.decode([0])
    assert record.decode([5]).shape == (1, 48, 64, 3)  # that one is whole


def test_a_changed_index_or_header_is_noticed_when_the_dataset_is_opened(copy):
    """A label, an id, and the name of a class."""
    for name, before in (
        ("videos-train.labels.npy", b"\x02\x00\x00\x00"),
        ("videos-test.ids.npy", b"Class1/v_test_01.mp4"),
        ("manifest.json", b"Class1"),
    ):
        whole = (copy / name).read_bytes()
        at = whole.rindex(before)
        (copy / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputError, match=rf"{name}' is damaged.*prepare"):
            pipeline.open_records(copy)
        (copy / name).write_bytes(whole)
    pipeline.open_records(copy)


def what_is_read(split):
    """Of each record, what each way to ask for it gives: a value or a `RecordError`."""
    found = []
    for row in range(len(split)):
        for ask in (
            lambda r: r.label,
            lambda r: r.num_frames,
            lambda r: r.timestamps.tobytes(),
            lambda r: r.decode(np.arange(0, 12, 3)).tobytes(),
            lambda r: r.num_flows,
        ):
            try:
                found.append(ask(split[row]))
            except RecordError as error:
                assert str(error).startswith(f"{split.ids[row]}: cannot ")
                assert str(error).endswith("; delete the dataset and prepare it again.")
                found.append(None)
    return found


@pytest.mark.parametrize("kind", ["frames_dir", "encoded_dir"])
def test_a_flipped_bit_never_gives_other_data(kind, request, tmp_path):
    """Anywhere in a file of records: what it says is what was written, or a `RecordError`."""
    copy = shutil.copytree(request.getfixturevalue(kind), tmp_path / "copy")
    shard = min(copy.glob("videos-test.array_record-*"))
    whole = shard.read_bytes()
    expected = what_is_read(pipeline.open_records(copy).split("test"))
    assert None not in expected
    rng = np.random.default_rng(0)
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    names = (
        b"_checksums",
        b"contents_",
        b"label",
        b"num_frames",
        b"packets",
        b"rotation",
        b"times",
    )
    near = [whole.index(name) for name in names if name in whole]
    places = [at + int(n) for at in near for n in rng.integers(-6, 100, 12)]
    places += [*rng.choice(used[used > len(whole) - 65536], 40), *rng.choice(used, 40)]
    noticed = 0
    for at in places:
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        shard.write_bytes(data)
        found = what_is_read(pipeline.open_records(copy).split("test"))
        assert all(a is None or a == b for a, b in zip(found, expected, strict=True)), at
        noticed += None in found
    assert noticed > len(places) / 3


@pytest.mark.parametrize("kind", ["frames_dir", "encoded_dir"])
def test_tfds_reads_them_without_tensorflow(kind, request):
    """In a process of its own: other tests of the suite may have loaded anything."""
    code = f"""
import sys
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory({str(request.getfixturevalue(kind))!r})
assert builder.info.features["label"].names == ["Class0", "Class1", "Class2"]
assert builder.info.splits["test"].num_examples == 5
source = builder.as_data_source("train")
assert len(source) == 10
example = source[4]
assert example["label"] == 1 and example["id"] == b"Class1/v_train_04.mp4", example
assert example["num_frames"] == 16 == len(example["timestamps"])
if "frames" in example:
    assert len(example["frames"]) == 16 and example["frames"][0].shape == (48, 64, 3)
else:
    assert example["video"][4:8] == b"ftyp" and example["keyframes"][0] == 0
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_of_datasets():
    assert specs.lookup("folder").label_kind == "single"
    assert specs.lookup("tempobench_pairs").num_classes == 14
    with pytest.raises(InputError, match="Did you mean 'tempobench_pairs'"):
        specs.lookup("tempobench_pair")
    with pytest.raises(InputError, match="label kind"):
        specs.DatasetSpec(label_kind="many")
