"""The command, killed again and again at random moments, ends with the bytes of a quiet run."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tempo.data import pipeline
from tempo.errors import InputError

NUM_KILLS = 4
MAX_ATTEMPTS = 5


def command(tree, out, kind):
    # One thread: more of the run lies between the first shard and the last.
    flags = ["--short-side", "0", "--kind", kind, "--num-workers", "1"]
    return [sys.executable, "-m", "tempo.prepare", "--videos", tree, "--out", out, *flags]


def names_below(folder):
    return {str(path) for path in folder.rglob("*")}


def run_until_killed(args, out, num_new_files, delay_s):
    """Kills the command some time after it has made so many files; True if it was in time."""
    before = names_below(out)
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and len(names_below(out) - before) < num_new_files:
            time.sleep(0.001)
        time.sleep(delay_s)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return process.returncode == -signal.SIGKILL


def content(out):
    return {p.name: p.read_bytes() for p in sorted(out.iterdir())}


@pytest.mark.parametrize("kind", ["frames", "encoded"])
def test_killed_at_random_moments(kind, ucf_tree, tmp_path):
    """Where every run is over before its kill, it all begins anew; the end is always the same."""
    seed = os.getpid()
    rng = random.Random(seed)
    subprocess.run(command(ucf_tree, tmp_path / "quiet", kind), check=True, capture_output=True)
    num_landed = 0
    for attempt in range(MAX_ATTEMPTS):
        out = tmp_path / f"killed{attempt}"
        args = command(ucf_tree, out, kind)
        # The first file is the lock: a later attempt waits for fewer, and so has more time.
        most = max(1, 8 - attempt)
        for _ in range(NUM_KILLS):
            if not run_until_killed(args, out, rng.randint(1, most), rng.uniform(0, 0.05)):
                break
            num_landed += 1
            if not pipeline.is_complete(out):
                with pytest.raises(InputError):
                    pipeline.open_records(out)
        done = subprocess.run(args, capture_output=True, text=True)
        assert done.returncode == 0, f"seed {seed}: {done.stderr}"
        assert content(out) == content(tmp_path / "quiet"), f"seed {seed}, attempt {attempt}"
        assert len(pipeline.open_records(out).split("train")) == 10, f"seed {seed}"
        if num_landed:
            return
    pytest.skip(f"seed {seed}: the command was over before each of {MAX_ATTEMPTS} kills")
