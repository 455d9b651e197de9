"""Scalars of a run: the log, `metrics.jsonl` and TensorBoard event files, without TensorFlow."""

import json
import math
import os
import time
from collections.abc import Mapping

from absl import logging

from tempo import files


class MetricWriter:
    """Writes scalars by step. In processes other than the lead one nothing is written.

    A resumed run first drops the lines of steps that it is going to repeat, so `metrics.jsonl`
    reads as if the run had never stopped. Use as a context manager.
    """

    def __init__(self, workdir: str, *, start_step: int = 0, enabled: bool = True):
        """Opens the files.

        Args:
          workdir: where `metrics.jsonl` and `tensorboard/` go.
          start_step: finished steps of the checkpoint the run goes on from.
          enabled: False makes every method do nothing.
        """
        self._enabled = enabled
        if not enabled:
            return
        # Imported here: it costs a third of a second, and evaluation and the tools do not need it.
        from tensorboard.summary.writer import event_file_writer

        os.makedirs(workdir, exist_ok=True)
        path = os.path.join(workdir, "metrics.jsonl")
        _drop_after(path, start_step)
        self._jsonl = open(path, "a")  # noqa: SIM115 (closed in `close`)
        self._events = event_file_writer.EventFileWriter(os.path.join(workdir, "tensorboard"))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends one row; what is not finite is written as a string, which JSON can hold."""
        if not self._enabled:
            return
        from tensorboard.compat.proto import event_pb2, summary_pb2

        values = {k: float(v) for k, v in scalars.items()}
        row = {k: v if math.isfinite(v) else str(v) for k, v in values.items()}
        self._jsonl.write(json.dumps({"step": step, **row}) + "\n")
        self._jsonl.flush()
        summary = summary_pb2.Summary(
            value=[summary_pb2.Summary.Value(tag=k, simple_value=v) for k, v in values.items()]
        )
        self._events.add_event(event_pb2.Event(step=step, wall_time=time.time(), summary=summary))
        logging.info("step %d: %s", step, ", ".join(f"{k}={v:.5g}" for k, v in values.items()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Flushes and closes the files."""
        if self._enabled:
            self._jsonl.close()
            self._events.close()


def _drop_after(path: str, step: int) -> None:
    if not os.path.exists(path):
        return
    with open(path) as f:
        lines = f.readlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) < len(lines):
        files.write_text(path, "".join(kept))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):  # a line cut short by a kill
        return math.inf
