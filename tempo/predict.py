"""`python -m tempo.predict --checkpoint DIR VIDEO...`: what a trained model says of video files.

A VIDEO is a file, a folder (searched to the bottom, in sorted order), or `-` for a list of paths on
stdin. Exit status: 0 all videos predicted, 1 some were not (named on stderr with the reason), 2 bad
input, found before any work, 141 nobody reads the output any more.

From Python, `tempo.predict.predict(checkpoint, paths)` gives the same as objects.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tempo import command_line
from tempo.errors import InputError

if TYPE_CHECKING:
    from tempo.prediction.predictor import Prediction, Predictor


def predict(checkpoint: str, videos: Iterable[str], **settings: Any) -> Iterator["Prediction"]:
    """Predictions for video files, one after the other.

        for found in predict("runs/quickstart", ["a.mp4", "b.mp4"], views="10x3"):
            print(found.path, found.error or found.probs.argmax())

    Args:
      checkpoint: a run's workdir, a step of it, or a converted checkpoint.
      videos: paths of files.
      **settings: of `tempo.prediction.predictor.Predictor`, which also knows the classes' names.

    Raises:
      InputError: a checkpoint that cannot be used, or settings that do not fit it. What is wrong
        with a video is in the `error` of its prediction.
    """
    from tempo.prediction.predictor import Predictor

    predictor = Predictor(checkpoint, **settings)
    return (predictor(path) for path in videos)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    given = _parser().parse_args(argv)
    _take_any_name()
    return command_line.run(lambda: _run(given))


def _take_any_name() -> None:
    """Lets paths through that are no text in the terminal's encoding; files may have such names."""
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, io.TextIOWrapper):  # not so in a notebook
            stream.reconfigure(errors=errors)


def best(predictor: "Predictor", probs: Any, count: int) -> dict[str, list[Any]]:
    """The `classes` with the highest `probs`, best first.

    Where there are several groups of classes (a verb and a noun), these are the best combinations
    of one class of each, whose probability is the product of theirs.

    Args:
      predictor: knows classes and groups.
      probs: [K].
      count: how many, at most.
    """
    found = [((), 1.0)]
    for part in predictor.task.slices.values():
        own = _ranked(predictor, probs, part, count)
        pairs = list(zip(own["classes"], own["probs"], strict=True))
        joined = [((*a, b), p * q) for a, p in found for b, q in pairs]
        found = sorted(joined, key=lambda pair: -pair[1])[:count]
    names, values = zip(*found, strict=True)
    return {"classes": [" ".join(name) for name in names], "probs": list(values)}


def _ranked(predictor: "Predictor", probs: Any, part: slice, count: int) -> dict[str, list[Any]]:
    """The best classes of a group."""
    rows = (-probs[part]).argsort(kind="stable")[:count] + (part.start or 0)
    return {
        "classes": [predictor.class_names[row] for row in rows],
        "probs": [float(probs[row]) for row in rows],
    }


def _run(given: argparse.Namespace) -> int:
    from tempo.prediction import inputs

    _check(given)
    paths = inputs.find(given.videos, sys.stdin)
    figures = _figures(given.timeline, paths)
    # After the cheap checks: jax takes seconds to load.
    from tempo import program_cache

    with program_cache.cached_in():
        return _predict_all(given, paths, figures)


def _predict_all(given: argparse.Namespace, paths: Sequence[str], figures: Sequence[str]) -> int:
    """Prints what is seen in each video; 1 if one of them could not be read."""
    from tempo.prediction.predictor import Predictor, Windows

    hop_s, window_s = given.hop, given.window
    windows = Windows(hop_s=hop_s, window_s=window_s) if given.timeline else None
    predictor = Predictor(
        given.checkpoint,
        views=given.views,
        classes=given.classes,
        stride_scale=given.stride_scale,
        windows=windows,
        batch_size=given.batch_size,
    )
    if not given.json:
        print(f"{predictor.info['path']}: {predictor.protocol}", flush=True)
    num_failed = 0
    for path, figure in zip(paths, figures, strict=True):
        found = predictor(path)
        if found.error:
            num_failed += 1
            print(f"error: {path}: {found.error}", file=sys.stderr, flush=True)
        elif found.timeline is not None:
            _draw(predictor, found, figure, given.topk)
        if given.json:
            row = _as_json(predictor, found, figure, given.topk)
            print(json.dumps(_rounded(row)), flush=True)
        elif not found.error:
            print(_as_text(predictor, found, figure, given.topk), flush=True)
    return 1 if num_failed else 0


def _check(given: argparse.Namespace) -> None:
    for name, low in (("topk", 1), ("batch_size", 1)):
        if getattr(given, name) < low:
            raise InputError(f"--{name.replace('_', '-')} must be at least {low}.")
    if not 0 <= given.hop < float("inf") or not 0 < given.window < float("inf"):
        raise InputError(
            f"--hop and --window are seconds above 0; got {given.hop:g} and {given.window:g}."
        )
    if given.timeline:
        from tempo.analysis.figures import timeline

        timeline.check_path(given.timeline)
        folder = os.path.dirname(os.path.abspath(given.timeline))
        if os.path.exists(folder) and not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
            raise InputError(f"--timeline: {folder!r} is no folder that can be written to.")


def _figures(timeline: str, paths: Sequence[str]) -> list[str]:
    """A figure's file for each video: as given for one, with the video's name in it for several."""
    if not timeline or len(paths) == 1:
        return [timeline] * len(paths)
    base, suffix = os.path.splitext(timeline)
    found: dict[str, None] = {}
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        name, number = f"{base}_{stem}{suffix}", 1
        while name in found:  # videos of one name in different folders
            number += 1
            name = f"{base}_{stem}_{number}{suffix}"
        found[name] = None
    return list(found)


def _shown_rows(probs: Any, count: int) -> list[int]:
    """The classes of a timeline: those with the highest probability in any window."""
    return (-probs.max(axis=0)).argsort(kind="stable")[:count].tolist()


def _draw(predictor: "Predictor", found: "Prediction", path: str, count: int) -> None:
    from tempo.analysis.figures import timeline

    line, rows = found.timeline, _shown_rows(found.timeline.probs, count)
    names = [predictor.class_names[row] for row in rows]
    title = os.path.basename(found.path)
    timeline.draw(path, line.start_s, line.end_s, line.probs[:, rows], names, title=title)


def _as_json(
    predictor: "Predictor", found: "Prediction", figure: str, count: int
) -> dict[str, Any]:
    row = {"path": found.path, "checkpoint": predictor.info["path"]}
    if found.error:
        return row | {"error": found.error}
    row |= {
        **best(predictor, found.probs, count),
        "views": predictor.protocol,
        "num_views": predictor.view.num_views,
        "num_frames": found.num_frames,
        "duration": found.duration_s,
    }
    groups = {name: part for name, part in predictor.task.slices.items() if name}
    if groups:
        row["groups"] = {
            name: _ranked(predictor, found.probs, p, count) for name, p in groups.items()
        }
    if found.timeline is not None:
        line, rows = found.timeline, _shown_rows(found.timeline.probs, count)
        row["timeline"] = {
            "figure": figure,
            "start_s": line.start_s.tolist(),
            "end_s": line.end_s.tolist(),
            "classes": [predictor.class_names[i] for i in rows],
            "probs": line.probs[:, rows].T.tolist(),
        }
    return row


def _rounded(value: Any) -> Any:
    """JSON with six digits behind the point: seconds and probabilities do not know more."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def _as_text(predictor: "Predictor", found: "Prediction", figure: str, count: int) -> str:
    lines = [f"{found.path} ({found.num_frames} frames, {found.duration_s:.2f} s)"]
    ranked = best(predictor, found.probs, count)
    for name, prob in zip(ranked["classes"], ranked["probs"], strict=True):
        lines.append(f"  {prob:6.1%}  {name}")
    if found.timeline is not None:
        lines.append(f"  timeline of {len(found.timeline.start_s)} windows: {figure}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tempo.predict",
        description="Classifies video files with a trained or a converted model.",
    )
    add = parser.add_argument
    add(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="a video file, a folder of them, or - for a list of paths on stdin",
    )
    add(
        "--checkpoint",
        required=True,
        metavar="DIR",
        help="a run's workdir, one step of it, or a converted checkpoint",
    )
    add("--topk", type=int, default=5, metavar="N", help="how many classes (default 5)")
    add("--json", action="store_true", help="print one JSON object per video, one on a line")
    add(
        "--views",
        default="",
        metavar="SET",
        help="clips x crops such as 10x3 (1, 3, 5 or 10 crops), or a name such as "
        "k400_10x3_ticks (default: the checkpoint's own)",
    )
    add(
        "--stride-scale",
        type=float,
        default=1.0,
        metavar="S",
        help="play the videos S times faster: frames of a clip are stride * S apart, rounded to "
        "the nearest frame (default 1)",
    )
    add("--classes", default="", metavar="FILE", help="names of the classes, in order")
    add(
        "--batch-size",
        type=int,
        default=8,
        metavar="N",
        help="views at a time, at most (default 8)",
    )
    _add_timeline(parser)
    return parser


def _add_timeline(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--timeline",
        default="",
        metavar="FIGURE",
        help="draw probabilities over time, of windows of one clip each, as .png, .svg or .pdf; "
        "for several videos their names are put in",
    )
    add(
        "--hop",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="from one window to the next (default: half a window)",
    )
    add(
        "--window",
        type=float,
        default=4.0,
        metavar="SECONDS",
        help="length of the windows of a model that takes one frame of each part of a video; "
        "others have the length of their clip (default 4)",
    )


if __name__ == "__main__":
    sys.exit(main())
