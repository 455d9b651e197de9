"""A split that is made up, and its batches.

Its frames say which video and which frame they are, and its flow which field, so what a batch shows
can be read off.
"""

import dataclasses

import numpy as np

from tempo.data import pipeline
from tempo.types import ClipSpec, FlowSpec, ViewSpec

HEIGHT, WIDTH, SIZE = 40, 52, 32
CLIP = ClipSpec(num_frames=4, stride=2)
FRAME = ClipSpec(num_frames=1)
FLOW = FlowSpec(num_snippets=3, num_fields=4, interval=4, train_intervals=(1, 6))
STILL = ("random_crop",)
# Class of the mirror image of each of the ten.
MIRROR = np.array([1, 0, 2, 4, 3, 5, 6, 7, 9, 8], np.int32)


@dataclasses.dataclass
class MadeUpRecord:
    """A ramp to the right in red; the video in green; the frame in blue. Fields likewise."""

    id: str
    row: int
    num_frames: int
    flow_scale: int
    log: list

    @property
    def timestamps(self):
        return np.arange(self.num_frames) / 25

    def decode(self, indices):
        self.log.append(("frames", np.unique(indices).size))
        frames = np.empty((*indices.shape, HEIGHT, WIDTH, 3), np.uint8)
        frames[..., 0] = np.arange(WIDTH) * 4
        frames[..., 1] = self.row
        frames[..., 2] = np.asarray(indices)[..., None, None]
        return frames

    def decode_flow(self, indices):
        self.log.append(("flow", np.unique(indices).size))
        size = (HEIGHT // self.flow_scale, WIDTH // self.flow_scale)
        fields = np.empty((*indices.shape, *size, 2), np.uint8)
        fields[..., 0] = np.arange(size[1]) * 4 * self.flow_scale
        fields[..., 1] = np.asarray(indices)[..., None, None]
        return fields


class MadeUpSplit:
    name = "train"

    def __init__(self, labels=None, mirror_labels=None, num_videos=10, flow_scale=1):
        self.ids = [f"v{i}" for i in range(num_videos)]
        self.labels = np.arange(num_videos, dtype=np.int32) if labels is None else labels
        self.mirror_labels = mirror_labels
        self.flow_scale = flow_scale
        self.log = []

    def __len__(self):
        return len(self.ids)

    def check_flow(self):
        pass

    def __getitem__(self, row):
        return MadeUpRecord(self.ids[row], int(row), 20 + int(row), self.flow_scale, self.log)


def train_steps(split, num_steps=4, **kwargs):
    arguments = dict(clip=CLIP, batch_size=6, size_px=SIZE, seed=3, num_steps=num_steps) | kwargs
    with pipeline.train_batches(split, **arguments) as stream:
        return list(stream)


def eval_steps(split, **kwargs):
    view = ViewSpec(num_clips=2, crop="five", short_side_px=HEIGHT, size_px=SIZE)
    arguments = dict(clip=CLIP, view=view, batch_size=4) | kwargs
    with pipeline.eval_batches(split, **arguments) as stream:
        return list(stream)


def assert_equal(a, b):
    assert len(a) == len(b) > 0
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            np.testing.assert_array_equal(x[key], y[key], err_msg=key)


def is_mirrored(batch):
    return batch["video"][:, 0, 0, 0, 0] > batch["video"][:, 0, 0, -1, 0]
