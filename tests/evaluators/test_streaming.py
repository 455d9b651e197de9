"""Every view of every video goes through the network once, in batches of one shape."""

import numpy as np
import pytest

from tempo.data import sampling
from tempo.errors import InputError
from tempo.evaluators import streaming
from tempo.types import ClipSpec, ViewSpec
from tests.evaluators import numbered

LENGTHS = (12, 30, 9, 21, 3, 40, 16)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    videos = [("ab"[i % 2], range(length)) for i, length in enumerate(LENGTHS)]
    return numbered.make_records(tmp_path_factory.mktemp("numbered"), videos)


def lengths(records):
    """Frames of the test videos in the order of the split."""
    return [row["num_frames"] for row in records.split("test").manifest]


@pytest.mark.parametrize("batch_size", [4, 8, 20])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_views_are_those_of_the_clips_whatever_the_batch(records, batch_size, stride):
    view = ViewSpec(num_clips=3, crop="three", short_side_px=32, size_px=32)
    clip = ClipSpec(num_frames=4, stride=stride)
    scorer = numbered.scorer(records, view=view, batch_size=batch_size)
    found, clips_per_s = scorer.videos(0.0, clip=clip, save_views=True, save_embedding=True)
    for row, length in enumerate(lengths(records)):
        frames = sampling.eval_indices(length, clip, 3)  # [3,T]
        expected = frames.repeat(3, axis=0)  # three crops of each
        np.testing.assert_array_equal(found.view_logits[0, row], expected)
        np.testing.assert_allclose(found.logits[0, row], frames.mean(0), rtol=1e-6)
        np.testing.assert_allclose(found.embedding[0, row], frames.mean(0)[:2], rtol=1e-6)
    assert not found.bad.any() and clips_per_s > 0


def test_frames_change_places_as_they_are_told(records):
    view = ViewSpec(num_clips=2, short_side_px=32, size_px=32)

    def orders(rows):
        return [
            None,
            np.tile([3, 1, 0, 2], (len(rows), 1)),
            np.stack([np.full(4, r) for r in rows % 4]),
        ]

    scorer = numbered.scorer(records, view=view)
    found, _ = scorer.videos(0.0, orders=orders, num_orders=3, save_views=True)
    for row, length in enumerate(lengths(records)):
        frames = sampling.eval_indices(length, scorer.clip, 2)
        np.testing.assert_array_equal(found.view_logits[0, row], frames)
        np.testing.assert_array_equal(found.view_logits[1, row], frames[:, [3, 1, 0, 2]])
        np.testing.assert_array_equal(found.view_logits[2, row], frames[:, [row % 4] * 4])


def test_all_batches_have_one_shape_and_few_are_in_flight(records):
    shapes, given = [], []

    def predict(variables, video):
        shapes.append(video.shape)
        return numbered.read_numbers(variables, video)

    def pieces():
        for i in range(9):
            given.append(i)
            tags = np.arange(3 * i, 3 * i + 3, dtype=np.int32)[:, None]
            yield np.full((3, 4, 32, 32, 3), 20 + 5 * i, np.uint8), tags

    scorer = numbered.scorer(records, predict, batch_size=4)
    tags, logits = [], []
    for found_tags, found in scorer.stream(0.0, pieces()):
        # A batch is 4 clips, a piece 3: two batches wait, and one is being filled.
        assert 3 * len(given) - sum(map(len, tags)) <= 4 * (streaming._IN_FLIGHT + 1) + 3
        tags.append(found_tags[:, 0])
        logits.append(found["logits"])
    assert shapes == [(4, 4, 32, 32, 3)]  # traced once
    np.testing.assert_array_equal(np.concatenate(tags), np.arange(27))
    np.testing.assert_array_equal(np.concatenate(logits)[:, 0], np.arange(27) // 3)


def test_pieces_of_one_size():
    def piece(count, side, first):
        return np.zeros((count, 1, side, side, 3)), np.arange(first, first + count)[:, None]

    given = [piece(5, 2, 0), piece(1, 2, 5), piece(3, 6, 6), piece(1, 6, 9)]
    made = list(streaming._of_one_size(given, 4))
    assert [video.shape for video, _ in made] == [(4, 1, 2, 2, 3)] * 2 + [(4, 1, 6, 6, 3)]
    assert [tags[:, 0].tolist() for _, tags in made] == [[0, 1, 2, 3], [4, 5, -1, -1], [6, 7, 8, 9]]


def test_a_clip_that_is_missing_or_there_twice_is_noticed(records, monkeypatch):
    scorer = numbered.scorer(records)
    whole = scorer.clips
    for change in (lambda p: p[1:], lambda p: [*p, p[0]]):
        monkeypatch.setattr(scorer, "clips", lambda *a, c=change: iter(c(list(whole(*a)))))
        with pytest.raises(RuntimeError, match="views were not evaluated and .* more than once"):
            scorer.videos(0.0)


def test_splits_and_batches_that_cannot_be_used(records, monkeypatch):
    with pytest.raises(InputError, match="Did you mean 'test'"):
        numbered.scorer(records, split="tset")
    with pytest.raises(InputError, match="eval.test.batch_size=6 is not divisible by 4"):
        numbered.scorer(records, batch_size=6)
    monkeypatch.setattr("tempo.data.records.Split.__len__", lambda self: 0)
    with pytest.raises(InputError, match="eval.test.split='test' of .* has no videos"):
        numbered.scorer(records)


@pytest.mark.parametrize(("most", "expected"), [(1 << 30, 4), (3 * 2 * 3 * 4 * 32**2, 3), (1, 1)])
def test_no_more_videos_are_read_together_than_memory_allows(monkeypatch, most, expected):
    monkeypatch.setattr(streaming, "_MOST_BYTES", most)
    scorer = object.__new__(streaming.Scorer)
    scorer.view = ViewSpec(num_clips=2, size_px=32, short_side_px=36)
    scorer.clip, scorer.extra_frames, scorer.flow = ClipSpec(num_frames=4), 0, None
    scorer.batch_size, scorer.reader, scorer.split = 8, {"process_count": 1}, range(10)
    scorer._num_threads = 2
    assert scorer._videos_at_once() == expected
