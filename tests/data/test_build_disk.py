"""A disk that fills up: one line, nothing half-written, and the same command goes on afterwards."""

import contextlib
import errno
import os
import resource
import subprocess
import sys

import pytest

from tempo import files, prepare
from tempo.data import pipeline
from tempo.data.builders import disk, shards
from tempo.data.builders import records as builder
from tempo.errors import InputError, RunError

FULL = os.strerror(errno.ENOSPC)


class FullWriter:
    """An array_record writer that finds no room for its third record."""

    num_left = 2

    def __init__(self, path, options):
        self._inner = ORIGINAL_WRITER(path, options)
        self._is_full = False

    def write(self, record):
        if FullWriter.num_left == 0:
            self._is_full = True
            return
        FullWriter.num_left -= 1
        self._inner.write(record)

    def ok(self):
        return not self._is_full

    def close(self):
        if self._inner.is_open():
            self._inner.close()
        if self._is_full:
            raise RuntimeError(f"write() failed: {FULL}; writing somewhere; Failed to close")


ORIGINAL_WRITER = shards.array_record_module.ArrayRecordWriter


def fail_in_records(patch):
    FullWriter.num_left = 7
    patch.setattr(shards.array_record_module, "ArrayRecordWriter", FullWriter)


def fail_in(name_part):
    """Makes every file fail whose name has this in it, after half of it is there."""

    def install(patch):
        replacing = files.replacing

        @contextlib.contextmanager
        def failing(path, mode="w"):
            with replacing(path, mode) as f:
                yield f
                if name_part in os.path.basename(path):
                    f.flush()
                    raise OSError(errno.ENOSPC, FULL, path)

        patch.setattr(files, "replacing", failing)

    return install


@pytest.mark.parametrize(
    "install",
    [
        fail_in_records,
        fail_in("train-00001.json"),
        fail_in("videos-train.jsonl"),
        fail_in("videos-test.labels"),
        fail_in("rejected.json"),
        fail_in("manifest.json"),
    ],
    ids=["records", "sidecar", "rows", "labels", "rejected", "manifest"],
)
def test_a_full_disk_is_told_and_the_next_build_goes_on(
    install, ucf_tree, frames_dir, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    settings = dict(short_side_px=0, num_shards=3, num_workers=1, progress=False)
    with monkeypatch.context() as patch:
        install(patch)
        with pytest.raises(RunError) as error:
            builder.build(ucf_tree, out, **settings)
    told = str(error.value)
    assert told.count("\n") == 0 and str(out) in told and FULL in told and "free some" in told
    with pytest.raises(InputError, match="an unfinished dataset"):
        pipeline.open_records(out)
    left = [p.name for p in out.rglob("*") if p.name.endswith(".tmp") or ".json." in p.name]
    assert not left
    report = builder.build(ucf_tree, out, **settings)
    assert report.num_accepted == 15 and report.num_reused > 0
    names = sorted(p.name for p in frames_dir.iterdir())
    assert sorted(p.name for p in out.iterdir()) == names
    for name in names:
        assert (out / name).read_bytes() == (frames_dir / name).read_bytes(), name


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    for error in (OSError(errno.EACCES, "no"), RuntimeError("a bug"), RunError("no space")):
        with pytest.raises(type(error), match=str(error)[-5:]), disk.told(tmp_path):
            raise error


def test_the_command_when_a_file_may_not_grow(ucf_tree, frames_dir, tmp_path):
    """Real writes that fail: no file of the process may hold more than 40 kB."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    out = tmp_path / "out"
    command = [sys.executable, "-m", "tempo.prepare", "--videos", ucf_tree, "--out", out]
    command += ["--short-side", "0"]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("tempo.prepare: Cannot write to") and os.strerror(errno.EFBIG) in last
    assert "Traceback" not in done.stderr and not pipeline.is_complete(out)
    assert prepare.main([str(c) for c in command[3:]]) == 0
    made = [pipeline.open_records(path).manifest_sha256 for path in (out, frames_dir)]
    assert made[0] == made[1]
