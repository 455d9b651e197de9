"""Movement of the camera between two frames, and a second frame without it.

The second input of TSN's temporal network (Wang et al., arXiv 1608.00859, section 3.1), after the
improved trajectories of Wang and Schmid (2013): a homography is found by matching features of both
frames, the second frame is warped by it, and what flow is left is that of the people.
"""

import cv2
import numpy as np

CAMERAS = ("kept", "removed")

# Corners per frame, their quality against the best, and pixels between them.
_MAX_CORNERS, _QUALITY, _APART_PX = 1000, 0.001, 3
# A corner that is followed there and back must come back so near.
_BACK_PX = 0.5
# RANSAC: what still fits, and below how many or which share of the matches nothing is believed.
_FITS_PX, _MIN_MATCHES, _MIN_SHARE = 1.0, 16, 0.5


def removed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Each second frame as the camera of its first would have seen it.

    Where that was outside the second frame, the pixels of the first stand in: nothing moves there.
    A second frame stays as it is if no homography is found.

    Args:
      first: grey, uint8 [N,H,W].
      second: the same shape.
    """
    cv2.setNumThreads(0)
    out = second.copy()
    for i, (before, after) in enumerate(zip(first, second, strict=True)):
        movement = homography(before, after)
        if movement is None:
            continue
        height, width = before.shape
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpPerspective(after, movement, (width, height), flags=how)
        inside = cv2.warpPerspective(np.full_like(after, 255), movement, (width, height), flags=how)
        warped = np.where(inside == 255, warped, before)
        # Matches that agree by chance bring the frames no nearer.
        if cv2.norm(warped, before, cv2.NORM_L1) < cv2.norm(after, before, cv2.NORM_L1):
            out[i] = warped
    return out


def homography(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """Where the camera moved each place (x, y, 1) of the first frame, float64 [3,3].

    None if too few corners are found again, or they do not agree.

    Args:
      first: grey, uint8 [H,W].
      second: the same shape.
    """
    corners = cv2.goodFeaturesToTrack(first, _MAX_CORNERS, _QUALITY, _APART_PX)
    if corners is None or len(corners) < _MIN_MATCHES:
        return None
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None)
    gap = np.linalg.norm((back - corners).reshape(-1, 2), axis=1)
    is_match = (found.ravel() == 1) & (found_back.ravel() == 1) & (gap < _BACK_PX)
    if is_match.sum() < _MIN_MATCHES:
        return None
    # OpenCV's RANSAC draws from a generator of its own that starts alike in every call.
    movement, fits = cv2.findHomography(corners[is_match], there[is_match], cv2.RANSAC, _FITS_PX)
    if movement is None or fits.sum() < max(_MIN_MATCHES, _MIN_SHARE * is_match.sum()):
        return None
    return movement
