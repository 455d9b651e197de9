"""jax's persistent cache of compiled programs: where it is, and how large it may become."""

import contextlib
import hashlib
import os
import pathlib
import platform
import tempfile
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

from tempo.errors import InputError


@contextlib.contextmanager
def cached_in(folder: str = "auto") -> Iterator[None]:
    """Programs compiled meanwhile go to jax's persistent cache, and come from it.

    jax keys them by the program, its own version, flags and devices; what is donated is part of a
    program, so that a run that goes on with cached programs ends in the same bits.

    Args:
      folder: of the cache; "" for none; `auto` for what jax is set to already (by
        JAX_COMPILATION_CACHE_DIR, which turns caching off where it is set and empty) or else
        `default_folder()`, kept below `LIMIT_BYTES`, or none where that cannot be written to and
        in a run of several processes with GPUs.

    Raises:
      InputError: a named folder that cannot be made or written to.
    """
    before = jax.config.jax_compilation_cache_dir
    is_default = folder == "auto" and not before and _VARIABLE not in os.environ
    if folder == "auto":
        folder = _default() if is_default else before or ""
    if (before or "") == folder:
        yield
        return
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
            # jax only warns, once for every program that it cannot keep.
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as e:
        if not is_default:
            raise InputError(
                f"loop.compile_cache: the folder {folder!r} cannot be made or written to "
                f'({e.strerror}); name another, or "" for none.'
            ) from None
        folder = ""
    if is_default and folder:
        trim(os.path.dirname(folder), LIMIT_BYTES)
    shortest = jax.config.jax_persistent_cache_min_compile_time_secs
    _use(os.path.abspath(folder) if folder else None, min(shortest, SHORTEST_S))
    try:
        yield
    finally:
        _use(before, shortest)


_VARIABLE = "JAX_COMPILATION_CACHE_DIR"

LIMIT_BYTES = 4 << 30
"""Size of the default cache; beyond it, a command that begins removes what was read longest ago."""

SHORTEST_S = 0.1
"""Programs that compile sooner are not kept; jax's own limit of 1 s leaves out initial values."""


def _default() -> str:
    """`default_folder()`, or "" where only process 0 might find its programs.

    Process 0 alone writes to the cache. On hosts that share no home it would read a program that
    the others compile; and those that compile for GPUs wait for what each process has tuned
    (`xla_gpu_shard_autotuning`).
    """
    is_apart = jax.process_count() > 1 and jax.default_backend() == "gpu"
    return "" if is_apart else default_folder()


def default_folder() -> str:
    """The user's cache of programs for processors like this one; "" for a user without a home.

    Of the user and not of a run: an evaluation, a prediction and the next run of a study have the
    same programs. Code for one processor stops on another without its vector instructions, and
    jax's key is of devices, which it calls `cpu` everywhere: machines that share a home share no
    folder unless their processors are alike.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):  # as the XDG specification has it
        home = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "tempo", "xla", _processor()) if os.path.isabs(home) else ""


def _processor() -> str:
    """Name of the kind of processor: another one for other instructions, family or model."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = ("flags", "Features", "vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
    facts = {line for line in lines if line.partition(":")[0].strip() in kinds}
    text = "\n".join([platform.machine(), platform.processor(), *sorted(facts)])
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def trim(folder: str, limit_bytes: int) -> None:
    """Removes files below a folder, those read longest ago first, until it is small enough.

    Others may do so at the same time; a program that is gone is compiled anew. What may not be
    removed stays.
    """
    found = []
    for parent, _, names in os.walk(folder):  # which passes over folders that are gone
        for path in (os.path.join(parent, name) for name in names):
            with contextlib.suppress(OSError):
                stat = os.stat(path)
                found.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    size = sum(size for _, size, _ in found)
    for _, own, path in sorted(found):
        if size <= limit_bytes:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
            size -= own


def _use(folder: str | None, shortest_s: float) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest_s)
    # jax looks at the settings once, when it first compiles.
    compilation_cache.reset_cache()
