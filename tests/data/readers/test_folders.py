"""Trees of class folders, split folders and UCF trees, of files or of folders of frames."""

import json

import pytest

from tempo.data import readers
from tempo.errors import InputError


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def ucf(root, classes="1 Run\n2 Jump\n", train="Run/a.avi 1\nJump/b.avi 2\n", test=None):
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text(classes)
    (lists / "trainlist02.txt").write_text(train)
    (lists / "testlist02.txt").write_text(test or "Run/c.avi\nJump/d.avi\n")
    return root


def test_class_folders_are_split_by_hash_and_every_class_is_tested(tmp_path):
    names = [f"run/v{i}.mp4" for i in range(10)] + ["jump/a.AVI", "jump/b.webm"]
    found = readers.read(touch(tmp_path, *names, "jump/notes.txt", "jump/.hidden.mp4"))
    assert found.layout == "class_folders"
    assert found.class_names == ("jump", "run")
    assert found.num_ignored == 1
    assert len(found.splits["test"]) == 3 and len(found.splits["train"]) == 9
    assert {v.label for v in found.splits["test"]} == {0, 1}
    assert sorted(v.id for s in found.splits.values() for v in s) == sorted(names)
    assert readers.read(tmp_path) == found


def test_split_folders(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "train/jump/b.mp4", "val/run/c.mp4", "val/jump/d.mp4")
    found = readers.read(tmp_path)
    assert found.layout == "split_folders"
    assert found.class_names == ("jump", "run")
    assert [v.id for v in found.splits["train"]] == ["train/jump/b.mp4", "train/run/a.mp4"]
    assert [v.label for v in found.splits["val"]] == [0, 1]


@pytest.mark.parametrize("folder", ["videos", "UCF-101", ""])
def test_ucf_tree_takes_labels_in_the_order_of_its_index(tmp_path, folder):
    touch(tmp_path / folder, "Run/a.avi", "Run/c.avi", "Jump/b.avi", "Jump/d.avi")
    found = readers.read(ucf(tmp_path), split_number=2)
    assert found.class_names == ("Run", "Jump")
    assert [(v.id, v.label) for v in found.splits["train"]] == [("Run/a.avi", 0), ("Jump/b.avi", 1)]
    for video in found.splits["test"]:
        assert (tmp_path / video.path).is_file()


def test_facts_about_videos_are_taken_along(tmp_path):
    touch(tmp_path, "run/a.mp4", "run/b.mp4")
    (tmp_path / "tempo.json").write_text(json.dumps({"run/a.mp4": {"cycles_per_s": 2.5}}))
    videos = {v.id: v for s in readers.read(tmp_path).splits.values() for v in s}
    assert videos["run/a.mp4"].metadata == {"cycles_per_s": 2.5}
    assert videos["run/b.mp4"].metadata == {}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "No videos below"),
        (["run/readme.txt"], "No videos below"),
        (["run/a.mp4", "run/b.mp4", "jump/c.mp4"], "Class 'jump' has no test video"),
        (["train/run/a.mp4", "train/jump/b.mp4", "test/run/c.mp4"], "'jump' has no test video"),
        (["train/run/a.mp4", "test/run/b.mp4", "test/jump/c.mp4"], "'jump' has no train video"),
        (["train/run/a.mp4"], "Class 'run' has no val video"),
    ],
)
def test_a_tree_that_cannot_be_used(tmp_path, paths, message):
    with pytest.raises(InputError, match=message) as error:
        readers.read(touch(tmp_path, *paths))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kwargs", "split_number", "message"),
    [
        ({}, 1, "--split-number can be 2"),
        ({"classes": "1 Run\n3 Jump\n"}, 2, "numbers must be 1 to 2"),
        ({"classes": "Run\n"}, 2, "'<number> <class>'"),
        ({"train": "Swim/a.avi 1\n"}, 2, "trainlist02.txt:1: class 'Swim'"),
        ({"test": "Run/c.avi\n"}, 2, "Class 'Jump' has no test video"),
        ({"test": "Run/a.avi\nJump/d.avi\n"}, 2, "'Run/a.avi' is in trainlist02"),
    ],
)
def test_split_files_that_cannot_be_used(tmp_path, kwargs, split_number, message):
    with pytest.raises(InputError, match=message):
        readers.read(ucf(tmp_path, **kwargs), split_number=split_number)


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match="No folder"):
        readers.read(tmp_path / "nowhere")
