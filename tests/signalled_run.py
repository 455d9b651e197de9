"""The training command, which sends itself a signal after a chosen step: `SIGNAL STEP ARGS...`.

A signal from outside comes too late on a fast machine and too early on a slow one. SIGKILL waits
until a checkpoint is whole, so that there is something to go on from; one that is being written
may still be cut.
"""

import os
import signal
import sys
import time

from tempo import checkpoint, main, metric_writer


def _signal_after(step, number, workdir):
    write = metric_writer.MetricWriter.write_scalars

    def write_then_signal(self, at, scalars):
        write(self, at, scalars)
        if at == step:
            while number == signal.SIGKILL and not checkpoint.exists(workdir):
                time.sleep(0.01)
            os.kill(os.getpid(), number)

    metric_writer.MetricWriter.write_scalars = write_then_signal


if __name__ == "__main__":
    number, step = int(sys.argv.pop(1)), int(sys.argv.pop(1))
    _signal_after(step, number, sys.argv[sys.argv.index("--workdir") + 1])
    main.run()
