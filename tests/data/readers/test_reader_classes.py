"""Lists of classes in all their forms, names as rows, and left and right that change places."""

import numpy as np
import pytest

from tempo.data import batches
from tempo.data.readers import classes
from tempo.errors import InputError


@pytest.fixture
def read(tmp_path):
    def call(content, name="classes.txt"):
        (tmp_path / name).write_bytes(content.encode())
        return classes.read_list(str(tmp_path / name)).names

    return call


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("run fast\njump, high\nswim\n", "classes.txt"),
        ("\ufeffrun fast\r\n\r\njump, high\r\nswim", "classes.txt"),
        ("1 run fast\n2 jump, high\n3 swim\n", "classInd.txt"),
        ("2 swim\n0 run fast\n1 jump, high\n", "classInd.txt"),
        ("run fast,0\njump, high,1\nswim,2\n", "categories.txt"),
        ('0,run fast\n1,"jump, high"\n2,swim\n', "classes.csv"),
        ("id,name\n0,run fast\n1,jump, high\n2,swim\n", "classes.csv"),
        ('{"swim": "2", "jump, high": "1", "run fast": 0}', "labels.json"),
        ('["run fast", "jump, high", "swim"]', "labels.json"),
    ],
)
def test_forms_of_a_list(read, content, name):
    assert read(content, name) == ("run fast", "jump, high", "swim")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "classes.txt", "is empty"),
        ("run\njump\nrun\n", "classes.txt", "has the class 'run' twice"),
        ("1 run\n3 jump\n", "classes.txt", r"numbers must be 0 to 1 \(or 1 to 2\), each once"),
        ("run,1\njump,1\n", "classes.txt", "numbers must be 0 to 1"),
        ('{"run": "first"}', "labels.json", "needs a whole number"),
        ('"run"', "labels.json", "must hold {name: number}"),
        ("{}", "labels.json", "numbers must be"),
    ],
)
def test_lists_that_cannot_be_used(read, content, name, message):
    with pytest.raises(InputError, match=message):
        read(content, name)


def test_names_are_found_as_folders_write_them():
    table = classes.ClassTable(["massaging person's head", "Run", "run"], "list.txt")
    assert table.find("massaging_person's_head") == 0
    assert table.find('"Massaging person\'s  head"') == 0
    assert (table.find("Run"), table.find("run"), table.find("RUN")) == (1, 2, None)
    with pytest.raises(InputError, match="a.csv:3: class 'rum' is not in list.txt. Did you mean"):
        table.row("rum", ("a.csv", 3))
    with pytest.raises(InputError, match=r"a.csv:3: class 'ski' is not in list.txt\.$"):
        table.row("ski", ("a.csv", 3))
    with pytest.raises(InputError, match="a.csv:3: label 3 is not in list.txt, which has 0 to 2"):
        table.number("3", ("a.csv", 3))


_PAIRS = (
    ("Pulling something from left to right", "Pulling something from right to left"),
    ("Pushing something from left to right", "Pushing something from right to left"),
    (
        "Turning the camera left while filming something",
        "Turning the camera right while filming something",
    ),
)


@pytest.mark.parametrize(
    "rows",
    [
        # mmaction2, configs/recognition: sthv1_flip_label_map and sthv2_flip_label_map.
        ((30, 41), (52, 66), (2, 4)),
        ((86, 87), (93, 94), (166, 167)),
    ],
)
def test_classes_of_something_something_change_places(rows):
    names = [f"Doing number {k}" for k in range(174)]
    # It names a side, but there is no class of the other.
    names[50] = "Plugging something into something but pulling it right out"
    for (left, right), (first, second) in zip(rows, _PAIRS, strict=True):
        names[left], names[right] = first, second
    labels = classes.mirror_labels(names)
    assert {(k, m) for k, m in enumerate(labels) if k != m} == {
        pair for left, right in rows for pair in ((left, right), (right, left))
    }
    # A mirrored clip of class 2 of V1 has label 4; mirrored twice, every clip has its own again.
    own, mirror = np.arange(174, dtype=np.int32), np.asarray(labels, np.int32)
    mirrored = batches.mirrored_labels(own, mirror)
    assert [mirrored[left] for left, _ in rows] == [right for _, right in rows]
    np.testing.assert_array_equal(batches.mirrored_labels(mirrored, mirror), own)


def test_without_sides_there_is_no_map():
    assert classes.mirror_labels(["run", "jump bright", "cleft"]) is None
