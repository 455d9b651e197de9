"""What a command waits for before its first step: initial values, and the step traced and compiled.

One JSON object per model, clip and batch. Seconds are of the processor over all threads (`cpu_s`)
and of the wall clock (`wall_s`); `second_start` is the same again in the same process, with jax's
cache of programs filled by the first and its memory of them emptied. What a new process takes to
import its modules is in neither.
"""

import argparse
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import tempo
from experiments.benchmarks import report
from tempo import piecewise, program_cache, sharding, state, step, task

TIMES = ("cpu_s", "wall_s")


def main(argv=None) -> None:
    """Prints a row per model, clip and batch."""
    args = _arguments(argv)
    for name in args.models.split(","):
        for clip in args.clips.split(","):
            for batch in map(int, args.batches.split(",")):
                row = measure(name, report.parse_clip(clip), batch, args.classes)
                report.emit({"benchmark": "compile", **row, **report.environment()}, args.out)


def measure(name: str, clip: tuple[int, int], batch: int, classes: int) -> dict[str, Any]:
    """First and second start of training a preset.

    Args:
      name: of the preset.
      clip: frames and side in pixels.
      batch: clips per step.
      classes: number of classes.
    """
    row = {"model": name, "clip": f"{clip[0]}x{clip[1]}", "batch": batch}
    with tempfile.TemporaryDirectory() as folder, program_cache.cached_in(folder):
        for start in ("first_start", "second_start"):
            jax.clear_caches()
            piecewise.forget()
            row[start], program = _start(name, clip, batch, classes)
        kept = sum(path.stat().st_size for path in pathlib.Path(folder).glob("*-cache"))
    text = program.as_text()
    row["instructions"] = sum(" = " in line for line in text.splitlines())
    row["computations"] = sum(line.endswith("{") for line in text.splitlines())
    row["cache_mib"] = round(kept / 2**20, 2)
    return row


def _start(name, clip, batch, classes) -> tuple[dict[str, Any], Any]:
    model = tempo.create_model(name, num_classes=classes)
    tx, mesh = optax.sgd(0.01, momentum=0.9), sharding.make_mesh()
    shape = (clip[0], clip[1], clip[1], 3)

    def init(key):
        return state.create(model, tx, key, shape, ema=False)

    key = jax.random.key(0)
    shapes, shapes_s = timed(lambda: jax.eval_shape(init, key))
    shardings = sharding.infer_shardings(shapes, mesh)
    begun, initial_s = timed(lambda: piecewise.run(init, key, out_shardings=shardings))
    run = step.make_step(
        model,
        task.create("single", classes),
        tx,
        lambda done: 0.01,
        lambda key, given: {**given, "video": given["video"].astype(jnp.float32)},
    )
    videos = {
        "video": jax.ShapeDtypeStruct((batch, *shape), jnp.uint8),
        "label": jax.ShapeDtypeStruct((batch,), jnp.int32),
    }
    jitted = jax.jit(run, donate_argnums=0)
    like = sharding.as_abstract(shapes, jax.tree.map(lambda x: x.sharding, begun))
    lowered, lower_s = timed(lambda: jitted.lower(like, videos))
    program, compile_s = timed(lowered.compile)
    found = {
        "shapes": shapes_s,
        "initial_values": initial_s,
        "trace_and_lower": lower_s,
        "compile": compile_s,
    }
    return found, program


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a function gives, and the seconds that it takes by both clocks."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    if not isinstance(result, jax.stages.Lowered | jax.stages.Compiled):
        result = jax.block_until_ready(result)
    times = (time.process_time() - cpu, time.perf_counter() - wall)
    return result, {name: round(s, 3) for name, s in zip(TIMES, times, strict=True)}


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.compile", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--models", default="slowonly_r50", help="presets by name, by comma")
    parser.add_argument("--clips", default="8x112", help="frames x side in pixels, by comma")
    parser.add_argument("--batches", default="4", help="clips per step, by comma")
    parser.add_argument("--classes", type=int, default=400)
    report.add_output(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
