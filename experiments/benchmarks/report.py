"""What a benchmark says beside its numbers: command, commit, versions, hardware and date."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "grain", "av", "simplejpeg", "array_record")


def parse_clip(text: str) -> tuple[int, int]:
    """Frames and side in pixels of a clip such as `8x224`, as command lines have it."""
    num_frames, side_px = (int(n) for n in text.lower().split("x"))
    return num_frames, side_px


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


def emit(row: dict[str, Any], out: str | None = None) -> None:
    """Prints `row` as indented JSON; with `out`, also appends it to that file as one line."""
    print(json.dumps(row, indent=2), flush=True)
    append(row, out)


def append(row: dict[str, Any], out: str | None) -> None:
    """Appends `row` to the file `out` as one line of JSON; does nothing without one."""
    if out:
        path = pathlib.Path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as f:
            f.write(json.dumps(row) + "\n")


def _command() -> str:
    """The command line as typed, with `python -m`, less `--out` and this machine's folders."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = f"-m {spec.name}" if spec else pathlib.Path(sys.argv[0]).name
    arguments = []
    given = iter(sys.argv[1:])
    for argument in given:
        if argument == "--out":
            next(given, None)
        elif not argument.startswith("--out="):
            arguments.append(_without_folder(argument))
    return f"python {program} {shlex.join(arguments)}".rstrip()


def _without_folder(argument: str) -> str:
    """An absolute path, also behind `--flag=`, becomes its last name; all else stays as it is."""
    flag, equals, value = argument.rpartition("=")
    path = pathlib.PurePath(value)
    return f"{flag}{equals}{path.name}" if path.is_absolute() else argument


def _commit() -> str:
    """Short hash of HEAD, with `+` if tracked files differ from it; `unknown` outside git."""
    root = pathlib.Path(__file__).resolve().parents[2]

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + ("+" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _hardware(with_devices: bool) -> dict[str, Any]:
    hardware: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }
    if with_devices:
        import jax

        devices = jax.devices()
        hardware["devices"] = [d.device_kind for d in devices]
        hardware["backend"] = devices[0].platform
    return hardware


def _cpu_name() -> str:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
