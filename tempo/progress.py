"""What a person watching a run sees: a bar with loss, rate and time left, and the input's share."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import tqdm

from tempo.types import Array


def say(message: str) -> None:
    """Prints a line in the lead process, above the bar if one is being drawn."""
    if jax.process_index() == 0:
        tqdm.tqdm.write(message)
        sys.stdout.flush()  # a log file is read while the run goes on


class Progress:
    """Counts steps, clips and waiting time; draws the bar. Use as a context manager.

    `input_bound` is the share of wall time spent in waits for a batch at whose end the device had
    nothing left to do: an upper bound of the time it stood idle for lack of input. A wait that the
    device was busy through costs nothing and does not count.
    """

    def __init__(self, start_step: int, total_steps: int, *, visible: bool):
        """Starts the clock.

        Args:
          start_step: finished steps.
          total_steps: of the whole run.
          visible: whether to draw.
        """
        self._bar = tqdm.tqdm(
            total=total_steps,
            initial=start_step,
            unit="step",
            dynamic_ncols=True,
            disable=not visible,
            mininterval=0.5,
        )
        self._in_flight: list[Array] = []
        self._is_first = True
        self._reset()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    @contextlib.contextmanager
    def waiting_for_input(self) -> Iterator[None]:
        """Wraps the call that fetches the batch of the next step."""
        start = time.perf_counter()
        yield
        if all(a.is_ready() for a in self._in_flight):
            self._waited += time.perf_counter() - start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Wraps what is no training (an evaluation), so that the rates leave it out."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def started(self, loss: Array, num_clips: int) -> None:
        """Counts one step, which need not be done.

        Args:
          loss: of the step.
          num_clips: it trained on, over all devices.
        """
        self._in_flight.append(loss)
        self._bar.update()
        self._clips += num_clips

    def wait(self) -> None:
        """Waits for the last step but two, so that the host runs at most two ahead."""
        if self._is_first:  # it compiles; the rates are those of the steps after it
            self._is_first = False
            jax.block_until_ready(self._in_flight)
            self._reset()
        if len(self._in_flight) > 2:
            jax.block_until_ready(self._in_flight.pop(0))

    def rates(self) -> dict[str, float]:
        """`clips_per_s` and `input_bound` (0 to 1) since the last call."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        rates = {
            "clips_per_s": self._clips / seconds,
            "input_bound": min(self._waited / seconds, 1.0),
        }
        self._reset()
        return rates

    def show(self, scalars: dict[str, Any]) -> None:
        """Puts the scalars of the last logged step behind the bar."""
        self._bar.set_postfix_str(
            f"loss {scalars['loss']:.3f}, lr {scalars['lr']:.2g}, "
            f"{scalars['clips_per_s']:.0f} clips/s, input-bound {scalars['input_bound']:.0%}"
        )

    def _reset(self) -> None:
        self._start = time.perf_counter()
        self._clips = 0
        self._waited = 0.0
