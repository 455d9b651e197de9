"""Optical flow: a shift that is known, the 8 bits, settings, and what happens without a library."""

import tracemalloc

import cv2
import numpy as np
import pytest

from tempo.data import flow, flow_codec, flow_methods
from tempo.errors import InputError
from tests.moving import METHODS, SHIFT, needs_tvl1, shifted_frames


def inner(fields):
    """Without the border, where the texture leaves and enters."""
    return fields[..., 12:-12, 12:-12, :]


@pytest.mark.parametrize("method", METHODS)
def test_a_known_shift_is_found(method):
    fields = flow.compute(shifted_frames(3), method)
    assert fields.shape == (2, 96, 128, 2) and fields.dtype == np.float32
    error = np.abs(inner(fields) - SHIFT)
    assert error.mean() < 0.02
    assert error.max() < 0.15


@pytest.mark.parametrize("method", METHODS)
def test_what_does_not_move_has_no_flow(method):
    frame = shifted_frames(1)
    fields = flow.compute(np.concatenate([frame, frame]), method)
    assert np.abs(fields).max() < 1e-3
    np.testing.assert_array_equal(flow.quantize(fields), 128)


@pytest.mark.parametrize("method", METHODS)
def test_flow_points_to_where_things_go(method):
    """frame_0(p) ~ frame_1(p + flow), so that sampling frame 1 along the flow gives frame 0."""
    first, second = frames = shifted_frames(shift=(2, 3))
    field = flow.compute(frames, method)[0]
    y, x = np.mgrid[:96, :128].astype(np.float32)
    warped = cv2.remap(second, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR)
    gap = np.abs(warped.astype(int) - first)[12:-12, 12:-12]
    against = np.abs(second.astype(int) - first)[12:-12, 12:-12]
    assert gap.mean() < 1 < 10 < against.mean()


@pytest.mark.parametrize("method", METHODS)
def test_each_pair_is_on_its_own(method):
    frames = shifted_frames(4)
    frames = frames[[0, 1, 3, 2]]
    together = flow.compute(frames, method)
    alone = np.concatenate([flow.compute(frames[i : i + 2], method) for i in range(3)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("method", METHODS)
def test_cv2_threads_change_nothing(method):
    frames = shifted_frames(2, 200, 300)
    expected = flow.compute(frames, method)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        np.testing.assert_array_equal(flow.compute(frames, method), expected)
    finally:
        cv2.setNumThreads(before)


def test_quantize_by_hand():
    values = [0.0, -20.0, 20.0, -25.0, 25.0, 20 / 255, 40 / 255, -20 / 255, 10.0]
    #         127.5  0     255    cut  cut   128       128.5      127       191.25
    expected = [128, 0, 255, 0, 255, 128, 128, 127, 191]
    levels = flow.quantize(np.array(values))
    assert levels.dtype == np.uint8 and levels.tolist() == expected
    # Single precision, in which flow comes, rounds no movement up as well.
    assert flow.quantize(np.zeros(3, np.float32)).tolist() == [128] * 3
    assert flow.quantize(np.zeros(1, np.float32), bound=7.0)[0] == 128


@pytest.mark.parametrize("bound", [20.0, 8.0])
def test_quantize_loses_half_a_step(bound):
    values = np.random.default_rng(0).uniform(-bound, bound, 10_000).astype(np.float32)
    back = flow.dequantize(flow.quantize(values, bound), bound)
    assert back.dtype == np.float32
    assert np.abs(back - values).max() <= bound / 255 * 1.001
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(flow.quantize(flow.dequantize(levels, bound), bound), levels)


def test_a_mirrored_level_is_one_step_off_at_most():
    """Why a flip may take 255 - x: that is q(-v), but for halves, and twice it changes nothing."""
    values = np.random.default_rng(0).uniform(-22, 22, 10_000)
    values[:2] = 0.0, 40 / 255
    gap = np.abs(255 - flow.quantize(values).astype(int) - flow.quantize(-values))
    assert gap[:2].tolist() == [1, 1]
    assert gap[2:].max() == 0


def encode(frames, settings):
    encoder = flow_codec.FlowEncoder(settings)
    for frame in frames:
        encoder.add(np.repeat(frame[..., None], 3, axis=-1))
    return encoder.finish()


@pytest.mark.parametrize("num_frames", [1, 2, 15, 16, 17, 31, 33])
def test_the_encoder_gives_one_field_less_than_frames(num_frames):
    settings = flow.create("dis", jpeg_quality=100)
    frames = shifted_frames(num_frames, 32, 48)
    x, y = encode(frames, settings)
    assert len(x) == len(y) == num_frames - 1
    if num_frames > 1:
        levels = flow.quantize(flow.compute(frames, "dis"))
        stored = flow_codec.decode(x, y)
        assert stored.shape == levels.shape and stored.dtype == np.uint8
        assert np.abs(stored.astype(int) - levels).max() <= 3


def test_jpeg_loses_less_than_the_eight_bits():
    # A disc that moves over a background that moves otherwise: flow with an edge.
    frames = shifted_frames(2, 240, 320)
    y, x = np.mgrid[:240, :320]
    disc = (x - 160) ** 2 + (y - 120) ** 2 < 60**2
    frames[:, disc] = shifted_frames(2, 240, 320, shift=(-4, 1), seed=1)[:, disc]
    fields = flow.compute(frames, "dis")
    levels = flow.quantize(fields)
    stored = flow_codec.decode(*encode(frames, flow.create("dis")))
    jpeg_px = np.abs(flow.dequantize(stored) - flow.dequantize(levels))
    total_px = np.abs(flow.dequantize(stored) - fields)
    step_px = 40 / 255
    assert jpeg_px.mean() < step_px / 4  # what rounding to 8 bits loses on average
    assert total_px.mean() < step_px / 2
    assert np.quantile(total_px, 0.999) < 4 * step_px


def test_a_long_video_is_not_held_in_memory():
    settings = flow.create("dis", num_gradient_steps=1, num_refinements=0)
    frame = np.repeat(shifted_frames(1, 120, 160)[0, ..., None], 3, axis=-1)
    peaks = []
    for num_frames in (40, 40, 400):  # the first loads what is loaded once
        encoder = flow_codec.FlowEncoder(settings)
        tracemalloc.start()
        for _ in range(num_frames):
            encoder.add(frame)
        encoder.finish()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Float fields of 400 frames are 61 MB; what stays is JPEG.
    assert peaks[2] < peaks[1] + 4e6 < 24e6


def test_damaged_flow_is_a_value_error():
    x, y = encode(shifted_frames(3), flow.create("dis"))
    with pytest.raises(ValueError):
        flow_codec.decode([b"no picture", *x[1:]], y)
    small, _ = encode(shifted_frames(2, 32, 48), flow.create("dis"))
    with pytest.raises(ValueError, match="flow 1 is"):
        flow_codec.decode([x[0], small[0]], y)
    with pytest.raises(ValueError, match="no flow"):
        flow_codec.decode([], [])


def test_cv2_reads_and_writes_where_simplejpeg_is_missing(monkeypatch):
    settings = flow.create("dis")
    frames = shifted_frames(2, 48, 64)
    expected = flow_codec.decode(*encode(frames, settings))
    monkeypatch.setattr(flow_codec, "simplejpeg", None)
    found = flow_codec.decode(*encode(frames, settings))
    assert np.abs(found.astype(int) - expected).max() <= 2
    with pytest.raises(ValueError, match="no JPEG"):
        flow_codec.decode([b"x"], [b"x"])


def test_settings_hold_every_parameter():
    settings = flow.create("dis", bound=16, finest_scale=2)
    assert settings.metadata == {
        "method": "dis",
        "parameters": {
            "finest_scale": 2,
            "patch_px": 8,
            "patch_stride_px": 3,
            "num_gradient_steps": 25,
            "num_refinements": 5,
            "alpha": 20.0,
            "delta": 5.0,
            "gamma": 10.0,
        },
        "bound": 16.0,
        "jpeg_quality": 90,
        "library": "opencv",
        "library_major": int(cv2.__version__.split(".")[0]),
        "library_version": cv2.__version__,
    }


@pytest.mark.parametrize("name", flow.METHODS)
def test_every_parameter_has_limits_that_hold_its_default(name):
    method = flow.METHODS[name]
    defaults = method.defaults
    assert defaults.keys() == method.limits.keys()
    for key, value in defaults.items():
        low, high = method.limits[key]
        assert low <= value <= high


def test_dis_defaults_are_those_of_opencv_medium():
    frames = shifted_frames()
    medium = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    expected = medium.calc(frames[0], frames[1], None)
    np.testing.assert_array_equal(flow.compute(frames, "dis")[0], expected)


@needs_tvl1
def test_tvl1_defaults_are_those_of_opencv():
    frames = shifted_frames()
    expected = cv2.optflow.DualTVL1OpticalFlow_create().calc(frames[0], frames[1], None)
    np.testing.assert_array_equal(flow.compute(frames, "tvl1")[0], expected)


@pytest.mark.parametrize(
    ("method", "parameters", "message"),
    [
        ("dic", {}, "Unknown flow method 'dic'. Did you mean 'dis'?"),
        ("dis", {"patch": 8}, "has no key 'patch'. Did you mean 'patch_px'?"),
        ("dis", {"finest_scale": 1.5}, "finest_scale must be a whole number from 0 to 5; got 1.5."),
        ("dis", {"patch_px": 64}, "patch_px must be a whole number from 4 to 16; got 64."),
        ("dis", {"alpha": "20"}, "alpha must be a number from 0.0 to 1000.0; got '20'."),
        ("dis", {"patch_stride_px": 5}, "more than half of patch_px=8; use at most 4."),
        ("dis", {"bound": 0}, "Flow needs a bound above 0"),
        ("dis", {"jpeg_quality": 101}, "JPEG quality of 1 to 100; got 20.0 and 101."),
        ("dis", {"jpeg_quality": 90.5}, "whole JPEG quality of 1 to 100; got 20.0 and 90.5."),
        ("dis", {"bound": "x", "jpeg_quality": "9"}, "got 'x' and '9'."),
        ("dis", {"method": 3}, "has no key 'method'."),
    ],
)
def test_bad_settings_are_one_line(method, parameters, message):
    with pytest.raises(InputError) as error:
        flow.create(method, **parameters)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("method", [*METHODS, "tvl1_jax"])
@pytest.mark.parametrize("shape", [(1, 40), (15, 40), (12, 400), (400, 12), (8, 8)])
def test_frames_too_small_are_an_error(method, shape):
    """OpenCV ends the process on some of these."""
    with pytest.raises(flow.SmallFrameError, match=f"flow_needs_16px:{shape[1]}x{shape[0]}"):
        flow.compute(np.zeros((2, *shape), np.uint8), method)


@pytest.mark.parametrize("finest_scale", [0, 1, 3])
def test_the_smallest_frames_that_dis_takes(finest_scale):
    side = 8 << max(1, finest_scale)
    for shape in ((side, side), (side, 10 * side), (2 * side + 1, side)):
        fields = flow.compute(np.zeros((2, *shape), np.uint8), "dis", finest_scale=finest_scale)
        assert np.isfinite(fields).all()


def test_without_contrib_the_remedy_names_the_very_version(monkeypatch):
    monkeypatch.delattr(cv2, "optflow", raising=False)
    monkeypatch.setattr(flow_methods.importlib.metadata, "version", lambda name: "4.12.0.88")
    with pytest.raises(InputError) as error:
        flow.create("tvl1")
    text = str(error.value)
    assert (
        "pip install --force-reinstall --no-deps opencv-contrib-python-headless==4.12.0.88" in text
    )
    assert "--flow dis" in text and "\n" not in text
    flow.create("dis")  # needs nothing more


def test_an_optflow_that_another_package_emptied_is_none(monkeypatch):
    monkeypatch.setattr(cv2, "optflow", object(), raising=False)
    with pytest.raises(InputError, match="needs cv2.optflow"):
        flow.create("tvl1")


def test_flows_do_not_mix():
    settings = flow.create("dis")
    flow.check_same(None, settings, "'out'")
    flow.check_same(settings.metadata | {"library_version": "0.0"}, settings, "'out'")
    for key, value in (
        ("method", "tvl1"),
        ("bound", 15.0),
        ("library_major", 3),
        ("parameters", {"finest_scale": 2}),
    ):
        with pytest.raises(InputError) as error:
            flow.check_same(settings.metadata | {key: value}, settings, "'out'")
        assert f"'out' holds flow made with {key}={value!r}, now it is" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_method_is_a_row(monkeypatch):
    """One that takes whole batches, as on an accelerator."""
    sizes = []

    def compute(first, second, *, gain=1.0):
        sizes.append(len(first))
        fields = np.zeros((*first.shape, 2), np.float32)
        fields[..., 0] = gain * (second.astype(np.float32) - first)
        return fields

    row = flow.FlowMethod(compute, {"gain": (0, 10)}, lambda: ("mine", "1.2"), batch_frames=100)
    monkeypatch.setitem(flow.METHODS, "mine", row)
    frames = np.arange(250, dtype=np.uint8)[:, None, None] + np.zeros((1, 16, 16), np.uint8)
    settings = flow.create("mine", gain=3)
    assert settings.parameters == {"gain": 3.0} and settings.identity["library_major"] == 1
    stored = flow_codec.decode(*encode(frames, settings))
    assert sizes == [99, 99, 51]
    assert len(stored) == 249
    assert (stored == flow.quantize(np.array([3.0, 0.0]))).all()


def test_flow_that_a_network_was_not_trained_on_is_named():
    trained = flow.create("dis").metadata
    for same in (None, trained, flow.create("dis", jpeg_quality=50).metadata):
        flow.check_trained(trained, same, "Checkpoint 'runs/a'")
        flow.check_trained(same, trained, "Checkpoint 'runs/a'")
    other = flow.create("dis", finest_scale=2).metadata
    with pytest.raises(InputError, match="^Checkpoint 'runs/a' was trained.*finest_scale.*--flow"):
        flow.check_trained(trained, other, "Checkpoint 'runs/a'")
    farneback = {**trained, "method": "farneback", "parameters": {}, "library": "mine"}
    with pytest.raises(InputError, match="method='farneback', but here .* method='dis'"):
        flow.check_trained(farneback, trained, "Checkpoint 'runs/a'")
    with pytest.raises(
        InputError, match="camera='removed', but here it is made with camera='kept'"
    ):
        flow.check_trained({**trained, "camera": "removed"}, trained, "Checkpoint 'runs/a'")
