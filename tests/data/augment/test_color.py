"""Lighting, brightness and contrast: one draw per clip, published constants, no clipping."""

import jax
import numpy as np
import pytest

from tempo.data import device_ops
from tempo.data.augment import color
from tempo.errors import InputError

KEY = jax.random.key(0)


def video_of(num=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num, 3, 8, 10, 3), dtype=np.uint8)


def run(op, video, key=KEY):
    f = jax.jit(device_ops.create([op], 3))
    return np.asarray(f(key, {"video": video, "label": np.zeros(len(video), np.int32)})["video"])


def test_lighting_adds_one_colour_to_a_clip():
    video = video_of()
    added = run("lighting", video) - video
    colors = added[:, 0, 0, 0]
    np.testing.assert_allclose(added, np.broadcast_to(colors[:, None, None, None], added.shape),
                               atol=1e-4)  # fmt: skip
    assert len(np.unique(colors.round(3), axis=0)) == len(video)
    np.testing.assert_array_equal(run({"name": "lighting", "alpha_std": 0}, video), video)


def test_lighting_has_the_covariance_of_imagenets_colours():
    num = 20000
    video = np.zeros((num, 1, 1, 1, 3), np.uint8)
    added = run("lighting", video)[:, 0, 0, 0]
    vectors, values = np.array(color._PCA_VECTORS), np.array(color._PCA_VALUES)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-3)
    np.testing.assert_allclose(values / 255, [0.2175, 0.0188, 0.0045], atol=1e-5)
    along = added @ vectors / values
    np.testing.assert_allclose(along.std(0), 0.1, rtol=0.03)
    np.testing.assert_allclose(np.corrcoef(along.T), np.eye(3), atol=0.03)
    # The main axis is brightness: all channels the same way.
    assert np.corrcoef(added.T).min() > 0.9


def test_brightness_and_contrast_scale_a_clip_within_their_range():
    video = video_of(400)
    scaled = run("brightness", video)
    factors = scaled.sum((1, 2, 3, 4)) / video.sum((1, 2, 3, 4))
    np.testing.assert_allclose(scaled, factors[:, None, None, None, None] * video, rtol=1e-4)
    assert 0.8 <= factors.min() < 0.82 and 1.18 < factors.max() <= 1.2
    assert scaled.max() > 255  # not clipped

    grey = (video @ np.array([0.299, 0.587, 0.114])).mean((1, 2, 3))[:, None, None, None, None]
    got = run({"name": "contrast", "factor": [0.5, 0.9]}, video)
    factors = (got - grey).std((1, 2, 3, 4)) / (video - grey).std((1, 2, 3, 4))
    np.testing.assert_allclose(
        got, grey + factors[:, None, None, None, None] * (video - grey), atol=2e-2
    )
    assert 0.5 <= factors.min() < 0.52 and 0.88 < factors.max() <= 0.9 + 1e-6


@pytest.mark.parametrize("name", ["lighting", "brightness", "contrast", "color_jitter"])
def test_a_clip_draws_by_its_key_alone(name):
    video = video_of()
    np.testing.assert_array_equal(run(name, video), run(name, video))
    assert not np.allclose(run(name, video), run(name, video, jax.random.key(1)))


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ({"name": "lighting", "alpha_std": -1}, "alpha_std must be 0 to inf; got -1"),
        ({"name": "contrast", "factor": [1.2, 0.8]}, r"contrast: .* such as \(0.8, 1.2\); got"),
        ({"name": "brightness", "factor": [0.8]}, "brightness: factor"),
    ],
)
def test_values_out_of_range(op, message):
    with pytest.raises(InputError, match=message):
        device_ops.create([op], 3)


@pytest.mark.parametrize("first", ["normalize", "residual"])
@pytest.mark.parametrize("then", ["lighting", "color_jitter", "rand_augment", "contrast"])
def test_colours_come_before_normalisation(first, then):
    with pytest.raises(InputError, match=f"{then}.* stands after '{first}'; put it before"):
        device_ops.create(["mixup", first, then], 3)
    device_ops.create([then, first, "mixup", "erasing"], 3)


def test_pixels_are_normalised_once():
    for ops in (["normalize", "residual"], ["residual", "normalize"], ["normalize", "normalize"]):
        with pytest.raises(InputError, match="use one of them"):
            device_ops.create(ops, 3)
