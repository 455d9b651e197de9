"""Residual frames: checks 4 and 5 of the VIPriors system's list (arXiv 2007.08180)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo.data import device_ops
from tempo.errors import InputError

PLAIN = {"name": "residual", "std": [1.0, 1.0, 1.0]}


def video_of(num_frames=9, num=3, seed=0):
    shape = (num, num_frames, 6, 8, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def run(ops, video, key=0):
    f = jax.jit(device_ops.create(ops, 3))
    return np.asarray(f(jax.random.key(key), {"video": video})["video"])


def residual(video, **kwargs):
    return run([PLAIN | kwargs], video)


@pytest.mark.parametrize("pad", ["extra", "roll", "repeat"])
def test_a_still_clip_has_none(pad):
    still = np.repeat(video_of(1), 9, axis=1)
    got = residual(still, pad=pad)
    assert got.shape[1] == (8 if pad == "extra" else 9) and (got == 0).all()
    got = residual(still, pad=pad, scale="half_shift")
    assert (got == 0.5).all()


def test_residuals_add_up_to_last_minus_first():
    video = video_of()
    total = residual(video).sum(1)
    np.testing.assert_array_equal(total, video[:, -1].astype(float) - video[:, 0])


def test_residuals_of_the_reversed_clip_are_the_reversed_negatives():
    video = video_of()
    np.testing.assert_array_equal(residual(video[:, ::-1]), -residual(video)[:, ::-1])


def test_residuals_at_interval_two_are_sums_of_neighbours():
    video = video_of()
    each = residual(video)
    np.testing.assert_array_equal(residual(video[:, ::2]), each[:, 0::2] + each[:, 1::2])


def test_bytes_give_what_floats_give():
    video = video_of()
    assert residual(video).min() < -200  # nothing wrapped
    np.testing.assert_array_equal(residual(video), residual(video.astype(np.float32)))
    np.testing.assert_array_equal(residual(video), np.diff(video.astype(np.float32), axis=1))


def test_added_light_cancels_and_contrast_scales():
    video = video_of()
    plain = residual(video)
    for key in range(3):
        lit = run(["lighting", PLAIN], video, key)
        np.testing.assert_allclose(lit, plain, atol=2e-4)
        assert np.abs(run(["lighting"], video, key) - video).max() > 0.1
        for name in ("contrast", "brightness"):
            scaled = run([name, PLAIN], video, key)
            frames = run([name], video, key)
            contrast = np.diff(frames, axis=1)
            np.testing.assert_allclose(scaled, contrast, atol=2e-4)
            factors = (scaled * plain).sum((1, 2, 3, 4)) / (plain**2).sum((1, 2, 3, 4))
            assert (np.abs(factors - 1) > 1e-3).all() and (np.abs(factors - 1) <= 0.2).all()
            np.testing.assert_allclose(
                scaled, factors[:, None, None, None, None] * plain, atol=2e-3
            )


def test_how_the_last_frame_is_padded():
    video = video_of().astype(np.float32)
    steps = np.diff(video, axis=1)
    np.testing.assert_array_equal(residual(video), steps)
    np.testing.assert_array_equal(
        residual(video, pad="repeat"), np.concatenate([steps, steps[:, -1:]], 1)
    )
    rolled = residual(video, pad="roll")
    np.testing.assert_array_equal(rolled[:, 1:], steps)
    np.testing.assert_array_equal(rolled[:, 0], video[:, 0] - video[:, -1])


def test_scales_sign_and_type():
    video = video_of()
    steps = np.diff(video.astype(np.float32), axis=1)
    np.testing.assert_allclose(
        run(["residual"], video), steps / [58.395, 57.12, 57.375], rtol=1e-5, atol=1e-6
    )
    half = residual(video, scale="half_shift")
    np.testing.assert_allclose(half, (steps / 255 + 1) / 2, atol=1e-6)
    assert half.min() >= 0 and half.max() <= 1
    np.testing.assert_array_equal(residual(video, is_abs=True), np.abs(steps))
    assert residual(video, dtype="bfloat16").dtype == jnp.bfloat16


def test_views_are_differenced_along_their_frames():
    video = video_of(num=4)
    views = video.reshape(2, 2, *video.shape[1:])
    np.testing.assert_array_equal(residual(views).reshape(4, 8, 6, 8, 3), residual(video))


def test_evaluation_keeps_it_and_the_reader_is_told():
    ops = ["lighting", {"name": "residual"}, "mixup"]
    assert device_ops.without_augmentation(ops) == ({"name": "residual"},)
    assert device_ops.extra_frames(ops) == 1
    assert device_ops.extra_frames([{"name": "residual", "pad": "extra"}]) == 1
    assert device_ops.extra_frames([{"name": "residual", "pad": "roll"}]) == 0
    assert device_ops.extra_frames(["lighting", "normalize"]) == 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"pad": "wrap"}, "one of extra, roll, repeat; got 'wrap'"),
        ({"scale": "max"}, "one of std, half_shift; got 'max'"),
        ({"std": [1, 0, 1]}, "std must be above 0"),
        ({"flow_std": 0}, "std must be above 0"),
    ],
)
def test_options_that_do_not_exist(kwargs, message):
    with pytest.raises(InputError, match=message):
        device_ops.create([{"name": "residual", **kwargs}], 3)


def test_a_clip_of_one_frame_has_no_difference():
    with pytest.raises(InputError, match="pad='extra' needs clips of at least 2 frames; got 1"):
        residual(video_of(1))


def test_differences_of_a_segment_are_channels_of_one_frame():
    video = video_of(6)  # T = 2, F = 3
    row = {"name": "stack_differences", "frames_per_segment": 3, "std": (1, 2, 4)}
    got = run([row], video)
    assert got.shape == (3, 2, 6, 8, 6)
    assert device_ops.network_shape([row], 2, 6) == (2, 6, 6, 6)
    values = video.astype(np.float32) / np.array([1, 2, 4])
    for segment in range(2):
        for i in range(2):
            first = 3 * segment + i
            np.testing.assert_allclose(
                got[:, segment, ..., 3 * i : 3 * i + 3],
                values[:, first + 1] - values[:, first],
                atol=1e-4,
            )
    np.testing.assert_array_equal(run([row], video[:, None])[:, 0], got)
    with pytest.raises(InputError, match="6 frames are no whole segments of 4"):
        run([{**row, "frames_per_segment": 4}], video)


def test_stacked_differences_need_clips_of_as_many_frames():
    tsn = ("stack_differences",)
    assert device_ops.network_shape(tsn, 3, 224) == (3, 224, 224, 15)
    assert device_ops.network_shape(("normalize",), 3, 224) == (3, 224, 224, 3)
    assert device_ops.without_augmentation(("color_jitter", *tsn)) == tsn
    device_ops.check_clip(tsn, 6)
    device_ops.check_clip(("normalize",), 1)
    for ops, count, message in (
        (tsn, 1, "takes 6 frames of each segment, but clip.frames_per_segment=1"),
        (("normalize",), 6, "frames_per_segment=6 is for the device op 'stack_differences'"),
    ):
        with pytest.raises(InputError, match=message):
            device_ops.check_clip(ops, count)
    with pytest.raises(InputError, match="after 'stack_differences'; use one of them"):
        device_ops.create([*tsn, "normalize"], 3)
