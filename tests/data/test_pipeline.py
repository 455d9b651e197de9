"""A batch is a pure function of (seed, step), whoever makes it; every video is evaluated once."""

import numpy as np
import pytest

from tempo.data import pipeline
from tempo.data.video import jpeg
from tempo.errors import InputError, RecordError
from tempo.types import ClipSpec, ViewSpec

CLIP = ClipSpec(num_frames=4, stride=2)
VIEW = ViewSpec(num_clips=2, crop="three", short_side_px=40, size_px=32)


def train_steps(split, num_steps=6, **kwargs):
    arguments = dict(clip=CLIP, batch_size=4, size_px=32, seed=3, num_steps=num_steps) | kwargs
    with pipeline.train_batches(split, **arguments) as batches:
        return list(batches)


def eval_steps(split, **kwargs):
    arguments = dict(clip=CLIP, view=VIEW, batch_size=4) | kwargs
    with pipeline.eval_batches(split, **arguments) as batches:
        return list(batches)


def assert_equal(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            assert type(x[key]) is type(y[key]) is np.ndarray
            np.testing.assert_array_equal(x[key], y[key], err_msg=key)


def test_a_training_batch(train):
    batches = train_steps(train, num_steps=5)
    assert len(batches) == 5
    for batch in batches:
        assert batch["video"].shape == (4, 4, 32, 32, 3) and batch["video"].dtype == np.uint8
        assert batch["label"].dtype == batch["index"].dtype == np.int32
        np.testing.assert_array_equal(batch["label"], train.labels[batch["index"]])
        assert batch["id"].tolist() == [train.ids[i] for i in batch["index"]]


def test_epochs_are_whole_shuffled_and_different(train):
    rows = np.stack([b["index"] for b in train_steps(train, num_steps=8)]).reshape(4, 8)
    for epoch in rows:  # 10 videos, two steps of 4 an epoch
        assert len(set(epoch)) == 8
    assert len({tuple(epoch) for epoch in rows}) == 4
    assert set(rows.ravel()) == set(range(10))  # what an epoch drops, others show


def test_augmentation_differs_between_epochs_and_seeds(train):
    whole = dict(batch_size=10, num_steps=2)
    (first, second), (other, _) = train_steps(train, **whole), train_steps(train, seed=4, **whole)
    a, b = (step["video"][np.argsort(step["index"])] for step in (first, second))
    # A grey crop may come out the same twice.
    assert sum(np.array_equal(x, y) for x, y in zip(a, b, strict=True)) < 5
    assert not np.array_equal(first["index"], other["index"])


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_threads_change_nothing(train, num_workers):
    assert_equal(train_steps(train, num_workers=num_workers), train_steps(train))
    assert_equal(eval_steps(train, num_workers=num_workers), eval_steps(train))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_worker_processes_change_nothing(train, num_workers):
    kwargs = dict(num_workers=num_workers, worker_kind="process")
    assert_equal(train_steps(train, start_step=1, **kwargs), train_steps(train)[1:])


def test_worker_processes_evaluate_the_same(encoded_dir):
    split = pipeline.open_records(encoded_dir).split("test")
    assert_equal(eval_steps(split, num_workers=2, worker_kind="process"), eval_steps(split))


@pytest.mark.parametrize("process_count", [2, 4])
def test_the_parts_of_the_processes_make_the_batch(train, process_count):
    whole_train, whole_eval = train_steps(train), eval_steps(train)
    for steps, whole in ((train_steps, whole_train), (eval_steps, whole_eval)):
        parts = [
            steps(train, process_index=p, process_count=process_count) for p in range(process_count)
        ]
        joined = [
            {k: np.concatenate([part[k] for part in step]) for k in step[0]}
            for step in zip(*parts, strict=True)
        ]
        assert_equal(joined, whole)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stream_resumes_at_any_step(train, num_workers):
    whole = train_steps(train, num_steps=9)
    for start in (1, 4, 5, 8):  # 2 steps an epoch
        assert_equal(
            train_steps(train, num_steps=9, start_step=start, num_workers=num_workers),
            whole[start:],
        )
    assert train_steps(train, num_steps=9, start_step=9) == []


def test_a_stream_without_end(train):
    with pipeline.train_batches(train, clip=CLIP, batch_size=4, size_px=32) as batches:
        seen = [next(batches)["index"] for _ in range(20)]
    assert len(seen) == 20
    with pytest.raises(StopIteration):
        next(batches)


def test_kinds_of_records_agree_up_to_jpeg(train, encoded_dir):
    encoded = pipeline.open_records(encoded_dir).split("train")
    assert encoded.ids == train.ids
    for a, b in zip(
        train_steps(train, num_steps=2), train_steps(encoded, num_steps=2), strict=True
    ):
        np.testing.assert_array_equal(a["index"], b["index"])
        assert np.abs(a["video"].astype(int) - b["video"]).mean() < 2


def test_evaluation_counts_every_video_once(train):
    batches = eval_steps(train)
    assert [b["mask"].tolist() for b in batches] == [
        [True] * 4,
        [True] * 4,
        [True] * 2 + [False] * 2,
    ]
    seen = np.concatenate([b["index"][b["mask"]] for b in batches])
    np.testing.assert_array_equal(seen, np.arange(10))
    for batch in batches:
        assert batch["video"].shape == (4, 6, 4, 32, 32, 3)
    with pipeline.eval_batches(train, clip=CLIP, view=VIEW, batch_size=4) as iterator:
        assert iterator.num_batches == 3


def test_a_process_without_videos_in_the_last_batch(train):
    (*_, last) = eval_steps(train, process_index=3, process_count=4)
    assert last["mask"].tolist() == [False] and last["video"].shape == (1, 6, 4, 32, 32, 3)
    np.testing.assert_array_equal(last["index"], [9])


def test_views_are_ordered_by_clip_and_show_the_frames_asked_for(train, tiny):
    view = ViewSpec(num_clips=3, crop="three", short_side_px=48, size_px=48)
    (first, *_) = eval_steps(train, view=view)
    length = train.manifest[0]["num_frames"]
    assert length == 12
    # Frames s, s+2, s+4, s+6 from s = 0, round(2.5), 5; view 3 * clip + crop.
    for clip, start in enumerate((0, 2, 5)):
        for crop in range(3):
            frames = first["video"][0, 3 * clip + crop]
            np.testing.assert_array_equal(tiny.numbers(frames), start + 2 * np.arange(4))
    left, right, center = first["video"][0, :3, 0]
    assert np.abs(left[:6, :6].astype(int) - center[:6, :6]).max() < 9  # the tinted corner
    assert np.abs(right[:6, :6].astype(int) - left[:6, :6]).max() > 30
    assert np.abs(left[:6, 9:14].astype(int) - center[:6, 9:14]).max() > 30  # 8 px further left


def test_overlapping_views_decode_each_frame_once(train, monkeypatch):
    counts = []
    original = jpeg.decode
    monkeypatch.setattr(
        jpeg, "decode", lambda frames: counts.append(len(frames)) or original(frames)
    )
    view = ViewSpec(num_clips=9, crop="ten", short_side_px=40, size_px=32)
    eval_steps(train, view=view, batch_size=10)
    assert counts == [e["num_frames"] for e in train.manifest]


def test_frames_by_time(train, tiny):
    """At 12.5 frames per second every second of the stored 25 is shown."""
    view = ViewSpec(short_side_px=48, size_px=48)
    clip = ClipSpec(num_frames=3, stride=2, fps=12.5)
    (first, *_) = eval_steps(train, clip=clip, view=view)
    got = tiny.numbers(first["video"][0, 0])
    assert (np.diff(got) == 4).all()


def test_full_views_need_one_size(train):
    view = ViewSpec(crop="full", short_side_px=32, size_px=32)
    (first, *_) = eval_steps(train, view=view)
    assert first["video"].shape == (4, 1, 4, 32, 42, 3)


def test_a_broken_record_stops_the_stream_and_is_named(train, monkeypatch):
    broken = train.ids[7]
    original = type(train).__getitem__

    def read(self, row):
        record = original(self, row)
        if record.id == broken:
            record._features["frames"].take = lambda wanted: [b"x"] * len(wanted)
        return record

    monkeypatch.setattr(type(train), "__getitem__", read)
    for num_workers in (0, 2):
        with pipeline.eval_batches(
            train, clip=CLIP, view=VIEW, batch_size=4, num_workers=num_workers
        ) as batches:
            next(batches)
            with pytest.raises(RecordError, match=broken):
                next(batches)
            with pytest.raises(StopIteration):  # never goes on behind it
                next(batches)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 11}, "batch_size=11 is more than the 10 videos of split 'train'"),
        ({"batch_size": 0}, "batch_size >= 1"),
        ({"batch_size": 5, "process_count": 2}, "use 4 or 6"),
        ({"process_index": 2, "process_count": 2}, "process_index=2 of 2"),
        ({"num_workers": -1}, "num_workers >= 0"),
        ({"worker_kind": "fork"}, "thread or process; got 'fork'"),
        ({"start_step": 7}, "start_step <= num_steps"),
        ({"seed": -1}, "seed must be 0 to"),
        ({"host_ops": ["flop"]}, "Did you mean 'flip'"),
    ],
)
def test_what_does_not_fit_is_said_at_once(train, kwargs, message):
    with pytest.raises(InputError, match=message):
        train_steps(train, **kwargs)


def test_ops_that_do_not_give_the_size(train):
    with pytest.raises(InputError, match=r"Class\d/v_train_\d\d.mp4.*\(4, 24, 32, 3\)"):
        train_steps(train, host_ops=[{"name": "resize_short_side", "short_side_px": 24}])
