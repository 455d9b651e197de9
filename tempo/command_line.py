"""What every command does with its errors: one line on stderr, and an exit status."""

import os
import select
import sys
from collections.abc import Callable

from tempo.errors import InputError, RunError


def run(main: Callable[[], int | None], *, stopped: str = "stopped.") -> int:
    """Runs a command; its exit status.

    0 unless `main` returns another; 1 a run that failed; 2 bad input; 130 stopped from the
    keyboard; 141 nobody reads the output any more, which is no error: `... | head -1`.

    Args:
      main: the command, its arguments read.
      stopped: said where it is stopped from the keyboard.
    """
    try:
        status = main() or 0
        sys.stdout.flush()  # or Python does at its end, out of reach
        return status
    except BrokenPipeError:
        if _is_read(sys.stdout) and _is_read(sys.stderr):
            raise  # another pipe, such as that of a process which reads data
        # Python writes out what is left when it ends, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except InputError as error:
        return complain(error, 2)
    except RunError as error:
        return complain(error, 1)
    except KeyboardInterrupt:
        return complain(stopped, 130)


def complain(error: object, status: int) -> int:
    """Prints an error; the status."""
    print(f"error: {error}", file=sys.stderr)
    return status


def _is_read(stream) -> bool:
    """Whether the other end of a stream, if it is a pipe, is open."""
    asked = select.poll()
    asked.register(stream.fileno(), 0)  # an error is told unasked
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in asked.poll(0))
