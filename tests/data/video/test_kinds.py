"""Records of frames and encoded records of the same videos show the same pictures."""

import itertools

import numpy as np
import pytest

from tempo.data import pipeline
from tempo.data.builders import records as builder
from tempo.types import ClipSpec

TIMES_MS = np.cumsum([0, *([33, 80] * 30)])[:50]
VIDEOS = {
    "plain.mp4": {"gop": 5},
    "b_frames.mp4": {"codec": "libx264", "gop": 9, "options": {"bf": "3"}},
    "xvid.avi": {"gop": 6, "options": {"bf": "2"}},
    "varied.mkv": {"times_ms": TIMES_MS, "options": {"bf": "0"}},
    "turned.mp4": {"rotation": 90},
    "odd.mp4": {"width": 65, "height": 49},
    "stream.webm": {"codec": "libvpx-vp9", "gop": 8},
    "packed.avi": {"codec": "packed"},
    "h264.avi": {"codec": "libx264", "gop": 9, "options": {"bf": "3"}},
}
PARTS = ((0.0, 1.0), (0.44, 1.4))


@pytest.fixture(scope="module")
def both(tiny, tmp_path_factory):
    """HACS clips, two parts of each video, as records of both kinds: their training splits."""
    root = tmp_path_factory.mktemp("kinds")
    lines = ["classname,youtube_id,subset,start,end,label"]
    for tint, (name, kwargs) in enumerate(VIDEOS.items()):
        tiny.write_video(root / "videos" / "Jump" / f"v_{name}", 50, tint=tint, **kwargs)
        for start_s, end_s in PARTS:
            lines.append(f"Jump,{name.split('.')[0]},training,{start_s},{end_s},1")
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    splits = []
    for kind in ("frames", "encoded"):
        report = builder.build(
            root / "videos",
            root / kind,
            dataset="hacs",
            annotations=[str(root / "clips.csv")],
            kind=kind,
            short_side_px=0,
            progress=False,
        )
        assert not report.rejected
        splits.append(pipeline.open_records(root / kind).split("train"))
    return splits


def patterns(count):
    """Any order, any shape, repeats: what clips and views ask for."""
    rng = np.random.default_rng(count)
    yield from (np.arange(count), np.arange(count)[::-1], np.array([count - 1, 0, 0]))
    yield from (np.arange(start, count, step) for start, step in itertools.product((0, 3), (2, 7)))
    yield from (rng.integers(0, count, (2, 4)) for _ in range(5))


def test_both_kinds_give_the_same_pictures(both):
    frames, encoded = both
    assert list(frames.ids) == list(encoded.ids) and len(frames) == len(VIDEOS) * len(PARTS)
    for one, other in zip(frames, encoded, strict=True):
        assert one.num_frames == other.num_frames > 15
        np.testing.assert_array_equal(one.timestamps, other.timestamps)
        for wanted in patterns(one.num_frames):
            stored, decoded = (r.decode(wanted).astype(int) for r in (one, other))
            assert stored.shape == decoded.shape
            difference = np.abs(stored - decoded)
            # JPEG stores colour at half size: only the edges of the coloured corner differ.
            assert difference.mean() < 2 and np.median(difference) <= 1, one.id
            # Neighbouring frames differ by 5 grey levels: each is the one that was asked for.
            assert np.abs((stored - decoded).mean(axis=(-3, -2, -1))).max() < 1.5, one.id


def test_clips_are_the_same_but_for_jpeg(both):
    batches = []
    for split in both:
        with pipeline.train_batches(
            split,
            clip=ClipSpec(num_frames=4, stride=2),
            batch_size=7,
            size_px=32,
            host_ops=("random_resized_crop", "flip"),
            seed=3,
            num_steps=2,
        ) as iterator:
            batches.append(list(iterator))
    for one, other in zip(*batches, strict=True):
        np.testing.assert_array_equal(one["id"], other["id"])
        difference = np.abs(one["video"].astype(int) - other["video"])
        assert difference.mean() < 2
