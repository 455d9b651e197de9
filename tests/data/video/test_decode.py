"""Every broken file is named for what it is."""

import io

import av
import cv2
import numpy as np
import pytest

from tempo.data.video import decode


@pytest.fixture
def video(tiny, tmp_path):
    """Writes a video into the test's folder and returns its bytes."""

    def make(name="v.mp4", *args, **kwargs):
        return tiny.write_video(tmp_path / name, *args, **kwargs).read_bytes()

    return make


def reason(data, **kwargs):
    with pytest.raises(decode.RefusedVideoError) as error:
        decode.scan_video(data, **kwargs)
    return error.value.reason


def without_pictures(codec="aac"):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=8000)
        sound = np.zeros((1, 1024), np.float32)
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def test_scan_says_what_a_video_holds(video, tiny):
    frames = []
    scan = decode.scan_video(video(num_frames=12), frames.append)
    assert (scan.num_frames, scan.width, scan.height, scan.rotation) == (12, 64, 48, 0)
    assert scan.fps == pytest.approx(25) and scan.duration_s == pytest.approx(12 / 25)
    np.testing.assert_allclose(scan.timestamps_s, np.arange(12) / 25)
    np.testing.assert_array_equal(tiny.numbers(np.stack(frames)), np.arange(12))


def test_variable_frame_rate_keeps_the_real_times(video):
    times_ms = np.cumsum([0, *([33, 80] * 5)])
    scan = decode.scan_video(video("v.mkv", num_frames=11, times_ms=times_ms))
    np.testing.assert_allclose(scan.timestamps_s, times_ms / 1000, atol=1.5e-3)
    assert scan.fps == pytest.approx(10 / (times_ms[-1] / 1000), rel=0.01)


def test_rotation_is_applied_as_players_do(video, tmp_path):
    upright, turned = [], []
    decode.scan_video(video("a.mp4", tint=6), upright.append)
    scan = decode.scan_video(video("b.mp4", tint=6, rotation=90), turned.append, check_seeks=True)
    assert (scan.width, scan.height) == (48, 64)
    assert scan.rotation in (90, 270)
    np.testing.assert_array_equal(turned[3], np.rot90(upright[3], scan.rotation // 90))
    done, played = cv2.VideoCapture(str(tmp_path / "b.mp4")).read()
    assert done and np.abs(played[..., ::-1].astype(int) - turned[0]).mean() < 3
    data = (tmp_path / "b.mp4").read_bytes()
    np.testing.assert_array_equal(decode.decode_frames(data, scan.index, [3])[0], turned[3])


def test_frames_without_times_are_found_by_counting(video):
    data = video(num_frames=10)
    frames = []
    decode.scan_video(data, frames.append)
    index = decode.FrameIndex(*(np.zeros(n, np.int64) for n in (0, 1, 1, 1)))
    got = decode.decode_frames(data, index, [2, 3, 9])
    np.testing.assert_array_equal(got, np.stack([frames[i] for i in (2, 3, 9)]))
    with pytest.raises(decode.RefusedVideoError, match="decode_error@10"):
        decode.decode_frames(data, index, [10])


def test_what_is_no_video():
    png = cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    assert reason(b"") == "empty_file"
    assert reason(b"some words\n" * 100) == "unreadable_container"
    assert reason(without_pictures()) == "no_video_stream"
    assert reason(png) == "picture_not_video"


def test_too_few_and_too_many_frames(video):
    assert reason(video("a.mp4", num_frames=1)) == "too_few_frames:1<2"
    assert reason(video("b.mp4", num_frames=5), min_frames=8) == "too_few_frames:5<8"
    assert reason(video("c.mp4", num_frames=5), max_frames=4) == "too_long:5>4"


def test_cut_files(video):
    whole = video("a.mp4", num_frames=40)
    assert reason(whole[: len(whole) // 2]) == "unreadable_container"  # its index was at the end
    front = video("b.mp4", num_frames=40, container_options={"movflags": "faststart"})
    kind, counts = reason(front[: len(front) * 2 // 3]).split(":")
    assert kind == "truncated" and counts.endswith("/40") and 0 < int(counts.split("/")[0]) < 40
    avi = video("c.avi", num_frames=40)
    kind, counts = reason(avi[: len(avi) * 3 // 4]).split(":")
    assert kind == "truncated" and counts.endswith("/40")
    webm = video("d.webm", num_frames=60, codec="libvpx-vp9", gop=10)
    kind, counts = reason(webm[: len(webm) // 2]).split(":")
    assert kind == "truncated" and counts.endswith("/60")


def test_damaged_pictures(video):
    data = bytearray(video("a.avi", num_frames=40))
    rng = np.random.default_rng(0)
    begin, end = data.index(b"movi"), data.index(b"idx1")
    for at in rng.integers(begin + (end - begin) // 2, end, 100):
        data[at] ^= 0xFF
    assert reason(bytes(data)).split("@")[0] in ("corrupt_frame", "decode_error")


def test_pictures_that_change_size(video, monkeypatch):
    """Two MPEG-4 streams of different size, one after the other in a raw stream."""
    parts = []
    for width in (64, 80):
        file = io.BytesIO()
        with av.open(file, "w", format="m4v") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            for _ in range(5):
                picture = av.VideoFrame.from_ndarray(np.zeros((48, width, 3), np.uint8), "rgb24")
                container.mux(stream.encode(picture.reformat(format="yuv420p", threads=1)))
            container.mux(stream.encode())
        parts.append(file.getvalue())
    assert reason(b"".join(parts)) == "size_change@5"


def test_a_missing_file():
    with pytest.raises(decode.RefusedVideoError, match="missing_file"):
        decode.read_file("nowhere.mp4")
