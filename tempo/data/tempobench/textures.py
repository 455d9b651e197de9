"""The bank of procedural textures that TempoBench draws its objects and backgrounds from.

One bank serves every class and every split: with textures of its own, each video could be learnt
by heart from a single frame (a small network did so: 0.56 on its training videos, 0.13 on test).
"""

import functools

import cv2
import numpy as np

NUM_OBJECTS = 8
NUM_BACKGROUNDS = 8
OBJECT_SIDE_PX = 48  # of an object's patch; drawn smaller than this, so that it stays sharp
_BANK_SEED = 20_200_611


@functools.cache
def objects() -> tuple[np.ndarray, ...]:
    """Bright textured discs: `NUM_OBJECTS` float32 patches [P,P,4], RGB premultiplied by alpha.

    RGB in 0..255, alpha in 0..1 with an edge soft enough to be drawn smaller. One half of each
    disc is lighter than the other, so no texture looks the same after part of a turn.
    """
    return tuple(_disc(np.random.default_rng((_BANK_SEED, 0, i))) for i in range(NUM_OBJECTS))


@functools.cache
def backgrounds(height_px: int, width_px: int, level: str) -> tuple[np.ndarray, ...]:
    """`NUM_BACKGROUNDS` uint8 pictures [H,W,3]: dim and smooth (`easy`) or cluttered (`hard`)."""
    return tuple(
        _BACKGROUNDS[level](np.random.default_rng((_BANK_SEED, 1, i)), height_px, width_px)
        for i in range(NUM_BACKGROUNDS)
    )


def _smooth_noise(rng: np.random.Generator, height_px: int, width_px: int, cells: int, channels=1):
    """Band-limited noise, float32 [H,W,channels] in 0..1, about `cells` blobs along the height."""
    across = max(2, round(cells * width_px / height_px))
    coarse = rng.random((cells, across, channels), dtype=np.float32)
    fine = cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    return np.clip(fine.reshape(height_px, width_px, channels), 0, 1)


def _disc(rng: np.random.Generator) -> np.ndarray:
    side = OBJECT_SIDE_PX
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis, axis)
    light = rng.uniform(190, 255, 3).astype(np.float32)
    dark = light * rng.uniform(0.15, 0.45, 3).astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi)
    shade = 0.5 + 0.45 * np.tanh(3 * (x * np.cos(turn) + y * np.sin(turn)))
    mix = np.clip(0.6 * shade + 0.4 * _smooth_noise(rng, side, side, 6)[..., 0], 0, 1)[..., None]
    alpha = np.clip((0.92 - np.hypot(x, y)) / 0.08, 0, 1)[..., None]
    rgb = dark + (light - dark) * mix
    return np.concatenate([rgb * alpha, alpha], axis=-1).astype(np.float32)


def _still_background(rng: np.random.Generator, height_px: int, width_px: int) -> np.ndarray:
    base = rng.uniform(20, 50, 3).astype(np.float32)
    noise = _smooth_noise(rng, height_px, width_px, 6, channels=3)
    return np.rint(base + 30 * noise).astype(np.uint8)


def _clutter(rng: np.random.Generator, height_px: int, width_px: int) -> np.ndarray:
    picture = 60 + 110 * _smooth_noise(rng, height_px, width_px, 8, channels=3)
    picture = np.ascontiguousarray(picture)
    for _ in range(30):
        centre = (int(rng.integers(width_px)), int(rng.integers(height_px)))
        radius = int(height_px * rng.uniform(0.03, 0.1))
        colour = tuple(float(c) for c in rng.uniform(30, 235, 3))
        if rng.random() < 0.5:
            cv2.circle(picture, centre, radius, colour, -1, cv2.LINE_8)
        else:
            corner = (centre[0] + 2 * radius, centre[1] + radius)
            cv2.rectangle(picture, centre, corner, colour, -1, cv2.LINE_8)
    return np.rint(cv2.GaussianBlur(picture, (0, 0), 0.8)).clip(0, 255).astype(np.uint8)


_BACKGROUNDS = {"easy": _still_background, "hard": _clutter}
