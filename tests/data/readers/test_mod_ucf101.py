"""mod-UCF101 from lists of the shape of UCF-101's split 1 gives what the challenge published."""

import random

import pytest

from tempo.data import readers
from tempo.data.readers import ucf

# The class numbers of mod-UCF101's published class list, in the order of UCF-101's.
PUBLISHED = [100, 1, 48, 38, 65, 16, 46, 23, 76, 66, 29, 67, 83, 58, 75, 50, 93, 53, 14, 52]
NAMES = [f"Class{chr(65 + k // 26)}{chr(97 + k % 26)}" for k in range(101)]
# As many videos as the training and test lists of split 1 have, and as many classes with an odd
# number of training videos: 53, for the published 4,795 and 4,742 differ by that.
TRAIN = [95] * 53 + [94] * 43 + [92] * 5
TEST = [37] * 55 + [38] * 46


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("mod")
    sizes = TRAIN.copy()
    random.Random(0).shuffle(sizes)
    lists = {"train": [], "test": []}
    for k, name in enumerate(NAMES):
        (root / name).mkdir()
        # Groups 1 to 7 are for testing; lists are sorted by group.
        for split, count in (("test", TEST[k]), ("train", sizes[k])):
            for i in range(count):
                video = (
                    f"{name}/v_{name}_g{(8 if split == 'train' else 1) + i // 6:02d}_c{i % 6}.avi"
                )
                (root / video).touch()
                lists[split].append(f"{video} {k + 1}\n" if split == "train" else f"{video}\n")
    folder = root / ucf.LISTS_FOLDER
    folder.mkdir()
    (folder / "classInd.txt").write_text("".join(f"{k + 1} {n}\n" for k, n in enumerate(NAMES)))
    for split, found in lists.items():
        (folder / f"{split}list01.txt").write_text("".join(found))
    return root, dict(zip(NAMES, sizes, strict=True))


def test_counts_are_the_published_ones(tree):
    root, sizes = tree
    scan = readers.read(root, dataset="mod_ucf101")
    counts = {split: len(videos) for split, videos in scan.splits.items()}
    assert counts == {"train": 4795, "val": 4742, "test": 3783}
    for name, size in sizes.items():
        label = scan.class_names.index(name)
        of_class = {
            s: [v.id for v in found if v.label == label] for s, found in scan.splits.items()
        }
        assert len(of_class["train"]) == -(-size // 2)
        assert len(of_class["val"]) == size // 2
        # The first half in the order of the list.
        assert max(of_class["train"]) < min(of_class["val"])


def test_class_numbers_are_shuffled_as_published(tree):
    scan = readers.read(tree[0], dataset="mod_ucf101")
    numbers = [scan.class_names.index(name) + 1 for name in NAMES]
    assert numbers[:20] == PUBLISHED
    assert numbers[-1] == 92
    assert sorted(numbers) == list(range(1, 102))


def test_videos_may_have_the_names_that_the_challenge_gave_them(tmp_path):
    lists = tmp_path / ucf.LISTS_FOLDER
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Run\n2 Jump\n")
    run = [f"Run/v_{i}.avi 1\n" for i in range(3)]
    jump = [f"Jump/v_{i}.avi 2\n" for i in range(3)]
    (lists / "trainlist01.txt").write_text("".join(run + jump))
    (lists / "testlist01.txt").write_text("Run/t.avi\nJump/t.avi\n")
    for word, count in (("train", 4), ("validation", 2), ("test", 2)):
        for i in range(count):
            (tmp_path / f"video_{word}_{i + 1:07d}.avi").touch()
    scan = readers.read(tmp_path, dataset="mod_ucf101")
    assert [(v.id, v.path) for v in scan.splits["train"]][2:] == [
        ("Jump/v_0.avi", "video_train_0000003.avi"),
        ("Jump/v_1.avi", "video_train_0000004.avi"),
    ]
    assert [v.path for v in scan.splits["val"]] == [
        "video_validation_0000001.avi",
        "video_validation_0000002.avi",
    ]
