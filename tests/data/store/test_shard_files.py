"""Parts of records agree with the library's whole records; a damaged file is refused."""

import gc
import os

import numpy as np
import pytest
from array_record.python import array_record_module

from tempo.data.store import scratch, shard_files

_BLOCK = 1 << 16


def write(path, records, options="group_size:1,uncompressed"):
    writer = array_record_module.ArrayRecordWriter(str(path), options)
    for record in records:
        writer.write(record)
    writer.close()
    return str(path)


@pytest.fixture(scope="module")
def records():
    """Records of all sizes: empty, inside a block, to its very end, over several blocks."""
    rng = np.random.default_rng(0)
    sizes = [0, 1, 100, 4095, 4096, 4097, 65_400, 65_512, 65_536, 200_000, 3, 1_000_000]
    sizes += rng.integers(0, 70_000, 40).tolist()
    return [rng.integers(0, 256, n, np.uint8).tobytes() for n in sizes]


def test_any_part_of_any_record(records, tmp_path):
    middle = len(records) // 2
    paths = [
        write(tmp_path / "a", records[:middle]),
        write(tmp_path / "b", records[middle:]),
    ]
    files = shard_files.ShardFiles(paths, [middle, len(records) - middle])
    assert len(files) == len(records)
    rng = np.random.default_rng(1)
    memory = scratch.Memory()
    for row, expected in enumerate(records):
        record = files[row]
        assert record.size == len(expected)
        assert record.head == expected[: len(record.head)]
        assert len(record.head) >= min(len(expected), 4000)
        assert record.read(0, record.size) == expected
        for _ in range(20):
            start, stop = np.sort(rng.integers(0, record.size + 1, 2)).tolist()
            with memory.clip():  # which other reads have written to
                assert record.read(start, stop) == expected[start:stop]
    with pytest.raises(ValueError, match="of a record of 3"):
        files[10].read(0, 4)
    with pytest.raises(ValueError, match="of a record of 3"):
        files[10].read(-1, 2)


def test_more_files_than_may_be_open(tmp_path):
    contents = [bytes([i]) for i in range(shard_files._MAX_OPEN_FILES + 5)]
    paths = [write(tmp_path / str(i), [content]) for i, content in enumerate(contents)]
    files = shard_files.ShardFiles(paths, [1] * len(paths))
    opened = [files[row] for row in range(len(files))]
    # A record keeps its file open.
    assert [bytes(record.read(0, 1)) for record in opened] == contents
    assert len(files._opened) == shard_files._MAX_OPEN_FILES
    # Those used last are kept.
    assert bytes(files[5].read(0, 1)) == contents[5] and bytes(files[0].read(0, 1)) == contents[0]
    assert list(files._opened) == [*range(7, len(paths)), 5, 0]


def num_open_files():
    return len(os.listdir("/dev/fd"))


def test_files_are_closed_with_the_last_that_uses_them(tmp_path):
    paths = [write(tmp_path / str(i), [b"abc"]) for i in range(4)]
    gc.collect()
    gc.disable()
    try:
        before = num_open_files()
        files = shard_files.ShardFiles(paths, [1] * 4)
        records = [files[row] for row in range(4)]
        assert num_open_files() == before + 4
        del files
        assert records[1].read(0, 3) == b"abc" and num_open_files() == before + 4
        del records
        assert num_open_files() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("options", ["group_size:1", "group_size:2,uncompressed"])
def test_other_layouts_are_refused(options, tmp_path):
    path = write(tmp_path / "f", [b"abc" * 100] * 4, options)
    with pytest.raises(ValueError, match="uncompressed|several records"):
        shard_files.ShardFiles([path], [4])[0]


def test_another_number_of_records_is_refused(tmp_path):
    path = write(tmp_path / "f", [b"abc"] * 4)
    with pytest.raises(ValueError, match="has 4 records, not 5"):
        shard_files.ShardFiles([path], [5])[0]


def varint(value):
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def test_an_index_that_points_elsewhere_is_refused(records, tmp_path):
    path, changed = tmp_path / "f", tmp_path / "changed"
    write(path, [records[11][:70_000], records[11][:90_000], records[11]])
    whole = path.read_bytes()
    _, second, third = (b"\x08" + varint(int(n)) for n in shard_files.ShardFile(str(path))._chunks)
    far = b"\x08" + varint(2_000_000)
    for other in ((third, third), (third, second), (second, far)):
        data = bytearray(whole)
        places = [data.rindex(before) for before in (second, third)]
        for at, after in zip(places, other, strict=True):
            data[at : at + len(second)] = after
        assert len(data) == len(whole) != 2_000_000
        changed.write_bytes(data)
        with pytest.raises(ValueError, match="changed' is damaged: its index is out of order"):
            shard_files.ShardFile(str(changed))


def test_more_than_the_file_has_is_asked_for(tmp_path):
    """By a number that is damaged: no memory is taken for it."""
    path = write(tmp_path / "f", [b"abc"] * 4)
    file = shard_files.ShardFile(path)
    size = os.path.getsize(path)
    assert len(file.read([0], [shard_files._content(size)])[0]) == shard_files._content(size)
    for stop in (shard_files._content(size) + 1, 1 << 50):
        with pytest.raises(ValueError, match=f"f' ends before byte {stop}"):
            file.read([0, 5], [3, stop])


def test_numbers_that_fit_nowhere_are_a_value_error(tmp_path, monkeypatch):
    path = write(tmp_path / "f", [b"abc"] * 4)
    original = shard_files._numbers

    def huge(message):
        found = original(message)
        return found | {1: 2**70} if 3 in found else found

    monkeypatch.setattr(shard_files, "_numbers", huge)
    with pytest.raises(ValueError, match="f' is damaged: its index cannot be read"):
        shard_files.ShardFile(path)


def test_damaged_files_give_the_bytes_or_an_error(records, tmp_path):
    """Whatever is changed or cut: the bytes that are there, in their place, or an error."""
    path = tmp_path / "f"
    write(path, records[:8])
    whole = path.read_bytes()
    places = shard_files.ShardFile(str(path))._chunks.tolist()
    ends = [*places[1:], len(whole) - _BLOCK]
    rng = np.random.default_rng(2)
    refused = moved = 0
    for trial in range(300):
        data = bytearray(whole)
        # The index, the headers of the first records, or anywhere.
        at = int(
            rng.integers(*[(len(data) - _BLOCK, len(data)), (0, 400), (0, len(data))][trial % 3])
        )
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data[: at // _BLOCK * _BLOCK] if trial % 10 == 0 else data)
        try:
            files = shard_files.ShardFiles([str(path)], [8])
        except ValueError:
            refused += 1
            continue
        for row in range(8):
            try:
                record = files[row]
                got = bytes(record.read(0, record.size))
            except ValueError:
                refused += 1
                continue
            is_touched = places[row] <= at < ends[row] and trial % 10
            if not is_touched:
                assert got == records[row], (trial, at, row)
            elif len(got) == len(records[row]):
                changes = sum(a != b for a, b in zip(got, records[row], strict=True))
                moved += changes > 1
            else:
                moved += 1
    assert refused > 30
    assert moved < 10  # only numbers in the header of a chunk do that
