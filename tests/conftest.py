"""Fixtures of the whole suite; tests see four CPU devices, so sharding is exercised everywhere."""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)


@pytest.fixture(autouse=True)
def _no_workdir_leaks(tmp_path, monkeypatch):
    """Each test runs in a folder of its own, so a relative path never lands in the tree."""
    monkeypatch.chdir(tmp_path)
