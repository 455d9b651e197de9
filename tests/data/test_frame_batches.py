"""Single frames in batches: every sampled frame once, for any batch, worker and process count."""

import numpy as np
import pytest

from tempo.data import frame_batches, pipeline, sampling


@pytest.fixture(scope="module", params=["frames_dir", "encoded_dir"])
def split(request):
    return pipeline.open_records(request.getfixturevalue(request.param)).split("train")


def read(split, **changed):
    offsets, numbers = frame_batches.sampled(split, 10.0)
    settings = {"short_side_px": 48, "size_px": 40, "batch_size": 8, **changed}
    with frame_batches.frame_batches(split, offsets, numbers, **settings) as batches:
        return list(batches)


def test_sampled_frames_are_those_of_the_clock(split):
    offsets, numbers = frame_batches.sampled(split, 10.0)
    assert len(offsets) == len(split) + 1 and offsets[0] == 0 and offsets[-1] == len(numbers)
    for row in range(len(split)):
        expected = sampling.resample(split[row].timestamps, 10.0)
        np.testing.assert_array_equal(numbers[offsets[row] : offsets[row + 1]], expected)
    # Videos of 12 to 16 frames at 25 per second.
    assert set(np.diff(offsets)) <= {5, 6, 7}


@pytest.mark.parametrize("num_workers, worker_kind", [(0, "thread"), (3, "thread")])
@pytest.mark.parametrize("batch_size, process_count", [(8, 1), (8, 2), (6, 3), (200, 1)])
def test_each_frame_is_there_once(split, tiny, batch_size, process_count, num_workers, worker_kind):
    offsets, numbers = frame_batches.sampled(split, 10.0)
    whole = {}
    for process_index in range(process_count):
        batches = read(
            split,
            batch_size=batch_size,
            num_workers=num_workers,
            worker_kind=worker_kind,
            process_index=process_index,
            process_count=process_count,
        )
        assert len(batches) == -(-len(numbers) // batch_size)
        for batch in batches:
            assert batch["video"].shape == (batch_size // process_count, 1, 40, 40, 3)
            seen = tiny.numbers(batch["video"])[:, 0]
            np.testing.assert_array_equal(seen, numbers[batch["place"]])
            for i in np.flatnonzero(batch["mask"]):
                place, row = batch["place"][i], batch["index"][i]
                assert offsets[row] <= place < offsets[row + 1] and place not in whole
                assert batch["id"][i] == split.ids[row] and batch["label"][i] == split.labels[row]
                whole[place] = batch["video"][i]
    assert sorted(whole) == list(range(len(numbers)))


def test_worker_processes_make_the_same_batches(split):
    ours, theirs = read(split), read(split, num_workers=1, worker_kind="process")
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            np.testing.assert_array_equal(value, b[key])
