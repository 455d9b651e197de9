"""The folder of compiled programs: which one, for which processors, how large."""

import os
import pathlib

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tempo import program_cache
from tempo.errors import InputError


def test_the_cache_is_where_it_is_told_and_only_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "reset_cache", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))

    def used(folder):
        with program_cache.cached_in(folder):
            found = jax.config.jax_compilation_cache_dir
        assert not jax.config.jax_compilation_cache_dir
        return found or ""

    # Set and empty, as the suite has it: nothing is kept.
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "" == used("auto")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    assert used("auto").startswith(str(tmp_path / "home" / "tempo" / "xla"))
    assert used(str(tmp_path / "own")) == str(tmp_path / "own") and used("") == ""
    (tmp_path / "file").touch()
    # Even root makes no file in /proc.
    for folder in (str(tmp_path / "file" / "below"), "/proc"):
        with pytest.raises(InputError, match=f"{folder}' cannot be made or written to"):
            used(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        assert used("auto") == ""


def test_there_is_no_default_without_a_home_or_for_gpus_of_several_processes(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(os.path, "expanduser", lambda path: "/home/me")
    assert program_cache._default().startswith("/home/me/.cache/tempo/xla/")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert program_cache._default()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert program_cache._default() == ""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # of a user without an entry
    assert program_cache.default_folder() == ""


def test_processors_that_differ_share_no_folder(monkeypatch):
    own = program_cache.default_folder()
    assert program_cache.default_folder() == own
    real = pathlib.Path.read_text
    monkeypatch.setattr(pathlib.Path, "read_text", lambda p: f"flags : avx512f {real(p)}")
    assert program_cache.default_folder() != own


def test_the_cache_keeps_what_was_read_last(tmp_path):
    for i, name in enumerate("abcd"):
        path = tmp_path / name / "program"
        path.parent.mkdir()
        path.write_bytes(b"x" * 100)
        os.utime(path, (i if name != "a" else 9, 0))
    program_cache.trim(str(tmp_path), 250)
    assert sorted(p.parent.name for p in tmp_path.rglob("program")) == ["a", "d"]


def test_what_others_remove_or_own_is_passed_over(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 100)
    os.utime(tmp_path / "a", (0, 0))
    program_cache.trim(str(tmp_path / "gone"), 0)
    unlink = os.unlink

    def refuse(path):
        if path.endswith("a"):
            raise PermissionError(path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse)
    program_cache.trim(str(tmp_path), 100)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
