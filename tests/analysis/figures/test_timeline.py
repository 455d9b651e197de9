"""Figures are files that hold what was given; what a figure cannot be is refused."""

import re

import cv2
import numpy as np
import pytest

from tempo.analysis.figures import timeline
from tempo.errors import InputError

START = np.array([0.0, 10.0, 20.0])
PROBS = np.array([[0.1, 0.9], [0.5, 0.5], [1.0, 0.0]])


def svg(tmp_path, start, end, probs, names, **more):
    path = tmp_path / "line.svg"
    timeline.draw(str(path), start, end, probs, names, **more)
    return path.read_text()


def lines(text):
    """The points of each line of the figure that is drawn over the grid, in svg units."""
    paths = re.findall(
        r'<path d="([^"]+)" clip-path="[^"]+" style="fill: none; stroke: (?!#d8dee4)', text
    )
    return [np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path), float) for path in paths]


def test_a_line_of_each_class_at_the_middle_of_its_windows(tmp_path):
    drawn = lines(svg(tmp_path, START, START + 20, PROBS, ["run", "walk"], title="a.mp4"))
    assert len(drawn) == 2
    for points, column in zip(drawn, PROBS.T, strict=True):
        x, y = points.T
        np.testing.assert_allclose(np.diff(x), np.diff(x)[0], rtol=1e-3)
        # y goes down in svg; both lines share one scale.
        slope = np.diff(y) / np.diff(column)
        np.testing.assert_allclose(slope, slope[0], rtol=1e-3)
        assert slope[0] < 0


def test_a_single_window_is_a_dot(tmp_path):
    one = svg(tmp_path, START[:1], START[:1] + 2, PROBS[:1], ["run", "walk"])
    assert one.count("<use") > svg(tmp_path, START, START + 2, PROBS, ["run", "walk"]).count("<use")


@pytest.mark.parametrize("suffix", ["png", "pdf", "PNG"])
def test_formats(tmp_path, suffix):
    path = tmp_path / "new" / f"line.{suffix}"
    names = ["costs $5 and $6", "_hidden" * 9]
    timeline.draw(str(path), START * 100, START * 100 + 2000, PROBS, names)
    if suffix == "pdf":
        assert path.read_bytes().startswith(b"%PDF")
    else:
        picture = cv2.imread(str(path))
        assert picture.shape[0] == 480 and picture.std() > 5


def test_more_classes_than_colours_differ_in_their_lines(tmp_path):
    names = [str(i) for i in range(9)]
    text = svg(tmp_path, START, START + 2, np.tile(PROBS[:, :1], 9), names)
    styles = re.findall(r'clip-path="[^"]+" style="(fill: none; stroke[^"]+)"', text)[-9:]
    assert len(set(styles)) == 9


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end with .png, .svg, .pdf; got .*line.jpg"):
        timeline.draw(str(tmp_path / "line.jpg"), START, START, PROBS, ["a", "b"])
    assert not list(tmp_path.iterdir())


def test_times_read_as_a_clock():
    assert [timeline._clock(t) for t in (0, 61, 3600, 7325)] == [
        "0:00",
        "1:01",
        "1:00:00",
        "2:02:05",
    ]
