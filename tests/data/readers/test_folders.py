"""Trees of class folders, split folders and UCF trees, of files or of folders of frames."""

import json
import os

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
    assert found.class_names == ("jump", "run")
    assert found.num_ignored == 1
    assert len(found.splits["test"]) == 3 and len(found.splits["train"]) == 9
    assert {v.label for v in found.splits["test"]} == {0, 1}
    assert sorted(v.id for s in found.splits.values() for v in s) == sorted(names)
    assert readers.read(tmp_path) == found


def test_split_folders(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "train/jump/b.mp4", "val/run/c.mp4", "val/jump/d.mp4")
    found = readers.read(tmp_path)
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
        (
            {"test": "Run/a.avi\nJump/d.avi\n"},
            2,
            "testlist02.txt:1: 'Run/a.avi' is in the test split and, at .*trainlist02.txt:1, in",
        ),
    ],
)
def test_split_files_that_cannot_be_used(tmp_path, kwargs, split_number, message):
    with pytest.raises(InputError, match=message):
        readers.read(ucf(tmp_path, **kwargs), split_number=split_number)


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match="No folder"):
        readers.read(tmp_path / "nowhere")


# ---- folders that are splits, or not


@pytest.mark.parametrize("words", [("Train", "Test"), ("TRAINING", "valid"), ("train", "Testing")])
def test_folders_of_splits_in_any_word_and_case(tmp_path, words):
    names = [f"{word}/{name}/v.mp4" for word in words for name in "ab"]
    found = readers.read(touch(tmp_path, *names))
    assert found.class_names == ("a", "b")
    assert list(found.splits) == ["train", "val" if "valid" in words else "test"]
    assert sorted(v.path for s in found.splits.values() for v in s) == sorted(names)


def test_folders_without_videos_are_neither_splits_nor_classes(tmp_path):
    videos = [f"{split}/{name}/v.mp4" for split in ("train", "val") for name in "ab"]
    touch(tmp_path, *videos, "annotations/list.csv", "thumbs/a/1.jpg", "readme.txt")
    (tmp_path / "empty").mkdir()
    found = readers.read(tmp_path)
    assert found.class_names == ("a", "b") and list(found.splits) == ["train", "val"]
    assert found.num_ignored == 2
    assert found.notes == ("files ignored, no videos by their suffix: 2",)


def test_videos_in_the_folder_videos(tmp_path):
    names = [f"videos/{name}/{i}.mp4" for name in "ab" for i in range(2)]
    found = readers.read(touch(tmp_path, *names, "annotations/list.csv"))
    assert found.class_names == ("a", "b")


def test_splits_beside_classes_are_refused_unless_all_are_classes(tmp_path):
    root = touch(tmp_path / "v", *(f"{name}/{i}.mp4" for name in ("bus", "train") for i in "12"))
    message = "has a folder 'train', which is a split, and a folder 'bus' with videos"
    with pytest.raises(InputError, match=message) as error:
        readers.read(root)
    assert "--classes" in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "classes.txt").write_text("bus\ntrain\ncar\n")
    found = readers.read(root, classes=tmp_path / "classes.txt")
    assert {v.label for v in found.splits["train"]} == {0, 1}


# ---- videos that would be lost


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a/1.mp4", "a/2.mp4", "x.mp4"], "Videos in no class folder: 1 .'x.mp4'.; move"),
        (["x.mp4"], "Videos in no class folder: 1 .'x.mp4'."),
        (["train/a/1.mp4", "test/a/2.mp4", "train/x.mp4"], "in no class folder: 1 .'train/x.mp4'"),
        (["a/1.mp4", "a/2.mp4", "zz/1.rmvb"], "The class folder 'zz' holds files such as '1.rmvb'"),
        (["train/a/1.mp4", "test/a/2.mp4", "train/b/s/1.jpg"], "The class folder 'train/b' holds"),
        (["train/a/1.mp4", "test/a/2.mp4", "val/a/1.rmvb"], "The class folder 'val/a' holds"),
    ],
)
def test_videos_are_not_lost_without_a_word(tmp_path, paths, message):
    with pytest.raises(InputError, match=message):
        readers.read(touch(tmp_path, *paths))


def test_pictures_in_a_class_folder_are_no_folder_of_frames(tmp_path):
    touch(tmp_path, *(f"{v}/0000{i}.jpg" for v in ("a/v1", "a/v2", "b") for i in "12"))
    with pytest.raises(InputError, match="Videos in no class folder: 1 .'b'."):
        readers.read(tmp_path, dataset="frame_folders")


def test_a_link_to_nowhere_is_a_refused_video(tmp_path):
    touch(tmp_path, *(f"a/{i}.mp4" for i in range(9)))
    before = readers.read(tmp_path)
    (tmp_path / "a/3.mp4").unlink()
    (tmp_path / "a/3.mp4").symlink_to("nowhere.mp4")
    found = readers.read(tmp_path)
    (row,) = found.refused
    split = row["split"]
    assert row == {"id": "a/3.mp4", "source": "a/3.mp4", "split": split, "reason": "missing_file"}
    # Mended, it is where it was; the others stay where they are.
    assert "a/3.mp4" in {v.id for v in before.splits[split]}
    for split, videos in found.splits.items():
        assert videos == tuple(v for v in before.splits[split] if v.id != "a/3.mp4")
    (tmp_path / "b").symlink_to("nowhere")
    with pytest.raises(InputError, match="The link 'b' leads nowhere"):
        readers.read(tmp_path)


# ---- one video twice


def test_a_loop_of_links_adds_no_video(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.mp4" for name in "ab" for i in range(4)))
    before = readers.read(tmp_path)
    (tmp_path / "a/loop").symlink_to(".")
    (tmp_path / "b/top").symlink_to("..")
    assert readers.read(tmp_path) == before


def test_a_folder_in_two_classes_or_splits(tmp_path):
    touch(tmp_path / "x", "a/1.mp4", "a/2.mp4")
    (tmp_path / "x/b").symlink_to("a")
    with pytest.raises(InputError, match="'b' and 'a' are one folder; a video can be in one class"):
        readers.read(tmp_path / "x")
    touch(tmp_path / "y", "train/a/1.mp4", "train/a/2.mp4")
    (tmp_path / "y/test").symlink_to("train")
    with pytest.raises(InputError, match="'test' and 'train' are one folder"):
        readers.read(tmp_path / "y")


def test_a_line_of_a_ucf_list_twice(tmp_path):
    touch(tmp_path, "Run/a.avi", "Run/c.avi", "Jump/b.avi", "Jump/d.avi")
    train = "Run/a.avi 1\nJump/b.avi 2\nRun/a.avi 1\n"
    found = readers.read(ucf(tmp_path, train=train), split_number=2)
    assert [v.id for v in found.splits["train"]] == ["Run/a.avi", "Jump/b.avi"]
    assert found.notes == ("lines of lists repeated, taken once: 1",)


# ---- the same for a tree and for a list


@pytest.mark.parametrize("dataset", ["folder", "ucf101"])
def test_a_missing_video_of_a_ucf_tree(tmp_path, dataset):
    touch(tmp_path / "videos", "Run/a.avi", "Run/c.avi", "Jump/d.avi", "Jump/e.avi")
    ucf(tmp_path, train="Run/a.avi 1\nJump/b.avi 2\nJump/e.avi 2\n")
    arguments = {"dataset": dataset, "split_number": 2}
    with pytest.raises(InputError, match="1 of 5 listed videos .*Jump/b.avi.*--allow-missing"):
        readers.read(tmp_path, **arguments)
    found = readers.read(tmp_path, **arguments, allow_missing=True)
    assert [row["id"] for row in found.refused] == ["Jump/b.avi"]
    assert [v.path for v in found.splits["train"]] == ["videos/Run/a.avi", "videos/Jump/e.avi"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ({"split_number": 7}, "--split-number 7 means nothing to dataset 'folder'"),
        ({"allow_missing": True}, "--allow-missing means nothing to dataset 'folder'"),
    ],
)
def test_flags_that_mean_nothing_to_folders(tmp_path, flag, message):
    touch(tmp_path, "a/1.mp4", "a/2.mp4")
    with pytest.raises(InputError, match=message):
        readers.read(tmp_path, **flag)


@pytest.mark.parametrize("path", [b"a/\xff.mp4", b"\xff/1.mp4"])
def test_a_name_that_is_not_utf_8(tmp_path, path):
    for name in (path, path.replace(b".mp4", b"2.mp4"), b"z/3.mp4", b"z/4.mp4"):
        full = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb"):
            pass
    with pytest.raises(InputError, match="is not UTF-8; rename the file") as error:
        readers.read(tmp_path)
    str(error.value).encode()
