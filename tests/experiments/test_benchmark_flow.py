"""The benchmark of flow: a row per method, and the same frames for all of them."""

import json

import numpy as np
import pytest

from experiments.benchmarks import flow as benchmark
from tempo.data import flow_methods


def test_rows(tmp_path, capsys, monkeypatch):
    seen = {}

    def shift(name):
        def compute(first, second):
            seen.setdefault(name, []).append(first)
            return np.full((*first.shape, 2), 0.5 if name == "tvl1" else 1.5, np.float32)

        return flow_methods.FlowMethod(compute, {}, lambda: ("mine", "1.0"))

    def absent():
        raise benchmark.InputError("it is not here")

    rows = {name: shift(name) for name in ("tvl1", "tvl1_jax")}
    rows["dis"] = flow_methods.FlowMethod(shift("dis").compute, {}, absent)
    monkeypatch.setattr(benchmark.flow, "METHODS", rows)
    monkeypatch.setattr(benchmark.tvl1, "pairs_per_call", lambda height, width: 6)
    out = tmp_path / "rows.jsonl"
    assert benchmark.main(["--size", "40x20", "--out", str(out)]) == 0
    capsys.readouterr()
    opencv, ours, missing = map(json.loads, out.read_text().splitlines())
    assert (opencv["pairs"], ours["pairs"]) == (4, 6) and missing["absent"] == "it is not here"
    assert ours["mean_px_from_tvl1"] == 1.0 and ours["levels_within_one_of_tvl1"] == 0.0
    assert ours["pairs_per_program"] == 6 and "pairs_per_program" not in opencv
    assert ours["size"] == "40x20" and ours["ms_per_pair"]["min"] >= 0
    # One run that is not counted, and three that are.
    assert len(seen["tvl1"]) == 4 and seen["tvl1"][0].shape == (4, 20, 40)
    np.testing.assert_array_equal(seen["tvl1"][0], seen["tvl1_jax"][0][:4])


@pytest.mark.parametrize("size", ["320", "10x10", "64x", "-64x64", "axb"])
def test_sizes_that_no_method_takes_are_refused(size, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark.main([f"--size={size}"])
    assert ended.value.code == 2
    assert "is not WIDTHxHEIGHT of at least 16 each" in capsys.readouterr().err
