"""Frames get times in the decoder's order, and files whose times are broken are refused."""

import types

import av
import numpy as np
import pytest

from tempo.data.video import clock, decode


def frame_times(name, pts, dts):
    return clock.frame_times(name, pts, dts, 1.0)


def test_presentation_times_must_rise():
    with pytest.raises(decode.RefusedVideoError, match="non_monotonic_pts@2"):
        frame_times(clock.PTS, [0, 2, 2, 3], [0, 1, 2, 3])
    assert frame_times(clock.PTS, [0, 2, 5], [None] * 3).tolist() == [0, 2, 5]
    assert frame_times(clock.PTS, [5, None, 7], [1, 2, 3]) is None


def test_decoding_times_stand_in():
    assert frame_times(clock.DTS, [1, 3, 2, 4], [1, 2, 3, None]).tolist() == [1, 2, 3, 4]
    assert frame_times(clock.DTS, [1, 3, 2, 4], [1, 2, None, None]).tolist() == [1, 2, 3, 4]
    # A gap, or times that do not rise, are no clock; presentation times may be one.
    for dts in ([1, None, 3, 4], [1, 2, 2, 4], [None] * 4):
        assert frame_times(clock.DTS, [1, 2, 4, 5], dts).tolist() == [1, 2, 4, 5]
        assert frame_times(clock.DTS, [1, None, 4, 5], dts) is None
        with pytest.raises(decode.RefusedVideoError, match="non_monotonic_pts@2"):
            frame_times(clock.DTS, [1, 3, 2, 4], dts)


def test_the_clock_of_a_file():
    def choose(container, codec, *pts):
        stream = types.SimpleNamespace(codec_context=types.SimpleNamespace(name=codec))
        container = types.SimpleNamespace(format=types.SimpleNamespace(name=container))
        return clock.choose(container, stream, [types.SimpleNamespace(pts=p) for p in pts])

    assert choose("avi", "h264") == choose("matroska,webm", "mpeg4", 1, 3, 2) == clock.DTS
    assert choose("matroska,webm", "mpeg4", 1, 2, None, 3) == choose("mpegts", "h264") == clock.PTS


@pytest.mark.parametrize("codec", ["packed", "libx264"])
def test_frames_of_an_avi_are_25_a_second(tiny, tmp_path, codec):
    path = tiny.write_video(tmp_path / "v.avi", 41, codec=codec, gop=12)
    frames = []
    seen = decode.scan_video(path, frames.append)
    np.testing.assert_array_equal(tiny.numbers(np.stack(frames)), np.arange(41))
    np.testing.assert_allclose(seen.timestamps_s, np.arange(41) / 25)
    assert seen.fps == pytest.approx(25)


def test_packed_pictures_are_found_without_their_times(tiny, tmp_path, monkeypatch):
    path = tiny.write_video(tmp_path / "v.avi", 41, codec="packed", gop=12)
    data, scan = decode.scan_encoded(path)
    assert scan.index.codec
    wanted = [0, 5, 6, 7, 20, 33, 38]
    assert tiny.numbers(decode.decode_frames(data, scan.index, wanted)).tolist() == wanted
    monkeypatch.setattr("tempo.data.video.packets.make_table", lambda *args: None)
    data, scan = decode.scan_encoded(path)
    assert not scan.index.codec
    assert tiny.numbers(decode.decode_frames(data, scan.index, wanted)).tolist() == wanted


def copy(path, out, retime):
    """The packets in another file, with (pts, dts) changed by a function of both and their turn."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for turn, packet in enumerate(p for p in source.demux(video=0) if p.size):
            packet.pts, packet.dts = retime(turn, packet.pts, packet.dts)
            packet.stream = stream
            target.mux(packet)
    return out


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_packed_pictures_in_another_container(tiny, tmp_path, name):
    path = tiny.write_video(tmp_path / "v.avi", 41, codec="packed", gop=12)
    path = copy(path, tmp_path / name, lambda turn, pts, dts: (pts, dts))
    for start_s, end_s, first, last in (
        (0.0, None, 0, 41),
        (0.4, 0.8, 10, 20),
        (0.72, 1.24, 18, 31),
    ):
        frames, part = [], {"start_s": start_s, "end_s": end_s}
        decode.scan_video(path, frames.append, **part)
        assert tiny.numbers(np.stack(frames)).tolist() == list(range(first, last))
        data, scan = decode.scan_encoded(path, **part)
        got = decode.decode_frames(data, scan.index, range(scan.num_frames))
        np.testing.assert_array_equal(got, frames)


def test_times_that_jump_back_are_refused(tiny, tmp_path):
    one = tiny.write_video(tmp_path / "a.ts", 20, codec="libx264", gop=5).read_bytes()
    with pytest.raises(decode.RefusedVideoError, match="non_monotonic_pts@|decode_error|corrupt"):
        decode.scan_video(one + one)
