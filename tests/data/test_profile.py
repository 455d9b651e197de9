"""The profile names every stage and op once, its shares are those of a whole, and it gives advice.

No time is looked at: streams run for one batch.
"""

import importlib.util
import re

import pytest

from tempo import train as train_lib
from tempo.data import pipeline, profile
from tempo.data.profile import Profile
from tempo.types import ClipSpec
from tests import tiny as tiny_run

OPS = ("jitter_short_side", "random_crop", "flip")
STAGES = ["read", "parse", "sample", "decode", *OPS, "stack", "other"]


def opener(split, **kwargs):
    def open_batches(num_threads):
        return pipeline.train_batches(
            split, clip=ClipSpec(num_frames=4), num_workers=num_threads, **kwargs
        )

    return open_batches


@pytest.mark.parametrize("kind", ["frames_dir", "encoded_dir"])
def test_every_stage_and_op_is_there(kind, request):
    ops = ({"name": "jitter_short_side", "min_px": 40, "max_px": 48}, *OPS[1:])
    split = pipeline.open_records(request.getfixturevalue(kind)).split("train")
    open_batches = opener(split, batch_size=5, size_px=32, host_ops=ops)
    found = profile.measure(open_batches, threads=(0, 2), seconds=0.0)
    assert set(found.ms) == set(STAGES) and list(found.ms)[-1] == "other"
    assert all(ms >= 0 for ms in found.ms.values()) and found.ms["decode"] > 0
    assert sum(found.shares.values()) == pytest.approx(1)
    assert list(found.clips_per_s) == [0, 2] and min(found.clips_per_s.values()) > 0
    assert found.num_clips == 5


def test_what_is_not_measured_is_the_same(train):
    open_batches = opener(train, batch_size=5, size_px=32)
    with open_batches(0) as batches:
        expected = next(batches)
    with profile.stages.measure(), open_batches(0) as batches:
        batch = next(batches)
    assert (batch["video"] == expected["video"]).all() and (batch["id"] == expected["id"]).all()


MEASURED = Profile(
    ms={"read": 0.5, "decode": 2.0, "random_crop": 1.0, "stack": 0.25, "other": 0.25},
    clips_per_s={0: 250.0, 1: 260.0, 2: 490.0, 4: 500.0},
    num_clips=80,
)


def told(measured=MEASURED, **changed):
    about = {"kind": "frames", "short_side_px": 256, "size_px": 224, "num_workers": 2}
    return profile.report(measured, **(about | changed))


def test_the_table_is_that_of_a_whole():
    lines = told().splitlines()
    shares = [float(s) for s in re.findall(r"(\d+\.\d)%", "\n".join(lines[1:6]))]
    assert len(shares) == 5 and sum(shares) == pytest.approx(100, abs=0.3)
    assert "decode" in lines[2] and "2.000" in lines[2] and "50.0%" in lines[2]
    assert "in all" in lines[6] and "4.000" in lines[6] and "80 clips" in lines[6]
    assert any(line.startswith("0 (in the caller)") and "250.0" in line for line in lines)


def test_advice():
    assert "num_workers" not in told()  # 2 threads are as good as 4
    assert "config.data.num_workers=4 gives 500 clips/s against 260 with 1" in told(num_workers=1)
    assert "config.data.num_workers=4 gives 500 clips/s\n" in told(num_workers=3) + "\n"
    assert "config.data.num_workers=4 gives 500 clips/s against 250 with 0" in told(num_workers=0)
    fast_caller = Profile(ms={"other": 1.0}, clips_per_s={0: 9.0, 1: 5.0, 2: 4.0}, num_clips=8)
    assert "num_workers" not in told(fast_caller, num_workers=1)  # its caller would train
    assert "num_workers=1" in told(fast_caller)
    assert "--short-side 128" in told(size_px=112)
    assert "of full size" in told(short_side_px=0)
    assert "--short-side" not in told()
    assert "decoding takes 50%: records of --kind encoded" in told()
    assert "records of --kind frames decode only" in told(kind="encoded", short_side_px=0)
    slow_disk = Profile(ms={"read": 9.0, "other": 1.0}, clips_per_s={2: 9.0}, num_clips=8)
    assert "reading takes 90%" in told(slow_disk)
    whole = Profile(ms={"jitter_short_side": 5.0, "other": 5.0}, clips_per_s={2: 9.0}, num_clips=8)
    assert "jitter_short_side takes 50% for whole frames" in told(whole)
    even = Profile(ms=dict.fromkeys("abcd", 1.0) | {"other": 1.0}, clips_per_s={2: 9}, num_clips=1)
    assert "nothing stands out" in told(even)


def test_of_a_config(tmp_path):
    records = tiny_run.make_records(tmp_path)
    path = tmp_path / "config.py"
    tiny_run.write_config(path, records)
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = train_lib.profile_input(module.get_config(), seconds=0.0)
    for name in ("read", "decode", "random_crop", "stack", "other", "0 (in the caller)"):
        assert re.search(rf"^{re.escape(name)}  +\d", text, re.MULTILINE), text
