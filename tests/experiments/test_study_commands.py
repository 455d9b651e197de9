"""A study's folder has one command at a time, and a stop reaches the command that runs."""

import pytest

from experiments import commands
from tempo.errors import InputError


def test_one_command_at_a_time_and_a_stop_reaches_it(tmp_path):
    out = str(tmp_path / "study")
    with commands.locked(out) as lock:
        in_use = pytest.raises(InputError, match="is in use by another command")
        with in_use, commands.locked(out):
            pass
        tell = "import os, signal; os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
        with pytest.raises(SystemExit) as stopped:
            commands.start(("-c", tell), out, lock)
        assert stopped.value.code == 143
    with commands.locked(out):
        pass
