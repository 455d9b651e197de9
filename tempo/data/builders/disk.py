"""A disk that fills up during a build, told in one line."""

import contextlib
import errno
import os
from collections.abc import Iterator

from tempo.errors import RunError

# Of the disk, of the user's share of it, and of what one file may hold.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def told_when_full(out_dir: str | os.PathLike) -> Iterator[None]:
    """Turns the errors of a full disk into a `RunError` that names the place and the remedy."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        why = _why_full(error)
        if not why:
            raise
        raise RunError(
            f"Cannot write to {os.fspath(out_dir)!r}: {why}. What is finished is kept: free some "
            "space and give the same command again, or choose an --out on another disk."
        ) from error


def _why_full(error: OSError | RuntimeError) -> str:
    """The system's words for what is full; empty if the error is another one."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _FULL else ""
    # array_record reports in words.
    return next((os.strerror(n) for n in _FULL if os.strerror(n) in str(error)), "")
