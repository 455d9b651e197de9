"""A camera that moves is found and taken out of the flow; what moves in front of it stays."""

import cv2
import numpy as np
import pytest

from tempo.data import camera, flow
from tempo.errors import InputError
from tests.moving import SHIFT, shifted_frames

DISC_SHIFT = (-1, 1)


@pytest.fixture(scope="module")
def scene():
    """The camera pans; a disc moves otherwise."""
    frames = shifted_frames(2, 96, 128)
    others = shifted_frames(2, 96, 128, shift=DISC_SHIFT, seed=1)
    y, x = np.mgrid[:96, :128]
    is_disc = (x - 64) ** 2 + (y - 48) ** 2 < 16**2
    frames[:, is_disc] = others[:, is_disc]
    return frames, is_disc


def test_what_is_left_is_what_moves_against_the_background(scene):
    frames, is_disc = scene
    field = flow.compute(frames, "dis", camera="removed")[0]
    near_disc = cv2.dilate(is_disc.astype(np.uint8), np.ones((25, 25))) > 0
    inside = cv2.erode(is_disc.astype(np.uint8), np.ones((13, 13))) > 0
    # To the very border: what the second frame does not show stands still.
    assert np.abs(field[~near_disc]).mean() < 0.05 and np.abs(field[~near_disc]).max() < 1
    expected = np.subtract(DISC_SHIFT, SHIFT)
    np.testing.assert_allclose(np.median(field[inside], axis=0), expected, atol=0.4)
    kept = flow.compute(frames, "dis")[0]
    np.testing.assert_allclose(np.median(kept[~near_disc], axis=0), SHIFT, atol=0.1)


def test_a_zoom_that_turns_is_found():
    first = shifted_frames(1, 96, 128)[0]
    true = np.array([[1.02, -0.03, 1.5], [0.03, 1.02, -2.0], [1e-4, 0, 1]])
    second = cv2.warpPerspective(first, true, (128, 96))
    found = camera.homography(first, second)
    corners = np.float32([[[20, 20], [108, 20], [20, 76], [108, 76]]])
    gap = cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, true)
    assert np.abs(gap).max() < 0.3


def test_without_corners_nothing_changes():
    flat = np.full((2, 32, 48), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (2, 2, 96, 128)).astype(np.uint8)
    for first, second in (flat[:1], flat[1:]), noise:
        np.testing.assert_array_equal(camera.removed(first, second), second)


def test_flow_says_so_only_where_the_camera_was_removed():
    kept, removed = flow.create("dis"), flow.create("dis", camera="removed")
    assert "camera" not in kept.metadata and removed.identity["camera"] == "removed"
    for made, now in ((kept, removed), (removed, kept)):
        flow.check_same(made.metadata, made, "'out'")
        message = f"made with camera='{made.camera}', now it is '{now.camera}'"
        with pytest.raises(InputError, match=message):
            flow.check_same(made.metadata, now, "'out'")
        flow.check_trained(made.metadata, made.metadata, "x")
        with pytest.raises(InputError, match=f"camera='{made.camera}', but here"):
            flow.check_trained(made.metadata, now.metadata, "x")
    with pytest.raises(InputError, match="Unknown camera of optical flow 'remove'"):
        flow.create("dis", camera="remove")
