"""Commands in processes of their own that need not import jax: forked from one that has.

Imports take longer than most of what tests ask of a command. The process that is forked from has
imported modules and started nothing: no device, no thread. What `python -m` adds to a command is
tested by the few that `tests.tiny.run` starts. Nor need they compile what another one did: programs
of single processes are kept until the tests end, for all workers.
"""

import atexit
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

_CONTEXT = multiprocessing.get_context("forkserver")
# Not the commands themselves, whose flags can be defined once.
_CONTEXT.set_forkserver_preload(
    ["ml_collections.config_flags", "tempo.evaluate", "tempo.splits", "tempo.staged"]
)


PROGRAMS = "TESTS_PROGRAMS"
"""Names the folder of compiled programs in the environment."""


class Command:
    """A module, run as by `python -m` in this folder; as much of a `Popen` as tests need."""

    def __init__(self, *args, module="tempo.main", num_devices=0):
        self.args = [module, *map(str, args)]
        self._folder = tempfile.TemporaryDirectory()
        self._paths = [pathlib.Path(self._folder.name, name) for name in ("out", "err")]
        self._process = _CONTEXT.Process(
            target=_run, args=(self.args, os.getcwd(), self._paths, num_devices)
        )
        self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def terminate(self):
        self._process.terminate()

    def communicate(self, timeout=None):
        """What it wrote to stdout and to stderr, once it has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(self.args, timeout)
        return tuple(path.read_text() for path in self._paths)


def run(*args, timeout=400, **kwargs):
    """Runs the training command, or another `module`, to its end; as `tests.tiny.run`."""
    process = Command(*args, **kwargs)
    output = process.communicate(timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, *output)


def refused(*flags):
    """The one line that the training command refuses these flags with."""
    process = run(*flags)
    assert process.returncode == 2, process.stderr
    lines = [x for x in process.stderr.splitlines() if x.strip()]
    assert len(lines) == 1, process.stderr
    return lines[0]


def _run(args, folder, paths, num_devices):
    os.chdir(folder)
    for stream, path in zip((sys.stdout, sys.stderr), paths, strict=True):
        with open(path, "w") as f:
            os.dup2(f.fileno(), stream.fileno())
    import jax

    if num_devices:
        jax.config.update("jax_num_cpu_devices", num_devices)
    else:
        jax.config.update("jax_compilation_cache_dir", os.environ[PROGRAMS])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    sys.argv = args
    try:
        runpy.run_module(args[0], run_name="__main__", alter_sys=True)
    finally:
        # A process of multiprocessing leaves these out; processes part from each other in one.
        atexit._run_exitfuncs()
