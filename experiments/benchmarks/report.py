"""What a benchmark says beside its numbers, and where its rows go.

Rows have command, commit, date, versions and hardware. `--out FILE` appends them to a file,
`--results` to that of this benchmark in the folder of this hardware: see `results_file`.
"""

import argparse
import datetime
import json
import pathlib
import platform
import re
import shlex
import subprocess
import sys
from typing import Any

from tempo import machine

RESULTS = pathlib.Path(__file__).parent / "results"
"""Folder of the committed rows: `<hardware>/<benchmark>.jsonl`."""


def parse_clip(text: str) -> tuple[int, int]:
    """Frames and side in pixels of a clip such as `8x224`, as command lines have it."""
    num_frames, side_px = (int(n) for n in text.lower().split("x"))
    return num_frames, side_px


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds `--out` and `--results`; both set `out`, which `emit` and `append` take."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", help="also append the rows to this JSONL file")
    where.add_argument(
        "--results",
        dest="out",
        action="store_const",
        const=RESULTS,
        help="also append the rows to those of this hardware, below experiments/benchmarks/results",
    )


def environment(*, with_devices: bool = True) -> dict[str, Any]:
    """Facts that a reader needs to repeat the run.

    Args:
      with_devices: list jax's devices, which starts them; False for what uses none.
    """
    return {
        "command": _command(),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "hardware": _hardware(with_devices),
    }


def emit(row: dict[str, Any], out: str | pathlib.Path | None = None) -> None:
    """Prints `row` as indented JSON and appends it to `out`, see `append`."""
    print(json.dumps(row, indent=2), flush=True)
    append(row, out)


def append(row: dict[str, Any], out: str | pathlib.Path | None) -> None:
    """Appends `row` as one line of JSON to the file `out`; does nothing without one.

    Where `out` is `RESULTS`, to `results_file(row)`.
    """
    if not out:
        return
    path = results_file(row) if out == RESULTS else pathlib.Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as f:
        f.write(json.dumps(row) + "\n")


def results_file(row: dict[str, Any]) -> pathlib.Path:
    """File of the committed rows of this row's hardware and benchmark."""
    return RESULTS / folder_of(row["hardware"]) / f"{row['benchmark']}.jsonl"


def folder_of(hardware: dict[str, Any]) -> str:
    """Name for hardware as a row has it: of its accelerators or, without any, of its processor."""
    if hardware.get("backend", "cpu") == "cpu":
        name = f"{hardware['cpu']} {hardware['cpu_cores']} cores"
    else:
        name = f"{len(hardware['devices'])}x {hardware['devices'][0]}"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _command() -> str:
    """The command line as typed, with `python -m`; without where rows go and without folders."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = f"-m {spec.name}" if spec else pathlib.Path(sys.argv[0]).name
    arguments = []
    given = iter(sys.argv[1:])
    for argument in given:
        if argument == "--out":
            next(given, None)
        elif argument != "--results" and not argument.startswith("--out="):
            arguments.append(_without_folder(argument))
    return f"python {program} {shlex.join(arguments)}".rstrip()


def _without_folder(argument: str) -> str:
    """An absolute path, also behind `--flag=`, becomes its last name; all else stays as it is."""
    flag, equals, value = argument.rpartition("=")
    path = pathlib.PurePath(value)
    return f"{flag}{equals}{path.name}" if path.is_absolute() else argument


def _commit() -> str:
    """Short hash of HEAD, with `+` if tracked files but results differ; `unknown` outside git."""
    root = pathlib.Path(__file__).resolve().parents[2]

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        # Rows appended a moment ago are no change of what is measured.
        tracked = ["--untracked-files=no", "--", ".", ":!experiments/benchmarks/results"]
        dirty = git("status", "--porcelain", *tracked)
        return git("rev-parse", "--short", "HEAD") + ("+" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **machine.versions()}


def _hardware(with_devices: bool) -> dict[str, Any]:
    system = machine.system()
    hardware: dict[str, Any] = {
        "cpu": system["cpu"],
        "cpu_cores": system["cores"],
        "memory_gib": system["memory_gib"],
    }
    if with_devices:
        import jax

        devices = jax.devices()
        hardware["devices"] = [d.device_kind for d in devices]
        hardware["backend"] = devices[0].platform
        if driver := _driver(hardware["backend"]):
            hardware["driver"] = driver
    return hardware


def _driver(backend: str) -> str:
    """Version of NVIDIA's driver; "" on other backends, or where nothing tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True) if backend == "gpu" else None
    except OSError:
        return ""
    return done.stdout.split("\n")[0].strip() if done else ""
