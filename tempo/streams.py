"""What the network of a recipe is given of a clip: its streams and their shapes."""

import dataclasses
from typing import Any

import jax
import numpy as np

from tempo import models
from tempo.data import device_ops, flow_sampling, pipeline
from tempo.errors import InputError
from tempo.models import tracing
from tempo.recipe import Recipe
from tempo.types import ClipShapes, FlowSpec, Streams


def of_model(r: Recipe) -> Streams:
    """Rows of `tempo.types.STREAMS` that the network reads."""
    return models.create(2, **r.model).streams


def flow_spec(r: Recipe) -> FlowSpec | None:
    """Which flow goes with a clip; None for a network that reads none.

    Raises:
      InputError: the config has flow for a network that reads none.
    """
    if "flow" in of_model(r):
        return r.flow or FlowSpec()
    if r.flow is not None:
        raise InputError(
            "The config has a section 'flow', but its network reads frames alone; leave it out, or "
            "set model.stream='flow' or a backbone of two streams."
        )
    return None


def check_flow(r: Recipe, records: pipeline.Records) -> tuple[str, ...]:
    """Looks whether a dataset has the flow that the network reads, in videos that are long enough.

    Args:
      r: a checked config.
      records: the dataset.

    Returns:
      What to tell the user: a line for each split that has videos shorter than the snippets.

    Raises:
      InputError: there is no flow, or snippets that no video of a split has room for.
    """
    flow = flow_spec(r)
    if flow is None:
        return ()
    records.check_flow()
    uses = [(r.data.train_split, flow, True)] * (not r.is_untrained)
    uses += [(e.split, e.view.flow_of(flow), False) for e in r.eval.values()]
    counts: dict[str, np.ndarray] = {}
    lines: dict[str, None] = {}
    for name, own, is_training in uses:
        if name not in records.splits:  # who reads it says so
            continue
        if name not in counts:
            rows = records.split(name).manifest
            counts[name] = np.array([row["num_frames"] for row in rows], np.int64) - 1
        lines |= dict.fromkeys(flow_sampling.coverage(name, counts[name], own, is_training))
    return tuple(lines)


def clip_shape(r: Recipe) -> ClipShapes:
    """Of one training clip, as the network sees it.

    Raises:
      InputError: as `flow_spec`, or device ops that do not take such clips.
    """
    side, streams, flow = r.input.size_px, of_model(r), flow_spec(r)
    shapes: dict[str, tuple[int, ...]] = {}
    if "video" in streams:
        shapes["video"] = device_ops.network_shape(r.input.device_ops, r.clip.num_frames, side)
    if flow is not None:
        shapes["flow"] = (flow.num_snippets, side, side, 2 * flow.num_fields)
    return shapes if len(streams) > 1 else shapes[streams[0]]


def check_views(r: Recipe) -> None:
    """Looks whether the network takes the clips of all views, which may have another length.

    Raises:
      InputError: it does not, or has other variables for them; the message names the evaluator.
    """
    own = clip_shape(r)
    for name, evaluator in r.eval.items():
        view = evaluator.view
        clip, flow = view.clip_of(r.clip), view.flow_of(flow_spec(r))
        shown = clip_shape(dataclasses.replace(r, clip=clip, flow=flow))
        if shown == own:
            continue
        what = f"config.eval.{name} shows the network clips of {shown}, and it trains on {own}"
        try:
            trained, tested = (_sizes(r, shape) for shape in (own, shown))
        except InputError as e:
            raise InputError(f"{what}: {e}") from None
        if trained != tested:
            raise InputError(
                f"{what}, for which it has other variables; set its num_frames and "
                "num_snippets to 0, or use other views."
            )


def _sizes(r: Recipe, shape: ClipShapes) -> Any:
    """Of all variables that the network has for clips of a shape."""
    return jax.tree.map(lambda leaf: leaf.shape, tracing.variable_shapes(2, r.model, shape))
