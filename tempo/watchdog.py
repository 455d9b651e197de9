"""What may end a run early: a loss that is not finite, and a request to stop (SIGTERM)."""

import signal
from collections.abc import Sequence

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from tempo.types import Array


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; the message names the step and the ids in its batch."""


class LossWatch:
    """Finds the step at which the loss stopped being finite, without a wait in every step.

    Losses stay on the device until `check`, which the loop calls when it logs and before it saves,
    so that no checkpoint is ever written from a state that has gone bad.
    """

    def __init__(self):
        self._pending: list[tuple[int, tuple[Array, Array], Sequence[str]]] = []

    def add(self, step: int, loss: Array, grad_norm: Array, ids: Sequence[str]) -> None:
        """Remembers a step's loss and gradient norm (device scalars) and its batch's ids.

        The norm is watched too: a finite loss with a gradient that is not leaves parameters that
        must not be saved.
        """
        self._pending.append((step, (loss, grad_norm), ids))

    def check(self) -> None:
        """Waits for the remembered losses.

        Raises:
          NonFiniteLossError: for the first step whose loss is not finite.
        """
        values = jax.device_get([values for _, values, _ in self._pending])
        pending, self._pending = self._pending, []
        for (step, _, ids), (loss, grad_norm) in zip(pending, values, strict=True):
            if not np.isfinite(loss) or not np.isfinite(grad_norm):
                raise NonFiniteLossError(
                    f"Step {step} had loss {loss} and gradient norm {grad_norm}; training stopped "
                    "and the last good checkpoint is kept. Lower schedule.base_lr, set "
                    f"optim.clip_norm, or look at the batch's videos: {', '.join(map(str, ids))}."
                )


class StopSignal:
    """Notices SIGTERM, so that the loop can save and leave. Use as a context manager.

    With several processes all of them must stop at the same step: the coordination service of
    `jax.distributed` agrees on one after any of them was told to stop.
    """

    def __init__(self):
        self._requested = False
        self._previous = None

    def __enter__(self):
        if jax.process_count() == 1:
            try:
                self._previous = signal.signal(signal.SIGTERM, self._note)
            except ValueError:  # not in the main thread (a notebook's executor): nobody to signal
                logging.info("SIGTERM is not watched outside the main thread.")
        return self

    def __exit__(self, *_):
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def requested(self, step: int) -> bool:
        """Whether to save and stop after `step`; every process gets the same answer."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._requested

    def _note(self, *_) -> None:
        self._requested = True
