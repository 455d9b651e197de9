"""Facts about where a process runs that a bug report needs: versions, cores, memory, devices, disk.

Nothing here names the machine, its user or a folder: see `without_folders`.
"""

import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
from collections import Counter
from typing import Any

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "chex",
    "orbax-checkpoint",
    "grain",
    "array_record",
    "tensorflow-datasets",
    "numpy",
    "av",
    "simplejpeg",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
    "ml_collections",
    "libtpu",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "jax-rocm7-plugin",
)
"""Distributions that a result or an error may depend on."""

# Vector extensions of x86 and Arm that matrix products depend on, the widest last.
_EXTENSIONS = ("sse4_2", "avx", "avx2", "avx512f", "amx_bf16", "asimd", "sve")
_SETTINGS = ("JAX_", "XLA_", "LIBTPU_", "TF_CPP_", "CUDA_VISIBLE", "OMP_", "OPENBLAS_")
_GIB = 2**30
# What a limit of memory says in cgroup v1 where there is none: almost 2**63.
_NO_LIMIT = 2**60


def versions() -> dict[str, str]:
    """Versions by distribution, of those of `PACKAGES` that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def system() -> dict[str, Any]:
    """Python, operating system, processor, and the cores and memory that this process may use.

    Keys: `python`, `system`, `cpu`, `cores` (of the process's affinity), `cores_limit` (of its
    control group, None for none), `memory_gib` (of the machine), `memory_free_gib` (to be had
    without swapping), `memory_limit_gib` (of the control group, None for none).
    """
    memory = _meminfo()
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(),
        "cpu": _cpu(_text("/proc/cpuinfo")),
        "cores": _cores(),
        "cores_limit": cores_limit(),
        "memory_gib": memory.get("MemTotal"),
        "memory_free_gib": memory.get("MemAvailable"),
        "memory_limit_gib": memory_limit_gib(),
    }


def devices() -> dict[str, Any]:
    """Backend, processes, and this process's devices by kind with the memory of one in GiB."""
    import jax

    own = jax.local_devices()
    kinds = Counter((device.device_kind, _device_gib(device)) for device in own)
    return {
        "backend": jax.default_backend(),
        "processes": jax.process_count(),
        "all_devices": jax.device_count(),
        "devices": [
            {"kind": kind, "count": count, "memory_gib": gib}
            for (kind, gib), count in kinds.items()
        ],
    }


def settings() -> dict[str, str]:
    """The environment's settings of jax, its compiler and thread pools, without folders."""
    names = sorted(name for name in os.environ if name.startswith(_SETTINGS))
    return {name: without_folders(os.environ[name]) for name in names}


def compile_cache() -> dict[str, Any]:
    """The cache of compiled programs that jax is set to.

    Keys: `folder` (its last name, or `none`), `programs` and `size_gib` of what it holds.
    """
    import jax

    folder = jax.config.jax_compilation_cache_dir
    if not folder:
        return {"folder": "none"}
    path = pathlib.Path(folder)
    sizes = [f.stat().st_size for f in path.glob("*-cache")] if path.is_dir() else []
    size = round(sum(sizes) / _GIB, 2)
    return {"folder": without_folders(folder), "programs": len(sizes), "size_gib": size}


def disk_gib(folder: str) -> dict[str, float]:
    """Space on the disk of a folder, made or not yet: `free_gib`, `total_gib`."""
    path = pathlib.Path(folder).absolute()
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    return {"free_gib": _gib(usage.free), "total_gib": _gib(usage.total)}


def cores_limit(root: str = "/") -> float | None:
    """Cores that the process's control group may keep busy, the least up the tree; None: all.

    Args:
      root: of the file system that holds `proc` and `sys`.
    """
    limits = []
    for folder in group_folders(root, "cpu"):
        if quota := _text(folder / "cpu.max").split():  # cgroup v2
            limits += [int(quota[0]) / int(quota[1])] if quota[0] != "max" else []
        quota = [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if all(quota) and int(quota[0]) > 0:
            limits.append(int(quota[0]) / int(quota[1]))
    return round(min(limits), 2) if limits else None


def memory_limit_gib(root: str = "/") -> float | None:
    """Memory that the process's control group may take, the least up the tree; None: all.

    Args:
      root: of the file system that holds `proc` and `sys`.
    """
    limits = []
    for folder in group_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _text(folder / name).strip()
            if text.isdigit() and int(text) < _NO_LIMIT:
                limits.append(int(text))
    return _gib(min(limits)) if limits else None


def without_folders(text: str) -> str:
    """The text with `~` for the user's folder, and the last name alone of other absolute paths."""
    home = os.path.expanduser("~")
    if len(home) > 1:
        text = re.sub(rf"{re.escape(home)}(?=/|\b|$)", "~", text)
    return re.sub(r"(?<![\w~.:/])/(?:[^\s/:;,'\"=]+/)+(?=[^\s/:;,'\"=])", ".../", text)


def group_folders(root: str, controller: str) -> list[pathlib.Path]:
    """Folders of the process's control groups and of those above them, of both versions."""
    base = pathlib.Path(root, "sys/fs/cgroup")
    folders = []
    for line in _text(pathlib.Path(root, "proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = base / controller if controllers else base
        inner = top / path.lstrip("/")
        # In a container the path may be one that only the host has; the top is there.
        folders += [top, *(f for f in (inner, *inner.parents) if f != top and top in f.parents)]
    return folders


def _cores() -> int:
    """Cores that the process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu(cpuinfo: str) -> str:
    """Name, family and model of the processor, and its widest vector extension."""
    facts = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", "")).split()
    widest = [extension for extension in _EXTENSIONS if extension in flags][-1:]
    family = [f"{key.split()[-1]} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    name = facts.get("model name", platform.processor() or platform.machine())
    return ", ".join([name, *family, *widest])


def _device_gib(device) -> float | None:
    """Memory that jax may take of a device; None if it does not say."""
    stats = device.memory_stats() or {}
    return _gib(stats["bytes_limit"]) if "bytes_limit" in stats else None


def _meminfo() -> dict[str, float]:
    rows = (line.split() for line in _text("/proc/meminfo").splitlines())
    return {row[0].rstrip(":"): _gib(int(row[1]) * 1024) for row in rows if len(row) == 3}


def _gib(num_bytes: int) -> float:
    return round(num_bytes / _GIB, 1)


def _text(path) -> str:
    """What a file of the kernel says, "" if there is none."""
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
