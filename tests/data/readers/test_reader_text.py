"""Annotation files as people have them: byte order marks, line ends, quotes; and what is wrong."""

import pytest

from tempo.data.readers import text
from tempo.errors import InputError


@pytest.fixture
def file(tmp_path):
    def write(content, name="train.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_lines(file):
    path = file("\ufeffa b \r\n\r\n  c\u2028d\n\t\nlast")
    assert list(text.lines(path)) == [(1, "a b"), (3, "c\u2028d"), (5, "last")]
    assert list(text.lines(file("a\rb\r"))) == [(1, "a"), (2, "b")]
    assert list(text.lines(file(""))) == []


def test_rows(file):
    path = file('\ufeffx, "a, b","say ""hi"""\r\n\r\n,,\r\n"two\nlines",ü\r\n')
    assert list(text.rows(path)) == [(1, ["x", "a, b", 'say "hi"']), (5, ["two\nlines", "ü"])]


def test_table_finds_its_columns_in_any_order(file):
    path = file("Split, label ,other,id\ntrain,run,-,7\n\nval,jump,-,8")
    found = list(text.table(path, ("id", "label"), optional=("split", "is_cc")))
    assert found == [(2, ["7", "run", "train", ""]), (4, ["8", "jump", "val", ""])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "",
            r"train.csv:1: expected a row of column names with id, label; 'id' is not in 'nothing'",
        ),
        ("id,name\n", r"train.csv:1: .*'label' is not in 'id,name'"),
        ("id,label\n1,run\n2\n", r"train.csv:3: expected 2 cells \(id,label\); found 1"),
        ("id,label\n1,run,fast\n", r"train.csv:2: expected 2 cells \(id,label\); found 3"),
        ('id,label\n1,"run\n2,jump\n', r"train.csv:3: expected comma-separated cells"),
        ('id,label\n1,"run"ning\n', r"train.csv:2: expected comma-separated cells"),
        (b"id,label\n1,\xff\n", r"train.csv' is not UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_read(file, content, message):
    with pytest.raises(InputError, match=message) as error:
        list(text.table(file(content), ("id", "label")))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(file, tmp_path):
    with pytest.raises(InputError, match="Cannot read .*nowhere.*No such file"):
        text.read(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"labels.json:3: not JSON"):
        text.read_json(file('{\n"a": 1,\n}\n', "labels.json"))


def test_numbers_and_times():
    where = ("list.csv", 4)
    assert text.integer("0059", where, "a frame") == 59
    assert text.integer("59.0", where, "a time") == 59
    assert text.seconds("01:02:03.50", where, "a time") == pytest.approx(3723.5)
    assert text.seconds("12.25", where, "a time") == 12.25
    assert text.segment("00:00:00.14", "3.37", where) == pytest.approx((0.14, 3.37))
    for bad in ("", "ten", "-1", "1.5", "nan", "inf", "1e400"):
        with pytest.raises(InputError, match=r"list.csv:4: expected a label \(a whole number\)"):
            text.integer(bad, where, "a label")
    for bad in ("", "ten", "-1", "nan", "inf", "1:b"):
        with pytest.raises(InputError, match=r"list.csv:4: expected a start \(seconds or h:m:s\)"):
            text.seconds(bad, where, "a start")
    with pytest.raises(InputError, match="list.csv:4: expected an end after the start"):
        text.segment("2", "2.0", where)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("trainingSet.csv", "train"),
        ("trainlist01.txt", "train"),
        ("validate.csv", "val"),
        ("something-something-v1-validation.csv", "val"),
        ("kinetics400_val.csv", "val"),
        ("myTestList.txt", "test"),
        ("Charades_v1_test.csv", "test"),
        ("latest.txt", ""),
        ("interval.txt", ""),
        ("trainval.txt", "train"),
        ("train_val.txt", ""),
        ("videos.csv", ""),
    ],
)
def test_the_split_that_a_name_tells(name, split):
    assert text.split_of(f"/data/test/{name}") == split
