"""The reader of examples agrees with the protocol buffer library and refuses damage.

Read in parts, an example gives what it gives as a whole, and no more is read than is asked for.
"""

import numpy as np
import pytest

from tempo.data.builders import examples
from tempo.data.store import example_proto


def test_reads_what_the_protocol_buffer_library_wrote():
    fields = {
        "frames": [b"a" * 5, b"", bytes(range(256)) * 300],
        "id": ["Class/ä.mp4".encode()],
        "times": np.array([0.0, 0.04, -1.5], np.float32),
        "numbers": np.array([0, 1, 127, 128, -1, 2**62, -(2**63)]),
        "none": np.zeros(0, np.int64),
    }
    got = example_proto.parse(examples.serialize(fields))
    assert [bytes(f) for f in got["frames"]] == fields["frames"]
    assert [bytes(f) for f in got["id"]] == fields["id"]
    np.testing.assert_array_equal(got["times"], fields["times"])
    assert got["times"].dtype == np.float32 and got["numbers"].dtype == np.int64
    np.testing.assert_array_equal(got["numbers"], fields["numbers"])
    assert len(got["none"]) == 0


def test_bytes_are_views_of_the_record():
    record = examples.serialize({"frames": [b"abc" * 1000]})
    (frame,) = example_proto.parse(record)["frames"]
    assert isinstance(frame, memoryview) and frame.obj is record


def test_the_same_content_gives_the_same_bytes():
    a = {"b": [b"x"], "a": np.arange(3)}
    assert examples.serialize(a) == examples.serialize(dict(reversed(a.items())))


@pytest.mark.parametrize("damage", [lambda r: r[:-1], lambda r: b"\x08" + r, lambda r: r + b"\x0a"])
def test_damaged_records(damage):
    record = examples.serialize({"frames": [b"abc" * 100], "n": np.arange(5)})
    with pytest.raises(ValueError, match="not a tf.train.Example"):
        example_proto.parse(damage(record))


class InParts:
    """A record that says what was read of it; only its beginning comes unasked."""

    def __init__(self, record, head_bytes=64):
        self._record = record
        self.size = len(record)
        self.head = memoryview(record)[:head_bytes]
        self.places = []

    def read(self, start, stop):
        self.places.append((start, stop))
        return memoryview(self._record)[start:stop]

    def read_ranges(self, starts, stops):
        return [self.read(a, b) for a, b in zip(starts, stops, strict=True)]

    @property
    def num_read(self):
        return sum(stop - start for start, stop in self.places)


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    sizes = [0, 1, 127, 128, 16_383, 16_384, *rng.integers(5_000, 20_000, 50)]
    return [rng.integers(0, 256, n, np.uint8).tobytes() for n in sizes]


@pytest.fixture(scope="module")
def record(frames):
    fields = {"frames": frames, "id": [b"a video"], "times": np.arange(3, dtype=np.float32)}
    return examples.serialize(fields | example_proto.describe(fields))


def test_only_what_is_asked_for_is_read(frames, record):
    source = InParts(record)
    found = example_proto.Example(source)["frames"]
    assert len(found) == len(frames) and source.num_read < 10_000
    before = source.num_read
    wanted = [3, 9, 10, 11, 40]
    assert [bytes(f) for f in found.take(wanted)] == [frames[i] for i in wanted]
    assert source.num_read - before < sum(len(frames[i]) for i in wanted) + 20
    assert len(source.places) <= 2 + 3  # neighbours in one
    assert bytes(found[-1]) == frames[-1] and [bytes(f) for f in found[1:3]] == frames[1:3]
    assert [bytes(f) for f in found] == frames
    for outside in ([len(frames)], [-1]):
        with pytest.raises(IndexError):
            found.take(outside)


def test_features_behind_the_frames(record):
    source = InParts(record)
    example = example_proto.Example(source)
    assert example["times"].tolist() == [0, 1, 2] and bytes(example["id"][0]) == b"a video"
    assert source.num_read < 20_000
    assert "none" not in example and set(example) == {"contents_frames", "frames", "id", "times"}
    with pytest.raises(KeyError):
        example["none"]


def test_a_changed_frame_is_noticed_and_the_others_are_not_lost(frames, record):
    at = record.index(frames[20]) + 77
    damaged = record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]
    found = example_proto.Example(InParts(damaged))["frames"]
    assert bytes(found[19]) == frames[19]
    with pytest.raises(ValueError, match="frames 20 is damaged"):
        found.take([19, 20, 21])


def test_sizes_of_something_else(frames):
    described = example_proto.describe({"frames": frames[:-1]})
    fields = {"frames": frames, **described}
    with pytest.raises(ValueError, match="do not fit"):
        example_proto.Example(InParts(examples.serialize(fields)))["frames"]


def test_damage_in_parts_gives_other_values_or_an_error(record):
    rng = np.random.default_rng(1)
    refused = 0
    for trial in range(300):
        damaged = bytearray(record)
        at = int(rng.integers(1000 if trial % 2 else len(record)))
        damaged[at] ^= 1 << int(rng.integers(8))
        damaged = bytes(damaged[: len(damaged) - trial % 3])
        try:
            example = example_proto.Example(InParts(damaged))
            list(example["frames"])
            dict(example)
        except (ValueError, IndexError, KeyError):
            refused += 1
    assert refused > 250


@pytest.mark.parametrize("count", [0, 1, 5])
def test_varints_of_all_lengths(count):
    rng = np.random.default_rng(2)
    numbers = np.array([int(rng.integers(-(2**62), 2**62)) >> int(s) for s in range(0, 62, 7)])
    numbers = np.resize(numbers, count) if count < 5 else numbers
    example = example_proto.parse(examples.serialize({"n": numbers.astype(np.int64)}))
    np.testing.assert_array_equal(example["n"], numbers)
