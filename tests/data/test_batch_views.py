"""Flow and views in batches, from a split that is made up."""

import dataclasses

import numpy as np
import pytest

from tempo.errors import InputError
from tempo.types import ClipSpec, ViewSpec
from tests.data.made_up import (
    FLOW,
    FRAME,
    HEIGHT,
    MIRROR,
    SIZE,
    STILL,
    MadeUpSplit,
    eval_steps,
    is_mirrored,
    train_steps,
)


def test_flow_is_that_of_the_frame_with_its_crop_and_flip():
    seen = set()
    for batch in train_steps(MadeUpSplit(), clip=FRAME, flow=FLOW, host_ops=(*STILL, "flip")):
        video, flow = batch["video"], batch["flow"]
        assert flow.shape == (6, 3, SIZE, SIZE, 8) and flow.dtype == np.uint8
        for b, mirrored in enumerate(is_mirrored(batch)):
            seen.add(bool(mirrored))
            ramp = video[b, 0, :, :, 0]
            for c in range(0, 8, 2):
                for s in range(3):
                    x = flow[b, s, :, :, c]
                    np.testing.assert_array_equal(255 - x if mirrored else x, ramp)
            t, last = int(video[b, 0, 0, 0, 2]), 20 + int(batch["index"][b]) - 2
            fields = flow[b, :, 0, 0, 1::2].astype(int)
            np.testing.assert_array_equal(fields[1], t - 2 + np.arange(4))
            tau = fields[2, -1] - fields[1, -1] if fields[2, -1] < last else None
            assert tau is None or 1 <= tau <= 6
            assert fields.min() >= 0 and fields.max() <= last
    assert seen == {True, False}


def test_evaluation_reads_flow_at_the_fixed_interval():
    (first, *_) = eval_steps(MadeUpSplit(), clip=FRAME, flow=FLOW)
    assert first["flow"].shape == (4, 10, 3, SIZE, SIZE, 8)
    t = first["video"][:, :, 0, 0, 0, 2].astype(int)
    np.testing.assert_array_equal(first["flow"][:, :, 1, 0, 0, 5], t)  # field c of c-2 .. c+1
    np.testing.assert_array_equal(t[0], [2] * 5 + [17] * 5)
    np.testing.assert_array_equal(
        first["flow"][..., 0], first["video"][:, :, :1, :, :, 0].repeat(3, 2)
    )


def test_mirrored_views_turn_their_flow():
    view = ViewSpec(crop="ten", short_side_px=HEIGHT, size_px=SIZE)
    (first, *_) = eval_steps(MadeUpSplit(), clip=FRAME, flow=FLOW, view=view)
    for v, mirrored in enumerate(view.mirrored):
        x, ramp = first["flow"][0, v, 0, :, :, 0], first["video"][0, v, 0, :, :, 0]
        np.testing.assert_array_equal(255 - x if mirrored else x, ramp)


RANDOM = ViewSpec(
    num_clips=3, clip_starts="random", crop="random", short_side_px=HEIGHT, size_px=SIZE, seed=2
)


class Reversed(MadeUpSplit):
    """The same videos, the last one first."""

    def __init__(self):
        super().__init__()
        self.ids = self.ids[::-1]

    def __getitem__(self, row):
        return super().__getitem__(len(self) - 1 - row)


def views_by_id(split, **kwargs):
    batches_ = eval_steps(split, view=RANDOM, **kwargs)
    return {
        str(batch["id"][b]): batch["video"][b]
        for batch in batches_
        for b in np.flatnonzero(batch["mask"])
    }


def test_random_views_are_the_same_whatever_is_read_beside_them():
    found = views_by_id(MadeUpSplit())
    assert len(found) == 10
    frames = {name: views[:, :, 0, 0, 2] for name, views in found.items()}
    assert all(len(np.unique(clips[:, 0])) > 1 for clips in frames.values())
    last = views_by_id(MadeUpSplit(), batch_size=2, process_index=1, process_count=2)
    for other in (
        views_by_id(MadeUpSplit(), batch_size=3, num_workers=2),
        {**views_by_id(MadeUpSplit(), batch_size=2, process_count=2), **last},
    ):
        assert other.keys() == found.keys()
        for name, views in other.items():
            np.testing.assert_array_equal(views, found[name])
    backwards = views_by_id(Reversed())
    for name, views in backwards.items():
        np.testing.assert_array_equal(np.delete(views, 1, -1), np.delete(found[name], 1, -1))


def test_flipped_views_are_mirrored_and_keep_the_label():
    split = MadeUpSplit(mirror_labels=MIRROR)
    flipped = dataclasses.replace(RANDOM, is_flipped=True)
    for plain, found in zip(
        eval_steps(split, view=RANDOM), eval_steps(split, view=flipped), strict=True
    ):
        np.testing.assert_array_equal(found["video"][..., ::-1, :], plain["video"])
        np.testing.assert_array_equal(found["label"], plain["label"])


def test_views_have_their_own_stride_and_order_and_read_each_frame_once():
    split = MadeUpSplit(num_videos=1)
    view = dataclasses.replace(RANDOM, num_clips=8, stride=3, order="concat")
    ((batch),) = eval_steps(split, view=view, batch_size=1)
    frames = batch["video"][0, :, :, 0, 0, 2].astype(int)
    steps = np.diff(frames, axis=1)
    assert {-3, 3} <= set(steps.ravel().tolist()) and (np.abs(steps) <= 3).all()
    assert split.log == [("frames", len(np.unique(frames)))]
    with pytest.raises(InputError, match="played forwards"):
        eval_steps(split, view=view, flow=FLOW)
    with pytest.raises(InputError, match="stride=3 are of dense clips"):
        eval_steps(split, view=view, clip=ClipSpec(num_frames=4, sampling="segments"))


def test_smaller_flow_sets_the_size_of_the_frames():
    (batch,) = train_steps(
        MadeUpSplit(flow_scale=2), clip=FRAME, flow=FLOW, num_steps=1, size_px=16, host_ops=STILL
    )
    ramp, x = batch["video"][:, 0, :, :, 0].astype(int), batch["flow"][:, 0, :, :, 0].astype(int)
    assert batch["flow"].shape == (6, 3, 16, 16, 8) and np.abs(ramp - x).max() <= 4


def test_fields_and_frames_of_overlapping_clips_are_decoded_once():
    split = MadeUpSplit()
    train_steps(split, num_steps=1, clip=FRAME, flow=FLOW, clips_per_video=3)
    assert [kind for kind, _ in split.log] == ["flow", "frames"] * 2  # two videos
    assert all(count <= 30 for kind, count in split.log if kind == "flow")


def test_flow_goes_with_videos_played_forwards():
    with pytest.raises(InputError, match="played forwards"):
        train_steps(MadeUpSplit(), clip=ClipSpec(num_frames=1, order="concat"), flow=FLOW)
    with pytest.raises(InputError, match="played forwards"):
        eval_steps(MadeUpSplit(), clip=ClipSpec(num_frames=1, order="reverse"), flow=FLOW)
