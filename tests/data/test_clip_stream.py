"""Clips out of a stream of frames: the right pictures, each decoded once, few of them in memory."""

import weakref

import numpy as np
import pytest

from tempo.data import clip_stream, pipeline, playback, view_draws
from tempo.data.builders import records as builder
from tempo.data.video import browse
from tempo.types import ClipSpec, ViewSpec


class Counted:
    """A stream of pictures that say their number, and how many of them are alive at most."""

    def __init__(self, numbers):
        self.numbers, self.alive, self.most = numbers, 0, 0

    def __iter__(self):
        for number in self.numbers:
            picture = np.full((2, 3, 3), number, np.int64)
            self.alive += 1
            weakref.finalize(picture, self._died)
            self.most = max(self.most, self.alive)
            yield int(number), picture
            del picture

    def _died(self):
        self.alive -= 1


def run(clips):
    clips = np.asarray(clips)
    stream = Counted(np.unique(clips))
    found = np.full(clips.shape, -1)
    turns = []
    for row, pictures, places in clip_stream.clips_of(stream, clips):
        found[row] = pictures[places][:, 0, 0, 0]
        turns.append(row)
        del pictures
    return found, turns, stream


@pytest.mark.parametrize(
    "clips",
    [
        [[0, 2, 4], [3, 5, 7], [6, 8, 10]],
        [[10, 8, 6], [7, 5, 3], [4, 2, 0]],
        [[0, 50, 99], [1, 51, 98]],
        [[5, 5, 5], [0, 1, 5], [5, 9, 9]],
        [[0, 3, 3], [0, 3, 3]],
    ],
)
def test_every_clip_has_its_frames_and_comes_once(clips):
    found, turns, _ = run(clips)
    np.testing.assert_array_equal(found, clips)
    assert sorted(turns) == list(range(len(clips)))
    ends = [max(clips[row]) for row in turns]
    assert ends == sorted(ends)


def test_what_is_kept_does_not_grow_with_the_video():
    most = []
    for length in (1_000, 20_000):
        starts = np.arange(0, length, 8)
        found, _, stream = run(starts[:, None] + 2 * np.arange(8))
        np.testing.assert_array_equal(found[:, 0], starts)
        most.append(stream.most)
        assert stream.alive <= 1  # the last one is in the loop's hands
    assert most[0] == most[1] <= 2 * 8 + 2


def test_a_frame_that_is_out_of_turn_is_no_clip():
    with pytest.raises(ValueError, match="frame 2 came in place of frame 1"):
        list(clip_stream.clips_of([(0, np.zeros(1)), (2, np.zeros(1))], np.array([[0, 1]])))


@pytest.fixture(scope="module")
def encoded(tiny, tmp_path_factory):
    """A folder of videos, and their records."""
    root = tmp_path_factory.mktemp("encoded")
    for name, shape in (("wide", {}), ("tall", {"width": 48, "height": 66})):
        tiny.write_video(root / "tree" / "a" / f"{name}.mp4", 20, **shape)
        tiny.write_video(root / "tree" / "b" / f"{name}.mkv", 23, codec="libx264", **shape)
    builder.build(root / "tree", root / "out", kind="encoded", progress=False)
    return root / "tree", pipeline.open_records(root / "out")


CROPS = [{"crop": crop} for crop in ("center", "three", "five", "ten", "full")]
DRAWN = {"crop": "random", "clip_starts": "random", "is_flipped": True, "order": "concat"}


@pytest.mark.parametrize("how", [*CROPS, {**DRAWN, "stride": 3, "seed": 5}], ids=str)
@pytest.mark.parametrize("short_side_px", [40, 48, 60])
def test_views_are_those_of_an_evaluation_of_encoded_records(encoded, how, short_side_px):
    tree, records = encoded
    clip = ClipSpec(num_frames=4, stride=2)
    view = ViewSpec(num_clips=3, short_side_px=short_side_px, size_px=32, **how)
    for split in map(records.split, records.splits):
        with pipeline.eval_batches(split, clip=clip, view=view, batch_size=1) as batches:
            for batch in batches:
                video = browse.look(tree / split.manifest[int(batch["index"][0])]["path"])
                draws = view_draws.draw(view, str(batch["id"][0]))
                about = clip, view, video.timestamps_s
                wanted = playback.view_indices(video.num_frames, *about, shares=draws.starts)
                stream = clip_stream.views(video, wanted, view, draws)
                found = sorted(stream, key=lambda clip: clip[0])
                crops = np.concatenate([crops for _, crops in found])
                np.testing.assert_array_equal(crops, batch["video"][0])
