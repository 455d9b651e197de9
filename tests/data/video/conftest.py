"""Videos as old encoders wrote them."""

import fractions
import types

import av
import pytest

_START = b"\0\0\1\xb6"  # of a picture
_PACKED = b"\0\0\1\xb2DivX503b1393p"
# A picture that is not coded: predicted, the same second, five bits of time.
_EMPTY = _START + bytes([0b01010000, 0b01000111])
_RATE = 25


@pytest.fixture(scope="session")
def tiny(tiny):
    """The helpers of all data tests; `write_video` also knows `codec="packed"`."""

    def write_video(path, num_frames=12, *, codec="mpeg4", **kwargs):
        if codec == "packed":
            pictures = [tiny.frame_array(i, tint=kwargs.get("tint", 0)) for i in range(num_frames)]
            return write_packed(path, pictures, kwargs.get("gop", 12), kwargs.get("marks", "all"))
        return tiny.write_video(path, num_frames, codec=codec, **kwargs)

    return types.SimpleNamespace(**vars(tiny) | {"write_video": write_video})


def write_packed(path, pictures, gop, marks):
    """An AVI as DivX 5 wrote them: a P and a B picture in one packet, then an empty one.

    Args:
      path: of the file.
      pictures: uint8 [H,W,3] each.
      gop: frames from one key frame to the next.
      marks: which key frames say that the packets are such: "all", or the "first" alone.
    """
    height, width = pictures[0].shape[:2]
    coded = _coded(pictures, gop)
    packets = []
    for data in coded:
        at = data.index(_START)
        kind = data[at + 4] >> 6  # I, P, B
        if kind == 0 and (marks == "all" or not packets):
            data = data[:at] + _PACKED + data[at:]
        if kind == 2:
            packets[-1] = (packets[-1][0] + data, packets[-1][1])
            packets.append((_EMPTY, False))
        else:
            packets.append((data, kind == 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", "avi") as out:
        stream = out.add_stream("mpeg4", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.codec_tag = "XVID"
        for turn, (data, is_key) in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, fractions.Fraction(1, _RATE)
            packet.pts = packet.dts = turn
            packet.is_keyframe = is_key
            out.mux(packet)
    return path


def _coded(pictures, gop):
    """The bytes of each picture in decoding order; every other one is a B picture."""
    context = av.CodecContext.create("mpeg4", "w")
    context.height, context.width = pictures[0].shape[:2]
    context.pix_fmt, context.framerate = "yuv420p", _RATE
    context.time_base = fractions.Fraction(1, _RATE)
    context.gop_size, context.max_b_frames, context.thread_count = gop, 1, 1
    context.options = {"b_strategy": "0", "qmin": "2", "qmax": "2", "sc_threshold": "1000000000"}
    packets = []
    for turn, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", threads=1)
        frame.pts, frame.time_base = turn, context.time_base
        packets += context.encode(frame)
    return [bytes(packet) for packet in [*packets, *context.encode(None)]]
