"""A part of a file has the frames, and no others, that the whole file has in its time."""

import itertools

import av
import numpy as np
import pytest

from tempo.data.video import cut, decode, scan

NUM_FRAMES = 60
TIMES_MS = np.cumsum([0, *([33, 80] * 30)])[:NUM_FRAMES]
VIDEOS = {
    "v.mp4": {"gop": 5},
    "b.avi": {"gop": 5, "options": {"bf": "2"}},
    "b_frames.mp4": {"codec": "libx264", "gop": 6, "options": {"bf": "3"}},
    "one_key.mp4": {"codec": "libx264", "gop": 250},
    "open.mkv": {"codec": "libx264", "gop": 7, "options": {"x264-params": "open-gop=1"}},
    "hevc.mkv": {
        "codec": "libx265",
        "gop": 10,
        "options": {"x265-params": "log-level=none:open-gop=1:bframes=3"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 8},
    "intra.avi": {"codec": "mjpeg", "options": {"strict": "unofficial"}},
    "stream.ts": {"codec": "libx264", "gop": 6},
    "program.mpg": {"codec": "mpeg2video", "gop": 6},
    "odd.mp4": {"width": 65, "height": 49},
    "turned.mp4": {"rotation": 90, "codec": "libx264", "gop": 6},
    "varied.mkv": {"times_ms": TIMES_MS, "options": {"bf": "0"}},
    "packed.avi": {"codec": "packed", "gop": 8},
    "marked_once.avi": {"codec": "packed", "gop": 8, "marks": "first"},
    "h264.avi": {"codec": "libx264", "gop": 6, "options": {"bf": "3"}},
}
PARTS = [(0.2, 0.8), (0.44, 1.48), (1.2, None), (0.0, 1.0), (1.01, 1.5), (2.0, 2.6)]


@pytest.fixture
def whole(tiny, tmp_path):
    """Writes a video; its path, all its frames, and their times."""

    def make(name, num_frames=NUM_FRAMES, **kwargs):
        path = tiny.write_video(tmp_path / name, num_frames, **kwargs)
        frames = []
        seen = decode.scan_video(path, frames.append)
        return path, np.stack(frames), seen.timestamps_s

    return make


def reason(function, *args, **kwargs):
    with pytest.raises(decode.RefusedVideoError) as error:
        function(*args, **kwargs)
    return error.value.reason


@pytest.mark.parametrize("name", VIDEOS)
def test_a_part_has_the_frames_of_its_time(whole, name):
    path, frames, times = whole(name, **VIDEOS[name])
    for start_s, end_s in PARTS:
        until_s = np.inf if end_s is None else end_s
        inside = np.flatnonzero((times >= start_s - 1e-6) & (times < until_s - 1e-6))
        got, part = [], {"start_s": start_s, "end_s": end_s}
        seen = decode.scan_video(path, got.append, **part)
        np.testing.assert_array_equal(np.stack(got), frames[inside])
        np.testing.assert_allclose(seen.timestamps_s, times[inside] - times[inside[0]], atol=1e-9)
        assert (seen.height, seen.width) == frames.shape[1:3]
        data, again = decode.scan_encoded(path, **part)
        np.testing.assert_array_equal(again.timestamps_s, seen.timestamps_s)
        count = len(inside)
        for wanted in ([0], [count - 1], range(count), range(1, count, 3), [count // 2]):
            read = decode.decode_frames(data, again.index, wanted)
            np.testing.assert_array_equal(read, frames[inside[list(wanted)]])


def test_neighbouring_parts_share_no_frame_and_lose_none(whole):
    path, frames, _ = whole("v.mp4", codec="libx264", gop=9)
    got = []
    bounds = [0, 0.36, 0.4, 1.2, 1.999, None]
    for start_s, end_s in itertools.pairwise(bounds):
        decode.scan_video(path, got.append, start_s=start_s, end_s=end_s, min_frames=1)
    np.testing.assert_array_equal(np.stack(got), frames)


def test_only_what_a_part_needs_is_decoded(whole, monkeypatch):
    path, _, _ = whole("v.mp4", 300, gop=10)
    seen = []
    original = scan.Scanner._see
    monkeypatch.setattr(
        scan.Scanner, "_see", lambda self, frame: (seen.append(frame.pts), original(self, frame))
    )
    assert decode.scan_video(path, start_s=8.0, end_s=8.4).num_frames == 10
    assert len(seen) <= 12
    data, _ = decode.scan_encoded(path, start_s=8.0, end_s=8.4)
    assert len(data) < path.stat().st_size / 10


def test_a_cut_is_a_video_that_others_can_read(whole):
    path, frames, _ = whole("v.mp4", gop=5)
    data, _ = decode.scan_encoded(path, start_s=0.4, end_s=0.8)
    again = []
    decode.scan_video(data, again.append)
    np.testing.assert_array_equal(np.stack(again), frames[10:20])  # it begins with a key frame


def test_a_seek_that_ends_too_late_is_tried_from_further_back(whole, monkeypatch):
    path, frames, _ = whole("v.mkv", gop=10)
    original, leads = scan.span_packets, []

    def late(container, stream, span, lead_s):
        leads.append(lead_s)
        if lead_s is not None:
            raise scan._LateError
        return original(container, stream, span, lead_s)

    monkeypatch.setattr(scan, "span_packets", late)
    got = []
    decode.scan_video(path, got.append, start_s=1.0, end_s=1.4)
    np.testing.assert_array_equal(np.stack(got), frames[25:35])
    assert leads[-1] is None and len(leads) > 2


def test_nothing_in_a_part(whole):
    path, _, _ = whole("v.mp4", gop=5)
    assert reason(decode.scan_video, path, start_s=1.01, end_s=1.03) == "empty_segment"
    assert reason(decode.scan_video, path, start_s=1.0, end_s=1.0) == "empty_segment"
    assert reason(decode.scan_video, path, start_s=7, end_s=9) == "segment_past_end:7>2.400"
    assert reason(decode.scan_video, path, start_s=2, end_s=9) == "segment_past_end:9>2.400"
    assert reason(decode.scan_video, path, start_s=7) == "segment_past_end:7>2.400"
    assert reason(decode.scan_encoded, path, start_s=7) == "segment_past_end:7>2.400"
    limits = {"min_frames": 8, "max_frames": 9}
    assert reason(decode.scan_video, path, start_s=1, end_s=1.2, **limits) == "too_few_frames:5<8"
    assert reason(decode.scan_video, path, start_s=1, **limits) == "too_long:10>9"
    missing = path.with_name("none.mp4")
    assert reason(decode.scan_video, missing, start_s=1) == "missing_file"


def test_parts_of_a_cut_file(whole, tmp_path):
    path, frames, _ = whole("v.avi", 250, gop=5)
    half = tmp_path / "half.avi"
    half.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert reason(decode.scan_video, half).startswith("truncated:")
    got = []
    decode.scan_video(half, got.append, start_s=0.2, end_s=0.6)  # what is there is whole
    np.testing.assert_array_equal(np.stack(got), frames[5:15])
    damage = ("truncated", "corrupt_frame", "decode_error", "segment_past_end")
    for start_s, end_s in ((1.0, 9.0), (1.0, None), (8.8, 9.6)):
        why = reason(decode.scan_video, half, start_s=start_s, end_s=end_s)
        assert why.replace("@", ":").split(":")[0] in damage


def test_frames_without_times_are_at_the_file_s_rate(whole, monkeypatch):
    path, frames, _ = whole("raw.h264", codec="libx264", gop=5)
    got = []
    seen = decode.scan_video(path, got.append, start_s=0.4, end_s=0.8)
    np.testing.assert_array_equal(np.stack(got), frames[10:20])
    np.testing.assert_allclose(seen.timestamps_s, np.arange(10) / 25)
    assert reason(decode.scan_encoded, path, start_s=0.4, end_s=0.8) == "uncut_segment"


def test_a_cut_that_gives_other_frames_is_not_taken(whole, monkeypatch):
    path, _, _ = whole("v.mp4", gop=5)
    original = cut._remux

    def losing(path, span, name):
        if name == "avi":
            raise av.FFmpegError(1, "refused")
        data = bytearray(original(path, span, name))
        at = data.index(b"\x00\x00\x01\xb6", len(data) // 2)  # a picture of the second half
        data[at + 8 : at + 14] = bytes(6)
        return bytes(data)

    monkeypatch.setattr(cut, "_remux", losing)
    assert reason(decode.scan_encoded, path, start_s=0.4, end_s=1.2) == "uncut_segment"
