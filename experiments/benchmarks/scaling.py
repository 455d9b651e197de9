"""What a training step exchanges and holds on several devices, and whether it gives the same.

    python -m experiments.benchmarks.scaling
    python -m experiments.benchmarks.scaling --model slowonly_r50 --clip 8x112 --steps 1

Each layout of devices and processes is a row: the library's own training step is compiled and run
for a few steps on fake devices of the CPU, in processes of its own. A row has what the compiled
program exchanges by kind, in number and bytes on one device; the bytes that no program can do
without (see `minimum_bytes`); the memory of one device; the seconds to compile; and how far
parameters and metrics are from those of one device on the same batches. Nothing is timed but the
compiler: fake devices share the cores of one machine.
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import collectives, report
from tempo import models, optim, sharding, trees
from tempo import state as states
from tempo import task as tasks
from tempo.data import device_ops
from tempo.step import make_step

SMALL_NET = {"backbone": {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 16}}

# Each kernel's outputs over `model`: what the mesh's second axis is for.
_SPLIT = (("kernel$", ("model",)),)
_RULES = {"model": _SPLIT}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a step runs, and what of it is spread.

    Attributes:
      processes: which jax.distributed joins.
      devices: of each process.
      model: devices along the mesh's second axis.
      rules: of `sharding.NAMED_RULES`, or `model`; "" if every device has all.
      norm_groups: parts of the batch with their own BatchNorm statistics.
      accumulate_steps: micro-batches of a batch.
    """

    processes: int = 1
    devices: int = 1
    model: int = 1
    rules: str = ""
    norm_groups: int = 1
    accumulate_steps: int = 1

    @property
    def alone(self) -> "Layout":
        """The same numbers on one device."""
        return Layout(norm_groups=self.norm_groups, accumulate_steps=self.accumulate_steps)


LAYOUTS = (
    *(Layout(devices=n) for n in (1, 2, 4, 8)),
    Layout(processes=2, devices=4),
    Layout(devices=8, rules="zero1"),
    Layout(devices=8, rules="fsdp"),
    Layout(processes=2, devices=4, rules="fsdp"),
    Layout(devices=8, model=2, rules="model"),
    Layout(devices=8, model=4, rules="model"),
    Layout(norm_groups=8),
    Layout(devices=8, norm_groups=8),
    Layout(accumulate_steps=2),
    Layout(devices=8, accumulate_steps=2),
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is trained.

    Attributes:
      net: arguments of `models.create`.
      num_frames, side_px: of a clip.
      batch_size: over all devices.
      num_classes: of the network.
      num_steps: that are run.
    """

    net: Mapping[str, Any] = dataclasses.field(default_factory=lambda: SMALL_NET)
    num_frames: int = 4
    side_px: int = 32
    batch_size: int = 16
    num_classes: int = 8
    num_steps: int = 3


class Training:
    """The library's step on all devices of the processes, compiled, before its first batch.

    Attributes:
      state: the arrays, where they live.
      shardings: of the state.
      compiled: the step.
      compile_s: seconds that it took.
    """

    def __init__(self, setting: Setting, layout: Layout):
        self._setting = setting
        net = models.create(
            setting.num_classes, **{**setting.net, "norm_groups": layout.norm_groups}
        )
        schedule = optim.make_schedule(100, 10, setting.batch_size, name="constant", base_lr=0.005)
        tx = optim.create(schedule, clip_norm=5.0)
        self._mesh = sharding.make_mesh(model=layout.model)
        clip = (setting.num_frames, setting.side_px, setting.side_px, 3)

        def init(key):
            return states.create(net, tx, key, clip, ema=True)

        key = jax.random.key(0)
        rules = sharding.rules_of(_RULES.get(layout.rules, layout.rules))
        self.shardings = sharding.infer_shardings(jax.eval_shape(init, key), self._mesh, rules)
        self.state = jax.jit(init, out_shardings=self.shardings)(key)
        step = make_step(
            net,
            tasks.create("single", setting.num_classes),
            tx,
            schedule,
            device_ops.create(("normalize",), setting.num_classes),
            accumulate_steps=layout.accumulate_steps,
            ema_decay=0.99,
            shardings=self.shardings,
        )
        out = (self.shardings, sharding.replicated(self._mesh))
        jitted = jax.jit(step, donate_argnums=0, out_shardings=out)
        start = time.perf_counter()
        self.compiled = jitted.lower(self.state, next(self.batches())).compile()
        self.compile_s = time.perf_counter() - start

    def batches(self) -> Iterator[dict[str, jax.Array]]:
        """Global batches without end, the same for every layout."""
        s = self._setting
        index, count = sharding.process_slot(self._mesh)
        own = slice(index * s.batch_size // count, (index + 1) * s.batch_size // count)
        rng = np.random.default_rng(0)
        while True:
            # Coarse patches with grain: white noise looks all alike to a network.
            shape = (s.batch_size, s.num_frames, s.side_px // 8, s.side_px // 8, 3)
            video = rng.integers(0, 200, shape, np.uint8).repeat(8, axis=2).repeat(8, axis=3)
            video += rng.integers(0, 56, video.shape, np.uint8)
            label = rng.integers(0, s.num_classes, s.batch_size, np.int32)
            batch = {"video": video[own], "label": label[own]}
            yield sharding.to_global(batch, sharding.batch_sharding(self._mesh))

    def run(self) -> tuple[Any, dict[str, Any]]:
        """Parameters and metrics on the host after the setting's steps; to be called once."""
        for _, batch in zip(range(self._setting.num_steps), self.batches(), strict=False):
            self.state, metrics = self.compiled(self.state, batch)
        params = jax.jit(lambda x: x, out_shardings=sharding.replicated(self._mesh))(
            self.state.params
        )
        return jax.device_get(params), jax.device_get(metrics)

    def facts(self) -> dict[str, Any]:
        """What a row says of the compiled program and of the state."""
        found = collectives.parse(self.compiled.as_text())
        plan = self.compiled.memory_analysis()
        return {
            "mesh": dict(self._mesh.shape),
            "norms": sum(name.endswith("/mean") for name in trees.leaf_names(self.state)) // 2,
            "collectives": collectives.summary(found),
            "minimum_bytes": minimum_bytes(self.state),
            "device_bytes": {
                "params": bytes_of(self.state.params),
                "opt_state": bytes_of(self.state.opt_state),
                "ema": bytes_of((self.state.ema_params, self.state.ema_batch_stats)),
                "arguments": plan.argument_size_in_bytes,
                "temporaries": plan.temp_size_in_bytes,
            },
            "compile_s": round(self.compile_s, 2),
        }


def minimum_bytes(state: states.TrainState) -> dict[str, int]:
    """Bytes of the sums over devices that a step needs, whatever their number.

    Of the gradient of every parameter one sum, 4 P bytes for P of them. A norm's two sums of the
    backward pass are the gradients of its scale and bias, so they are in that; those of the forward
    pass, mean and mean of squares, are two numbers per channel: 4 bytes for each running statistic.
    The loss is one number more; accuracies and other metrics are not counted.
    """
    gradients = 4 * trees.count_params(state.params)
    statistics = 4 * sum(x.size for x in jax.tree.leaves(state.batch_stats))
    total = gradients + statistics + 4
    return {"gradients": gradients, "statistics": statistics, "loss": 4, "total": total}


def bytes_of(tree: Any) -> int:
    """Of the arrays, on one device."""
    return sum(
        x.dtype.itemsize * math.prod(x.sharding.shard_shape(x.shape)) for x in jax.tree.leaves(tree)
    )


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    if args.worker:
        return _work(**json.loads(args.worker))
    frames, side = report.parse_clip(args.clip)
    net = {"name": args.model} if args.model else SMALL_NET
    setting = Setting(net, frames, side, args.batch, args.classes, args.steps)
    rows, ends = [], {}
    for layout in LAYOUTS:
        if max(layout.devices * layout.processes, layout.norm_groups) > args.devices:
            continue
        facts, ends[layout] = run(setting, layout)
        row = {
            "benchmark": "scaling",
            "model": args.model or "small",
            "clip": args.clip,
            "batch": args.batch,
            "steps": args.steps,
            **dataclasses.asdict(layout),
            **facts,
            "difference": _difference(ends[layout], ends[layout.alone]),
            **report.environment(with_devices=False),
        }
        report.emit(row, args.out)
        rows.append(row)
    print("\n".join(table(rows)))


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as lines of a Markdown table."""
    heads = (
        "processes x devices", "data x model", "split", "collectives", "MB exchanged", "minimum",
        "params", "optimizer", "arguments", "temporaries", "compiled in s", "off one device by",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        kinds = row["collectives"].items()
        held = {name: f"{size / 1e6:.3g}" for name, size in row["device_bytes"].items()}
        cells = (
            f"{row['processes']} x {row['devices']}",
            f"{row['mesh']['data']} x {row['mesh']['model']}",
            _split(row),
            ", ".join(f"{of['count']} {kind}" for kind, of in kinds) or "none",
            ", ".join(f"{of['bytes'] / 1e6:.3g}" for _, of in kinds) or "0",
            f"{row['minimum_bytes']['total'] / 1e6:.3g}" if kinds else "0",
            held["params"],
            held["opt_state"],
            held["arguments"],
            held["temporaries"],
            f"{row['compile_s']:.1f}",
            f"{row['difference']['params']:.1g}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _split(row: Mapping[str, Any]) -> str:
    said = [f"`{row['rules']}`"] if row["rules"] else []
    said += [f"{row['norm_groups']} norm groups"] * (row["norm_groups"] > 1)
    said += [f"{row['accumulate_steps']} micro-batches"] * (row["accumulate_steps"] > 1)
    return ", ".join(said) or "nothing"


def _difference(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict:
    """The largest between parameters, and between metrics, of two ends."""
    largest = {"params": 0.0, "metrics": 0.0}
    for name, value in ours.items():
        kind = "params" if name.startswith("params/") else "metrics"
        off = float(np.abs(np.float64(value) - np.float64(theirs[name])).max())
        largest[kind] = max(largest[kind], off)
    return largest


def run(setting: Setting, layout: Layout) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts, and the end, of a layout in processes of its own."""
    with socket.socket() as s, tempfile.TemporaryDirectory() as folder:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        s.close()
        environ = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(layout.devices)}
        given = {
            "setting": dataclasses.asdict(setting),
            "layout": dataclasses.asdict(layout),
            "coordinator": f"127.0.0.1:{port}",
            "out": str(pathlib.Path(folder, "end")),
        }
        command = [sys.executable, "-m", "experiments.benchmarks.scaling", "--worker"]
        root = pathlib.Path(__file__).parents[2]
        processes = [
            subprocess.Popen(
                [*command, json.dumps({**given, "process_id": i})], env=environ, cwd=root
            )
            for i in range(layout.processes)
        ]
        if any([p.wait() for p in processes]):
            sys.exit(f"error: {layout} failed; see above.")
        facts = json.loads(pathlib.Path(given["out"] + ".json").read_text())
        with np.load(given["out"] + ".npz") as end:
            return facts, dict(end)


def _work(setting, layout, coordinator: str, out: str, process_id: int) -> None:
    """One process of a layout; the first writes what comes out to `<out>.json` and `<out>.npz`."""
    layout = Layout(**layout)
    if layout.processes > 1:
        jax.distributed.initialize(coordinator, layout.processes, process_id)
    training = Training(Setting(**setting), layout)
    facts = training.facts()
    params, metrics = training.run()
    if sharding.is_lead_process():
        pathlib.Path(out + ".json").write_text(json.dumps(facts))
        np.savez(out + ".npz", **trees.named({"params": params, "metrics": metrics}))


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="", help="a preset; else a small network")
    parser.add_argument("--clip", default="4x32", help="frames x side of a clip")
    parser.add_argument("--batch", type=int, default=16, help="clips over all devices")
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="run and compared")
    parser.add_argument("--devices", type=int, default=8, help="leave out layouts of more")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    report.add_output(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
