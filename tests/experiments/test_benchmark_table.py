"""The README's tables are those of the committed results, and what they show of rows."""

import json

import pytest

from experiments.benchmarks import report, table

HARDWARE = {"cpu": "Some CPU", "cpu_cores": 2, "backend": "cpu", "devices": ["cpu"]}


def row(benchmark="train_step", date="2026-01-02", **more):
    return {
        "benchmark": benchmark,
        "model": "x3d_s",
        "clip": "13x160",
        "batch": 2,
        "dtype": "float32",
        "lowering": "auto",
        "clips_per_s": {"median": 4.0, "min": 3.0, "max": 5.0},
        "share_of_matmul": 0.25,
        "commit": "abc1234",
        "date": f"{date}T00:00:00+00:00",
        "hardware": HARDWARE,
        **more,
    }


def test_readme_has_the_committed_results():
    assert table.main(["--check"]) == 0


def test_newest_row_of_a_key_is_shown(tmp_path):
    peer = {"ms": {"median": 1000.0}, "mode": "compile"}
    newest = row(
        date="2026-01-03",
        peer=peer,
        ratio={"median": 2.0, "min": 1.5, "max": 2.5},
        clips_per_s={"median": 4.04},
    )
    rows = [newest, row(), row(lowering="plain", date="2026-01-04"), row(model="a", remat="blocks")]
    rows += [row("inference"), row("conv"), row(batch=8), row(classes=10, date="2026-01-05")]
    for each in rows:
        path = tmp_path / "here" / f"{each['benchmark']}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as f:
            f.write(json.dumps(each) + "\n")
    heading, folder, title, _, _, *cells = filter(None, table.rendered(tmp_path).splitlines())
    assert (heading, folder) == ("### Some CPU, 2 cores", "`results/here`")
    assert title == "Networks, data already on the device:"
    clip, f32 = ["13x160"], "float32"
    shown = [[cell.strip() for cell in line.split("|")[2:-2]] for line in cells]
    assert shown == [
        ["train step", *clip, "2", f32, "4.04", "2 (compile)", "**2.00** (1.50 to 2.50)", "25%"],
        ["inference", *clip, "2", f32, "4", "-", "-", "25%"],
        ["train step", *clip, "8", f32, "4", "-", "-", "25%"],
    ]  # fmt: skip


def cells(kind, of):
    """What a table says of a row, without its day."""
    (line,) = table.markdown(table.TABLES[kind], table.chosen(table.TABLES[kind], [of]))[2:]
    return [cell.strip() for cell in line.split("|")[1:-2]]


def test_seconds_of_both_starts_and_what_a_policy_takes():
    first = {"shapes": 1, "initial_values": 9, "trace_and_lower": 5, "compile": 30}
    first = {name: {"wall_s": s, "cpu_s": 2 * s} for name, s in first.items()}
    second = {name: {"wall_s": s["wall_s"] / 10, "cpu_s": 1} for name, s in first.items()}
    found = cells("compile", row("compile", first_start=first, second_start=second))
    assert found[3:] == ["10.0 / 1.0", "5.0 / 0.5", "30.0 / 3.0", "45.0 / 4.5"]
    plan = {"temporaries_mib": 909.6, "arguments_mib": 250.2, "gflop": 251.4, "clips_per_s": 3.0}
    found = cells("memory", row("memory", remat="narrow", **plan))
    assert found[4:] == ["`narrow`", "910", "250", "251", "3"]


def test_one_thread_is_compared_with_one_of_the_decoder():
    about = {"kind": "frames", "video": "320x240", "size_px": 224, "kbps": 0, "workers": "thread"}
    rates = {"clips_per_s": {"0": 60.0}, "ceiling_clips_per_s": {"1": 80.0, "2": 150.0}}
    assert cells("input", row("input", **about, **rates))[6:] == ["60", "80", "0.75", "60"]
    many = {"clips_per_s": {"1": 60.0, "2": 100.0}, "ceiling_clips_per_s": {"1": 80.0, "2": 150.0}}
    assert cells("input", row("input", **about, **many))[6:] == ["60", "80", "0.75", "100"]


def test_only_what_is_between_the_comments_changes():
    readme = f"a\n{table.BEGIN}\nold\n{table.END}\nb\n"
    once = table.replaced(readme, "| new |\n")
    assert once == f"a\n{table.BEGIN}\n\n| new |\n\n{table.END}\nb\n"
    assert table.replaced(once, "| new |\n") == once
    with pytest.raises(SystemExit, match="has no <!-- performance: begin -->"):
        table.replaced("a\nb\n", "")


def test_results_go_to_a_folder_that_tells_processors_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.append(row(), report.RESULTS)
    report.append(row(date="2026-01-05"), report.RESULTS)
    lines = (tmp_path / "some-cpu-2-cores" / "train_step.jsonl").read_text().splitlines()
    assert [json.loads(line)["date"][:10] for line in lines] == ["2026-01-02", "2026-01-05"]
    gpus = {**HARDWARE, "backend": "gpu", "devices": 2 * ["NVIDIA H200"]}
    assert report.folder_of(gpus) == "2x-nvidia-h200"
    assert report.folder_of({**HARDWARE, "cpu": "Some CPU, avx2"}) != report.folder_of(HARDWARE)
