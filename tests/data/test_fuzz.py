"""Three hundred files, most of them damaged: each gets a verdict, and none a frame twice.

All of it runs in a process of its own, so that a crash in a decoder fails the test and ends nothing
else. It prints what it is at when it hangs.
"""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.data import damaged

# The whole takes seconds; this is for a hang.
WATCHDOG_S = 300
ROOT = pathlib.Path(__file__).parents[2]
PART = (0.2, 0.6)  # seconds: frames 5 to 14

READ_ALL = """
import faulthandler, json, sys
faulthandler.dump_traceback_later({watchdog_s} - 30, exit=True)
import av
import numpy as np
from tempo.data import manifest, pipeline, readers
from tempo.data.builders import records
from tests.data import conftest

root, names = sys.argv[1], json.load(open(sys.argv[1] + "/names.json"))
found = {{"plain": {{}}}}


def build(key, kind, start_s, end_s):
    sources = [manifest.Source(name, name, 0, start_s, end_s) for name in names]
    readers.read = lambda *args, **kw: manifest.Scan(("any",), {{"train": tuple(sources)}})
    out = root + "/" + key
    report = records.build(
        root + "/files", out, kind=kind, short_side_px=0, num_shards=1, num_workers=1,
        progress=False,
    )
    seen = found[key] = {{row["id"]: row["reason"] for row in report.rejected}}
    split = pipeline.open_records(out).split("train")
    for row in range(len(split)):
        record = split[row]
        frames = record.decode(np.arange(record.num_frames))
        facts = split.manifest[row]
        assert frames.shape[1:3] == (facts["height"], facts["width"]), facts
        assert record.num_frames == facts["num_frames"] == len(frames) == len(record.timestamps)
        assert (np.diff(record.timestamps) > 0).all(), facts
        seen[record.id] = conftest.numbers(frames).tolist()


for kind in ("frames", "encoded"):
    build(kind, kind, 0.0, None)
    build(kind + "_part", kind, *{part})
for name in names:
    if not isinstance(found["frames"][name], str):
        with av.open(root + "/files/" + name, metadata_errors="ignore") as container:
            pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        found["plain"][name] = [int(conftest.numbers(p)) for p in pictures]
json.dump(found, open(root + "/found.json", "w"))
"""


@pytest.fixture(scope="module")
def fuzzed(tiny, tmp_path_factory):
    """The cases, and the verdicts: key -> file -> reason, or the numbers of its frames."""
    root = tmp_path_factory.mktemp("fuzz")
    cases = damaged.write(root / "files", tiny.write_video)
    (root / "names.json").write_text(json.dumps([case.name for case in cases]))
    code = READ_ALL.format(watchdog_s=WATCHDOG_S, part=PART)
    done = subprocess.run(
        [sys.executable, "-c", code, root],
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return cases, json.loads((root / "found.json").read_text())


def test_there_are_300_files_of_every_kind(fuzzed):
    cases, found = fuzzed
    assert len(cases) == len({case.name for case in cases}) == 300
    accepted = {name for name, got in found["frames"].items() if isinstance(got, list)}
    damages = {case.name.split("-")[0] for case in cases}
    assert {damage.__name__ for damage in damaged.DAMAGES} < damages
    assert 60 < len(accepted) < 240  # neither is trivial


REASONS = re.compile(
    r"empty_file|unreadable_container|no_video_stream|picture_not_video|unknown_codec|uncut_segment"
    r"|(corrupt_frame|decode_error|size_change|non_monotonic_pts)@\d+|truncated:\d+/(\d+|\?)"
    r"|too_few_frames:\d+<2|too_long:\d+>\d+|empty_segment|segment_past_end:[\d.]+>[\d.]+"
)


def test_every_verdict_has_a_reason(fuzzed):
    cases, found = fuzzed
    for key in ("frames", "encoded", "frames_part", "encoded_part"):
        assert found[key].keys() == {case.name for case in cases}
        for name, got in found[key].items():
            assert len(got) >= 2 if isinstance(got, list) else REASONS.fullmatch(got), (name, got)


def test_whole_files_are_taken_whole_and_hopeless_ones_not_at_all(fuzzed):
    cases, found = fuzzed
    for case in cases:
        for kind in ("frames", "encoded"):
            got = found[kind][case.name]
            if case.is_whole:
                assert got == [i % 45 for i in range(case.num_frames)], case.name
            if case.num_frames == 0:
                assert isinstance(got, str), case.name
    assert sum(case.is_whole for case in cases) == 25
    assert sum(case.num_frames == 0 for case in cases) == 10


def test_no_frame_comes_twice_and_none_out_of_order(fuzzed):
    cases, found = fuzzed
    for case in cases:
        for key in ("frames", "encoded", "frames_part", "encoded_part"):
            got = found[key][case.name]
            if isinstance(got, str) or case.bits_changed or case.num_frames > 45:
                continue
            # An AVI file followed by itself is two videos to a player, too.
            for part in np.split(got, [got.index(0, 1)] if 0 in got[1:] else []):
                assert (np.diff(part) > 0).all(), (key, case.name, got)
            assert got.count(0) < 2 or case.name.startswith("append_itself")


def test_what_changed_bits_do_to_pictures_is_not_made_worse(fuzzed):
    """A decoder may not notice a changed bit; then the frames are those of a plain decode."""
    cases, found = fuzzed
    repeating = []
    for case in cases:
        got = found["frames"][case.name]
        if not isinstance(got, str):
            if "rotated" not in case.name:
                assert got == found["plain"][case.name], case.name
            if case.bits_changed and (np.diff(got) <= 0).any():
                repeating.append(case.name)
    assert len(repeating) <= 10, repeating


def test_both_kinds_of_records_agree(fuzzed):
    _, found = fuzzed
    for name, got in found["frames"].items():
        assert got == found["encoded"][name], name


def test_parts_have_the_frames_of_their_time(fuzzed):
    cases, found = fuzzed
    for case in cases:
        got = found["frames_part"][case.name]
        if case.is_whole and "variable" not in case.name and case.num_frames == 24:
            assert got == list(range(5, 15)), case.name
            assert found["encoded_part"][case.name] == got, case.name
