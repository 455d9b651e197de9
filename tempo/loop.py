"""Steps of training one after the other, each started while the one before it still runs.

The host never waits for the device between two steps but to stay at most two ahead of it, and the
device never waits for the host as long as batches come as fast as steps: when a step has been
started, the batch of the next one is fetched and sent, as uint8, before anything is waited for.
"""

from collections.abc import Callable, Iterator, Sequence

from jax.sharding import NamedSharding

from tempo import sharding
from tempo.progress import Progress
from tempo.state import TrainState
from tempo.step import Step
from tempo.types import Array, Batch
from tempo.watchdog import LossWatch


class Feed:
    """Batches on the devices, one of them ahead of the step that is asked for.

    One is enough: two steps are in flight while it is sent, and more batches wait in the memory of
    the host, where they cost the devices nothing.

    Args:
      batches: this process's parts of the batches.
      batch_sharding: of a global batch.
    """

    def __init__(self, batches: Iterator[Batch], batch_sharding: NamedSharding):
        self._batches = batches
        self._sharding = batch_sharding
        self._ahead: tuple[Sequence[str], Batch] | Exception | None = None

    def fetch(self) -> None:
        """Gets the next batch and begins to send it, unless that is done already.

        What goes wrong is raised by the `take` that asks for this batch, so that the step before
        it is logged and saved as if nothing had been fetched.
        """
        if self._ahead is not None:
            return
        try:
            batch = next(self._batches)
            self._ahead = batch["id"], sharding.to_global(batch, self._sharding)
        except Exception as error:
            self._ahead = error

    def take(self) -> tuple[Sequence[str], Batch]:
        """Ids of this process's clips, and the global batch they are part of.

        Raises:
          StopIteration: the batches are at their end.
          RecordError: a record of this batch cannot be read.
        """
        self.fetch()
        taken, self._ahead = self._ahead, None
        if isinstance(taken, Exception):
            raise taken
        return taken


def steps(
    step_fn: Step,
    state: TrainState,
    feed: Feed,
    *,
    start: int,
    stop: int,
    num_clips: Callable[[int], int],
    progress: Progress,
    watch: LossWatch,
) -> Iterator[tuple[int, TrainState, dict[str, Array]]]:
    """Runs the steps after `start` up to `stop`; yields each one's number, state and metrics.

    A step is yielded when it has been started, not when it is done: to look at a metric is to wait.
    The state is given to the next step, so it must not be kept.

    Args:
      step_fn: jitted.
      state: after `start` steps.
      feed: of the batches of those steps.
      start: finished steps.
      stop: the last step.
      num_clips: clips of a step over all devices, by its number.
      progress: is told of each step and of waits for batches.
      watch: is given the metrics of each step.
    """
    for step in range(start + 1, stop + 1):
        ids, batch = feed.take()
        state, metrics = step_fn(state, batch)
        del batch  # its memory is the step's until that is done, and no longer
        watch.add(step, metrics, ids)
        progress.started(metrics["loss"], num_clips(step))
        if step < stop:
            with progress.waiting_for_input():
                feed.fetch()
        progress.wait()
        yield step, state, metrics
