"""The index of a split: lazy rows, mapped columns, the same for 5 videos and for 240,000."""

import mmap
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from tempo.data import pipeline, records
from tempo.data.store import index
from tempo.errors import InputError


def rows(labels, key="label"):
    return [{"id": f"Läufe/v{i}.mp4", key: label} for i, label in enumerate(labels)]


def write(folder, labels, kind="single", num_classes=4):
    key = "label" if kind == "single" else "labels"
    made = rows(labels, key)
    facts = index.write(str(folder), "train", iter(made), label_kind=kind, num_classes=num_classes)
    return facts, made


@pytest.mark.parametrize(
    ("kind", "labels", "column"),
    [
        ("single", [3, 0, 1], np.array([3, 0, 1], np.int32)),
        ("joint", [[0, 3], [1, 2], [0, 2]], np.array([[0, 3], [1, 2], [0, 2]], np.int32)),
        ("multi", [[], [0, 3], [2]], np.array([[0] * 4, [1, 0, 0, 1], [0, 0, 1, 0]], np.uint8)),
    ],
)
def test_labels_of_each_kind(tmp_path, kind, labels, column):
    facts, made = write(tmp_path, labels, kind)
    found = index.open_index(str(tmp_path), "train")
    assert facts["num_videos"] == len(found.ids) == len(found.rows) == 3
    assert found.labels.dtype == column.dtype and not found.labels.flags.writeable
    np.testing.assert_array_equal(found.labels, column)
    assert list(found.rows) == made and found.rows[-1] == made[2] and found.rows[1:] == made[1:]


def test_ids_are_strings_made_when_asked_for(tmp_path):
    _, made = write(tmp_path, [0] * 5)
    expected = [row["id"] for row in made]
    ids = index.open_index(str(tmp_path), "train").ids
    assert ids == expected and list(ids) == expected and expected[3] in ids
    assert ids[2] == expected[2] and isinstance(ids[2], str) and ids[-1] == expected[-1]
    assert ids[np.array([4, 0])].tolist() == [expected[4], expected[0]]
    array = np.asarray(ids)
    assert array.dtype.kind == "U" and array.tolist() == expected
    assert ids != expected[:-1] and ids != 3
    for outside in (5, -6):
        with pytest.raises(IndexError):
            ids[outside]


def test_what_the_rows_say_is_their_identity(tmp_path):
    hashes = set()
    for name, labels in (("a", [0, 1]), ("b", [0, 1]), ("c", [1, 0])):
        (tmp_path / name).mkdir()
        hashes.add(write(tmp_path / name, labels)[0]["rows_sha256"])
    assert len(hashes) == 2


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def checked(folder, facts, **kinds):
    index.check(str(folder), "train", facts, **dict(label_kind="single", num_classes=4) | kinds)


def test_any_changed_byte_of_an_index_is_noticed(tmp_path):
    facts, _ = write(tmp_path, [3, 0, 1])
    checked(tmp_path, facts)
    names = index.file_names("train").values()
    assert set(facts["index_sha256"]) == set(names)
    rng = np.random.default_rng(0)
    for name in names:
        path = tmp_path / name
        whole = path.read_bytes()
        for at in [*rng.integers(0, len(whole), 5), len(whole) - 1]:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
            with pytest.raises(InputError, match=rf"{name}' is damaged \(.*prepare it again\.$"):
                checked(tmp_path, facts)
        path.unlink()
        with pytest.raises(InputError, match=f"{name}' is missing"):
            checked(tmp_path, facts)
        path.write_bytes(whole)
    checked(tmp_path, facts)


@pytest.mark.parametrize(
    ("kind", "labels", "allowed"),
    [
        ("single", [3, 0, 4], "0 to 3"),
        ("single", [-1, 0], "0 to 3"),
        ("joint", [[0, 1], [2, 4]], "-1 to 3"),
        ("joint", [[0, 1], [2, -2]], "-1 to 3"),
    ],
)
def test_labels_that_no_class_has(tmp_path, kind, labels, allowed):
    facts, _ = write(tmp_path, labels, kind)
    message = rf"labels\.npy' has labels from -?\d to \d, not {allowed}; "
    with pytest.raises(InputError, match=message):
        checked(tmp_path, facts, label_kind=kind)


def test_a_group_may_have_labels_that_are_not_known(tmp_path):
    facts, _ = write(tmp_path, [[0, 1], [2, -1]], "joint")
    checked(tmp_path, facts, label_kind="joint")


def test_labels_of_many_classes_are_none_or_one(tmp_path):
    facts, _ = write(tmp_path, [[], [0, 3]], "multi")
    checked(tmp_path, facts, label_kind="multi", num_classes=1)


def test_an_index_of_another_number_of_videos(tmp_path):
    facts, _ = write(tmp_path, [0, 1])
    with pytest.raises(InputError, match=r"ids\.npy' is of 2 videos, not 3; "):
        checked(tmp_path, facts | {"num_videos": 3})


def test_columns_are_mapped_and_not_read(train):
    assert is_mapped(train.labels) and is_mapped(train.ids._column)
    assert is_mapped(train.manifest._offsets)
    assert train.manifest[0]["id"] == train.ids[0]
    assert is_mapped(train.manifest._text)


NUM_VIDEOS = 240_000


@pytest.fixture(scope="module")
def large(frames_dir, tmp_path_factory):
    """A dataset whose training split says that it has 240,000 videos (its records are missing)."""
    import json
    import shutil

    out = shutil.copytree(frames_dir, tmp_path_factory.mktemp("large") / "records")
    header = json.loads((out / "manifest.json").read_text())
    made = pipeline.open_records(out).split("train").manifest[0]
    facts = index.write(
        str(out),
        "train",
        ({**made, "id": f"some class/{i:06d}.mp4", "label": i % 3} for i in range(NUM_VIDEOS)),
        label_kind="single",
        num_classes=3,
    )
    shard = header["splits"]["train"]["shards"][0]
    shards = [{**shard, "num_records": 128} for _ in range(NUM_VIDEOS // 128)]
    header["splits"]["train"] = facts | {"shards": shards}
    header["checksum"] = records.checksum(header)
    (out / "manifest.json").write_text(json.dumps(header))
    return out


def test_opening_240_000_videos_takes_next_to_no_memory(large):
    tracemalloc.start()
    split = pipeline.open_records(large).split("train")
    at_open = tracemalloc.get_traced_memory()[1]
    labels = split.labels[np.arange(0, NUM_VIDEOS, 1000)]
    assert split.manifest[239_999]["id"] == split.ids[239_999] == "some class/239999.mp4"
    tracemalloc.stop()
    assert len(split) == NUM_VIDEOS and labels.tolist() == [i % 3 for i in range(0, 240_000, 1000)]
    assert at_open < 4 << 20  # the header, parsed: it names 1,875 shards
    assert sum(path.stat().st_size for path in large.glob("videos-train.*")) > 60 << 20


def test_a_process_that_opens_240_000_videos_grows_by_less_than_200_mb(large):
    code = f"""
import resource
from tempo.data import pipeline
pipeline.open_records({str(large)!r}).split("test")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
split = pipeline.open_records({str(large)!r}).split("train")
assert split.labels.sum() == 240_000 and len(split.ids[239_999]) == 21
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200 << 10  # kB


def test_a_worker_gets_a_path_and_no_index(large):
    split = pipeline.open_records(large).split("train")
    assert split.manifest[5] and split.ids[5]
    sent = pickle.dumps(split)
    assert len(sent) < 500
    other = pickle.loads(sent)
    assert len(other) == NUM_VIDEOS and other.ids[7] == split.ids[7]
    assert is_mapped(other.labels)
