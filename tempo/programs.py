"""The training step compiled for every shape before the first step.

A run of one shape compiles in its first step. With several (multigrid) each new shape would stop
the devices for as long, and one that does not compile would be found hours later.
"""

import time
from collections.abc import Sequence

import jax

from tempo.progress import say
from tempo.state import TrainState
from tempo.step import Step
from tempo.types import Array, Batch, ClipShape


def ahead(step: Step, shapes: Sequence[ClipShape], extra_frames: int = 0) -> Step:
    """The step, which compiles itself for all of the shapes when it is first called.

    Args:
      step: jitted.
      shapes: of the steps to come. With one alone there is nothing to do ahead.
      extra_frames: of the batches' clips, beyond those of their shapes.
    """
    if len(shapes) < 2:
        return step
    compiled: dict[tuple[int, ...], Step] = {}

    def run(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        if not compiled:
            for i, shape in enumerate(shapes):
                start = time.perf_counter()
                like = _like(batch, shape, extra_frames)
                compiled[like["video"].shape] = step.lower(state, like).compile()
                say(
                    f"compiled  {i + 1} of {len(shapes)}: {shape.batch_size} clips of "
                    f"{shape.num_frames} frames x {shape.size_px} px in "
                    f"{time.perf_counter() - start:.1f} s"
                )
        return compiled[batch["video"].shape](state, batch)

    return run


def _like(batch: Batch, shape: ClipShape, extra_frames: int) -> Batch:
    """Shapes of a global batch of clips of `shape`, otherwise as `batch`."""

    def resized(name: str, array: jax.Array) -> jax.ShapeDtypeStruct:
        own = array.shape[1:]
        if name == "video":
            own = (shape.num_frames + extra_frames, shape.size_px, shape.size_px, own[-1])
        size = (shape.batch_size, *own)
        return jax.ShapeDtypeStruct(size, array.dtype, sharding=array.sharding)

    return {name: resized(name, array) for name, array in batch.items()}
