"""Runs the benchmarks of the README's tables, one after the other, and keeps their rows.

    python -m experiments.benchmarks.all                    # on a CPU
    python -m experiments.benchmarks.all --only inference   # commands with this in them
    python -m experiments.benchmarks.all --backend gpu
    python -m experiments.benchmarks.all --list

Each in a process of its own, with `--results`. Nothing else should run on the machine meanwhile.
Status 1 if one failed, after all the others; `python -m experiments.benchmarks.table --write` then
brings the README up to date.
"""

import argparse
import subprocess
import sys
import time

_SIDES = ("train_step", "inference")


def _networks(networks: tuple[str, ...], more: str) -> tuple[str, ...]:
    return tuple(f"{side} --model {of} --peer torch{more}" for of in networks for side in _SIDES)


COMMANDS: dict[str, tuple[str, ...]] = {
    "cpu": (
        *_networks(
            (
                "slowonly_r50 --clip 8x112 --batch 4",
                "tpn_slowonly_r50 --clip 8x112 --batch 4",
                "slowfast_r50_4x16 --clip 32x112 --batch 2",
                "tsm_r50 --clip 8x112 --batch 4",
                "x3d_s --clip 13x160 --batch 2",
            ),
            "",
        ),
        "input --clips 8x8 --rounds 3 --no-peer",
        "end_to_end --steps 5 --rounds 5",
        "scaling",
        "memory --model slowonly_r50 --clip 8x112 --batch 4 --dtypes float32",
        "compile --models slowonly_r50,tpn_slowonly_r101",
        # Twice the frames and twice the clips, to see whether the compiler takes longer.
        "compile --models tpn_slowonly_r101 --clips 16x112 --batches 8",
    ),
    "gpu": (
        *_networks(
            (
                "slowonly_r50 --clip 8x224 --batch 64",
                "tpn_slowonly_r50 --clip 8x224 --batch 64",
                "slowfast_r50_8x8 --clip 32x224 --batch 32",
                "tsm_r50 --clip 8x224 --batch 64",
                "x3d_m --clip 16x224 --batch 32",
            ),
            " --dtype bfloat16 --steps 20",
        ),
        "end_to_end --clip 8x224 --batch 64 --clips-per-video 4 --dtype bfloat16 --workers 16",
    ),
}
"""Benchmarks and their options, by what they are run on."""


def main(argv=None) -> int:
    """Runs the commands; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.all", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--backend", choices=sorted(COMMANDS), default="cpu")
    parser.add_argument("--only", default="", help="run the commands that this is a part of")
    parser.add_argument("--list", action="store_true", help="print them and run nothing")
    args = parser.parse_args(argv)
    chosen = [command for command in COMMANDS[args.backend] if args.only in command]
    if not chosen:
        parser.error(f"--only {args.only!r} is a part of no command; see --list")
    failed = []
    for command in chosen:
        print(f"python -m experiments.benchmarks.{command} --results", flush=True)
        if not args.list:
            failed += [] if _run(command) else [command]
    for command in failed:
        print(f"error: failed: {command}", file=sys.stderr)
    return int(bool(failed))


def _run(command: str) -> bool:
    """Whether it ended well; its seconds go to standard output, its row to the results alone."""
    start = time.perf_counter()
    name, *options = command.split()
    run = [sys.executable, "-m", f"experiments.benchmarks.{name}", *options, "--results"]
    done = subprocess.run(run, stdout=subprocess.DEVNULL)
    print(f"    {time.perf_counter() - start:.0f} s", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
