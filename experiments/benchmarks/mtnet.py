"""What frame selection, pooling and the gate take of a training step of an MTNet.

    python -m experiments.benchmarks.mtnet --model mtnet_m --clip 16x112 --batch 2
    python -m experiments.benchmarks.mtnet --depths 1 1 2 1

Prints JSON. A part's share is what the step saves without it: steps of the network, and of it with
that part replaced by the cheapest that fits there, take turns in one process. In place of the
frames with the lowest scores there is every second one, in place of the pool every second pixel,
in place of the gate nothing. `selection_and_pool` is without the first two at once.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from unittest import mock

import tempo
from experiments.benchmarks import report, running
from experiments.benchmarks.turns import CLOCKS, take_turns
from tempo.layers import frame_selection, pooling
from tempo.models import mtnet


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    frames, side_px = report.parse_clip(args.clip)
    shape = (args.batch, frames, side_px, side_px, 3)
    with stand_ins():
        nets = networks(args.model, args.classes, args.depths)
        runs = {name: running.Running(net, shape, args.classes) for name, net in nets.items()}
        compile_s = {name: round(run.compile(), 2) for name, run in runs.items()}
    steps = take_turns(runs, args.runs)
    row = {
        "benchmark": "mtnet",
        "model": args.model,
        "clip": args.clip,
        "batch": args.batch,
        "depths": args.depths or "of the preset",
        "compile_s": compile_s,
        "step_ms": steps,
        "share_of_step": shares(steps),
    }
    report.emit({**row, **report.environment()}, args.out)


def every_second_frame(x):
    """`[B,T,H,W,C] -> [B,T//2,H,W,C]`: as many frames as are selected, without a look at them."""
    return x if x.shape[1] == 1 else x[:, : x.shape[1] // 2 * 2 : 2]


def every_second_pixel(x, window, *, key=None, train=False):
    """What a pool of `window` would reduce, by taking the first element of each window."""
    del key, train
    return x[:, :: window[0], :: window[1], :: window[2]]


@contextlib.contextmanager
def stand_ins():
    """The tables of pools and of frames with a row `first`, the cheapest thing of their shape."""
    with (
        mock.patch.dict(pooling.POOLS, first=every_second_pixel),
        mock.patch.dict(frame_selection.FRAMES, first=every_second_frame),
        mock.patch.dict(mtnet.STEM_FRAMES, first=every_second_frame),
    ):
        yield


def networks(name: str, num_classes: int, depths: Sequence[int] = ()) -> dict:
    """The preset `name`, and it without each part, by what is replaced; see `stand_ins`.

    Args:
      name: of the preset.
      num_classes: K.
      depths: blocks of each stage, if not the preset's.
    """
    shallow = {"depths": tuple(depths)} if depths else {}
    frames = {"stem_frames": "first", "mtconv": {"frames": "first"}}
    without = {
        "whole": {},
        "selection": frames,
        "pool": {"mtconv": {"pool": "first"}},
        "selection_and_pool": {**frames, "mtconv": {"pool": "first", "frames": "first"}},
        "gate": {"sr_layers": 0},
    }
    return {
        part: tempo.create_model(name, num_classes=num_classes, backbone=shallow | backbone)
        for part, backbone in without.items()
    }


def shares(steps: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """By part and clock, the share of the whole network's step that is saved without the part."""
    return {
        part: {clock: round(1 - ms[clock] / steps["whole"][clock], 4) for clock in CLOCKS}
        for part, ms in steps.items()
        if part != "whole"
    }


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.mtnet", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="mtnet_m", help="a preset of an MTNet")
    parser.add_argument("--clip", default="16x112", help="frames x side in pixels")
    parser.add_argument("--batch", type=int, default=2, help="clips per step")
    parser.add_argument(
        "--depths", nargs=4, type=int, default=[], help="blocks of each stage: fewer compile sooner"
    )
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--runs", type=int, default=5, help="timed steps of each")
    report.add_output(parser)
    args = parser.parse_args(argv)
    known = [n for n in tempo.list_models("mtnet_*") if "released" not in n and "r50" not in n]
    if args.model not in known:
        print(f"error: --model {args.model} is no MTNet; take one of {', '.join(known)}.",
              file=sys.stderr)  # fmt: skip
        sys.exit(2)
    return args


if __name__ == "__main__":
    main()
