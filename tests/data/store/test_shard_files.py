"""Parts of records agree with the library's whole records; a damaged file is refused."""

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


def test_more_files_than_may_be_open(tmp_path):
    contents = [bytes([i]) for i in range(shard_files._MAX_OPEN_FILES + 5)]
    paths = [write(tmp_path / str(i), [content]) for i, content in enumerate(contents)]
    files = shard_files.ShardFiles(paths, [1] * len(paths))
    opened = [files[row] for row in range(len(files))]
    # A record keeps its file open.
    assert [bytes(record.read(0, 1)) for record in opened] == contents
    assert files._opened.cache_info().currsize == shard_files._MAX_OPEN_FILES


@pytest.mark.parametrize("options", ["group_size:1", "group_size:2,uncompressed"])
def test_other_layouts_are_refused(options, tmp_path):
    path = write(tmp_path / "f", [b"abc" * 100] * 4, options)
    with pytest.raises(ValueError, match="uncompressed|several records"):
        shard_files.ShardFiles([path], [4])[0]


def test_another_number_of_records_is_refused(tmp_path):
    path = write(tmp_path / "f", [b"abc"] * 4)
    with pytest.raises(ValueError, match="has 4 records"):
        shard_files.ShardFiles([path], [5])[0]


def test_damaged_files_give_the_bytes_or_an_error(records, tmp_path):
    """Whatever is changed or cut: never more than an error of these kinds."""
    path = tmp_path / "f"
    write(path, records[:8])
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for trial in range(300):
        data = bytearray(whole)
        # The index, the headers of the first records, or anywhere.
        at = rng.integers(*[(len(data) - _BLOCK, len(data)), (0, 400), (0, len(data))][trial % 3])
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data[: at // _BLOCK * _BLOCK] if trial % 10 == 0 else data)
        try:
            files = shard_files.ShardFiles([str(path)], [8])
            for row in range(8):
                files[row].read(0, files[row].size)
        except (ValueError, IndexError):
            refused += 1
    assert refused > 30
