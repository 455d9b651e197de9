"""The self-test of codecs says what does not work. That all do here, `test_doctor` holds."""

import av
import numpy as np

from tempo.data import selftest
from tempo.data.video import decode, jpeg


def test_a_picture_of_another_frame_is_found(monkeypatch):
    real = decode.decode_frames
    monkeypatch.setattr(
        decode, "decode_frames", lambda data, index, wanted: real(data, index, [0, *wanted[1:]])
    )
    outcome = selftest._check_video("mpeg4", "mpeg4", "avi")
    assert outcome.startswith("failed: a picture differs by 1")


def test_colours_in_another_order_are_found(monkeypatch):
    real = jpeg.decode
    monkeypatch.setattr(jpeg, "decode", lambda frames: real(frames)[..., ::-1])
    assert selftest._check_jpeg().startswith("failed: a picture differs by")


def test_without_an_encoder_a_decoder_is_not_tested():
    outcome = selftest._check_video("h264", "no_such_encoder", "mp4")
    assert outcome == "untested: a decoder is there, but no encoder no_such_encoder"


def test_an_error_is_one_line(monkeypatch):
    def broken(*args, **kwargs):
        raise av.error.InvalidDataError(1, "moov atom\nnot found")

    monkeypatch.setattr(decode, "scan_encoded", broken)
    outcome = selftest.check()["h264 in mp4"]
    assert outcome.startswith("failed: InvalidDataError: ")
    assert "\n" not in outcome


def test_pictures_differ_more_than_coding_may_change_them():
    pictures = selftest._pictures().astype(int)
    assert np.abs(np.diff(pictures, axis=0)).mean() > 2 * selftest._MAX_ERROR
    assert pictures.min() >= 10
    assert pictures.max() == pictures[-1, 0, -1, 2] < 256


def test_pictures_of_another_shape_are_told():
    pictures = selftest._pictures()
    assert selftest._compared(pictures[:2], pictures[:3]).startswith("failed: pictures (2, 48")
