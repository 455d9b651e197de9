"""Writing files so that a stop halfway never leaves half of one in the place of a good one."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any


@contextmanager
def replacing(path: str, mode: str = "w") -> Iterator[IO]:
    """A file opened under another name, renamed to `path` when the block ends without an error."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(handle, mode) as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private to the user
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def replacing_folder(path: str) -> Iterator[str]:
    """The path of a folder to be made, renamed to `path` when the block ends without an error.

    A folder that is at `path` goes when the new one stands in its place, and comes back if that
    fails.
    """
    path = os.path.abspath(path)
    parent, name = os.path.split(path)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}.") as scratch:
        new, old = os.path.join(scratch, "new"), os.path.join(scratch, "old")
        yield new
        if os.path.isdir(path):
            os.rename(path, old)
        try:
            os.rename(new, path)
        except BaseException:
            if os.path.isdir(old):
                os.rename(old, path)
            raise


def write_text(path: str, text: str) -> None:
    """Replaces the file's content."""
    with replacing(path) as f:
        f.write(text)


def write_json(path: str, value: Any) -> None:
    """Replaces the file's content with indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str) -> Any:
    """The value in a JSON file."""
    with open(path) as f:
        return json.load(f)
