"""The report of hand-made scores: its numbers, its page, and what it refuses."""

import html.parser
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from tempo import report
from tests import forked, score_files

FIGURES = {
    "classes", "confusion", "widths", "validation", "variance", "gain", "robustness", "use_of_time",
    "features_run", "features_base",
}  # fmt: skip

HALF = score_files.curves([3]) / 2
"""A peak of one half."""


class Links(html.parser.HTMLParser):
    """Collects everything in a page that could ask for something, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.anchors, self.targets, self.tags = [], [], set(), set()
        self.alts, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        if tag == "a":
            self.anchors.append(given["href"])
        elif tag == "img":
            self.alts.append(given.get("alt", ""))
        self.sources += [
            value
            for name, value in given.items()
            if name in ("src", "srcset", "data", "action", "poster", "background")
            or (name == "href" and tag != "a")
        ]
        if "id" in given:
            self.targets.add(given["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report of two runs that have everything: its folder."""
    folder = tmp_path_factory.mktemp("report")
    run = score_files.write(folder / "run")
    base = score_files.write(folder / "base", right=[*range(6), 8])
    report.write(run, str(folder / "out"), baseline=base, command="python -m tempo.report <x> & y")
    return folder / "out"


@pytest.fixture(scope="module")
def numbers(made):
    return json.loads((made / "report.json").read_text())["sections"]


def rows(numbers, section, table):
    return numbers[section]["tables"][table]


def test_nothing_in_the_page_asks_for_anything(made):
    text = (made / "index.html").read_text()
    found = Links(text)
    assert found.sources and all(source.startswith("data:") for source in found.sources)
    assert {a.removeprefix("#") for a in found.anchors} <= found.targets
    assert all(a.startswith("#") for a in found.anchors) and len(found.anchors) == 11
    assert not found.tags & {"script", "iframe", "object", "embed", "video", "audio", "form"}
    # Neither do its styles, nor the pictures, which are pages of their own.
    svgs = "".join(path.read_text() for path in made.glob("*.svg"))
    assert not re.findall(r"url\((?!#|[\"']?data:)|@import", text + svgs)
    assert not re.findall(r"href=\"(?!#|data:)|<script|<!DOCTYPE", svgs)
    assert "&lt;x&gt; &amp; y" in text


def test_every_figure_is_in_the_page_and_beside_it(made, numbers):
    listed = {name for section in numbers.values() for name in section["figures"]}
    assert listed == FIGURES
    found = Links((made / "index.html").read_text())
    assert {f"figure-{name}" for name in FIGURES} <= found.targets
    assert len(found.alts) == len(FIGURES) and all(len(alt) > 40 for alt in found.alts)
    there = {path.name for path in made.iterdir()}
    expected = {f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg")}
    assert there == expected | {"index.html", "report.json"}
    assert all((made / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in FIGURES)
    # A caption says of how many videos, and by which protocol.
    captions = [text for section in numbers.values() for text in section["figures"].values()]
    assert all("12 videos; 2 clips of 8x4 frames." in text for text in captions)


def test_accuracy_and_its_paired_difference(numbers):
    top1 = {r["run"]: r for r in rows(numbers, "accuracy", "runs") if r["metric"] == "top-1"}
    assert top1["run"]["value"] == pytest.approx(10 / 12)
    assert top1["base"]["value"] == pytest.approx(7 / 12)
    low, high = top1["run"]["ci95"]
    assert 0.5 < low < 10 / 12 < high <= 1
    difference = numbers["accuracy"]["difference"]
    assert difference["value"] == pytest.approx(3 / 12)
    assert (difference["only_run_right"], difference["only_baseline_right"]) == (3, 0)
    assert difference["mcnemar_p"] == pytest.approx(0.25)  # 2 * (1 / 2) ** 3
    low, high = difference["ci95"]
    assert 0 <= low < 0.25 < high < 0.6


def test_classes_and_confusion(numbers):
    found = {r["class"]: r for r in rows(numbers, "classes", "classes")}
    assert [r["class"] for r in rows(numbers, "classes", "classes")][-1] == "Bounce"
    assert found["Slide"] == {
        "class": "Slide", "videos": 4, "run": 1.0, "baseline": 0.5, "gain": 0.5,
    }  # fmt: skip
    assert found["Spin"]["gain"] == 0.25 and found["Bounce"]["gain"] == 0
    assert numbers["confusion"]["counts"] == [[4, 0, 0], [0, 4, 0], [2, 0, 2]]
    [pair] = rows(numbers, "confusion", "confused")
    assert pair == {"true": "Spin", "predicted": "Bounce", "videos": 2, "share": 0.5}


def test_tempo_of_videos_and_classes(numbers):
    # A triangle that falls from 1 over w frames on both sides is w frames wide at half.
    np.testing.assert_allclose(
        numbers["tempo"]["width_frames"], [2, 3, 4, 5, 3, 3, 3, 3, 2, 2, 6, 6], atol=1e-4
    )
    np.testing.assert_allclose(
        np.array(numbers["tempo"]["width_s"]) * 4, numbers["tempo"]["width_frames"], atol=1e-4
    )
    assert numbers["tempo"]["censored_share"] == 0
    found = {r["class"]: r for r in rows(numbers, "tempo", "classes")}
    assert found["Bounce"]["var_frames2"] == pytest.approx(1.25, abs=1e-4)
    assert found["Spin"]["var_s2"] == pytest.approx(4 / 16, abs=1e-4)
    assert numbers["variance"]["order"] == ["Spin", "Bounce", "Slide"]
    # The true periods are the widths: ranked without a mistake.
    assert numbers["validation"]["overall"]["value"] == pytest.approx(1)
    of_class = {r["class"]: r["main"] for r in rows(numbers, "validation", "correlations")}
    assert of_class["Spin"] == pytest.approx(1) and of_class["Slide"] is None


def test_gain_against_variance(numbers):
    assert numbers["gain"]["gain"] == [0, 0.5, 0.25]
    [only] = rows(numbers, "gain", "bins")  # all variances are below 10
    assert (only["left"], only["classes"]) == (0, 3) and only["gain"] == pytest.approx(0.25)
    assert numbers["gain"]["line_of_bins"]["slope"] is None
    fit = {r["what"]: r["value"] for r in rows(numbers, "gain", "fit")}
    expected = np.corrcoef([1.25, 0, 4], [0, 0.5, 0.25])[0, 1]
    assert fit["Pearson's r over classes"] == pytest.approx(expected, abs=1e-4)
    assert fit["Spearman's rank correlation over classes"] == pytest.approx(-0.5)


def test_other_strides_and_other_orders(numbers):
    own = [r for r in rows(numbers, "robustness", "strides") if r["run"] == "run"]
    np.testing.assert_allclose([r["top1"] * 12 for r in own], [10, 8, 4])
    np.testing.assert_allclose([r["drop"] * 12 for r in own], [0, -2, -6])
    assert own[0]["ci95"] == [0, 0] and own[2]["ci95"][1] < 0
    mean = numbers["robustness"]["mean_abs_drop"]["run"]
    assert mean["value"] == pytest.approx((2 + 6) / 2 / 12)
    own = {
        r["frames"]: r["top1"] * 12
        for r in rows(numbers, "use_of_time", "variants")
        if r["run"] == "run"
    }
    assert own == pytest.approx({"normal": 10, "shuffled": 4, "reversed": 10, "single frame": 1})
    fallen = rows(numbers, "use_of_time", "classes")
    assert [r["class"] for r in fallen] == ["Slide", "Spin", "Bounce"]
    assert fallen[0]["shuffled"] == -1 and fallen[2]["single_frame"] == -0.75


def test_features_and_where_numbers_come_from(numbers):
    assert numbers["features"]["run"]["same_class_neighbour"] == 1
    assert np.shape(numbers["features"]["run"]["xy"]) == (12, 2)
    [copy] = rows(numbers, "provenance", "datasets")
    assert copy == {"dataset": "tempobench_variance", "split": "test", "copy": "f" * 64}
    assert len(rows(numbers, "provenance", "files")) == 8
    [first, _] = rows(numbers, "provenance", "checkpoints")
    assert first["step"] == 560 and first["versions"] is None  # no checkpoint in the workdir


def test_sections_without_scores_say_which_command_makes_them(tmp_path):
    run = score_files.write(tmp_path / "my run", ["multi_view"], without=["embedding"])
    page = pathlib.Path(report.write(run, str(tmp_path / "out"))).read_text()
    found = json.loads((tmp_path / "out" / "report.json").read_text())["sections"]
    missing = {name for name, section in found.items() if section["is_missing"]}
    assert missing == {
        "tempo", "validation", "variance", "robustness", "use_of_time", "features"
    }  # fmt: skip
    assert "needs a baseline" in found["gain"]["notes"][0]
    flat = page.replace(" \\\n    --", " --")
    for kind in ("per_frame", "tempo_robustness", "use_of_time", "multi_view --save_embedding"):
        command = f"--mode eval --checkpoint '{run}' --workdir '{run}' --evaluators {kind}<"
        assert command in flat


def test_tempo_may_come_from_a_third_run(tmp_path):
    run = score_files.write(tmp_path / "run", ["multi_view"], without=["embedding"])
    base = score_files.write(tmp_path / "base", ["multi_view"], right=[0], without=["embedding"])
    third = score_files.write(tmp_path / "third", ["per_frame"])
    report.write(run, str(tmp_path / "out"), baseline=base, tempo_from=third)
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["tempo_from"] == third
    assert not found["sections"]["gain"]["is_missing"]
    assert found["sections"]["tempo"]["tempo_from"] == third


def test_how_tempo_is_measured_can_be_said_and_is_shown(tmp_path, capsys):
    run = score_files.write(tmp_path / "run", ["per_frame"], probs=np.tile(HALF, 12))
    flags = ["--workdir", run, "--out", str(tmp_path / "out")]

    def widths(*more):
        assert report.main([*flags, *more]) == 0
        found = json.loads((tmp_path / "out" / "report.json").read_text())["sections"]["tempo"]
        return np.array(found["width_frames"], float), found

    plain, found = widths()
    assert np.isfinite(plain).all() and "Gaussian" not in found["figures"]["widths"]
    smooth, found = widths("--smoothing", "2", "--min-peak", "0.1")
    assert (smooth > plain + 1).all()
    assert found["measurement"] == {
        "smoothing_frames": 2, "min_peak": 0.1, "correct_only": False,
    }  # fmt: skip
    said = "(curves smoothed by a Gaussian of 2 frames, only videos with a peak of at least 0.1)"
    assert said in found["figures"]["widths"]
    assert np.isnan(widths("--min-peak", "0.6")[0]).all()
    wrong = np.repeat(score_files.LABELS, score_files.NUM_FRAMES)
    wrong[: 3 * score_files.NUM_FRAMES] = 2  # three videos of class 0
    score_files.write(run, ["per_frame"], probs=np.tile(HALF, 12), predicted=wrong)
    assert np.isnan(widths("--correct-only")[0]).tolist() == [True] * 3 + [False] * 9
    capsys.readouterr()
    for bad in (["--min-peak", "1.5"], ["--smoothing", "-1"], ["--smoothing", "nan"]):
        assert report.main([*flags, *bad]) == 2
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"manifest_sha256": "e" * 64}, "manifest_sha256 is 'eeeeeeeeeeee', not 'ffffffffffff'"),
        ({"split": "val"}, "split is 'val', not 'test'"),
        ({"class_names": ["Bounce", "Slide", "Roll"]}, "class_names is 3 "),
        ({"id": [f"{i}.avi" for i in range(12)]}, "24 videos are in one only, such as '0.avi'"),
    ],
)
def test_runs_of_other_videos_are_refused(tmp_path, capsys, changed, message):
    run = score_files.write(tmp_path / "run", ["multi_view"])
    base = score_files.write(tmp_path / "base", ["multi_view"], **changed)
    out = tmp_path / "out"
    flags = ["--workdir", run, "--baseline", base, "--out", str(out)]
    assert report.main(flags) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and said.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "run"]


def test_a_run_without_scores_is_refused_in_one_line(tmp_path):
    (tmp_path / "run").mkdir()
    ran = forked.run("--workdir", "run", "--out", "out", module="tempo.report")
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.count("\n") == 1
    assert "'run' has no scores of single videos" in ran.stderr
    assert "--mode eval" in ran.stderr


def test_per_frame_scores_must_be_where_they_are_said_to_be(tmp_path, capsys):
    run = score_files.write(tmp_path / "run", ["multi_view"])
    assert report.main(["--workdir", run, "--tempo-from", run, "--out", "out"]) == 2
    assert "has no per-frame scores" in capsys.readouterr().err


def test_a_report_is_replaced_only_by_a_whole_one(tmp_path, monkeypatch):
    run = score_files.write(tmp_path / "run", ["multi_view"], without=["embedding"])
    out = tmp_path / "out"
    report.write(run, str(out))
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    from tempo.analysis import page

    def fails(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="disk full"):
        patched.setattr(page, "render", fails)
        report.write(run, str(out))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run"]
    score_files.write(run, ["use_of_time"])
    report.write(run, str(out))
    assert (out / "use_of_time.png").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run"]


def test_what_is_no_report_is_not_replaced(tmp_path, capsys):
    run = score_files.write(tmp_path / "run", ["multi_view"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("all of it")
    for out in ("out", "out/thesis.tex"):
        assert report.main(["--workdir", run, "--out", str(tmp_path / out)]) == 2
        assert "exists and is no report" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.tex").read_text() == "all of it"


def test_the_same_scores_make_the_same_report(tmp_path):
    run = score_files.write(tmp_path / "run", ["multi_view"], without=["embedding"])
    pages = [report.write(run, str(tmp_path / name)) for name in ("a", "b")]
    first, second = (pathlib.Path(path).read_bytes() for path in pages)
    assert first == second


CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture
def browser(tmp_path):
    """Chromium without a window; its log holds every request of a page."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "disable-dev-shm-usage",
        "no-first-run", "disable-background-networking", "disable-component-update",
        "disable-sync", f"user-data-dir={tmp_path / 'profile'}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def requests(browser):
    """Addresses that were asked for since the last call."""
    events = [json.loads(row["message"])["message"] for row in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def test_a_browser_shows_every_figure_and_asks_nobody(browser, made, tmp_path):
    # Proof that the log would tell: a page with one address in it.
    asking = tmp_path / "asking.html"
    asking.write_text('<img src="http://127.0.0.1:9/x.png">')
    browser.get(asking.as_uri())
    assert "http://127.0.0.1:9/x.png" in requests(browser)

    page = (made / "index.html").as_uri()
    browser.get(page)
    assert browser.title == "Report on run"
    images = browser.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight])"
    )
    assert len(images) == len(FIGURES)
    assert all(done and width > 200 and height > 100 for done, width, height in images)
    assert {url for url in requests(browser) if not url.startswith("data:")} == {page}
    # Narrow screens scroll tables and figures, not the page.
    browser.set_window_size(500, 800)
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )
