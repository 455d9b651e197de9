"""A file is cut if it holds less of its picture, or fewer bytes, than it says; sound may go on."""

import io

import av
import numpy as np
import pytest

from tempo.data.video import cut, decode, wholeness

RATE = 8000


def write(path, num_frames, sound_s=0.0, first_s=0.0, has_notes=False, options=None):
    """A WebM or Matroska file; without `has_notes` none on how long each stream is, as most."""
    file = io.BytesIO()
    with av.open(
        file, "w", "matroska" if path.suffix == ".mkv" else "webm", options=options
    ) as out:
        stream = out.add_stream("libvpx-vp9", rate=25, options={"deadline": "realtime"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.thread_count, stream.codec_context.gop_size = 1, 5
        sound = out.add_stream("libopus", rate=48000) if sound_s else None
        for i in range(num_frames):
            noise = np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format="yuv420p")
            frame.pts = i + round(first_s * 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        for i in range(round(sound_s * 50)):
            silence = np.zeros((1, 2 * 960), np.int16)
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
            frame.rate, frame.pts = 48000, round(first_s * 48000) + 960 * i
            out.mux(sound.encode(frame))
        if sound_s:
            out.mux(sound.encode())
    data = file.getvalue()
    path.write_bytes(data if has_notes else data.replace(b"DURATION", b"LENGTH--"))
    return path


def reason(*args, **kwargs):
    with pytest.raises(decode.RefusedVideoError) as error:
        decode.scan_video(*args, **kwargs)
    return error.value.reason


@pytest.mark.parametrize("name", ["v.webm", "v.mkv"])
@pytest.mark.parametrize("has_notes", [True, False])
def test_sound_may_outlast_the_picture(tmp_path, name, has_notes):
    path = write(tmp_path / name, 30, sound_s=4.0, has_notes=has_notes)
    assert decode.scan_video(path).num_frames == 30
    assert decode.scan_video(path.read_bytes()).num_frames == 30
    assert decode.scan_video(path, start_s=0.4).num_frames == 20
    assert reason(path, start_s=0.4, end_s=3.0) == "segment_past_end:3>1.200"


@pytest.mark.parametrize("has_notes", [True, False])
def test_times_may_begin_late(tmp_path, has_notes):
    path = write(tmp_path / "v.webm", 30, first_s=2.0, has_notes=has_notes)
    with av.open(str(path)) as container:
        assert container.duration == 3_200_000  # the end, not how long it lasts
    seen = decode.scan_video(path)
    assert seen.num_frames == 30 and seen.timestamps_s[0] == 0
    assert decode.scan_video(path, start_s=0.4).num_frames == 20
    assert decode.scan_video(path, start_s=0.4, end_s=1.2).num_frames == 20


@pytest.mark.parametrize("has_notes", [True, False])
def test_a_file_without_its_end(tmp_path, has_notes):
    data = write(tmp_path / "v.webm", 50, 2.0, has_notes=has_notes).read_bytes()
    for missing in (100, len(data) // 20, len(data) // 2):
        assert reason(data[:-missing]).startswith("truncated:")
        (tmp_path / "cut.webm").write_bytes(data[:-missing])
        assert reason(tmp_path / "cut.webm", start_s=0.4).startswith("truncated:")
        # What is there is whole.
        assert decode.scan_video(tmp_path / "cut.webm", start_s=0.2, end_s=0.6).num_frames == 10
    data = write(tmp_path / "v.webm", 50).read_bytes()
    assert reason(data[: len(data) // 2]).endswith("/50")


def test_a_duration_tells_of_a_cut_where_no_size_is_known(tmp_path):
    data = write(tmp_path / "v.mkv", 50).read_bytes()
    at = data.index(b"\x18\x53\x80\x67") + 4
    unknown = data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 :]
    assert decode.scan_video(unknown).num_frames == 50
    half = unknown[: len(data) // 2]
    assert not wholeness.lacks_bytes(half) and wholeness.lacks_bytes(data[: len(data) // 2])
    assert reason(half).endswith("/50")


def test_a_segment_s_size():
    head = b"\x1a\x45\xdf\xa3\x82ab"
    for void in (b"", b"\xec\x83abc"):
        for size in (b"\x85", b"\x40\x05", b"\x01" + bytes(6) + b"\x05"):
            data = head + void + b"\x18\x53\x80\x67" + size + b"12345"
            assert not wholeness.lacks_bytes(data) and not wholeness.lacks_bytes(data + b"more")
            assert wholeness.lacks_bytes(data[:-1])
    for other in (b"", head[:5], head, head + b"\xec", head + b"abcdefgh", head + data[7:11]):
        assert not wholeness.lacks_bytes(other)
    assert not wholeness.lacks_bytes(head + b"\x18\x53\x80\x67\xff12")


def test_files_too_large_for_a_record_are_not_read(tiny, tmp_path, monkeypatch):
    path = tmp_path / "v.mp4"
    with open(path, "wb") as f:
        f.truncate(cut.MAX_BYTES + 1)  # takes no room on the disk
    monkeypatch.setattr("builtins.open", None)
    with pytest.raises(decode.RefusedVideoError) as error:
        decode.scan_encoded(path)
    assert error.value.reason == f"too_large:{2**30 + 1}>{2**30}"


def test_parts_too_large_for_a_record(tiny, tmp_path, monkeypatch):
    path = tiny.write_video(tmp_path / "v.mp4", 50, gop=5)
    monkeypatch.setattr(cut, "MAX_BYTES", 2000)
    assert decode.scan_encoded(path, start_s=0.4, end_s=0.6)[1].num_frames == 5
    with pytest.raises(decode.RefusedVideoError, match=r"too_large:2\d+>2000"):
        decode.scan_encoded(path, start_s=0.0, end_s=1.9)
