import os

import pytest

from tempo import files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, [1])
    with pytest.raises(RuntimeError), files.replacing(path) as f:
        f.write("half")
        raise RuntimeError
    assert files.read_json(path) == [1]
    assert os.listdir(tmp_path) == ["a.json"]


def test_missing_folders_are_made(tmp_path):
    files.write_text(tmp_path / "x" / "y.txt", "text")
    assert (tmp_path / "x" / "y.txt").read_text() == "text"


def test_a_folder_is_replaced_only_by_a_whole_one(tmp_path):
    path = tmp_path / "folder"
    for text in ("first", "second"):
        with files.replacing_folder(str(path)) as new:
            files.write_text(os.path.join(new, "a"), text)
    with pytest.raises(RuntimeError), files.replacing_folder(str(path)) as new:
        files.write_text(os.path.join(new, "b"), "half")
        raise RuntimeError
    assert (path / "a").read_text() == "second" and os.listdir(path) == ["a"]
    assert os.listdir(tmp_path) == ["folder"]
