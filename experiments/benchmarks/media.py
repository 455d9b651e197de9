"""Videos that the input benchmarks read, and records made of them."""

import os

import av
import cv2
import numpy as np

from tempo.data import pipeline
from tempo.data.builders import records as builder

NUM_VIDEOS = 16
_MEAN_FRAMES = 138
_FPS = 25


def render(videos_dir: str, width: int, height: int, kbps: int = 0) -> list[str]:
    """Renders 16 mpeg4 videos of about 138 frames to train on, once; their paths.

    Smoothed noise under a moving camera with two moving discs and sensor noise: about as many
    bytes per frame as a natural video of high quality, or as a bit rate of `kbps` gives.
    """
    paths = []
    for number in range(NUM_VIDEOS + 2):  # a dataset has a test video of each class
        split = "train" if number < NUM_VIDEOS else "test"
        folder = os.path.join(videos_dir, split, f"class{number % 2}")
        os.makedirs(folder, exist_ok=True)
        paths.append(os.path.join(folder, f"v{number:02d}.mp4"))
        if not os.path.exists(paths[-1]):
            _render(paths[-1], width, height, number, kbps)
    return paths[:NUM_VIDEOS]


def make_records(videos_dir: str, data_dir: str, kind: str, **settings) -> pipeline.Records:
    """Records of rendered videos at their own size; what is there already is kept."""
    builder.build(
        videos_dir, data_dir, kind=kind, **({"short_side_px": 0} | settings), progress=False
    )
    return pipeline.open_records(data_dir)


def _render(path: str, width: int, height: int, seed: int, kbps: int) -> None:
    rng = np.random.default_rng(seed)
    texture, disc = (_texture(rng, 2 * height, 2 * width) for _ in range(2))
    speeds = rng.uniform(0.02, 0.08, 6)
    quality = {"b": f"{kbps}k"} if kbps else {"qmin": "2", "qmax": "2"}
    with av.open(path + ".tmp", "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=_FPS, options={**quality, "g": "12"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for i in range(int(rng.integers(_MEAN_FRAMES - 60, _MEAN_FRAMES + 61))):
            angle, zoom = 10 * np.sin(speeds[0] * i), 1 + 0.2 * np.sin(speeds[1] * i)
            camera = cv2.getRotationMatrix2D((width, height), angle, zoom)
            camera[:, 2] -= (width / 2 + 20 * np.sin(speeds[2] * i), height / 2)
            frame = cv2.warpAffine(texture, camera, (width, height))
            for phase in (0.0, 2.0):
                mask = np.zeros((height, width), np.uint8)
                x = width / 2 + width / 3 * np.cos(speeds[3] * i + phase)
                y = height / 2 + height / 3 * np.sin(speeds[4] * i + phase)
                cv2.circle(mask, (int(x), int(y)), height // 8, 255, -1)
                frame[mask > 0] = disc[: 2 * height : 2, : 2 * width : 2][mask > 0]
            noise = rng.normal(0, 3, frame.shape).astype(np.float32)
            frame = np.clip(frame + noise, 0, 255).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", threads=1)))
        container.mux(stream.encode())
    os.replace(path + ".tmp", path)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of all scales, each half as strong as the next coarser (like photographs), uint8."""
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 8):
        size = (max(1, height >> octave), max(1, width >> octave), 3)
        small = rng.normal(0, 2.0**octave, size)
        small = small.astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    total = (total - total.mean()) / total.std()
    return np.clip(128 + 55 * total, 0, 255).astype(np.uint8)
