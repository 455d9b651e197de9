"""`python -m tempo.report --workdir W --out DIR`: a page of all that saved scores tell of a run.

Reads the score files that evaluation left in `W/scores` and, with `--baseline W2`, those of another
run on the same videos. Writes `DIR/index.html`, one self-contained page; its figures as PNG and SVG
beside it; and `DIR/report.json` with every number shown. Runs no network and reads no video. Exit
status: 0 written, 2 bad input.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

from tempo import command_line, files
from tempo.errors import InputError
from tempo.version import __version__

_PAGE, _NUMBERS = "index.html", "report.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    given = _parser().parse_args(argv)
    line = f"python -m tempo.report {shlex.join(argv)}"
    return command_line.run(lambda: _run(given, line), stopped="stopped; nothing was written.")


def _run(given: argparse.Namespace, command: str) -> None:
    path = write(
        given.workdir,
        given.out,
        baseline=given.baseline,
        tempo_from=given.tempo_from,
        smoothing_frames=given.smoothing,
        min_peak=given.min_peak,
        correct_only=given.correct_only,
        command=command,
    )
    print(path)


def write(
    workdir: str,
    out: str,
    *,
    baseline: str = "",
    tempo_from: str = "",
    command: str = "",
    **measurement: Any,
) -> str:
    """Writes the report; the path of its page.

    Args:
      workdir: of the run.
      out: folder of the report. One that is there is replaced when the new one is whole.
      baseline: of the run that it is compared with; "" for none.
      tempo_from: of the run whose per-frame scores tell the tempo of videos; "" takes the run's
        own, or else its baseline's.
      command: that is making the report, for its last section.
      **measurement: fields of `tempo.analysis.tempo.Measurement`, of how tempo is measured.

    Raises:
      InputError: no scores of single videos, runs that cannot be compared, or an `out` that
        something else stands in.
    """
    from tempo.analysis import compared, page, tempo

    measured = tempo.Measurement(**measurement)
    with _replacing_report(out) as folder:
        found = compared.load(workdir, baseline, tempo_from, measured)
        sections = _sections(found, command)
        title = f"Report on {found.run.name}"
        for figure in (f for s in sections for f in s.figures):
            stem = os.path.join(folder, "".join(c if c.isalnum() else "_" for c in figure.name))
            files.write_text(f"{stem}.svg", figure.svg)
            with files.replacing(f"{stem}.png", "wb") as f:
                f.write(figure.png)
        numbers = {
            "title": title,
            "workdir": workdir,
            "baseline": baseline or None,
            "tempo_from": found.tempo_run.workdir if found.tempo_run else None,
            "command": command or None,
            "sections": {section.key: section.as_json() for section in sections},
        }
        text = json.dumps(numbers, indent=1, allow_nan=False, ensure_ascii=False)
        files.write_text(os.path.join(folder, _NUMBERS), text + "\n")
        files.write_text(os.path.join(folder, _PAGE), page.render(title, _lead(found), sections))
    return os.path.join(out, _PAGE)


def _sections(found: Any, command: str) -> list[Any]:
    """All sections; the last one also says what made the scores, and the report."""
    from tempo.analysis import page, sections

    *others, last = [make(found) for make in sections.SECTIONS]
    columns = [
        page.Column("run", "run"),
        page.Column("workdir", "workdir", "code"),
        page.Column("step", "step", "count"),
        page.Column("model", "model", "code"),
        page.Column("versions", "versions"),
    ]
    rows = [
        {"run": run.name, "workdir": run.workdir, "step": step, **_checkpoint(run.workdir, step)}
        for run in found.all_runs
        for step in sorted({s.checkpoint_step for s in run.scores.values()})
    ]
    made = page.Text(f"This report was made with {_versions()}." + " By:" * bool(command), command)
    table = page.Table("checkpoints", columns, rows, "The networks that were scored.")
    return [*others, dataclasses.replace(last, blocks=[*last.blocks, table, made])]


def _checkpoint(workdir: str, step: int) -> dict[str, str | None]:
    """Model and versions that a checkpoint was made with; None where it is not in the workdir."""
    # Only here: it brings jax along, and a workdir of score files alone has no use for it.
    path = os.path.join(workdir, "checkpoints", str(step))
    if not os.path.isdir(path):
        return {"model": None, "versions": None}
    from tempo import checkpoint

    try:
        info = checkpoint.load_info(path)
    except InputError:  # damaged: the scores are whole nevertheless
        return {"model": None, "versions": None}
    versions = info.get("versions", {}).items()
    return {
        "model": json.dumps(info.get("config", {}).get("model", {}), ensure_ascii=False),
        "versions": ", ".join(f"{name} {version}" for name, version in versions) or None,
    }


def _versions() -> str:
    packages = ("numpy", "scipy", "matplotlib", "scikit-learn")
    found = [("tempo", __version__), *((name, metadata.version(name)) for name in packages)]
    return ", ".join(f"{name} {version}" for name, version in found)


def _lead(found: Any) -> str:
    """The sentence under the title."""
    scores = next(iter(found.run.scores.values()))
    against = f" beside its baseline {found.baseline.name}" if found.baseline else ""
    split = f", split {scores.split}" if scores.split else ""
    return f"{found.run.name}{against}, on {scores.dataset or 'its dataset'}{split}."


@contextlib.contextmanager
def _replacing_report(out: str) -> Iterator[str]:
    """A new folder that takes the place of the report at `out` when the block ends well."""
    _check_replaceable(out)
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(files.replacing_folder(out))
            os.mkdir(folder)
        except OSError as error:
            raise InputError(f"--out {out!r} cannot be written: {error.strerror}.") from None
        yield folder


def _check_replaceable(out: str) -> None:
    """Raises `InputError` if something else than a report, or than nothing, is at `out`."""
    if not os.path.lexists(out):
        return
    inside = os.listdir(out) if os.path.isdir(out) and not os.path.islink(out) else None
    if inside is None or (inside and not {_PAGE, _NUMBERS} <= set(inside)):
        raise InputError(
            f"--out {out!r} exists and is no report; give a folder that does not exist yet, or "
            "that of an older report."
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tempo.report",
        description="Writes a page of all that the saved scores of a run tell.",
    )
    parser.add_argument(
        "--workdir", required=True, metavar="W", help="the run, with scores in W/scores"
    )
    parser.add_argument(
        "--baseline", default="", metavar="W2", help="a run on the same videos to compare it with"
    )
    parser.add_argument(
        "--tempo-from",
        default="",
        metavar="W3",
        help="the run whose per-frame scores tell the tempo of videos, such as a 2-D network "
        "(default: W, or else W2)",
    )
    for flag, what in (
        ("--smoothing", "sigma in frames of a Gaussian over per-frame probabilities"),
        ("--min-peak", "lowest peak probability of a video whose tempo counts"),
    ):
        help_text = f"{what} (default: 0, as in the paper)"
        parser.add_argument(flag, type=float, default=0.0, metavar="X", help=help_text)
    parser.add_argument(
        "--correct-only",
        action="store_true",
        help="the tempo of a video counts only if its class is the best one at its peak",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="the report's folder; an older one is replaced"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
