"""The reader of examples agrees with the protocol buffer library and refuses damage."""

import numpy as np
import pytest

from tempo.data import example_proto
from tempo.data.builders import examples


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
