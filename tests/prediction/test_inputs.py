"""Files, folders and a list on stdin become paths, in the order given."""

import pytest

from tempo.errors import InputError
from tempo.prediction import inputs


@pytest.fixture
def tree(tmp_path):
    for name in ("b/2.mp4", "b/10.avi", "a/x.MKV", "z.mp4", "notes.txt", ".hidden.mp4", "b/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(tree, found):
    return [path.removeprefix(f"{tree}/") for path in found]


def test_a_folder_is_searched_to_the_bottom_and_sorted(tree):
    found = inputs.find([str(tree)])
    assert names(tree, found) == ["a/x.MKV", "b/10.avi", "b/2.mp4", "z.mp4"]


def test_the_order_is_that_of_the_command_line(tree):
    found = inputs.find([str(tree / "z.mp4"), str(tree / "b"), str(tree / "notes.txt")])
    assert names(tree, found) == ["z.mp4", "b/10.avi", "b/2.mp4", "notes.txt"]


def test_a_list_on_stdin_may_name_what_is_gone(tree):
    lines = [f"{tree}/z.mp4\n", "\n", f"{tree}/gone.mp4\r\n", f"{tree}/b\n", f"{tree}/empty"]
    found = inputs.find([str(tree / "a"), "-"], lines)
    assert names(tree, found) == ["a/x.MKV", "z.mp4", "gone.mp4", "b/10.avi", "b/2.mp4", "empty"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["TREE/empty"], "empty' holds no videos; their names end with .mp4"),
        (["TREE/z.mp4", "TREE/nowhere"], "No video at .*nowhere"),
        (["-"], "list of videos on stdin is empty"),
        (["-", "-"], "read once"),
        ([], "No video given"),
    ],
)
def test_nothing_to_predict_on(tree, given, message):
    with pytest.raises(InputError, match=message):
        inputs.find([name.replace("TREE", str(tree)) for name in given], [" \n"])
