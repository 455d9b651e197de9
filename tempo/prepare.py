"""`python -m tempo.prepare --videos DIR --out DIR`: turns a folder of videos into a dataset.

Exit status: 0 all videos accepted, 1 some were refused (see `OUT/rejected.json`), 2 bad input.
"""

import argparse
import collections
import sys
from collections.abc import Sequence

from tempo.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    # What is not given is not passed on: the defaults are those of `records.build`.
    settings = vars(_parser().parse_args(argv))
    # After parsing, so that --help and a mistyped flag answer at once.
    from tempo.data.builders import records

    try:
        report = records.build(**settings)
    except InputError as error:
        print(f"tempo.prepare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tempo.prepare: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    print(_summary(report))
    return 1 if report.num_rejected else 0


def _summary(report) -> str:
    splits = ", ".join(f"{split} {count}" for split, count in report.splits.items())
    lines = [f"{report.out_dir}: {report.num_accepted} videos accepted ({splits})"]
    reasons = collections.Counter(
        row["reason"].split(":")[0].split("@")[0] for row in report.rejected
    )
    if reasons:
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        lines.append(f"{report.num_rejected} refused: {listed}; see {report.out_dir}/rejected.json")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tempo.prepare",
        description="Turns a folder of videos into a dataset.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--videos",
        dest="videos_dir",
        required=True,
        metavar="DIR",
        help="DIR/<class>/*.mp4, DIR/{train,test|val}/<class>/*, or a UCF-101 style tree",
    )
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
    parser.add_argument("--split-number", type=int, metavar="N", help="which UCF-style split files")
    parser.add_argument("--num-workers", type=int, metavar="N", help="threads (default: cores)")
    parser.add_argument(
        "--strict", action="store_true", help="make no dataset if any video is refused"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
