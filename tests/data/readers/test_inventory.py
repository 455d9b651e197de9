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
    found = inventory.walk(root)
    assert found.paths == ["a/3.webm", "a/x/4.mkv", "a b/2.AVI", "b/1.mp4"]
    assert found.num_others == {"a": 2} and found.unknown == {"a": "00001.jpg"}
    assert not found.broken and not found.repeated


def test_frame_folders(tmp_path):
    root = touch(tmp_path, "s/v1/00001.jpg", "s/v1/00002.jpg", "s/v2/img_00001.PNG",
                 "s/v3/cover.jpg", "s/v4/00001.jpg", "s/v4/a.mp4",
                 "s/v5/frames/frame_0000000001.jpeg",
                 "s/v5/00001.jpg")  # fmt: skip
    found = inventory.walk(root, videos=False, frames=True)
    assert found.paths == ["s/v1", "s/v2", "s/v5/frames"]
    assert "s/v4/a.mp4" in inventory.walk(root, frames=True).paths


@pytest.mark.parametrize("beside", ["thumbs/00001.jpg", "flow/x_00001.jpg", "0/a.txt", "zz/a.txt"])
def test_folders_beside_frames_do_not_matter(tmp_path, beside):
    root = touch(tmp_path, "s/v1/00001.jpg", "s/v1/00002.jpg", f"s/v1/{beside}", "s/v1/notes.txt")
    assert inventory.walk(root, videos=False, frames=True).paths == ["s/v1"]
    assert inventory.walk(root, frames=True).paths == ["s/v1"]


def test_the_video_beside_its_frames(tmp_path):
    root = touch(tmp_path, "s/v1/00001.jpg", "s/v1/00002.jpg", "s/v1/a.mp4")
    assert inventory.walk(root, videos=False, frames=True).paths == ["s/v1"]
    assert inventory.walk(root, frames=True).paths == ["s/v1/a.mp4"]


def test_links_are_followed_once(tmp_path):
    root = touch(tmp_path / "data", "a/1.mp4")
    touch(tmp_path / "far", "2.mp4")
    (tmp_path / "data/b").symlink_to(tmp_path / "far")
    (tmp_path / "far/round").symlink_to(tmp_path / "data")
    (tmp_path / "data/a/loop").symlink_to(".")
    (tmp_path / "data/a/self.mp4").symlink_to("self.mp4")
    (tmp_path / "data/broken.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "data/broken.txt").symlink_to(tmp_path / "nowhere.txt")
    found = inventory.walk(root)
    assert found.paths == ["a/1.mp4", "b/2.mp4"]
    assert found.broken == ["a/self.mp4", "broken.mp4"]
    assert found.repeated == {"a/loop": "a", "b/round": ""}


@pytest.mark.parametrize("link", ["0", "zz"])
def test_a_folder_is_entered_by_its_own_path(tmp_path, link):
    root = touch(tmp_path, "a/1.mp4", "b/2.mp4")
    (tmp_path / link).symlink_to("a")
    found = inventory.walk(root)
    assert found.paths == ["a/1.mp4", "b/2.mp4"] and found.repeated == {link: "a"}
    assert inventory.Inventory(root).find(f"{link}/1.mp4") == ["a/1.mp4"]


@pytest.mark.parametrize("suffix", ["mts", "M2TS", "ogv"])
def test_suffixes_of_cameras(tmp_path, suffix):
    assert inventory.walk(touch(tmp_path, f"a/1.{suffix}")).paths == [f"a/1.{suffix}"]


def test_accents_may_be_composed_or_not(tmp_path):
    root = touch(tmp_path, "cafe\u0301/se\u0301.mp4")
    disk = inventory.Inventory(root)
    for name in ("caf\u00e9/s\u00e9.mp4", "s\u00e9", "cafe\u0301/SE\u0301.mp4"):
        assert disk.find(name) == ["cafe\u0301/se\u0301.mp4"]


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
    entries = inventory._entries

    def counted(folder):
        for entry in entries(folder):
            seen.append(entry.name)
            yield entry

    monkeypatch.setattr(inventory, "_entries", counted)
    assert inventory.walk(root, videos=False, frames=True).paths == ["v"]
    assert 2 <= len(seen) < 100
