"""The reader of examples agrees with the protocol buffer library and refuses damage.

Read in parts, an example gives what it gives as a whole, and no more is read than is asked for.
"""

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from tempo.data.builders import examples
from tempo.data.store import example_proto


def test_reads_what_the_protocol_buffer_library_wrote():
    fields = {
        "pictures": [b"a" * 5, b"", bytes(range(256)) * 300],
        "id": ["Class/ä.mp4".encode()],
        "times": np.array([0.0, 0.04, -1.5], np.float32),
        "numbers": np.array([0, 1, 127, 128, -1, 2**62, -(2**63)]),
        "none": np.zeros(0, np.int64),
    }
    got = example_proto.parse(examples.serialize(fields))
    assert [bytes(f) for f in got["pictures"]] == fields["pictures"]
    assert [bytes(f) for f in got["id"]] == fields["id"]
    np.testing.assert_array_equal(got["times"], fields["times"])
    assert got["times"].dtype == np.float32 and got["numbers"].dtype == np.int64
    np.testing.assert_array_equal(got["numbers"], fields["numbers"])
    assert len(got["none"]) == 0


def test_bytes_are_views_of_the_record():
    record = examples.serialize({"picture": [b"abc" * 1000]})
    (picture,) = example_proto.parse(record)["picture"]
    assert isinstance(picture, memoryview) and picture.obj is record


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


def flipped(record, at, bit=0):
    return record[:at] + bytes([record[at] ^ 1 << bit]) + record[at + 1 :]


def test_a_changed_frame_is_noticed_and_the_others_are_not_lost(frames, record):
    for number in range(3, len(frames)):
        at = record.index(frames[number]) + (77 * number) % len(frames[number])
        found = example_proto.Example(InParts(flipped(record, at)))["frames"]
        with pytest.raises(
            ValueError, match=rf"^frame {number} is damaged \(its checksum differs\)$"
        ):
            found[number]
        with pytest.raises(ValueError, match=f"^frame {number} is damaged"):
            found.take(range(number - 1, min(number + 2, len(frames))))
        others = [i for i in range(len(frames)) if i != number]
        assert [bytes(f) for f in found.take(others)] == [frames[i] for i in others]


def test_sizes_of_something_else(frames):
    described = example_proto.describe({"frames": frames[:-1]})
    fields = {"frames": frames, **described}
    with pytest.raises(ValueError, match="do not fit"):
        example_proto.Example(InParts(examples.serialize(fields)))["frames"]


def values_of(example, names):
    """Each feature's value as bytes, or the error that it gives."""
    found = {}
    for name in names:
        try:
            value = example[name]
            parts = value if isinstance(value, np.ndarray) else [bytes(part) for part in value]
            found[name] = value.tobytes() if parts is value else parts
        except ValueError as error:
            found[name] = error
    return found


@pytest.mark.parametrize("source", [InParts, example_proto.Whole])
def test_a_flipped_bit_gives_what_was_written_or_an_error(source):
    """Any bit of a record: names, sizes, kinds, numbers and the checksums themselves."""
    fields = {
        "frames": [b"a frame", b"another"],
        "id": [b"a video"],
        "label": np.array([300]),
        "timestamps": np.arange(20, dtype=np.float32),
    }
    record = examples.serialize(fields | example_proto.describe(fields))
    whole = values_of(example_proto.Example(source(record)), fields)
    assert not any(isinstance(value, ValueError) for value in whole.values())
    num_noticed = 0
    for at in range(len(record)):
        for bit in range(8):
            found = values_of(example_proto.Example(source(flipped(record, at, bit))), fields)
            errors = [name for name in fields if isinstance(found[name], ValueError)]
            kept = {name: value for name, value in found.items() if name not in errors}
            assert kept == {name: whole[name] for name in kept}, (at, bit)
            num_noticed += bool(errors)
    # All but the few tags and sizes that nothing is read by.
    assert num_noticed > 0.95 * 8 * len(record)


def test_what_is_not_read_is_not_checked(frames, record):
    damaged = flipped(record, record.index(b"a video"))
    example = example_proto.Example(InParts(damaged))
    assert bytes(example["frames"][5]) == frames[5] and len(example["times"]) == 3
    with pytest.raises(ValueError, match=r"^id is damaged \(its checksum differs\)$"):
        example["id"]


def test_a_record_without_its_checksums(frames):
    fields = {"frames": frames[:2], "id": [b"a video"]}
    with pytest.raises(ValueError, match="sizes and checksums of frames are missing"):
        example_proto.Example(example_proto.Whole(examples.serialize(fields)))["frames"]
    other = tf_example_pb2.Example()
    other.features.feature["id"].bytes_list.value.append(b"a video")
    with pytest.raises(ValueError, match="does not begin with '_checksums'"):
        example_proto.parse(other.SerializeToString())
    written = examples.serialize({"id": [b"a video"]})
    stored = tf_example_pb2.Example.FromString(written)
    for name in ("id", "more"):  # one fewer, and one more
        changed = tf_example_pb2.Example.FromString(written)
        if name in changed.features.feature:
            del changed.features.feature[name]
        else:
            changed.features.feature[name].CopyFrom(stored.features.feature["id"])
        with pytest.raises(ValueError, match="is missing at its end|name of feature 1 is damaged"):
            example_proto.parse(changed.SerializeToString(deterministic=True))


def test_damage_of_any_kind_is_a_value_error(record):
    """Also where it is cut, in the sizes of all of it, and in large elements."""
    rng = np.random.default_rng(1)
    names = ("frames", "id", "times", "contents_frames")
    whole = values_of(example_proto.Example(InParts(record)), names)
    refused = 0
    for trial in range(300):
        at = int(rng.integers(1000 if trial % 2 else len(record)))
        damaged = flipped(record, at, int(rng.integers(8)))
        damaged = damaged[: len(damaged) - trial % 3]
        found = values_of(example_proto.Example(InParts(damaged)), names)
        errors = [name for name, value in found.items() if isinstance(value, ValueError)]
        assert all(found[name] == whole[name] for name in names if name not in errors)
        refused += bool(errors)
    assert refused > 290


@pytest.mark.parametrize("count", [0, 1, 5])
def test_varints_of_all_lengths(count):
    rng = np.random.default_rng(2)
    numbers = np.array([int(rng.integers(-(2**62), 2**62)) >> int(s) for s in range(0, 62, 7)])
    numbers = np.resize(numbers, count) if count < 5 else numbers
    example = example_proto.parse(examples.serialize({"n": numbers.astype(np.int64)}))
    np.testing.assert_array_equal(example["n"], numbers)
