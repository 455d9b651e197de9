"""The embedded dataset: TempoBench, rendered on the spot and taken in like anybody's videos."""

import os
from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental import multihost_utils

from tempo.data import ops, pipeline
from tempo.data.builders import flows
from tempo.data.builders import records as builder
from tempo.data.tempobench import synthetic
from tempo.data.video import decode
from tempo.errors import check_keys

# Arguments of `make` that are not those of `synthetic.write_tempobench`.
_OWN = ("kind", "short_side_px", "flow")


def open_or_make(
    data_dir: str, generate: Mapping[str, Any], dataset: str = "folder"
) -> pipeline.Records:
    """The records in `data_dir`, made first if `generate` says how.

    Args:
      data_dir: of the records. Rendered videos go to `<data_dir>_videos`; once they are gone, whole
        records are taken as they are.
      generate: arguments of `make`; empty only opens.
      dataset: its name, for the command that is told where there is nothing to open.

    Raises:
      InputError: nothing to open, an unknown argument, or a dataset made with other arguments.
    """
    if generate:
        check_keys("config.data.generate", generate, synthetic.write_tempobench, also=_OWN)
        is_kept = pipeline.is_complete(data_dir) and not os.path.exists(_videos_dir(data_dir))
        if jax.process_index() == 0 and not is_kept:
            make(data_dir, **generate)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("embedded dataset made")
    return pipeline.open_records(data_dir, dataset)


def make(
    data_dir: str,
    *,
    config: str = "pairs",
    kind: str = "frames",
    short_side_px: int = 0,
    flow: ops.Row = "",
    **tempobench: Any,
) -> None:
    """Renders TempoBench and builds its records; leaves alone what is there already.

    Args:
      data_dir: of the records.
      config: of TempoBench.
      kind: of the records.
      short_side_px: of the stored frames; 0 keeps their size.
      flow: a row of `tempo.data.flow.METHODS`, its name or `{"name": ..., **parameters}`: optical
        flow is stored beside the frames; "" stores none.
      **tempobench: other arguments of `tempo.data.tempobench.synthetic.write_tempobench`.

    Raises:
      InputError: unknown flow, or records that cannot have it, before anything is rendered; or a
        dataset made with other arguments.
    """
    videos_dir = _videos_dir(data_dir)
    flows.create(flow or None, kind, decode.MIN_FRAMES)
    synthetic.write_tempobench(videos_dir, config=config, **tempobench)
    builder.build(
        videos_dir,
        data_dir,
        dataset=f"tempobench_{config}",
        kind=kind,
        short_side_px=short_side_px,
        flow=flow or None,
    )


def _videos_dir(data_dir: str) -> str:
    return f"{os.path.normpath(data_dir)}_videos"
