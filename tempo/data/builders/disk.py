"""A place that cannot be written to, and a disk that fills up during a build, told in one line."""

import contextlib
import errno
import os
from collections.abc import Iterator

from tempo.errors import InputError, RunError

# Of the disk, of the user's share of it, and of what one file may hold.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_place(out_dir: str | os.PathLike) -> None:
    """Raises `InputError` if no folder can be made or written to at `out_dir`."""
    out_dir = os.fspath(out_dir)
    place = os.path.abspath(out_dir)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise InputError(
            f"Cannot write to {out_dir!r}: {place!r} is not a folder; choose another --out."
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            f"Cannot write to {out_dir!r}: {place!r} is read-only for you; change its permissions, "
            "or choose another --out."
        )


@contextlib.contextmanager
def told(out_dir: str | os.PathLike) -> Iterator[None]:
    """Turns the errors of files in `out_dir` into a `RunError` that names place and remedy."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if why := _why_full(error):
            place, remedy = os.fspath(out_dir), "free some space"
        elif _is_below(error, out_dir):
            place, why, remedy = error.filename, error.strerror, "mend that (permissions, disk)"
        else:
            raise
        raise RunError(
            f"Cannot write to {os.fspath(place)!r}: {why}. What is finished is kept: {remedy} "
            "and give the same command again, or choose another --out, on another disk."
        ) from error


def _why_full(error: OSError | RuntimeError) -> str:
    """The system's words for what is full; empty if the error is another one."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _FULL else ""
    # array_record reports in words.
    return next((os.strerror(n) for n in _FULL if os.strerror(n) in str(error)), "")


def _is_below(error: OSError | RuntimeError, out_dir: str | os.PathLike) -> bool:
    name = getattr(error, "filename", None)
    if not isinstance(name, str | os.PathLike):
        return False
    root = os.path.abspath(out_dir)
    return os.path.commonpath([root, os.path.abspath(name)]) == root
