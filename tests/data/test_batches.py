"""Labels, shapes, workers and several clips of a video in batches, from a split that is made up.

What batches of real records hold is in test_pipeline.
"""

import threading

import numpy as np
import pytest

from tempo import multigrid
from tempo.data import batches, device_ops, pipeline, stages
from tempo.data.builders import records as builder
from tempo.data.store import scratch
from tempo.errors import InputError
from tempo.types import ClipShape, ClipSpec, ViewSpec
from tests.data.made_up import (
    CLIP,
    FLOW,
    FRAME,
    HEIGHT,
    MIRROR,
    SIZE,
    STILL,
    WIDTH,
    MadeUpSplit,
    assert_equal,
    eval_steps,
    is_mirrored,
    train_steps,
)


def test_mirrored_clips_have_the_mirrored_label():
    split = MadeUpSplit(mirror_labels=MIRROR)
    seen = set()
    for batch in train_steps(split, num_steps=8, host_ops=(*STILL, "flip")):
        mirrored = is_mirrored(batch)
        expected = np.where(mirrored, MIRROR[batch["index"]], batch["index"])
        np.testing.assert_array_equal(batch["label"], expected)
        seen |= set(zip(batch["index"].tolist(), mirrored.tolist(), strict=True))
    assert len(seen) > 15
    np.testing.assert_array_equal(split.labels, np.arange(10))  # the split's own stay
    same = train_steps(MadeUpSplit(), host_ops=(*STILL, "flip"))
    assert all((batch["label"] == batch["index"]).all() for batch in same)


def test_labels_of_every_kind_are_mirrored():
    grouped = np.stack([np.arange(10), np.arange(10)[::-1]], 1).astype(np.int32)
    multi_hot = np.random.default_rng(0).integers(0, 2, (10, 10), dtype=np.uint8)
    for labels, mirrored in (
        (grouped, MIRROR[grouped]),
        (multi_hot, np.stack([[row[MIRROR[k]] for k in range(10)] for row in multi_hot])),
    ):
        np.testing.assert_array_equal(batches.mirrored_labels(labels, MIRROR), mirrored)
        split = MadeUpSplit(labels=labels, mirror_labels=MIRROR)
        for batch in train_steps(split, host_ops=(*STILL, {"name": "flip", "prob": 1.0})):
            assert batch["label"].dtype == labels.dtype
            np.testing.assert_array_equal(batch["label"], mirrored[batch["index"]])
        (first, *_) = eval_steps(split)
        np.testing.assert_array_equal(first["label"], labels[:4])


def test_a_label_that_is_not_known_stays_so_in_the_mirror():
    labels = np.array([[3, -1], [-1, 0]], np.int32)
    np.testing.assert_array_equal(batches.mirrored_labels(labels, MIRROR), [[4, -1], [-1, 1]])


def test_several_clips_of_a_video_lie_side_by_side_and_differ():
    steps = train_steps(MadeUpSplit(), num_steps=15, clips_per_video=2)
    rows = np.stack([batch["index"] for batch in steps]).reshape(15, 3, 2)
    assert (rows[..., 0] == rows[..., 1]).all()
    # An epoch is 10 // 3 steps, and shows no video twice.
    assert pipeline.steps_per_epoch(10, 6, 2) == 3
    for epoch in rows[..., 0].reshape(5, 9):
        assert len(set(epoch)) == 9
    firsts = np.stack([batch["video"][:, 0, 0, 0, 2] for batch in steps]).reshape(-1, 2)
    assert (firsts[:, 0] != firsts[:, 1]).mean() > 0.7
    ids = steps[0]["id"].reshape(3, 2)
    assert (ids[:, 0] == ids[:, 1]).all()


@pytest.mark.parametrize("flow", [None, FLOW])
@pytest.mark.parametrize("kwargs", [{}, {"clips_per_video": 3}])
def test_threads_and_parts_change_no_stream(flow, kwargs):
    split = MadeUpSplit(mirror_labels=MIRROR)
    kwargs = dict(kwargs, clip=FRAME if flow else CLIP, flow=flow)
    whole = train_steps(split, **kwargs)
    for num_workers in (1, 3):
        assert_equal(train_steps(split, num_workers=num_workers, **kwargs), whole)
    parts = [train_steps(split, process_index=p, process_count=2, **kwargs) for p in range(2)]
    joined = [{k: np.concatenate([a[k], b[k]]) for k in a} for a, b in zip(*parts, strict=True)]
    assert_equal(joined, whole)
    assert_equal(train_steps(split, start_step=2, **kwargs), whole[2:])
    kwargs.pop("clips_per_video", None)
    assert_equal(eval_steps(split, num_workers=2, **kwargs), eval_steps(split, **kwargs))


def test_worker_processes_change_no_clip_of_a_video_and_follow_a_plan(train):
    clip = ClipSpec(num_frames=4, train_strides=(1, 2))
    sizes = dict(size_px=SIZE, batch_size=4, num_videos=len(train), total_epochs=8.0)
    settings = multigrid.Settings(cycle="short")
    plan = multigrid.plan(settings, clip=clip, clips_per_video=2, **sizes)
    kwargs = dict(clips_per_video=2, batch_size=4, clip=clip, shape_at=plan.at)
    assert_equal(
        train_steps(train, num_workers=2, worker_kind="process", **kwargs),
        train_steps(train, **kwargs),
    )


def test_stored_flow_is_the_same_from_threads_and_processes(ucf_tree, tmp_path):
    out = tmp_path / "records"
    builder.build(ucf_tree, out, short_side_px=0, flow="dis", progress=False)
    split = pipeline.open_records(out).split("train")
    kwargs = dict(clip=FRAME, flow=FLOW, batch_size=4, clips_per_video=2, num_steps=2)
    whole = train_steps(split, **kwargs)
    assert whole[0]["flow"].shape == (4, 3, SIZE, SIZE, 8)
    for worker_kind in ("thread", "process"):
        assert_equal(train_steps(split, num_workers=2, worker_kind=worker_kind, **kwargs), whole)
    (first, *_) = eval_steps(split, clip=FRAME, flow=FLOW)
    assert first["flow"].shape == (4, 10, 3, SIZE, SIZE, 8)


def shape_at(step):
    return (ClipShape(4, (1,), 16), ClipShape(2, (3,), 32))[step % 2]


def test_shapes_follow_the_step():
    clip = ClipSpec(num_frames=8, train_strides=(1, 2))
    steps = train_steps(MadeUpSplit(), clip=clip, shape_at=shape_at)
    shapes = [batch["video"].shape for batch in steps]
    assert shapes == [(6, 4, 16, 16, 3), (6, 2, 32, 32, 3)] * 2
    for step, batch in enumerate(steps):
        frames = batch["video"][:, :, 0, 0, 2].astype(int)
        assert (np.diff(frames) == shape_at(step).strides[0]).all()
    assert_equal(
        train_steps(MadeUpSplit(), clip=clip, shape_at=shape_at, start_step=1, num_workers=2),
        steps[1:],
    )


def growing(step):
    """Steps of 6 and 12 clips, in a stream that goes from one epoch straight into the next."""
    return ClipShape(4, (1, 2), 16, (6, 12)[step % 2], 18 * (step // 2) + 6 * (step % 2))


def test_batches_of_changing_size_show_every_video_once_an_epoch():
    split = MadeUpSplit()
    steps = train_steps(split, num_steps=6, shape_at=growing)
    assert [len(batch["index"]) for batch in steps] == [6, 12] * 3
    shown = np.concatenate([batch["index"] for batch in steps])
    for epoch in np.split(shown[: len(shown) // len(split) * len(split)], len(shown) // len(split)):
        assert sorted(epoch) == list(range(len(split)))
    strides = np.diff(steps[1]["video"][:, :, 0, 0, 2].astype(int))
    assert {1, 2} == set(strides.flat)
    assert_equal(train_steps(split, num_steps=6, start_step=3, shape_at=growing), steps[3:])
    halves = [
        train_steps(split, num_steps=6, shape_at=growing, process_index=i, process_count=2)
        for i in range(2)
    ]
    parts = zip(*halves, strict=True)
    whole = [{key: np.concatenate([a[key], b[key]]) for key in a} for a, b in parts]
    assert_equal(whole, steps)


def test_a_size_that_changes_is_left_to_the_step():
    ops = ({"name": "jitter_short_side", "min_px": 20, "max_px": 24}, "random_crop")
    (small, *_) = train_steps(MadeUpSplit(), host_ops=ops, shape_at=growing)
    assert small["video"].shape == (6, 4, 16, 16, 3)
    with pytest.raises(InputError, match="'random_crop' always gives 32 px"):
        fixed = ({"name": "random_crop", "size_px": 32},)
        train_steps(MadeUpSplit(), host_ops=fixed, shape_at=growing)


def test_frames_for_differences_are_read_beyond_the_clip():
    extra = device_ops.extra_frames(["residual"])
    (batch, *_) = train_steps(MadeUpSplit(), extra_frames=extra)
    assert batch["video"].shape[1] == CLIP.num_frames + 1
    assert (np.diff(batch["video"][:, :, 0, 0, 2].astype(int)) == 2).all()
    (first, *_) = eval_steps(MadeUpSplit(), extra_frames=extra)
    assert first["video"].shape == (4, 10, 5, SIZE, SIZE, 3)
    changing = train_steps(MadeUpSplit(), extra_frames=extra, shape_at=shape_at)
    assert [b["video"].shape[1] for b in changing] == [5, 3, 5, 3]
    alone = eval_steps(MadeUpSplit())[0]["video"][..., 0, 0, 2].astype(int)
    shown = first["video"][..., 0, 0, 2].astype(int)
    # Video 0 has 20 frames: 13 begins the last clip of 4, 11 the last of 5.
    assert shown[0, ::5].tolist() == [[0, 2, 4, 6, 8], [11, 13, 15, 17, 19]]
    assert alone[0, ::5].tolist() == [[0, 2, 4, 6], [13, 15, 17, 19]]


@pytest.mark.parametrize("steps", [train_steps, eval_steps])
def test_frames_of_segments_have_none_beyond(steps):
    with pytest.raises(InputError, match="sampling='segments' has none"):
        steps(MadeUpSplit(), clip=ClipSpec(num_frames=4, sampling="segments"), extra_frames=1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"clips_per_video": 4}, "clips_per_video=4 does not divide the 6 clips"),
        ({"clips_per_video": 0}, "clips_per_video=0"),
        ({"clips_per_video": 2, "process_count": 2}, "does not divide the 3 clips"),
        ({"clips_per_video": 2, "batch_size": 22}, "batch_size=22 .* use at most 20"),
        ({"host_ops": ()}, r"v\d: video \(4, 40, 52, 3\) does not fit a batch of \(4, 32, 32, 3\)"),
    ],
)
def test_what_does_not_fit_is_said(kwargs, message):
    with pytest.raises(InputError, match=message):
        train_steps(MadeUpSplit(), **kwargs)


class GatedSplit(MadeUpSplit):
    """Calls `reached` before the third record is read, and reads no further before `gate` opens."""

    def __init__(self, reached):
        super().__init__()
        self.reached, self.gate, self.count = reached, threading.Event(), 0

    def __getitem__(self, row):
        self.count += 1
        if self.count == 3:
            self.reached()
        if self.count >= 3:
            assert self.gate.wait(30)
        return super().__getitem__(row)


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_a_maker_closed_meanwhile_gives_no_batch(num_threads):
    def close():
        maker.close()
        split.gate.set()

    split = GatedSplit(close)
    view = ViewSpec(short_side_px=HEIGHT, size_px=SIZE)
    maker = batches.EvalBatch(
        split=split,
        part=slice(0, 10),
        num_threads=num_threads,
        clip=CLIP,
        view=view,
        flow=None,
        extra_frames=0,
    )
    for _ in range(2):  # nor when it is asked again
        with pytest.raises(batches._Closed):
            maker(0)
    assert split.count < 10


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_a_stream_closed_by_another_thread_just_ends(num_workers):
    reached, ended = threading.Event(), []
    split = GatedSplit(reached.set)
    stream = pipeline.train_batches(
        split, clip=CLIP, batch_size=6, size_px=SIZE, num_workers=num_workers
    )

    def consume():
        try:
            ended.append(next(stream))
        except BaseException as error:
            ended.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert reached.wait(30)
    stream.close()
    split.gate.set()
    consumer.join(30)
    assert [type(end) for end in ended] == [StopIteration]


class RememberingSplit(MadeUpSplit):
    """Decodes into memory of `scratch`, and keeps every array that it got."""

    def __init__(self):
        super().__init__()
        self.arrays = []

    def __getitem__(self, row):
        record = super().__getitem__(row)
        decode = record.decode

        def remember(indices):
            frames = scratch.empty((*indices.shape, HEIGHT, WIDTH, 3))
            frames[...] = decode(indices)
            self.arrays.append(frames)
            return frames

        record.decode = remember
        return record


@pytest.mark.parametrize("steps", [train_steps, eval_steps])
def test_clips_are_made_in_the_same_memory_one_after_the_other(steps):
    split = RememberingSplit()
    assert_equal(steps(split), steps(MadeUpSplit()))
    # They are all kept, so that new memory could not be at the same place. The first clips find
    # out how much is needed.
    *_, before, last = split.arrays
    assert len(split.arrays) >= 10 and np.shares_memory(before, last)


def test_stages_of_an_evaluation():
    split = MadeUpSplit()
    for kwargs in ({}, {"clip": FRAME, "flow": FLOW}):
        with stages.measure() as clock:
            eval_steps(
                split,
                view=ViewSpec(crop="three", short_side_px=HEIGHT - 2, size_px=SIZE),
                **kwargs,
            )
        assert {"sample", "resize", "crop"} <= clock.seconds.keys()
