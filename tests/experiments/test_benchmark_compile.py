"""The benchmark of compilation says what both starts take and leaves jax's settings alone."""

import json

import jax

from experiments.benchmarks import compile as benchmark
from tempo.models import create

NET = {"backbone": {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}}


def test_a_row_says_both_starts_and_the_cache_is_as_before(monkeypatch, capsys):
    monkeypatch.setattr(
        benchmark.tempo, "create_model", lambda name, num_classes: create(num_classes, **NET)
    )
    # Programs of other tests stay.
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    before = jax.config.jax_compilation_cache_dir
    benchmark.main(["--models", "any", "--clips", "2x16", "--batches", "4", "--classes", "3"])
    row = json.loads(capsys.readouterr().out)
    assert jax.config.jax_compilation_cache_dir == before
    assert row["first_start"].keys() == row["second_start"].keys()
    assert all(s["cpu_s"] > 0 for s in row["first_start"].values())
    assert row["instructions"] > row["computations"] > 1
    assert (row["model"], row["clip"], row["batch"]) == ("any", "2x16", 4)
