"""Fixtures of the whole suite; tests see four CPU devices, so sharding is exercised everywhere."""

import importlib.metadata
import os

# Nearly all of the suite's time would be LLVM making code fast that runs for milliseconds.
# In the environment, so that the commands that tests start have them too.
# The older of XLA's two emitters compiles a training step in 40 % of the time. Later ones have the
# new one alone, and do not start with a flag that they do not know.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    + " --xla_cpu_use_fusion_emitters=false" * (importlib.metadata.version("jaxlib") < "0.11"),
)
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# No programs in the user's cache folder but those of tests that name one.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", "")
# Threads of numpy and torch wait for work by spinning, on cores that other tests run on. And a
# process without any can be forked from, see `tests/forked.py`.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gc
import tempfile

import pytest

from tests import forked


def pytest_configure(config):
    """The folder that `tests/forked.py` keeps programs in; workers inherit the first process's."""
    if forked.PROGRAMS not in os.environ:
        folder = tempfile.TemporaryDirectory()
        os.environ[forked.PROGRAMS] = folder.name
        config.add_cleanup(folder.cleanup)


def pytest_collection_finish():
    """A tenth of the time would go to looking through all modules for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """A relative path in a test never lands in the tree."""
    monkeypatch.chdir(tmp_path)
