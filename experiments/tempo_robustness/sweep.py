"""SlowOnly against SlowOnly + TPN where tempo varies: trains, evaluates, and shows what came out.

    python -m experiments.tempo_robustness.sweep train
    python -m experiments.tempo_robustness.sweep evaluate
    python -m experiments.tempo_robustness.sweep table
    python -m experiments.tempo_robustness.sweep figures

`train` starts the training command of every network and seed that has not finished; `evaluate`
measures those that have and are not yet in `results.jsonl` beside this file, and records them there
(`--again` measures and replaces all). `table` and `figures` need that file alone. Exit status: 0
done, 1 a command that it started failed, 2 bad input.
"""

import argparse
import json
import math
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import recorded
from experiments.benchmarks import report
from experiments.tempo_robustness import config, study
from tempo import files
from tempo.analysis import scores, tempo
from tempo.data import pipeline
from tempo.data.tempobench import motion
from tempo.errors import InputError, lookup

FOLDER = pathlib.Path(__file__).parent
RESULTS = FOLDER / "results.jsonl"
README = FOLDER / "README.md"
RUNS = "runs/tempo_robustness"
SEEDS = (0, 1, 2)
NUM_FRAMES = 64
"""Of a video of TempoBench, unless told otherwise."""
_CONFIG = "experiments/tempo_robustness/config.py"
_EVALUATION = "experiments/tempo_robustness/evaluation.py"


def run_folder(runs: str, row: str, seed: int) -> pathlib.Path:
    """Workdir of a run."""
    return pathlib.Path(runs) / f"{row}_seed{seed}"


def training_command(runs: str, row: str, seed: int) -> list[str]:
    """Arguments of python that train a row with a seed."""
    return [
        "-m", "tempo.main", "--config", f"{_CONFIG}:{row}",
        "--workdir", str(run_folder(runs, row, seed)), f"--config.seed={seed}",
    ]  # fmt: skip


def evaluation_command(runs: str, row: str, seed: int) -> list[str]:
    """Arguments of python that measure all there is to measure of a trained run."""
    folder = str(run_folder(runs, row, seed))
    return [
        "-m", "tempo.main", "--mode", "eval", "--config", f"{_EVALUATION}:{row}",
        "--checkpoint", folder, "--workdir", folder, f"--config.seed={seed}",
    ]  # fmt: skip


def is_finished(folder: pathlib.Path) -> bool:
    """Whether training ended: its last step was evaluated.

    Any checkpoint can be evaluated, so a file of results alone says nothing.
    """
    if not (folder / "results.json").is_file() or not (folder / "config.json").is_file():
        return False
    last = _last_step(files.read_json(str(folder / "config.json")))
    rows = files.read_json(str(folder / "results.json"))
    return any(row["checkpoint_step"] >= last for row in rows)


def _last_step(config: dict[str, Any]) -> int:
    """Steps of a whole run with a config of this study."""
    steps = pipeline.steps_per_epoch(config["data"]["generate"]["num_train"], config["batch_size"])
    return max(round(config["total_epochs"] * steps), 1)


def train(runs: str, rows: Sequence[str], seeds: Sequence[int]) -> None:
    """Trains what has not finished; a run that was cut goes on where it was."""
    for seed in seeds:
        for row in rows:
            if is_finished(run_folder(runs, row, seed)):
                print(f"{run_folder(runs, row, seed)} has finished")
                continue
            subprocess.run([sys.executable, *training_command(runs, row, seed)], check=True)


def evaluate(
    runs: str,
    rows: Sequence[str],
    seeds: Sequence[int],
    results: pathlib.Path,
    *,
    is_again: bool = False,
) -> None:
    """Measures finished runs and records them.

    Args:
      runs: folder of the runs.
      rows: to be measured.
      seeds: to be measured.
      results: the file of records.
      is_again: measure those that are recorded too.

    Raises:
      InputError: none has finished.
    """
    finished = [
        (row, seed) for seed in seeds for row in rows if is_finished(run_folder(runs, row, seed))
    ]
    if not finished:
        raise InputError(
            f"{runs!r} holds no finished run; first: "
            "python -m experiments.tempo_robustness.sweep train"
        )
    done = set() if is_again else {(row["row"], row.get("seed")) for row in recorded.read(results)}
    for row, seed in finished:
        if (row, seed) in done:
            print(f"{run_folder(runs, row, seed)} is recorded")
            continue
        command = evaluation_command(runs, row, seed)
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True)
        wall_s = time.perf_counter() - start
        folder = run_folder(runs, row, seed)
        found = scores.load_all(folder)
        made = {
            "row": row,
            "seed": seed,
            **measured(found, files.read_json(str(folder / "results.json"))),
            "evaluation_wall_s": round(wall_s, 1),
            **report.environment(),
            "command": f"python {shlex.join(command)}",
            "training_command": f"python {shlex.join(training_command(runs, row, seed))}",
        }
        record([truth(found["multi_view"]), made], results)


def measured(found: dict[str, scores.Scores], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a row of `results.jsonl` says of a run's scores.

    Args:
      found: by evaluator.
      results: the run's `results.json`, of which those of the same checkpoint are kept.
    """
    views, robustness, orders = (
        found[name] for name in ("multi_view", "tempo_robustness", "use_of_time")
    )
    step = views.checkpoint_step
    for other in found.values():
        scores.check_comparable(views, other)
        if other.checkpoint_step != step:
            raise InputError(
                f"{other.path!r} is of step {other.checkpoint_step}, {views.path!r} of {step}; "
                "evaluate again."
            )
    strides, variants = robustness.arrays["strides"], orders.arrays["variants"]
    row = {
        "manifest_sha256": views.manifest_sha256,
        "checkpoint_step": step,
        "trained_stride": int(robustness.arrays["trained_stride"]),
        "results": [r for r in results if r["checkpoint_step"] == step],
        "hits": {
            "multi_view": recorded.pack(views.correct()),
            "tempo_robustness": {
                str(stride): recorded.pack(hits)
                for stride, hits in zip(strides, robustness.correct(), strict=True)
            },
            "use_of_time": {
                str(variant): recorded.pack(hits)
                for variant, hits in zip(variants, orders.correct(), strict=True)
            },
        },
    }
    if "per_frame" in found:
        row |= _frames(found["per_frame"])
    return row


def _frames(frames: scores.Scores) -> dict[str, Any]:
    """Widths of every video, in frames of the video, by mode."""
    probs, offsets, fps = (frames.arrays[name] for name in ("probs", "offsets", "fps"))
    found = {mode: tempo.widths(probs, offsets, float(fps), mode=mode) for mode in tempo.MODES}
    return {
        "frames_per_s": float(fps),
        "frame_accuracy": float(frames.correct()[np.isfinite(probs)].mean()),
        "widths": {
            mode: [None if math.isnan(x) else x for x in w.frames.round(3).tolist()]
            for mode, w in found.items()
        },
        "censored": recorded.pack(found["main"].is_censored),
    }


def truth(found: scores.Scores) -> dict[str, Any]:
    """The row that says what is true of the videos of a score file."""
    std = found.fact("class_log_tempo_std")
    return {
        "row": study.VIDEOS,
        "manifest_sha256": found.manifest_sha256,
        "class_names": list(found.class_names),
        "class_log_tempo_std": [float(std[found.labels == c][0]) for c in range(found.num_classes)],
        "median_period_frames": motion.VARIANCE_PERIOD_FRAMES,
        "num_frames": NUM_FRAMES,
        "label": found.labels.tolist(),
        "period_frames": found.fact("period_frames").round(4).tolist(),
        "phase": found.fact("phase").round(4).tolist(),
    }


def record(rows: Sequence[dict[str, Any]], results: pathlib.Path) -> None:
    """Puts rows into the file, in place of older ones of the same network and seed."""

    def identity(row):
        return row["row"], row.get("seed")

    new = {identity(row) for row in rows}
    kept = [row for row in recorded.read(results) if identity(row) not in new]
    order = [study.VIDEOS, *config.ROWS]
    merged = sorted([*kept, *rows], key=lambda r: (order.index(r["row"]), r.get("seed", 0)))
    files.write_text(str(results), "".join(json.dumps(row) + "\n" for row in merged))


def gathered(results: pathlib.Path) -> study.Study:
    """The study as recorded.

    Raises:
      InputError: nothing was recorded.
    """
    rows = recorded.read(results)
    if not rows:
        raise InputError(
            f"{str(results)!r} holds no rows; first: "
            "python -m experiments.tempo_robustness.sweep evaluate"
        )
    return study.gather(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "evaluate"):
        running = commands.add_parser(name)
        running.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="with commas")
        running.add_argument("--rows", default=",".join(config.ROWS), help="with commas")
        running.add_argument("--runs", default=RUNS, help="folder of the runs")
        if name == "evaluate":
            running.add_argument("--again", action="store_true", help="also what is recorded")
    commands.add_parser("table").add_argument(
        "--readme", action="store_true", help="also put the tables into README.md"
    )
    commands.add_parser("figures")
    args = parser.parse_args(argv)
    try:
        if args.command in ("train", "evaluate"):
            rows = args.rows.split(",")
            for row in rows:
                lookup(config.ROWS, row, "row of the tempo study")
            seeds = recorded.seeds(args.seeds)
            if args.command == "train":
                train(args.runs, rows, seeds)
            else:
                evaluate(args.runs, rows, seeds, RESULTS, is_again=args.again)
        elif args.command == "table":
            from experiments.tempo_robustness import tables

            page = tables.page(gathered(RESULTS))
            print(page)
            if args.readme:
                files.write_text(str(README), recorded.with_tables(README.read_text(), page))
        else:
            from experiments.tempo_robustness import figures

            figures.draw(gathered(RESULTS), FOLDER)
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as e:
        command = shlex.join(e.cmd)
        print(f"error: ended with status {e.returncode}: {command}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
