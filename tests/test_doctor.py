"""`python -m tempo.doctor`: all is well here, and what is not is told, in words and in JSON."""

import json
import os

import jax
import pytest

import tempo
from tempo import doctor, peaks
from tempo.data import selftest as codecs
from tempo.layers import conv
from tempo.layers import selftest as convolutions

PEAKS = {"f32_flops_per_s": 61.26e9, "bf16_flops_per_s": 5e9, "bytes_per_s": 12.5e9}


@pytest.fixture(autouse=True)
def _known_peaks_and_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(peaks, "measured", lambda: PEAKS)


@pytest.fixture
def quick(monkeypatch):
    """The self-tests' outcomes, to change; none is run."""
    outcomes = {"codecs": {"jpeg frames": "ok"}, "convolutions": dict.fromkeys(
        convolutions.table(), "ok"
    )}  # fmt: skip
    monkeypatch.setattr(codecs, "check", lambda: outcomes["codecs"])
    monkeypatch.setattr(convolutions, "check", lambda: outcomes["convolutions"])
    return outcomes


def test_all_is_well_here():
    report = doctor.examine()
    assert doctor.failures(report) == []
    assert report["codecs"]["h264 in mp4"] == report["codecs"]["vp9 in webm"] == "ok"
    assert report["convolutions"].keys() == {" ".join(kind) for kind in conv.AUTO["cpu"]}
    assert all(row["check"] == "ok" for row in report["convolutions"].values())


def test_words(quick, capsys, tmp_path):
    assert doctor.main(["--workdir", str(tmp_path / "made" / "later")]) == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "f32 matrix product 61.3 GFLOP/s" in lines
    assert "copy, read + written 12.5 GB/s" in lines
    assert "temporal dense matmul_split ok" in lines
    assert lines[-1] == "All tests passed."
    assert "disk" in lines
    assert str(tmp_path) not in out
    assert os.path.expanduser("~") not in out


def test_json_is_the_same_facts(quick, capsys):
    assert doctor.main(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["peaks"] == PEAKS
    assert report["versions"]["jax"] == jax.__version__
    assert report["devices"]["devices"][0]["count"] == 4  # of conftest.py
    assert report["failures"] == []
    assert report["compile cache"]["folder"].startswith(".../")  # as runs have it
    assert "disk" not in report


def test_a_failed_test_is_named_last_and_in_the_exit_status(quick, capsys):
    quick["codecs"]["jpeg frames"] = "failed: ValueError: /scratch/quinn/x is no JPEG"
    quick["convolutions"]["full dense"] = "failed: fold_sum: output by 1e-01"
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "2 failed: codecs: jpeg frames; convolutions: full dense"
    assert "quinn" not in out


def test_a_section_that_breaks_leaves_the_others(quick, monkeypatch, capsys):
    def broken():
        raise ImportError("libcuda.so:\ncannot open")

    monkeypatch.setattr(doctor.machine, "devices", broken)
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "FAILED: ImportError: libcuda.so: cannot open" in out
    assert "61.3 GFLOP/s" in out
    assert out.splitlines()[-1] == "1 failed: devices"


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(tempo.InputError, match="--workdir run is a file"):
        doctor.examine(str(tmp_path / "run"))
