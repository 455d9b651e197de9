"""The embedded dataset: TempoBench, rendered on the spot and taken in like anybody's videos."""

import os
from collections.abc import Mapping
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils

from tempo.data import pipeline, synthetic
from tempo.data.builders import records as builder
from tempo.errors import check_keys


def open_or_make(data_dir: str, generate: Mapping[str, Any]) -> pipeline.Records:
    """The records in `data_dir`; made first if `generate` says how and nothing whole is there.

    Args:
      data_dir: of the records. Rendered videos go to `<data_dir>_videos`.
      generate: arguments of `make`; empty only opens.

    Raises:
      InputError: nothing there and nothing to generate, or an unknown argument.
    """
    if generate:
        check_keys("config.data.generate", generate, make)
        if jax.process_index() == 0 and not pipeline.is_complete(data_dir):
            make(data_dir, **generate)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("embedded dataset made")
    return pipeline.open_records(data_dir)


def make(
    data_dir: str,
    *,
    config: str = "pairs",
    level: str = "easy",
    num_train: int = 480,
    num_test: int = 240,
    num_frames: int = 64,
    height_px: int = 96,
    width_px: int = 128,
    short_side_px: int = 0,
    kind: str = "frames",
    seed: int = 0,
) -> None:
    """Renders TempoBench (see `tempo.data.synthetic`) and builds its records."""
    videos_dir = f"{os.path.normpath(data_dir)}_videos"
    logging.info("Rendering TempoBench %s (%s) into %s", config, level, videos_dir)
    synthetic.write_tempobench(
        videos_dir,
        config=config,
        level=level,
        num_train=num_train,
        num_test=num_test,
        num_frames=num_frames,
        height_px=height_px,
        width_px=width_px,
        seed=seed,
    )
    builder.build(videos_dir, data_dir, kind=kind, short_side_px=short_side_px)
