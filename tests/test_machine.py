"""What is told of a machine: limits of control groups, the processor, and no folder of a user."""

import pathlib

import jax
import pytest

from tempo import machine


def write(root, path, text):
    path = pathlib.Path(root, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_limits_of_cgroup_v2_are_the_least_up_the_tree(tmp_path):
    write(tmp_path, "proc/self/cgroup", "0::/jobs/one\n")
    write(tmp_path, "sys/fs/cgroup/jobs/memory.max", f"{3 * 2**30}\n")
    write(tmp_path, "sys/fs/cgroup/jobs/one/memory.max", f"{5 * 2**30}\n")
    write(tmp_path, "sys/fs/cgroup/jobs/cpu.max", "max 100000\n")
    write(tmp_path, "sys/fs/cgroup/jobs/one/cpu.max", "150000 100000\n")
    assert machine.memory_limit_gib(str(tmp_path)) == 3.0
    assert machine.cores_limit(str(tmp_path)) == 1.5


def test_limits_of_cgroup_v1_and_of_a_container_that_sees_the_top_alone(tmp_path):
    write(tmp_path, "proc/self/cgroup", "4:memory:/host/only\n1:cpu,cpuacct:/host/only\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2**31}\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert machine.memory_limit_gib(str(tmp_path)) == 2.0
    assert machine.cores_limit(str(tmp_path)) == 4.0


def test_without_limits_there_are_none(tmp_path):
    assert machine.memory_limit_gib(str(tmp_path)) is None
    write(tmp_path, "proc/self/cgroup", "4:memory:/\n1:cpu:/\n0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert machine.memory_limit_gib(str(tmp_path)) is None
    assert machine.cores_limit(str(tmp_path)) is None


def test_a_processor_is_told_by_what_its_name_leaves_out():
    text = "cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nflags\t: fpu avx avx2 fma\n"
    assert machine._cpu(text * 2) == "AMD EPYC, family 25, model 1, avx2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no /home/eve/runs/a.npz there", "no ~/runs/a.npz there"),
        ("--xla_dump_to=/scratch/eve/dump, 3/4", "--xla_dump_to=.../dump, 3/4"),
        ("'/data/eve/a b'", "'.../a b'"),
        ("see https://docs.jax.dev/en/latest", "see https://docs.jax.dev/en/latest"),
    ],
)
def test_folders_are_left_out(text, said, monkeypatch):
    monkeypatch.setenv("HOME", "/home/eve")
    assert machine.without_folders(text) == said


def test_settings_are_those_that_matter_without_folders(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/scratch/eve/dump")
    monkeypatch.setenv("MY_TOKEN", "secret")
    settings = machine.settings()
    assert settings["XLA_FLAGS"] == "--xla_dump_to=.../dump"
    assert "MY_TOKEN" not in settings


def test_the_cache_is_the_one_jax_is_set_to(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "jit_f-12-cache").write_bytes(bytes(2**20 * 11))
    (tmp_path / "programs" / "jit_f-12-atime").write_bytes(b"")
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "programs"))
        assert machine.compile_cache() == {
            "folder": ".../programs",
            "programs": 1,
            "size_gib": 0.01,
        }
        jax.config.update("jax_compilation_cache_dir", None)
        assert machine.compile_cache() == {"folder": "none"}
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
