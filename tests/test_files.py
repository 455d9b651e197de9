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
