"""What the network of a recipe is given of a clip: its streams and their shapes."""

from tempo import models
from tempo.data import device_ops
from tempo.errors import InputError
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
