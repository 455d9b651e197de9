"""Chosen frames of an encoded video are those of a full decode, with a packet table or seeks."""

import dataclasses
import json
import zlib

import numpy as np
import pytest

from tempo.data.video import decode, packets, seeks, video_file

NUM_FRAMES = 30
TIMES_MS = np.cumsum([0, *([33, 80] * 15)])[:NUM_FRAMES]
X265 = {"x265-params": "log-level=none:open-gop=1:bframes=3"}
VIDEOS = {
    "v.mp4": {"gop": 5},
    "b.avi": {"gop": 5, "options": {"bf": "2"}},
    "b_frames.mp4": {"codec": "libx264", "gop": 6, "options": {"bf": "3"}},
    "pyramid.mp4": {"codec": "libx264", "gop": 250, "options": {"x264-params": "b-pyramid=normal"}},
    "open.mkv": {"codec": "libx264", "gop": 7, "options": {"x264-params": "open-gop=1"}},
    "refresh.mp4": {"codec": "libx264", "options": {"x264-params": "intra-refresh=1:keyint=9"}},
    "hevc.mp4": {"codec": "libx265", "gop": 10, "options": X265},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 8},
    "intra.avi": {"codec": "mjpeg", "options": {"strict": "unofficial"}},
    "odd.mp4": {"width": 65, "height": 49},
    "turned.mp4": {"rotation": 90, "codec": "libx264", "gop": 6},
    "varied.mkv": {"times_ms": TIMES_MS, "options": {"bf": "0"}},
    "packed.avi": {"codec": "packed", "gop": 6},
    "h264.avi": {"codec": "libx264", "gop": 6, "options": {"bf": "3"}},
}
WITHOUT_TABLE = {
    "stream.ts": {"codec": "libx264", "gop": 6},
    "raw.h264": {"codec": "libx264", "gop": 5},
}


@pytest.fixture
def read(tiny, tmp_path):
    """Writes a video; its bytes, its index, and all its frames."""

    def make(name, **kwargs):
        path = tiny.write_video(tmp_path / name, NUM_FRAMES, **kwargs)
        frames = []
        data, scan = decode.scan_encoded(path, frames.append)
        return data, scan.index, np.stack(frames)

    return make


def patterns():
    """Frame numbers as clips ask for them: one, all, dense, strided, random."""
    rng = np.random.default_rng(0)
    yield from ([0], [29], [4, 5], [7, 20, 29], range(NUM_FRAMES))
    yield from (range(i, NUM_FRAMES, stride) for stride in (2, 3, 8) for i in range(3))
    yield from (np.unique(rng.integers(0, NUM_FRAMES, 5)) for _ in range(10))


def assert_same(data, index, frames):
    for wanted in patterns():
        got = decode.decode_frames(memoryview(data), index, wanted)
        np.testing.assert_array_equal(got, frames[list(wanted)], err_msg=str(list(wanted)))


@pytest.mark.parametrize("name", VIDEOS)
def test_a_table_gives_the_frames_of_a_full_decode(read, name):
    data, index, frames = read(name, **VIDEOS[name])
    assert index.codec and not len(index.pts)
    assert_same(data, index, frames)


@pytest.mark.parametrize("name", VIDEOS | WITHOUT_TABLE)
def test_seeks_give_the_frames_of_a_full_decode(read, monkeypatch, name):
    if name in VIDEOS:  # of the others it finds out itself
        monkeypatch.setattr(packets, "make_table", lambda *args: None)
    data, index, frames = read(name, **(VIDEOS | WITHOUT_TABLE)[name])
    assert not index.codec and not index.packets
    assert_same(data, index, frames)


def test_seeks_reach_key_frames(read, monkeypatch):
    monkeypatch.setattr(packets, "make_table", lambda *args: None)
    data, index, _ = read("v.mp4", gop=5)
    assert index.keyframes.tolist() == [0, 5, 10, 15, 20, 25]
    seen = []
    original = seeks.frames_from

    def spy(*args):
        for frame in original(*args):
            seen.append(frame.pts)
            yield frame

    monkeypatch.setattr(seeks, "frames_from", spy)
    decode.decode_frames(data, index, [12, 27])
    assert seen == [*index.pts[10:13], *index.pts[25:28]]


def test_only_verified_seeks_are_kept(read, monkeypatch):
    values = iter(range(10**6))  # a checksum that never agrees with itself
    monkeypatch.setattr(video_file, "checksum", lambda *args: next(values))
    _, index, _ = read("v.mp4", gop=5)
    assert not index.codec and index.keyframes.tolist() == [0]


def test_a_table_that_gives_other_pictures_is_not_kept(read):
    data, _, frames = read("v.mkv", gop=5)
    pts = np.arange(NUM_FRAMES) * 40  # Matroska counts milliseconds
    sums = [zlib.crc32(frame) for frame in frames]
    assert packets.make_table(data, pts, sums) is not None
    sums[17] += 1
    assert packets.make_table(data, pts, sums) is None


def test_a_key_frame_that_is_none_is_not_kept(read, monkeypatch):
    original = packets._packet_rows

    def pretending(*args):
        rows, about = original(*args)
        rows[12, 3] = 12  # a predicted picture
        return rows, about

    monkeypatch.setattr(packets, "_packet_rows", pretending)
    data, index, frames = read("v.mp4", gop=10, options={"sc_threshold": "1000000000"})
    table = packets.PacketTable.from_bytes(index.codec, index.packets)
    assert table.rows[table.keys, 3].tolist() == [0, 10, 20]
    assert_same(data, index, frames)


class Spy:
    """A decoder that counts its packets, frames and flushes."""

    def __init__(self, context):
        self.__dict__.update(context=context, sizes=[], num_frames=0, num_flushes=0)

    def __getattr__(self, name):
        return getattr(self.context, name)

    def __setattr__(self, name, value):
        setattr(self.context, name, value)

    def decode(self, packet):
        frames = self.context.decode(packet)
        self.sizes.extend([packet.size] if packet else [])
        self.__dict__["num_frames"] += len(frames)
        return frames

    def flush_buffers(self):
        self.__dict__["num_flushes"] += 1
        self.context.flush_buffers()


@pytest.fixture
def spies(monkeypatch):
    """The decoders made while a test runs."""
    made = []
    original = packets._context

    def make(about):
        made.append(Spy(original(about)))
        return made[-1]

    monkeypatch.setattr(packets, "_context", make)
    return made


def test_only_packets_from_the_key_frame_on_are_decoded(read, spies):
    data, index, _ = read("v.mp4", gop=5)
    spies.clear()
    decode.decode_frames(data, index, [12, 27])
    (spy,) = spies
    rows = packets.PacketTable.from_bytes(index.codec, index.packets).rows
    assert spy.sizes == [*rows[10:13, 1], *rows[25:28, 1]]


def test_neighbouring_key_frames_are_one_read(read, spies):
    data, index, frames = read("v.mp4", gop=5)
    spies.clear()
    np.testing.assert_array_equal(
        decode.decode_frames(data, index, [3, 4, 9, 11]), frames[[3, 4, 9, 11]]
    )
    (spy,) = spies
    rows = packets.PacketTable.from_bytes(index.codec, index.packets).rows
    assert spy.sizes == [*rows[:12, 1]] and spy.num_flushes == 0
    decode.decode_frames(data, index, [3, 9])  # packet 4 is left out between them
    assert spies[1].num_flushes == 1


def test_pictures_that_nothing_refers_to_are_passed_over(read, spies):
    options = {"bf": "3", "x264-params": "b-adapt=0:b-pyramid=none:scenecut=0"}
    data, index, frames = read("v.mp4", codec="libx264", gop=250, options=options)
    assert json.loads(index.codec)["skips"]
    spies.clear()
    got = decode.decode_frames(data, index, [26])
    np.testing.assert_array_equal(got[0], frames[26])
    (spy,) = spies
    assert len(spy.sizes) >= 26 and spy.num_frames <= 12


def test_a_picture_lost_by_passing_over_others_is_decoded_again(read, monkeypatch):
    data, index, frames = read("v.mp4", **VIDEOS["b_frames.mp4"])
    original = packets._decoded
    tried = []

    def losing(context, rows, missing, skips):
        tried.append(skips)
        for frame in original(context, rows, missing, skips):
            if not skips or frame.pts != 4:
                yield frame

    monkeypatch.setattr(packets, "_decoded", losing)
    got = decode.decode_frames(data, index, [3, 4])
    np.testing.assert_array_equal(got, frames[[3, 4]])
    assert tried == [True, False]


def test_damage_to_the_bytes_is_an_error(read):
    data, index, frames = read("v.mp4", gop=5)
    rows = packets.PacketTable.from_bytes(index.codec, index.packets).rows
    broken = bytearray(data)
    broken[rows[7, 0] + 9] ^= 1
    with pytest.raises(decode.RefusedVideoError, match="damaged_packet@7"):
        decode.decode_frames(bytes(broken), index, [8])
    np.testing.assert_array_equal(
        decode.decode_frames(bytes(broken), index, [6, 12]), frames[[6, 12]]
    )
    with pytest.raises(decode.RefusedVideoError, match="damaged_packet"):
        decode.decode_frames(data[: len(data) // 4], index, [29])


@pytest.mark.parametrize("number", [12, 30, -2, 2**31 - 1])
def test_frame_numbers_that_are_not_all_there_are_an_error(read, number):
    """One twice and one never, one too large, one below zero."""
    data, index, _ = read("v.mp4", gop=5)
    rows = packets.PacketTable.from_bytes(index.codec, index.packets).rows.copy()
    rows[7, 2] = number
    damaged = dataclasses.replace(index, packets=rows.tobytes())
    with pytest.raises(decode.RefusedVideoError, match="damaged_packet_table"):
        decode.decode_frames(data, damaged, [7])
    rows[7, 2], rows[8, 2] = 8, 7  # another order of the same is none
    other = dataclasses.replace(index, packets=rows.tobytes())
    decode.decode_frames(data, other, [20])


def test_what_the_decoder_cannot_read_is_an_error(read, monkeypatch):
    data, index, _ = read("v.mp4", codec="libx264", gop=250)
    original = packets._read

    def damaging(data, rows):
        return [(number, begin, bytes(len(part))) for number, begin, part in original(data, rows)]

    monkeypatch.setattr(packets, "_read", damaging)
    with pytest.raises(decode.RefusedVideoError, match="decode_error@3"):
        decode.decode_frames(data, index, [3])


def test_only_the_packets_of_wanted_frames_are_read(read):
    data, index, frames = read("v.mp4", gop=5)
    rows = packets.PacketTable.from_bytes(index.codec, index.packets).rows
    asked = []

    class Parts:
        def read(self, start, stop):
            asked.append((start, stop))
            return memoryview(data)[start:stop]

    got = decode.decode_frames(Parts(), index, [12, 27])
    np.testing.assert_array_equal(got, frames[[12, 27]])
    assert asked == [(rows[i, 0], rows[j, 0] + rows[j, 1]) for i, j in ((10, 12), (25, 27))]


def test_an_index_goes_through_a_record(read):
    for name in ("v.mp4", "v.ts"):
        data, index, frames = read(name, codec="libx264", gop=6)
        again = decode.FrameIndex.from_features(index.to_features())
        assert bool(again.codec) == (name == "v.mp4")
        np.testing.assert_array_equal(decode.decode_frames(data, again, [7])[0], frames[7])
