"""`python -m tempo.prepare --videos DIR --out DIR`: turns downloaded videos into a dataset.

Exit status: 0 all videos accepted, 1 some were refused (see `OUT/rejected.json`), 2 bad input (also
where a check finds that a build would end so) or a disk that is full or fails.
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from tempo.errors import InputError, RunError

# What is said of flow by a flag of its own, and no parameter of a method.
_FLOW_FLAGS = {
    "name": "--flow METHOD",
    "method": "--flow METHOD",
    "bound": "--flow-bound PX",
    "camera": "--flow-warped",
    "jpeg_quality": "--flow-quality Q",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    # What is not given is not passed on: the defaults are those of `records.build`.
    argv = sys.argv[1:] if argv is None else list(argv)
    if any(arg.split("=")[0] == "--preview" for arg in argv):
        return _preview(argv)
    settings = vars(_parser().parse_args(argv))
    # After parsing, so that --help and a mistyped flag answer at once.
    from tempo.data.builders import records

    try:
        settings |= _flow_row(settings)
        report = records.build(**settings)
    except (InputError, RunError) as error:
        print(f"tempo.prepare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tempo.prepare: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    print(_summary(report, is_check=settings.get("check_only", False)))
    return 1 if report.num_rejected else 0


def _summary(report, is_check: bool) -> str:
    splits = ", ".join(f"{split} {count}" for split, count in report.splits.items())
    done = " checked, no records made" if is_check else ""
    lines = [f"{report.out_dir}{done}: {report.num_accepted} videos accepted ({splits})"]
    if report.num_rejected:
        listed = ", ".join(f"{count} {reason}" for reason, count in report.reasons.items())
        lines.append(f"{report.num_rejected} refused: {listed}; see {report.details}")
    return "\n".join((*lines, *report.notes))


def _flow_row(settings: dict[str, Any]) -> dict[str, Any]:
    """Takes the flow flags out of `settings`; as one argument of `records.build`, if given."""
    method = settings.pop("flow", None)
    names = {"flow_bound": "bound", "flow_quality": "jpeg_quality", "flow_camera": "camera"}
    options = {name: settings.pop(flag) for flag, name in names.items() if flag in settings}
    parameters = dict(settings.pop("flow_set", ()))
    for name in parameters:
        if name in _FLOW_FLAGS:
            raise InputError(
                f"--flow-set {name} is no parameter of a method; say {_FLOW_FLAGS[name]}."
            )
    options |= parameters
    if method is None and options:
        raise InputError(f"Settings of optical flow ({', '.join(options)}) need --flow METHOD.")
    return {} if method is None else {"flow": {"name": method, **options}}


def _preview(argv: Sequence[str]) -> int:
    """Draws a contact sheet; the exit status."""
    settings = vars(_preview_parser().parse_args(argv))
    from tempo.data import preview
    from tempo.types import ClipSpec

    try:
        if "clip" in settings:
            num_frames, stride = settings["clip"]
            settings["clip"] = ClipSpec(num_frames=num_frames, stride=stride)
        count = preview.write(**settings)
    except (InputError, RunError) as error:
        print(f"tempo.prepare: {error}", file=sys.stderr)
        return 2
    print(f"{settings['out']}: {count} clips")
    return 0


class _ListDatasets(argparse.Action):
    """Prints the table of datasets and ends."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser, namespace, values, option_string=None):
        from tempo.data import specs

        print("--dataset            labels, mirrored; what --annotations takes\n")
        for name, spec in specs.DATASETS.items():
            about = f"{spec.label_kind}, {spec.mirroring}; {spec.source}"
            first, *rest = textwrap.wrap(about, 78)
            print(f"{name:20} {first}", *(f"{'':20} {line}" for line in rest), sep="\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tempo.prepare",
        description="Turns downloaded videos into a dataset.",
        epilog="python -m tempo.prepare --preview DIR --out sheet.png draws what is in a dataset.",
        argument_default=argparse.SUPPRESS,
    )
    _add_sources(parser)
    parser.add_argument(
        "--out", dest="out_dir", required=True, metavar="DIR", help="where the dataset goes"
    )
    parser.add_argument(
        "--kind",
        choices=("frames", "encoded"),
        help="store JPEG frames (fast) or the untouched files (small)",
    )
    parser.add_argument(
        "--short-side",
        dest="short_side_px",
        type=int,
        metavar="PX",
        help="reduce stored frames to this short side: 128 for nets of 112 px, 256 for 224 px, "
        "0 keeps them (default 256)",
    )
    parser.add_argument("--jpeg-quality", type=int, metavar="Q")
    parser.add_argument("--min-frames", type=int, metavar="N", help="refuse shorter videos")
    parser.add_argument("--max-frames", type=int, metavar="N", help="refuse longer videos")
    _add_flow(parser)
    parser.add_argument("--num-workers", type=int, metavar="N", help="threads (default: cores)")
    parser.add_argument(
        "--update",
        action="store_true",
        help="OUT holds the dataset of other files (mended ones, new ones): make it that of these, "
        "and keep what is the same",
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first video refused")
    parser.add_argument(
        "--check-only",
        action="store_true",
        help="decode and validate; write OUT/check.json and a verdict on every video, no records",
    )
    return parser


def _add_flow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--flow",
        metavar="METHOD",
        help="store optical flow beside the frames: dis (fast), tvl1 (slow, needs the extra "
        "[flow]) or tvl1_jax (the same method by jax, to about 0.01 px on average: on an "
        "accelerator, and for small frames)",
    )
    parser.add_argument(
        "--flow-warped",
        dest="flow_camera",
        action="store_const",
        const="removed",
        help="take the movement of the camera out first (TSN's warped flow)",
    )
    parser.add_argument("--flow-bound", type=float, metavar="PX", help="cut off (default 20)")
    parser.add_argument("--flow-quality", type=int, metavar="Q", help="of JPEGs (default 90)")
    parser.add_argument(
        "--flow-set",
        type=_named_number,
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="parameters of the method, such as num_warps=2",
    )


def _named_number(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER") from None


def _frames_and_stride(text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not FRAMESxSTRIDE, such as 8x8")
    return int(parts[0]), int(parts[1])


def _preview_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tempo.prepare",
        description="Draws clips of a prepared dataset as training sees them.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--preview", dest="data_dir", required=True, metavar="DIR", help="a prepared dataset")
    add("--out", required=True, metavar="PNG", help="where the contact sheet goes")
    add("--split", metavar="NAME", help="default train")
    add("--num-clips", type=int, metavar="N", help="of different videos (default 12)")
    add("--clip", type=_frames_and_stride, metavar="TxSTRIDE", help="default 8x8")
    add("--size", dest="size_px", type=int, metavar="PX", help="side of a crop (default 112)")
    add(
        "--host-ops",
        nargs="*",
        metavar="OP",
        help="default random_resized_crop flip (no flip where it has no label)",
    )
    add("--device-ops", nargs="*", metavar="OP", help="such as color_jitter or residual")
    add("--seed", type=int, metavar="N", help="of all draws (default 0)")
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--videos",
        dest="videos_dir",
        required=True,
        metavar="DIR",
        help="the downloaded videos; without --dataset DIR/<class>/*.mp4 or "
        "DIR/{train,test|val}/<class>/*, and a UCF-101 style tree is known by its lists",
    )
    parser.add_argument("--dataset", metavar="NAME", help="whose lists to read (default folder)")
    parser.add_argument(
        "--list-datasets", action=_ListDatasets, help="what NAME can be, and the files it needs"
    )
    parser.add_argument(
        "--annotations",
        nargs="+",
        metavar="[SPLIT=]PATH",
        help="the dataset's published lists, or folders of them",
    )
    parser.add_argument(
        "--classes", metavar="FILE", help="class names in the order that labels are to have"
    )
    parser.add_argument("--split-number", type=int, metavar="N", help="which published split")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most N videos of each split, over all classes"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out listed videos that are not there"
    )


if __name__ == "__main__":
    sys.exit(main())
