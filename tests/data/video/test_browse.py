"""Frames of a file that nobody scanned are those of a scan, by packets or by decoding."""

import av
import numpy as np
import pytest

from tempo.data.video import browse, decode, scan
from tempo.data.video.video_file import RefusedVideoError

EVERY_GOP = {"sc_threshold": "0"}  # key frames where they are asked for, and nowhere else


@pytest.fixture(params=["h264.mp4", "b_frames.mkv", "mpeg4.mp4", "mpeg4.avi", "vfr.mp4"])
def file(request, tiny, tmp_path):
    path = tmp_path / request.param
    kind = request.param.split(".")[0]
    if kind == "mpeg4":
        return tiny.write_video(path, 30)
    times = [40 * i + 7 * (i % 3) for i in range(30)] if kind == "vfr" else None
    options = {"bf": "2" if kind == "b_frames" else "0", **EVERY_GOP}
    return tiny.write_video(path, 30, codec="libx264", options=options, times_ms=times, gop=8)


def test_the_clock_is_that_of_a_scan(file):
    expected = scan.scan_video(file)
    for by_packets in (True, False):
        found = browse.look(file, by_packets=by_packets)
        assert found.num_frames == expected.num_frames == 30
        np.testing.assert_array_equal(found.timestamps_s, expected.timestamps_s.astype(np.float32))
        assert found.fps == expected.fps and found.duration_s == pytest.approx(expected.duration_s)


def test_only_what_is_in_doubt_is_decoded(file):
    in_doubt = file.name.startswith("mpeg4")
    assert browse.look(file).is_decoded == in_doubt
    assert len(browse.look(file).index.keyframes) == (1 if in_doubt else 4)


@pytest.mark.parametrize("wanted", [[0], [29], [3, 4, 17], list(range(30)), [9, 25]])
def test_frames_are_those_of_a_record(file, wanted):
    data, found = decode.scan_encoded(file)
    expected = decode.decode_frames(data, found.index, wanted)
    for by_packets in (True, False):
        video = browse.look(file, by_packets=by_packets)
        numbers, pictures = zip(*browse.frames(video, wanted), strict=True)
        assert list(numbers) == wanted
        np.testing.assert_array_equal(np.stack(pictures), expected)


def test_a_seek_skips_what_is_not_wanted(tiny, tmp_path, monkeypatch):
    video = browse.look(
        tiny.write_video(tmp_path / "a.mp4", 200, codec="libx264", gop=10, options=EVERY_GOP)
    )
    decoded = []
    original = browse.decode.seeks.frames_from

    def counted(*args):
        for frame in original(*args):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(browse.decode.seeks, "frames_from", counted)
    assert [n for n, _ in browse.frames(video, [3, 152, 154])] == [3, 152, 154]
    assert len(decoded) == 4 + 5


def test_packets_that_say_more_than_comes_out_are_found_out(tiny, tmp_path):
    video = browse.look(tiny.write_video(tmp_path / "a.mp4", 20, codec="libx264", gop=20))
    pts = np.insert(video.index.pts, 5, video.index.pts[4] + 1)  # a frame that is never shown
    wrong = browse.Video(
        video.path, video.fps, video.timestamps_s, decode.FrameIndex(
            pts, video.index.keyframes, video.index.seeks, video.index.rotation
        ), is_decoded=False,
    )  # fmt: skip
    with pytest.raises(RefusedVideoError, match="decode_error@9"):
        list(browse.frames(wrong, [9]))


def test_an_upright_picture_of_a_turned_video(tiny, tmp_path):
    path = tiny.write_video(tmp_path / "a.mp4", 6, codec="libx264", rotation=90)
    expected = []
    scan.scan_video(path, expected.append)
    video = browse.look(path)
    assert not video.is_decoded
    for number, picture in browse.frames(video, [0, 5]):
        assert picture.shape == (64, 48, 3)
        np.testing.assert_array_equal(picture, expected[number])


def test_a_single_frame_is_a_video(tiny, tmp_path):
    for codec in ("libx264", "mpeg4"):
        video = browse.look(tiny.write_video(tmp_path / f"{codec}.mp4", 1, codec=codec))
        assert video.num_frames == 1 and video.duration_s == pytest.approx(1 / 25)
        assert [n for n, _ in browse.frames(video, [0])] == [0]


def _sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _nothing(path):
    path.write_bytes(b"")


def _words(path):
    path.write_text("the quick brown fox\n" * 500)


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("a.wav", _sound, "no_video_stream"),
        ("a.mp4", _nothing, "empty_file"),
        ("a.mp4", _words, "unreadable_container"),
        ("a.txt", _words, "unreadable_container"),
        ("none.mp4", lambda path: None, "missing_file"),
    ],
)
def test_what_is_no_video_is_refused_with_a_reason(tmp_path, name, write, reason):
    write(tmp_path / name)
    with pytest.raises(RefusedVideoError) as error:
        browse.look(tmp_path / name)
    assert error.value.reason == reason
    assert reason in browse.explained(reason) and "(" in browse.explained(reason)


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_a_cut_file_is_refused(tiny, tmp_path, container):
    options = {"movflags": "faststart"} if container == "mp4" else None
    path = tiny.write_video(
        tmp_path / f"a.{container}", 100, codec="libx264", container_options=options
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RefusedVideoError, match="truncated"):
        browse.look(path)


def test_a_video_that_begins_without_a_key_frame_is_decoded(tiny, tmp_path):
    whole = tiny.write_video(tmp_path / "a.mp4", 30, codec="libx264", gop=10)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "b.mkv"), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in list(source.demux(stream))[4:-1]:
            packet.stream = copy
            out.mux(packet)
    found = browse.look(tmp_path / "b.mkv")
    assert found.is_decoded and found.num_frames == 20
    # It begins with the first key frame.
    pictures = np.stack([picture for _, picture in browse.frames(found, range(20))])
    np.testing.assert_array_equal(tiny.numbers(pictures), np.arange(10, 30))
