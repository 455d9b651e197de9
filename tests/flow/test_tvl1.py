"""TV-L1 in jax: nothing moves, a known shift, OpenCV's numbers, and the parts by hand."""

import dataclasses

import cv2
import jax
import numpy as np
import pytest

from tempo.data import flow
from tempo.flow import median, sampling, tvl1
from tests.moving import SHIFT, needs_tvl1, shifted_frames

SIZE = (48, 64)
STEADY = slice(2, 6)
ORDINARY = slice(6, 16)
SHORT = {
    "num_scales": 2,
    "num_warps": 2,
    "epsilon": 0.0,
    "num_outer": 2,
    "num_inner": 4,
    "median_radius_px": 1,
}


@pytest.fixture(scope="module")
def pairs():
    """Still; a shift of 3 and 2 px; four that OpenCV solves alike if `lambda_` changes a little;
    ten of which nothing is asked. As many as one call takes.

    Of most pairs this small OpenCV's field hangs on the last bit of the frames: one iteration more
    or less is thousandths of a pixel, and what leaves the frame moves by pixels.
    """
    still = shifted_frames(1, *SIZE)[0]
    steady = [
        shifted_frames(2, *SIZE, shift=shift, seed=seed)
        for shift, seed in (((1, -1), 4), ((2, 1), 4), ((2, 1), 7), ((2, 1), 11))
    ]
    shifts = ((1, -1), (2, 1), (3, -2), (-2, 3), (0, 1))
    ordinary = [shifted_frames(2, *SIZE, shift=shifts[i % 5], seed=i) for i in range(1, 11)]
    return np.stack([[still, still], shifted_frames(2, *SIZE), *steady, *ordinary], axis=1)


@pytest.fixture(scope="module")
def fields(pairs):
    settings = tvl1.Settings(coordinates_per_px=0 if _major() > 4 else 32)
    return tvl1.of_pairs(*pairs, settings)


def _major():
    return int(cv2.__version__.split(".")[0])


def opencv(pairs, settings):
    computer = cv2.optflow.DualTVL1OpticalFlow_create(
        settings.tau,
        settings.lambda_,
        settings.theta,
        settings.num_scales,
        settings.num_warps,
        settings.epsilon,
        settings.num_inner,
        settings.num_outer,
        settings.scale_step,
        0.0,
        2 * settings.median_radius_px + 1,
        False,
    )
    return np.stack([computer.calc(*pair, None) for pair in zip(*pairs, strict=True)])


def test_what_does_not_move_has_no_flow(fields):
    np.testing.assert_array_equal(fields[0], 0)


def test_a_known_shift_is_found(fields):
    assert fields.shape == (16, *SIZE, 2) and fields.dtype == np.float32
    error = np.abs(fields[1, 14:-14, 14:-14] - SHIFT)
    assert error.max() < 0.05 and error.mean() < 0.01


@needs_tvl1
def test_the_numbers_are_those_of_opencv(pairs, fields):
    ours, theirs = fields[STEADY], opencv(pairs[:, STEADY], tvl1.Settings())
    mean_px, share = (1e-3, 0.999) if _major() > 4 else (1e-2, 0.995)
    assert np.abs(ours - theirs).mean() < mean_px
    gap = np.abs(flow.quantize(ours).astype(int) - flow.quantize(theirs))
    assert (gap <= 1).mean() >= share


@needs_tvl1
def test_ordinary_pairs_differ_as_opencv_does_from_itself(pairs, fields):
    """The measure is OpenCV's own field when half the pixels change by the last bit of a float."""
    if _major() < 5:
        pytest.skip("a rounded place moves more than the last bit")
    frames = pairs[:, ORDINARY].astype(np.float32) / 255
    changes = np.random.default_rng(0).random(frames.shape) < 0.5
    changed = np.where(changes, np.nextafter(frames, np.float32(2)), frames)
    theirs = opencv(pairs[:, ORDINARY], tvl1.Settings())
    np.testing.assert_array_equal(opencv(frames, tvl1.Settings()), theirs)
    ours, own = (
        np.abs(x - theirs).mean(axis=(1, 2, 3))
        for x in (fields[ORDINARY], opencv(changed, tvl1.Settings()))
    )
    assert ours.mean() < 3 * own.mean() and np.median(ours) < 1e-3
    gap = np.abs(flow.quantize(fields[ORDINARY]).astype(int) - flow.quantize(theirs))
    assert (gap <= 1).mean() >= 0.995


@needs_tvl1
def test_a_schedule_without_an_early_end(pairs):
    settings = tvl1.Settings(**SHORT)
    ours, theirs = tvl1.of_pairs(*pairs, settings), opencv(pairs, settings)
    if _major() > 4:
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    # The pairs of a call do not see each other, and more than fit into one go in several.
    many = np.repeat(pairs, 3, axis=1)
    assert tvl1.pairs_per_call(*SIZE) < many.shape[1]
    again = tvl1.of_pairs(*many, settings)
    np.testing.assert_array_equal(again, np.repeat(ours, 3, axis=0))


def test_datasets_are_made_by_it(pairs):
    assert flow.METHODS["tvl1_jax"].defaults == dataclasses.asdict(tvl1.Settings())
    made = flow.create("tvl1_jax", **SHORT)
    assert made.library == "tempo" and made.parameters["num_inner"] == 4
    frames = pairs[:, 1]
    expected = tvl1.of_pairs(frames[:-1], frames[1:], tvl1.Settings(**SHORT))
    np.testing.assert_array_equal(flow.of_frames(frames, made), expected)


@pytest.mark.parametrize(
    ("size", "num_pairs", "backend", "expected"),
    [
        ((64, 64), 64, "gpu", 64),  # of 2048: what a build of a dataset asks for
        ((64, 64), 65, "gpu", 128),
        ((64, 64), 1, "gpu", 16),
        ((240, 320), 1000, "gpu", 128),
        ((64, 64), 1, "cpu", 16),
        ((240, 320), 64, "cpu", 1),
    ],
)
def test_accelerators_compute_no_more_than_twice_what_is_wanted(
    size, num_pairs, backend, expected, monkeypatch
):
    monkeypatch.setattr(tvl1.jax, "default_backend", lambda: backend)
    assert tvl1.pairs_per_program(num_pairs, *size) == expected


def test_a_call_on_an_accelerator_is_as_large_as_its_pairs(monkeypatch):
    shapes = []

    def program(shape, settings):
        shapes.append(shape)
        return lambda first, second: np.stack([first, second], axis=-1)

    monkeypatch.setattr(tvl1.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(tvl1, "_program", program)
    frames = np.arange(34.0)[:, None, None] * np.ones((16, 16))
    found = tvl1.of_pairs(frames[:-1], frames[1:], tvl1.Settings())
    assert shapes == [(64, 16, 16)]  # 33 pairs, of the 32768 that a full call has
    np.testing.assert_array_equal(found[:, 3, 4], [(i, i + 1) for i in range(33)])
    assert tvl1.of_pairs(frames[:0], frames[:0], tvl1.Settings()).shape == (0, 16, 16, 2)


def test_sizes_of_the_scales():
    assert tvl1.scale_sizes(240, 320, tvl1.Settings()) == [
        (240, 320), (192, 256), (154, 205), (123, 164), (98, 131),
    ]  # fmt: skip
    assert tvl1.scale_sizes(20, 40, tvl1.Settings()) == [(20, 40), (16, 32)]


@pytest.mark.parametrize("radius_px", [1, 2])
def test_medians_are_those_of_opencv(radius_px):
    x = np.random.default_rng(0).standard_normal((2, 9, 12)).astype(np.float32)
    found = jax.jit(median.filtered, static_argnums=1)(x, radius_px)
    expected = [cv2.medianBlur(one, 2 * radius_px + 1) for one in x]
    np.testing.assert_array_equal(found, expected)


def test_resizing_is_that_of_opencv():
    x = np.random.default_rng(0).random((1, 23, 34), np.float32)
    found = sampling.resize(x, (18, 27), (1.25, 1.25))[0]
    np.testing.assert_allclose(found, cv2.resize(x[0], None, fx=0.8, fy=0.8), atol=1e-5)
    found = sampling.resize(x, (29, 42), (23 / 29, 34 / 42))[0]
    np.testing.assert_allclose(found, cv2.resize(x[0], (42, 29)), atol=1e-5)


def test_a_frame_read_along_a_field():
    """Whole pixels and their slopes are there as they are; outside is 0; places can be rounded."""
    x = np.random.default_rng(0).random((1, 6, 7), np.float32)
    look_up = sampling.table(x)
    read = jax.jit(sampling.bicubic, static_argnums=3)
    whole = np.full(x.shape, 2.0, np.float32)
    value, right, down = read(look_up, whole, -whole, 0)
    np.testing.assert_allclose(value[0, 2:, :5], x[0, :4, 2:], atol=1e-6)
    assert not np.abs(value[0, :2]).any() and not np.abs(right[0, :, 5:]).any()
    np.testing.assert_allclose(right[0, 2:, :4], np.gradient(x[0], axis=1)[:4, 2:6], atol=1e-6)
    np.testing.assert_allclose(down[0, 3:, :5], np.gradient(x[0], axis=0)[1:4, 2:], atol=1e-6)
    far = np.full(x.shape, 1e6, np.float32)
    assert not np.abs(np.stack(read(look_up, far, -far, 0))).any()
    little = whole + np.float32(0.3 / 32)
    np.testing.assert_array_equal(read(look_up, little, -whole, 32)[0], value)
    assert np.abs(read(look_up, little, -whole, 0)[0] - value).max() > 1e-4
