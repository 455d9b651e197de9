"""What a build cannot be made of or written to is one line, and a check says the same."""

import json
import os
import re
import threading
from concurrent import futures

import pytest

from tempo import prepare
from tempo.data import pipeline
from tempo.data.builders import disk, examples, ordered
from tempo.data.builders import records as builder
from tempo.errors import InputError, RunError


def run(capsys, tree, out, *args):
    status = prepare.main(["--videos", str(tree), "--out", str(out), *map(str, args)])
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("tempo.prepare:")]
    assert "Traceback" not in said.err
    return status, said.out, lines


def no_work(monkeypatch):
    def work(*args):
        raise AssertionError("a video was opened")

    monkeypatch.setattr(examples, "encode_video", work)


@pytest.mark.parametrize("below", ["", "sub", "sub/deeper"])
@pytest.mark.parametrize("flags", [(), ("--check-only",)])
def test_a_file_in_the_place_of_the_dataset(ucf_tree, tmp_path, capsys, monkeypatch, below, flags):
    no_work(monkeypatch)
    (tmp_path / "file").write_text("mine")
    status, _, lines = run(capsys, ucf_tree, tmp_path / "file" / below, *flags)
    assert status == 2 and len(lines) == 1
    assert str(tmp_path / "file") in lines[0] and "choose another --out" in lines[0]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_place_that_may_not_be_written_to(ucf_tree, tmp_path, capsys, monkeypatch):
    no_work(monkeypatch)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    status, _, lines = run(capsys, ucf_tree, tmp_path / "a" / "b")
    assert status == 2 and len(lines) == 1 and "read-only" in lines[0]
    assert not (tmp_path / "a").exists()


def test_errors_of_files_in_the_dataset_are_told_and_no_others(tmp_path):
    def failing(path):
        with disk.told(tmp_path / "out"):
            raise PermissionError(13, "Permission denied", str(path))

    with pytest.raises(RunError, match=r"out/x': Permission denied.*mend that"):
        failing(tmp_path / "out" / "x")
    with pytest.raises(PermissionError):
        failing(tmp_path / "outside")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--num-workers", -1), "num_workers must be at least 1; got -1"),
        (("--num-workers", 0), "num_workers must be at least 1; got 0"),
        (("--min-frames", 50, "--max-frames", 3), "at least 50 and at most 3 frames"),
    ],
)
def test_numbers_that_cannot_be(ucf_tree, tmp_path, capsys, monkeypatch, flags, message):
    no_work(monkeypatch)
    status, _, lines = run(capsys, ucf_tree, tmp_path / "out", *flags)
    assert status == 2 and len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("videos-train.array_record-00000-of-00001", "missing"),
        ("videos-test.array_record-00000-of-00001", "cut"),
        ("videos-train.labels.npy", "missing"),
        ("videos-train.jsonl", "damaged"),
        ("dataset_info.json", "missing"),
        ("rejected.json", "missing"),
    ],
)
def test_a_damaged_dataset_is_no_success(ucf_tree, tmp_path, capsys, name, how):
    out = tmp_path / "out"
    assert run(capsys, ucf_tree, out)[0] == 0
    whole = (out / name).read_bytes()
    (out / name).unlink()
    if how != "missing":
        (out / name).write_bytes(whole[:-1])
    status, said, lines = run(capsys, ucf_tree, out)
    assert status == 2 and "accepted" not in said and len(lines) == 1
    assert f"{name}' is {how}" in lines[0] and re.search("prepare (it )?again", lines[0])
    (out / name).write_bytes(whole)
    assert run(capsys, ucf_tree, out)[0] == 0


def test_a_check_ends_as_its_build(own_tree, tmp_path, capsys):
    for path in (own_tree / "videos" / "Class1").iterdir():
        path.write_bytes(b"")
    told = []
    for name, flags in (("build", ()), ("check", ("--check-only",))):
        status, said, lines = run(capsys, own_tree, tmp_path / name, *flags)
        assert status == 2 and "accepted" not in said and len(lines) == 1
        told.append(lines[0].split("; see")[0])
    assert told[0] == told[1] and "'Class1' has no train video" in told[0]
    summary = json.loads((tmp_path / "check" / "check.json").read_text())
    assert (summary["num_accepted"], summary["num_refused"]) == (10, 5)
    assert "check.jsonl" in lines[0]


def test_a_check_refuses_frames_too_small_for_the_flow(tmp_path, tiny):
    for i in range(4):
        tiny.write_video(tmp_path / "videos" / "run" / f"{i}.mp4", 12, width=32, height=8)
        tiny.write_video(tmp_path / "videos" / "sit" / f"{i}.mp4", 12, tint=i)
    told = []
    for name, check in (("build", False), ("check", True)):
        with pytest.raises(InputError) as error:
            builder.build(
                tmp_path / "videos", tmp_path / name,
                flow="dis", check_only=check, short_side_px=0, progress=False,
            )  # fmt: skip
        told.append(str(error.value).split("; see")[0])
    assert told[0] == told[1]
    rows = map(json.loads, (tmp_path / "check" / "check.jsonl").read_text().splitlines())
    assert {r["reason"] for r in rows} == {"", "flow_needs_16px:32x8"}


# ---- memory


def most_held(sizes, max_bytes, num_threads=3):
    """Results in order, and the most bytes finished and not yet taken, where the first is slow."""
    held, most, lock = 0, 0, threading.Lock()
    first = threading.Event()

    def work(item):
        nonlocal held, most
        number, size = item
        if number == 0:
            first.wait(1.0)
        with lock:
            held += size
            most = max(most, held)
        return item

    out = []
    with futures.ThreadPoolExecutor(num_threads) as pool:
        for item in ordered.map_in_order(
            pool, work, list(enumerate(sizes)), window=20,
            size_of=lambda item: item[1], max_bytes=max_bytes,
        ):  # fmt: skip
            with lock:
                held -= item[1]
            out.append(item[0])
    return out, most


def test_what_waits_in_memory_is_bounded_by_bytes():
    assert most_held([100] * 30, 10**9)[1] > 1000  # else the next line says nothing
    out, most = most_held([100] * 30, 250)
    assert out == list(range(30))
    assert most <= 250 + 100 * 3
    assert most_held([100] * 30, 1)[0] == list(range(30))


def test_a_consumer_that_stops_leaves_no_thread_waiting():
    pool = futures.ThreadPoolExecutor(2)
    results = ordered.map_in_order(
        pool, lambda item: item, range(50), window=10, size_of=lambda item: 5, max_bytes=1
    )
    assert next(results) == 0
    results.close()
    pool.shutdown(cancel_futures=True)


def test_a_strict_build_that_stops_ends(own_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(ordered.map_in_order, "__kwdefaults__", {"max_bytes": 1})
    (own_tree / "videos" / "Class0" / "v_train_00.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="--strict stops there"):
        builder.build(own_tree, tmp_path / "out", strict=True, num_workers=3, progress=False)
    report = builder.build(own_tree, tmp_path / "out", num_workers=3, progress=False)
    assert report.num_accepted == len(pipeline.open_records(report.out_dir).split("train")) + 5
