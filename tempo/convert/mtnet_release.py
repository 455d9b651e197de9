"""Checkpoints of the authors' two-stream MTNet, arXiv 2011.03949.

`network/MTnet.py` of github.com/alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates. Keys may
have the `module.` of DataParallel. The release normalises with the mean and deviation below what
OpenCV decodes, and turns the channels nowhere: blue comes first. The weights are taken as they are;
of a network that was trained so, turn the three inputs of `stem_conv/kernel` and the mean.
"""

from collections.abc import Mapping
from typing import Any

from tempo.convert import families, recurrent, rules
from tempo.convert.source import Defaults, Family, Guess, Layout, Source
from tempo.errors import InputError
from tempo.models import two_stream_mtnet

_STREAMS = ("short", "long")
_CONV: tuple[rules.Row, ...] = (
    *((f"conv_{s}", f"{s}_conv", "conv") for s in _STREAMS),
    *((f"norm_{s}", f"{s}_norm", "norm") for s in _STREAMS),
    ("conv_short2long", "lateral_conv", "conv"),
)
_CONVS = {
    "conv1_1": "conv1",
    "conv1_2": "conv2",
    "conv2": "conv3",
    "conv3": "conv4",
    "downsample": "proj",
}
# As `_unpacked` names them.
_GATES = sorted({side + g for gates in recurrent.GATES.values() for g in gates for side in "ih"})
_GATE: tuple[rules.Row, ...] = tuple(
    (f"sr_{s}.op.{{n}}.{gate}", f"{s}_gate/layer{{n}}/{gate}", "linear")
    for s in _STREAMS
    for gate in _GATES
)

ROWS = (
    ("stem.0", "backbone/stem_conv", "conv"),
    ("stem.1", "backbone/stem_norm", "norm"),
    *rules.prefixed(
        (
            *(
                row
                for theirs, ours in _CONVS.items()
                for row in rules.prefixed(_CONV, f"{theirs}.", f"{ours}/")
            ),
            *_GATE,
        ),
        "layer{s}.{b}.",
        "backbone/stage{s}_block{b+1}/",
    ),
    ("fc", "head/fc", "linear"),
)


def _cell(arrays: Mapping[str, Any]) -> str:
    """GRU or LSTM, the two that the release has, by the rows of their stacked gates."""
    shape = arrays["weight_hh_l0"].shape if "weight_hh_l0" in arrays else (0, 1)
    if len(shape) != 2:
        raise InputError(f"weight_hh_l0 of a recurrent layer must have two axes; it has {shape}.")
    rows, hidden = shape
    for cell in ("gru", "lstm"):
        if rows == len(recurrent.GATES[cell]) * hidden:
            return cell
    raise InputError(
        f"A recurrent layer has {rows} rows of gates for {hidden} channels, which is neither a GRU "
        "(3 times) nor an LSTM (4 times); check --source."
    )


def _unpacked(arrays: rules.Arrays) -> rules.Arrays:
    """The arrays, those of recurrent layers taken apart by gate: `sr_short.op.1.ir.weight`."""
    out = dict(arrays)
    for name, parts in recurrent.layers(arrays).items():
        for key in parts:
            del out[f"{name}.{key}"]
        for leaf, value in recurrent.to_leaves(_cell(parts), parts).items():
            layer, gate, kind = leaf.removeprefix("layer").split("/")
            theirs, value = ("weight", value.T) if kind == "kernel" else (kind, value)
            out[f"{name}.{layer}.{gate}.{theirs}"] = value
    return out


def _fields(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Fields of `two_stream_mtnet.TwoStreamMTNet` that the leaves tell."""
    last = "params/backbone/stage4_block1/"
    short, long = (shapes.get(f"{last}conv4/{s}_conv/kernel", (0,))[-1] for s in _STREAMS)
    if not short or not long:
        raise InputError("The weights are cut: the first block of stage 4 lacks its last layer.")
    gates = [name for name in shapes if name.startswith(f"{last}short_gate/")]
    is_lstm = any(name.endswith("/hf/kernel") for name in gates)
    return {
        "depths": families.blocks_of(shapes),
        "width": shapes["params/backbone/stem_conv/kernel"][-1],
        "ratio": _ratio(short, short + long),
        "cell": "lstm" if is_lstm else "gru",
        "sr_layers": len({name.split("/")[4] for name in gates}),
    }


def _ratio(short: int, channels: int) -> float:
    """The roundest number that splits the channels so."""
    rounded = (round(short / channels, digits) for digits in range(1, 9))
    fitting = (r for r in rounded if two_stream_mtnet.split(channels, r)[0] == short)
    return next(fitting, short / channels)


SOURCE = Source(
    about="the MTNet release (alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates)",
    layouts=(
        Layout(
            rows=ROWS,
            unpack=_unpacked,
            family=Family(
                about="the two-stream MTNet of its authors",
                backbone=two_stream_mtnet.TwoStreamMTNet,
                read=_fields,
                guesses=(
                    Guess(
                        when=lambda fields: True,
                        fields={"pool": "avg"},
                        about="the code of the MTNet release has unless it is told otherwise",
                    ),
                ),
            ),
        ),
    ),
    assumed=(
        "frames red first; the release's reader hands on what OpenCV decodes, blue first: of a "
        "network trained with it turn the inputs of stem_conv/kernel, and --mean",
    ),
    # Of HACS: 16 frames, in training at every frame or every second one.
    defaults={"dense": Defaults(clip={"num_frames": 16, "stride": 2}, views="k400_10x3_linspace")},
    # 124, 117, 104 of 255, and 1 / (0.0167 * 255) of values 0-1.
    mean=(124.0, 117.0, 104.0),
    std=(1 / 0.0167,) * 3,
)
