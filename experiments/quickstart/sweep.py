"""The quickstart, with 16 frames and with one, on several seeds: what the README's table shows.

    python -m experiments.quickstart.sweep run --seeds 0,1,2 --workdir runs/quickstart_sweep
    python -m experiments.quickstart.sweep table

`run` starts the training command once per row and appends what it left in `results.json`, with
wall time and environment, to `results.jsonl` beside this file. `table` prints that file as the
README has it.
"""

import argparse
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import time

from experiments.benchmarks import report

RESULTS = pathlib.Path(__file__).with_name("results.jsonl")
ROWS = {
    "16 frames": [],
    "1 frame": ["--config.clip.num_frames=1"],
}


def run(seeds: list[int], workdir: str) -> None:
    """Trains every row with every seed and records what came out."""
    for seed in seeds:
        for name, flags in ROWS.items():
            folder = pathlib.Path(workdir) / f"{name.replace(' ', '_')}_seed{seed}"
            arguments = [
                "-m", "tempo.main", "--config", "configs/quickstart.py",
                "--workdir", str(folder), f"--config.seed={seed}", *flags,
            ]  # fmt: skip
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True)
            row = {
                "row": name,
                "seed": seed,
                "wall_s": round(time.perf_counter() - start, 1),
                "results": json.loads((folder / "results.json").read_text()),
                **report.environment(),
                "command": f"python {shlex.join(arguments)}",
            }
            with RESULTS.open("a") as f:
                f.write(json.dumps(row) + "\n")


def table() -> str:
    """The recorded rows as a Markdown table: mean and range over seeds."""
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    lines = [
        "| frames per clip | seeds | multi-view top-1 (6 views) | single-view top-1 | wall time |",
        "|---|---|---|---|---|",
    ]
    for name in ROWS:
        mine = [row for row in rows if row["row"] == name]
        cells = [name.split()[0], str(len(mine))]
        for evaluator in ("multi_view", "single_view"):
            top1 = [r["top1"] for row in mine for r in row["results"] if r["name"] == evaluator]
            cells.append(f"{statistics.mean(top1):.3f} ({min(top1):.3f} to {max(top1):.3f})")
        cells.append(f"{statistics.median(row['wall_s'] for row in mine):.0f} s")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--seeds", default="0,1,2", help="separated by commas")
    running.add_argument("--workdir", default="runs/quickstart_sweep")
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "run":
        run([int(s) for s in args.seeds.split(",")], args.workdir)
    print(table())


if __name__ == "__main__":
    main()
