"""What is found on disk, and by which names."""

import pytest

from tempo.data.readers import inventory


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return str(root)


def test_walk_sorts_by_parts_and_counts_the_rest(tmp_path):
    root = touch(tmp_path, "b/1.mp4", "a b/2.AVI", "a/3.webm", "a/x/4.mkv", "a/.h.mp4",
                 ".git/5.mp4", "a/readme.txt", "a/00001.jpg")  # fmt: skip
    assert inventory.walk(root) == (["a/3.webm", "a/x/4.mkv", "a b/2.AVI", "b/1.mp4"], 2)
    assert inventory.walk(root, "a") == (["a/3.webm", "a/x/4.mkv"], 2)


def test_frame_folders(tmp_path):
    root = touch(tmp_path, "s/v1/00001.jpg", "s/v1/00002.jpg", "s/v2/img_00001.PNG",
                 "s/v3/cover.jpg", "s/v4/00001.jpg", "s/v4/a.mp4",
                 "s/v5/frames/frame_0000000001.jpeg",
                 "s/v5/00001.jpg")  # fmt: skip
    found, _ = inventory.walk(root, videos=False, frames=True)
    assert found == ["s/v1", "s/v2", "s/v5/frames"]
    assert "s/v4/a.mp4" in inventory.walk(root, frames=True)[0]


def test_links_are_followed_once(tmp_path):
    root = touch(tmp_path / "data", "a/1.mp4")
    touch(tmp_path / "far", "2.mp4")
    (tmp_path / "data/b").symlink_to(tmp_path / "far")
    (tmp_path / "far/round").symlink_to(tmp_path / "data")
    (tmp_path / "data/broken.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert inventory.walk(root)[0] == ["a/1.mp4", "b/2.mp4"]


@pytest.fixture
def disk(tmp_path):
    return inventory.Inventory(
        touch(tmp_path, "train/run/a.b.mp4", "val/run/a.b.mp4", "train/P01_01.MP4", "x.avi",
              "HandStand/v_HandStand_g01.avi", "xx.avi")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("x.avi", ["x.avi"]),
        ("x", ["x.avi"]),
        ("x.mp4", []),
        ("a.b", ["train/run/a.b.mp4", "val/run/a.b.mp4"]),
        ("run/a.b.mp4", ["train/run/a.b.mp4", "val/run/a.b.mp4"]),
        ("val/run/a.b.mp4", ["val/run/a.b.mp4"]),
        ("n/a.b.mp4", []),
        ("P01_01", ["train/P01_01.MP4"]),
        ("p01/P01_01.mp4", []),
        ("P01_01.mp4", ["train/P01_01.MP4"]),
        ("Handstand/v_Handstand_g01.avi", ["HandStand/v_HandStand_g01.avi"]),
    ],
)
def test_names_that_are_found(disk, name, paths):
    assert sorted(disk.find(name)) == paths


def test_only_the_beginning_of_a_frame_folder_is_read(tmp_path, monkeypatch):
    root = touch(tmp_path, *(f"v/{k:05d}.jpg" for k in range(200)))
    seen = []
    peek = inventory._entries
    monkeypatch.setattr(inventory, "_entries", lambda *a: seen.append(found := peek(*a)) or found)
    assert inventory.walk(root, videos=False, frames=True)[0] == ["v"]
    assert max(map(len, seen)) < 100
