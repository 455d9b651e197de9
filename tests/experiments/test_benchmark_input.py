"""What the input benchmarks tell: ratios and rows from rates, and small runs of the real thing.

No rate is looked at beyond being one.
"""

import argparse
import json

import numpy as np
import pytest

from experiments.benchmarks import input as benchmark
from experiments.benchmarks import store
from tempo.errors import InputError

SEEN = {
    ("frames", 0): [100.0, 90.0, 300.0],
    ("frames", 1): [110.0, 110.0, 110.0],
    ("frames", 2): [200.0, 210.0, 190.0],
    ("encoded", 0): [50.0] * 3,
    ("encoded", 1): [60.0] * 3,
    ("encoded", 2): [90.0] * 3,
    ("decord, 1 threads", 0): [10.0] * 3,
    ("decord, 1 threads", 1): [20.0] * 3,
    ("decord, 1 threads", 2): [40.0] * 3,
    ("decord, auto threads", 0): [12.5] * 3,
    ("decord, auto threads", 1): [10.0] * 3,
    ("decord, auto threads", 2): [10.0] * 3,
    ("files", 0): [25.0] * 3,
    ("files", 1): [55.0] * 3,
    ("files", 2): [100.0] * 3,
    ("ceiling", 1): [400.0, 410.0, 390.0],
    ("ceiling", 2): [780.0] * 3,
}
READERS = ("decord, 1 threads", "decord, auto threads", "files")


def test_ratios_are_of_medians_and_to_the_better_setting_of_a_peer():
    row = benchmark.assemble("frames", SEEN, READERS)
    assert row["clips_per_s"] == {0: 100.0, 1: 110.0, 2: 200.0}
    assert row["clips_per_s_all"][0] == [100.0, 90.0, 300.0]
    assert row["speedup"] == {"2_over_0": 2.0, "2_over_1": 1.82}
    assert row["ceiling_clips_per_s"] == {1: 400.0, 2: 780.0} and row["ceiling_speedup"] == 1.95
    assert row["peers_clips_per_s"] == {
        "decord": {0: 12.5, 1: 20.0, 2: 40.0},
        "files": {0: 25.0, 1: 55.0, 2: 100.0},
    }
    assert row["ratio"] == {"decord": {0: 8.0, 1: 5.5, 2: 5.0}, "files": {0: 4.0, 1: 2.0, 2: 2.0}}
    alone = benchmark.assemble("encoded", SEEN)
    assert alone["clips_per_s"][1] == 60.0 and alone["ratio"] == {}


def test_the_table_says_what_the_row_holds():
    row = benchmark.assemble("frames", SEEN, READERS)
    row |= {"clip": "8x8", "video": "320x240", "size_px": 224}
    text = benchmark.table(row | {"stages_ms": {"read": 0.1, "decode": 1.4, "hand_over": 0.5}})
    assert "frames 8x8, 320x240 to 224" in text
    assert "0: 100.0, 1: 110.0, 2: 200.0; 2 threads are 2_over_0: 2.0x, 2_over_1: 1.82x" in text
    assert "0: 12.5, 1: 20.0, 2: 40.0; tempo is 0: 8.0x, 1: 5.5x, 2: 5.0x" in text
    assert "decode 1.40, hand_over 0.50; in all 2.00" in text


def test_a_small_run_without_peers(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    command = (
        "--no-peer --video 64x48 --size 32 --clips 4x2 --threads 0,2 --rounds 1 --seconds 0.01"
    )
    arguments = [*command.split(), "--data", str(tmp_path / "data"), "--out", str(out)]
    assert benchmark.main(arguments) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["frames", "encoded"]
    for row in rows:
        assert set(row["clips_per_s"]) == {"0", "2"} and min(row["clips_per_s"].values()) > 0
        stages = {"read", "parse", "sample", "decode", "random_resized_crop", "flip", "hand_over"}
        # A box of the size of the crop is copied, all others are scaled into their place.
        assert stages <= row["stages_ms"].keys() <= stages | {"stack"}
        assert row["speedup"].keys() == {"2_over_0"}
        assert (row["clip"], row["video"], row["videos"]) == ("4x2", "64x48", 16)
        assert row["kb_per_frame"] > 0
        assert {"command", "commit", "date", "versions", "hardware"} <= row.keys()
        assert "backend" not in row["hardware"]  # reading starts no accelerator
    assert rows[0]["ceiling_clips_per_s"] == rows[1]["ceiling_clips_per_s"]
    assert "encoded 4x2, 64x48 to 32" in capsys.readouterr().out
    # A loader that reads other frames is not compared.
    with pytest.raises(InputError, match="do not read the same"):
        benchmark.compare_pixels({"encoded - decord": 0.7, "frames - files": 9.0})


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--clips", "8x8,8-8", "must look like"),
        ("--video", "320", "must look like"),
        ("--kinds", "frames,files", "'files' is not in"),
    ],
)
def test_what_is_wrong_is_told(flag, value, message, capsys):
    with pytest.raises(SystemExit):
        benchmark.main([flag, value])
    assert message in capsys.readouterr().err


def test_store_rows(tmp_path):
    rng = np.random.default_rng(0)
    videos = [rng.integers(0, 256, (n, 240, 320, 3), np.uint8) for n in (9, 12)]
    args = argparse.Namespace(data=str(tmp_path), clips=["4x2"], rounds=1, clips_per_round=4)
    rows = [*store.layout_rows(videos, args), *store.jpeg_rows(videos, args)]
    layouts = {(r["layout"], r["read"], r["memory"]) for r in rows if r["table"] == "layout"}
    assert len(layouts) == 6 and ("list", "parts", "again") in layouts
    jpegs = {
        (r["quality"], r["subsampling"], r["short_side_px"]): r
        for r in rows
        if r["table"] == "jpeg"
    }
    assert len(jpegs) == 7
    sizes = [jpegs[quality, "420", 240]["kb_per_frame"] for quality in (75, 85, 90, 95)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert jpegs[90, "420", 240]["kb_per_frame"] < jpegs[90, "444", 240]["kb_per_frame"]
    assert jpegs[90, "420", 240]["psnr_db"] < jpegs[90, "444", 240]["psnr_db"]
    assert jpegs[90, "420", 128]["kb_per_frame"] < jpegs[90, "420", 240]["kb_per_frame"] / 2
    assert all(row["decode_cpu_ms_4x2"] > 0 for row in jpegs.values())
