"""The largest batch whose training step fits the memory of a device; nothing is trained.

python -m tempo.main --config C --find-batch-size

The step is compiled for a few batch sizes, and the compiler says what it plans to hold in memory:
arguments, results and temporaries, less what is shared. That is nearly a straight line over the
batch size, so that two sizes predict the largest one, and one or two more confirm it.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from tempo import experiment, machine, models, sharding, trainable
from tempo.errors import InputError
from tempo.experiment import Experiment
from tempo.layers import remat
from tempo.types import Batch

USABLE = 0.9
"""Share of the memory that may be planned; the rest is for fragments and for what is not."""

MAX_COMPILED = 7
"""Batch sizes that are compiled at most."""

_GIB = 2.0**30


@dataclasses.dataclass(frozen=True)
class Planned:
    """What one step of a batch size holds.

    Attributes:
      batch_size: clips of a step, over all devices.
      num_bytes: on one device; infinite where the compiler itself ran out of memory.
      fits: whether that is within the limit.
    """

    batch_size: int
    num_bytes: float
    fits: bool


def of_config(config: Mapping[str, Any], memory_gib: float = 0.0, *, every_remat=False) -> str:
    """The table of batch sizes of a config, and the flag to use.

    Args:
      config: see `tempo.recipe`.
      memory_gib: of one device; 0 asks the device, or on a CPU what this process can have.
      every_remat: look at each of `remat.POLICIES`, not at the config's own.

    Raises:
      InputError: a config that cannot be used; memory in which not one batch fits, or whose size
        nobody knows.
    """
    if not math.isfinite(memory_gib):
        raise InputError(f"--memory_gib={memory_gib:g} is no size; 0 asks the device.")
    exp = experiment.create(config)
    total, source = (memory_gib * _GIB, "given") if memory_gib else device_memory()
    limit, unit = USABLE * total, batch_unit(exp)
    num_videos = len(exp.records.split(exp.recipe.data.train_split))
    most = num_videos * exp.recipe.input.clips_per_video
    device = jax.devices()[0]
    lines = [
        f"devices   {jax.device_count()} x {device.device_kind}; batches are multiples of {unit}, "
        f"and at most the {most} clips of an epoch",
        f"memory    {total / _GIB:.2f} GiB ({source}), of which {limit / _GIB:.2f} GiB are planned",
    ]
    own = remat.check(exp.recipe.model.get("remat", "none"))
    for policy in remat.POLICIES if every_remat else (own,):
        changed = with_remat(exp, policy)
        tried = largest(lambda size, e=changed: planned_bytes(e, size), limit, unit, most)
        lines += ["", *_table(policy, tried)]
        best = _best(tried)
        if best is not None:
            flag = f"--config.batch_size={best.batch_size}"
            flag += f" --config.model.remat={policy}" if policy != own else ""
            lines.append(f"use       {flag}")
    if not any(line.startswith("use ") for line in lines):
        raise InputError(_too_much(changed, tried[0], limit, policy))
    lines += ["", "Larger steps are made of such batches with config.loop.accumulate_steps."]
    return "\n".join(lines) + "\n"


def largest(
    measure: Callable[[int], float],
    limit: float,
    unit: int = 1,
    most: int = 2**20,
    max_tries: int = MAX_COMPILED,
) -> list[Planned]:
    """What was measured on the way to the largest multiple of `unit` that fits, in that order.

    Args:
      measure: bytes of a batch size; nearly a straight line, and never falling.
      limit: bytes.
      unit: the smallest batch size.
      most: no larger one is asked for.
      max_tries: calls of `measure` at most; where they do not suffice, the largest one that fits
        among those measured is still safe.
    """
    found: dict[int, float] = {}
    size, most = unit, max(most // unit * unit, unit)
    while True:
        found[size] = measure(size)
        fitting = [s for s, n in found.items() if n <= limit]
        beyond = min((s for s, n in found.items() if n > limit), default=math.inf)
        if not fitting or len(found) >= max_tries:
            break
        low = max(fitting)
        guess = 4 * unit if len(found) == 1 else _predicted(found, limit, unit)
        # What is guessed to be beyond the next size is believed once that has been confirmed.
        if low == most or beyond == low + unit or (guess <= low and math.isinf(beyond)):
            break
        if math.isinf(found.get(beyond, 0.0)):  # says nothing about where the limit is met
            guess = (low + beyond) // (2 * unit) * unit
        size = int(min(max(guess, low + unit), beyond - unit, 32 * low, most))
    return [Planned(size, n, n <= limit) for size, n in found.items()]


def _predicted(found: Mapping[int, float], limit: float, unit: int) -> int:
    """Where the line through the two finite measurements nearest to the limit meets it."""
    finite = sorted((abs(n - limit), size) for size, n in found.items() if math.isfinite(n))
    if len(finite) < 2:
        return unit
    a, b = sorted(size for _, size in finite[:2])
    slope = (found[b] - found[a]) / (b - a)
    if slope <= 0:
        return 2 * b
    return int((a + (limit - found[a]) / slope) // unit) * unit


def planned_bytes(exp: Experiment, batch_size: int) -> float:
    """Bytes that a device holds during a training step, and of the batch that waits for the next.

    Args:
      exp: checked; its own batch size does not matter.
      batch_size: clips of a step, over all devices; a multiple of `batch_unit`.
    """
    made = trainable.create(exp, lambda step: 0.0 * step)
    batch = batch_like(exp, batch_size)
    try:
        plan = made.step.lower(made.abstract, batch).compile().memory_analysis()
    except jax.errors.JaxRuntimeError as e:
        if "RESOURCE_EXHAUSTED" in str(e):
            return math.inf
        raise
    waiting = sum(x.size * x.dtype.itemsize for x in batch.values()) / exp.mesh.shape["data"]
    return (
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        - plan.alias_size_in_bytes
        + plan.temp_size_in_bytes
        + waiting
    )


def batch_like(exp: Experiment, batch_size: int) -> Batch:
    """Shapes of a training batch on the mesh, as `tempo.data.pipeline.train_batches` makes it."""
    r, side = exp.recipe, exp.recipe.input.size_px
    shapes = {
        "video": ((r.clip.num_read + exp.extra_frames, side, side, 3), np.uint8),
        "index": ((), np.int32),
        "label": {
            "single": ((), np.int32),
            "multi": ((exp.records.num_classes,), np.uint8),
            "joint": ((len(exp.records.label_groups),), np.int32),
        }[exp.records.label_kind],
    }
    if exp.flow is not None:
        channels = 2 * exp.flow.num_fields
        shapes["flow"] = ((exp.flow.num_snippets, side, side, channels), np.uint8)
    own = sharding.batch_sharding(exp.mesh)
    return {
        name: jax.ShapeDtypeStruct((batch_size, *shape), dtype, sharding=own)
        for name, (shape, dtype) in shapes.items()
    }


def batch_unit(exp: Experiment) -> int:
    """What devices, micro-batches, norms and repeated clips want batch sizes to be multiples of."""
    r = exp.recipe
    model = experiment.training_model(r)
    groups = max(model.get("norm_groups", 1), model.get("norm_group_size", 0))
    unit = math.lcm(sharding.batch_unit(exp.mesh), groups) * r.loop.accumulate_steps
    return math.lcm(unit, r.input.clips_per_video)


def with_remat(exp: Experiment, policy: str) -> Experiment:
    """The experiment with another row of `remat.POLICIES`."""
    r = dataclasses.replace(exp.recipe, model={**exp.recipe.model, "remat": policy})
    model = models.create(exp.records.num_classes, **experiment.training_model(r))
    return dataclasses.replace(exp, recipe=r, model=model)


def device_memory() -> tuple[float, str]:
    """Bytes that one device has for this process, and who says so.

    Raises:
      InputError: nobody does.
    """
    devices = jax.local_devices()
    stats = devices[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"]), "of the device, for this process"
    if devices[0].platform == "cpu":
        share = f" by {len(devices)} devices" if len(devices) > 1 else ""
        return host_memory() / len(devices), f"free for this process{share}"
    raise InputError(
        f"The device {devices[0].device_kind} does not say how much memory it has; give "
        "--memory_gib."
    )


def host_memory(root: str = "/") -> float:
    """Bytes that this process can still have: free in the machine, and within its control group.

    Args:
      root: where `proc` and `sys` are.
    """
    folder = pathlib.Path(root)
    free = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    facts = _numbers(folder / "proc/meminfo")
    if "MemAvailable:" in facts:
        free.append(1024.0 * facts["MemAvailable:"])
    tops = [folder / "sys/fs/cgroup", folder / "sys/fs/cgroup/memory"]
    for group in [*tops, *machine.group_folders(str(root), "memory")]:
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = (_number(group / name) for name in (limit, used))
            if most is not None and now is not None:
                free.append(most - now + _numbers(group / "memory.stat").get(cache, 0))
    return max(min(free), 0.0)


def _number(path: pathlib.Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):  # no such group, or `max`
        return None


def _numbers(path: pathlib.Path) -> dict[str, int]:
    """`name number ...` lines of a file of the kernel; empty without the file."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _best(tried: list[Planned]) -> Planned | None:
    return max((t for t in tried if t.fits), key=lambda t: t.batch_size, default=None)


def _table(policy: str, tried: list[Planned]) -> list[str]:
    rows = [f"remat {policy}", f"{'batch':>9} {'GiB planned':>12}  fits"]
    for t in sorted(tried, key=lambda t: t.batch_size):
        rows.append(f"{t.batch_size:9} {t.num_bytes / _GIB:12.3f}  {'yes' if t.fits else 'no'}")
    return rows


def _too_much(exp: Experiment, smallest: Planned, limit: float, policy: str) -> str:
    remedies = [] if policy == "blocks" else ["--config.model.remat=blocks"]
    if exp.recipe.model.get("dtype", "float32") != "bfloat16":
        remedies.append("--config.model.dtype=bfloat16")
    remedies.append("smaller clips")
    return (
        f"A training step of {smallest.batch_size} clips, the smallest batch there is, holds "
        f"{smallest.num_bytes / _GIB:.3f} GiB on a device, and {limit / _GIB:.3f} GiB are free; "
        f"try {', or '.join(remedies)}."
    )
