"""What a TempoBench video shows: scenes, and the renderer that turns one into frames."""

import dataclasses
from collections.abc import Mapping

import cv2
import numpy as np

from tempo.data.tempobench import motion, textures


@dataclasses.dataclass(frozen=True)
class Level:
    """How much besides the object there is to see.

    Lengths are in frame heights. `noise` is a standard deviation in grey levels, `drift` the
    camera's largest excursion, `num_distractors` other discs that cross the frame.
    """

    radius: tuple[float, float]
    amplitude: tuple[float, float]
    centre: float
    noise: float = 0.0
    drift: float = 0.0
    num_distractors: int = 0


LEVELS = {
    "easy": Level(radius=(0.13, 0.16), amplitude=(0.22, 0.30), centre=0.03),
    "hard": Level(
        radius=(0.09, 0.12),
        amplitude=(0.12, 0.20),
        centre=0.06,
        noise=6.0,
        drift=0.12,
        num_distractors=2,
    ),
}
SIZE_OCTAVES = 0.55
"""grow_shrink: the radius goes from 2 ** -0.55 to 2 ** 0.55 of its mean."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """All that a video shows, apart from how fast its phase runs. Lengths in frame heights."""

    pattern: str
    level: str
    phase: float  # of the first frame, in cycles
    rest: Mapping[str, float]
    mirror: int
    radius: float
    amplitude: float
    centre: tuple[float, float]
    object_id: int
    background_id: int
    drift: tuple[float, ...]  # x and y: excursion, turns over the video, phase
    distractors: tuple[tuple[float, ...], ...]  # object, radius, x, y, and their change per video
    noise_seed: int


def sample_scene(rng: np.random.Generator, pattern: str, level: str) -> Scene:
    """A random scene of a pattern. Nothing in it knows how fast the motion will be."""
    row = LEVELS[level]
    drift = []
    for _ in range(2):
        drift += [row.drift * rng.uniform(0.3, 1), rng.uniform(-1.5, 1.5), rng.random()]
    return Scene(
        pattern=pattern,
        level=level,
        phase=rng.random(),
        rest={name: rng.random() for name in motion.COORDINATES},
        mirror=int(rng.integers(2)) * 2 - 1,
        radius=rng.uniform(*row.radius),
        amplitude=rng.uniform(*row.amplitude),
        centre=(rng.uniform(-row.centre, row.centre), rng.uniform(-row.centre, row.centre)),
        object_id=int(rng.integers(textures.NUM_OBJECTS)),
        background_id=int(rng.integers(textures.NUM_BACKGROUNDS)),
        drift=tuple(drift),
        distractors=tuple(
            (
                float(rng.integers(textures.NUM_OBJECTS)),
                rng.uniform(*row.radius),
                *rng.uniform(-0.4, 0.4, 2),
                *rng.uniform(-0.5, 0.5, 2),
            )
            for _ in range(row.num_distractors)
        ),
        noise_seed=int(rng.integers(2**32)),
    )


def render_frame(
    scene: Scene, cycles: float, when: float, height_px: int, width_px: int
) -> np.ndarray:
    """One frame, uint8 [H,W,3].

    Args:
      scene: what there is to see.
      cycles: the motion's phase; the only way in which tempo reaches a frame.
      when: time as a share of the video, 0..1, which camera, distractors and noise follow.
      height_px: height of the frame.
      width_px: width of the frame.
    """
    shift = [
        size * np.sin(2 * np.pi * (turns * when + phase))
        for size, turns, phase in (scene.drift[:3], scene.drift[3:])
    ]
    frame = _background(scene, shift, height_px, width_px)
    for object_id, radius, x, y, dx, dy in scene.distractors:
        at = (_wrap(x + dx * when) + shift[0], _wrap(y + dy * when) + shift[1])
        _draw(frame, int(object_id), at, radius, 0.0)
    pose = motion.pose(scene.pattern, cycles, scene.rest, scene.mirror)
    at = (
        scene.centre[0] + scene.amplitude * pose["x"] + shift[0],
        scene.centre[1] + scene.amplitude * pose["y"] + shift[1],
    )
    radius = scene.radius * 2 ** (SIZE_OCTAVES * pose["size"])
    _draw(frame, scene.object_id, at, radius, pose["angle"])
    sigma = LEVELS[scene.level].noise
    if sigma:
        rng = np.random.default_rng((scene.noise_seed, round(when * 1e6)))
        frame = frame + sigma * rng.standard_normal(frame.shape, dtype=np.float32)
        return np.rint(frame).clip(0, 255).astype(np.uint8)
    return frame


def _wrap(x: float) -> float:
    """Brings a distractor that has left the frame back in on the other side."""
    return (x + 0.7) % 1.4 - 0.7


def _background(scene: Scene, shift: list[float], height_px: int, width_px: int) -> np.ndarray:
    drift = LEVELS[scene.level].drift
    if not drift:
        return textures.backgrounds(height_px, width_px, scene.level)[scene.background_id].copy()
    margin = int(np.ceil(drift * height_px)) + 1
    wide = textures.backgrounds(height_px + 2 * margin, width_px + 2 * margin, scene.level)
    by = [margin - s * height_px for s in shift]
    view = np.array([[1, 0, -by[0]], [0, 1, -by[1]]])
    return cv2.warpAffine(wide[scene.background_id], view, (width_px, height_px))


def _draw(
    frame: np.ndarray, object_id: int, at: tuple[float, float], radius: float, turns: float
) -> None:
    """Blends a disc into `frame` in place; `at` is its centre from the middle, in heights."""
    height_px, width_px = frame.shape[:2]
    x, y = width_px / 2 + at[0] * height_px, height_px / 2 + at[1] * height_px
    reach = radius * height_px + 1
    left, right = max(0, int(x - reach)), min(width_px, int(np.ceil(x + reach)) + 1)
    top, bottom = max(0, int(y - reach)), min(height_px, int(np.ceil(y + reach)) + 1)
    if left >= right or top >= bottom:
        return
    side = textures.OBJECT_SIDE_PX
    scale = 2 * radius * height_px / side
    c, s = scale * np.cos(2 * np.pi * turns), scale * np.sin(2 * np.pi * turns)
    # Pixel centres lie at whole numbers in cv2, so the middle of a patch is at (side - 1) / 2.
    half = (side - 1) / 2
    to_frame = np.array(
        [
            [c, -s, x - 0.5 - left - c * half + s * half],
            [s, c, y - 0.5 - top - s * half - c * half],
        ]
    )
    patch = cv2.warpAffine(textures.objects()[object_id], to_frame, (right - left, bottom - top))
    region = frame[top:bottom, left:right]
    region[:] = np.rint(region * (1 - patch[..., 3:]) + patch[..., :3]).astype(np.uint8)


def render_video(
    scene: Scene, cycles_per_frame: float, num_frames: int, height_px: int, width_px: int
) -> np.ndarray:
    """All frames of a scene at a tempo, uint8 [T,H,W,3]."""
    return np.stack(
        [
            render_frame(
                scene,
                scene.phase + t * cycles_per_frame,
                t / num_frames,
                height_px,
                width_px,
            )
            for t in range(num_frames)
        ]
    )
