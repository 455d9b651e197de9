"""What may end a run early: a loss that is not finite, and a request to stop (SIGTERM)."""

import signal
from collections.abc import Sequence

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from tempo.errors import NonFiniteError
from tempo.types import Array

WATCHED = ("loss", "grad_norm", "state_norm")


class LossWatch:
    """Finds the step at which the loss stopped being finite, without a wait in every step.

    Losses stay on the device until `check`, which the loop calls when it logs and before it saves,
    so that no checkpoint is ever written from a state that has gone bad.
    """

    def __init__(self):
        self._pending: list[tuple[int, dict[str, Array], Sequence[str]]] = []

    def add(self, step: int, metrics: dict[str, Array], ids: Sequence[str]) -> None:
        """Remembers a step's metrics (device scalars) and the ids of this process's batch.

        Watched are `loss`, `grad_norm` and `state_norm`: a finite loss whose gradient or update is
        not finite leaves a state that must not be saved.
        """
        self._pending.append((step, {name: metrics[name] for name in WATCHED}, ids))

    def check(self) -> None:
        """Waits for the remembered losses.

        Raises:
          NonFiniteError: for the first step with a value that is not finite.
        """
        values = jax.device_get([values for _, values, _ in self._pending])
        pending, self._pending = self._pending, []
        for (step, _, ids), found in zip(pending, values, strict=True):
            if not all(np.isfinite(v) for v in found.values()):
                where = f" of process {jax.process_index()}" if jax.process_count() > 1 else ""
                raise NonFiniteError(
                    f"Step {step} had loss {found['loss']}, gradient norm {found['grad_norm']} and "
                    f"state norm {found['state_norm']}; training stopped and the last good "
                    "checkpoint is kept. In a new workdir lower schedule.base_lr or set "
                    f"optim.clip_norm; or look at the videos of the batch{where}: "
                    f"{', '.join(map(str, ids))}.",
                    # A state that gives no finite loss was spoilt by the step before.
                    bad_step=step if np.isfinite(found["loss"]) else step - 1,
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
