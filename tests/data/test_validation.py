"""Files that are no video though they look like one; each has a reason of its own."""

import io

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from tempo.data.video import decode


def reason(data):
    with pytest.raises(decode.RefusedVideoError) as error:
        decode.scan_video(data)
    return error.value.reason


def picture(suffix):
    done, data = cv2.imencode(suffix, np.zeros((48, 64, 3), np.uint8))
    assert done
    return data.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_a_picture_named_like_a_video(suffix, tmp_path):
    assert reason(picture(suffix)) == "picture_not_video"
    (tmp_path / "v.mp4").write_bytes(picture(suffix))
    assert reason(tmp_path / "v.mp4") == "picture_not_video"


@pytest.mark.parametrize(("name", "pixels"), [("gif", "rgb8"), ("apng", "rgb24")])
def test_an_animated_picture_named_like_a_video(name, pixels):
    file = io.BytesIO()
    with av.open(file, "w", format=name) as container:
        stream = container.add_stream(name, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for level in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * level, np.uint8), "rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels, threads=1)))
        container.mux(stream.encode())
    assert reason(file.getvalue()) == "picture_not_video"


def test_sound_with_the_picture_of_a_cover():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux([*sound.encode(frame), *sound.encode()])
        packet = av.Packet(picture(".jpg"))
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = cover, 0, 0, True
        container.mux(packet)
    assert reason(file.getvalue()) == "no_video_stream"
