"""The split of plain class folders, what every class must have, and the hash."""

import pytest

from tempo.data import manifest
from tempo.errors import InputError


def test_split_of_a_class_depends_on_the_paths_alone():
    paths = [f"run/v{i}.mp4" for i in range(50)]
    test = manifest.split_class(paths)
    assert len(test) == 10
    assert manifest.split_class(paths[::-1]) == test
    assert len(manifest.split_class([*paths, "run/new.mp4"]) ^ test) <= 2
    assert [len(manifest.split_class(paths[:n])) for n in (1, 2, 3, 8)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"train": [0, 1], "test": [0]}, "Class 'jump' has no test video"),
        ({"train": [1], "test": [0, 1]}, "Class 'run' has no train video"),
        ({"train": [0, 1]}, r"Class 'run' \(and 1 more\) has no val video"),
    ],
)
def test_a_class_without_videos(labels, message):
    with pytest.raises(InputError, match=message):
        manifest.check_classes(("run", "jump"), labels)


def test_classes_that_can_be_used():
    manifest.check_classes(("run", "jump"), {"train": [0, 1], "val": [1, 0]})
    manifest.check_classes(("run", "jump"), {"train": [0, 1], "val": [], "test": [1, 0]})
    manifest.check_classes(("run",), {"test": [0]})


def test_hash_sees_values_and_not_their_order():
    assert manifest.hash_entries({"a": 1, "b": [2]}) == manifest.hash_entries({"b": [2], "a": 1})
    assert manifest.hash_entries({"a": 1}) != manifest.hash_entries({"a": 2})
