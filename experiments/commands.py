"""Commands of a study in one folder, one at a time: taken once each, stopped and gone on with.

A study's folder has `results.jsonl`, a row for every command that has ended. What the commands
compile lies in `compiled` there, so those of one program compile it once.
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments import recorded
from tempo.analysis import scores
from tempo.errors import InputError

# Networks this small compile longer than they train. jax 0.11 has no such flag for the emitters.
_EMITTERS = "--xla_cpu_use_fusion_emitters=false "
COMPILED_FAST = {
    "XLA_FLAGS": _EMITTERS * (importlib.metadata.version("jaxlib") < "0.11")
    + "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"
}
"""Environment of small trainings, where XLA_FLAGS is not set: CPU programs less optimised."""


def training(
    config: str, workdir: pathlib.Path, seed: int, flags: Sequence[str] = ()
) -> tuple[str, ...]:
    """Arguments of python that train a recipe.

    Args:
      config: the recipe with its argument.
      workdir: of the run.
      seed: of the run.
      flags: `--config.KEY=VALUE`, besides.
    """
    return (
        "-m", "tempo.main", "--config", config, "--workdir", str(workdir),
        f"--config.seed={seed}", *flags,
    )  # fmt: skip


def start(
    command: Sequence[str], out: str, lock: int, environment: Mapping[str, str] | None = None
) -> None:
    """Runs a command to its end; told to stop, stops it first, which saves.

    It inherits the lock: if this process is killed, the folder stays taken until the command that
    it left behind has ended.

    Args:
      command: arguments of python.
      out: the study's folder.
      lock: of `locked`.
      environment: variables for the command, where this process has not set them.

    Raises:
      SystemExit: this process was told to stop.
      subprocess.CalledProcessError: the command failed.
    """
    compiled = {"JAX_COMPILATION_CACHE_DIR": os.path.join(os.path.abspath(out), "compiled")}
    process = subprocess.Popen(
        [sys.executable, *command],
        pass_fds=(lock,),
        start_new_session=True,
        env={**compiled, **(environment or {}), **os.environ},
    )
    stopped = []

    def stop(number: int, frame: object) -> None:
        stopped.append(number)
        process.terminate()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        say("stopped; the same command goes on from here")
        raise SystemExit(128 + stopped[0])
    if status:
        raise subprocess.CalledProcessError(status, process.args)


@contextlib.contextmanager
def locked(out: str) -> Iterator[int]:
    """Holds a folder, made if need be, for one study at a time; the descriptor of the lock.

    Raises:
      InputError: another one has it.
    """
    os.makedirs(out, exist_ok=True)
    handle = os.open(os.path.join(out, ".lock"), os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{out!r} is in use by another command, or by a step that a killed one left "
                "behind; wait until it has ended, or name another --out."
            ) from None
        yield handle
    finally:
        os.close(handle)


def hardware() -> dict[str, Any]:
    """As seen by a process of its own, which gives the devices back."""
    code = (
        "import json; from experiments.benchmarks import report; "
        "print(json.dumps(report.environment()['hardware']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def hits(found: Mapping[str, scores.Scores]) -> dict[str, Any]:
    """What a row keeps of score files, by name: the videos, which must be the same, and hits."""
    first, *others = found.values()
    for other in others:
        scores.check_comparable(first, other)
    return {
        "videos": {
            "manifest_sha256": first.manifest_sha256,
            "class_names": list(first.class_names),
            "labels": first.labels.tolist(),
        },
        "hits": {name: recorded.pack(own.correct()) for name, own in found.items()},
    }


def without_folder(text: str, out: str) -> str:
    """A text without the folders of this machine."""
    path = pathlib.Path(out)
    return text.replace(f"{out.rstrip('/')}/", f"{path.name}/") if path.is_absolute() else text


def say(text: str) -> None:
    """Prints a line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def as_line(row: Mapping[str, Any], out: str) -> str:
    """A row of `results.jsonl`, without the folders of this machine."""
    return without_folder(json.dumps(row), out) + "\n"
