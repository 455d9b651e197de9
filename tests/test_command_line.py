"""What commands do with their errors, and with a reader that has read enough."""

import os
import subprocess
import sys

import pytest

from tempo import command_line
from tempo.errors import InputError, RunError

PROGRAM = """
import sys
from tempo import command_line

def main():
    if sys.argv[1] == "stderr":
        print("a line", file=sys.stderr)
    print("a line")  # stays in Python's buffer

sys.exit(command_line.run(main))
"""


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    "error, status, said",
    [
        (InputError("x is 3; give 2."), 2, "error: x is 3; give 2.\n"),
        (RunError("The run diverged."), 1, "error: The run diverged.\n"),
        (KeyboardInterrupt(), 130, "error: stopped; nothing was written.\n"),
    ],
)
def test_an_error_is_a_line_and_a_status(capsys, error, status, said):
    stopped = "stopped; nothing was written."
    assert command_line.run(raising(error), stopped=stopped) == status
    assert capsys.readouterr() == ("", said)


def test_the_status_is_that_of_the_command():
    assert command_line.run(lambda: 1) == 1
    assert command_line.run(lambda: None) == 0


def test_a_reader_that_has_read_enough_ends_it_quietly():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run([*command, "stdout"], stdout=write, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")
    done = subprocess.run([*command, "stderr"], stderr=write, stdout=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stdout) == (141, "")


def test_the_broken_pipe_of_another_process_is_no_end(capfd):
    with pytest.raises(BrokenPipeError):
        command_line.run(raising(BrokenPipeError()))
