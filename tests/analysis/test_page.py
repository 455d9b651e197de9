"""Pages: what users named is text and never markup, and numbers are written as promised."""

import json

import numpy as np
import pytest

from tempo.analysis import page


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("share", 0.8732, "87.3 %"),
        ("points", -0.021, "\u22122.1"),
        ("points", 0.3, "+30.0"),
        ("number", 0.1234, "0.123"),
        ("number", 1234.5, "1234"),
        ("number", float("nan"), "\u2013"),
        ("count", 19404, "19\u202f404"),
        ("interval_share", [0.5, 0.25], "50.0 to 25.0 %"),
        ("interval_points", [-0.01, float("nan")], "\u2013"),
    ],
)
def test_formats(kind, value, shown):
    assert page.FORMATS[kind](value) == shown


def test_names_are_never_markup():
    evil = '<img src="http://x/">"&'
    table = page.Table("t", [page.Column("a", evil)], [{"a": evil}], evil)
    figure = page.Figure("f", "<svg/>", b"", evil, evil)
    text = page.render(
        evil, evil, [page.Section("s", evil, [table, figure, page.Text(evil, evil)])]
    )
    assert '<img src="http' not in text
    # title, h1, lead, contents, h2; label, caption, head and cell; alt and caption; both of a text.
    assert text.count("&lt;img src=") == 13


def test_json_has_plain_values_and_no_nan():
    rows = [{"a": np.float32(0.5), "b": float("nan")}]
    section = page.Section("s", "S", [page.Table("t", [], rows)], {"x": np.array([1, np.inf])})
    found = json.loads(json.dumps(section.as_json(), allow_nan=False))
    assert found["x"] == [1, None] and found["tables"]["t"] == [{"a": 0.5, "b": None}]


def test_missing_values_are_dashes_and_long_tables_scroll():
    column = page.Column("a", "A", "share")
    section = page.Section("s", "S", [page.Table("t", [column], [{"a": None}, {}])])
    assert page.render("t", "l", [section]).count('<td class="number">\u2013</td>') == 2
    many = page.Section("s", "S", [page.Table("t", [column], [{"a": 0.5}] * 31)])
    assert 'class="scroll tall"' in page.render("t", "l", [many])
