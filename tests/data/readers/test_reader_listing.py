"""What is the same for all lists: videos that are not there, ids twice, splits that overlap."""

import gc

import pytest

from tempo.data import manifest, readers
from tempo.errors import InputError


@pytest.fixture
def make(tmp_path):
    """Writes files by name, videos of one byte by name; a function to read them."""

    def call(videos, lists, dataset="slowfast", given=None, **kwargs):
        for name in videos:
            (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "videos" / name).write_bytes(b"x")
        for name, content in lists.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        given = [str(tmp_path / n) for n in lists] if given is None else given
        if "classes" in kwargs:
            kwargs["classes"] = tmp_path / kwargs["classes"]
        return readers.read(tmp_path / "videos", dataset=dataset, annotations=given, **kwargs)

    return call


def refused(message, call, *args, **kwargs):
    with pytest.raises(InputError, match=message) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)


TEN = "".join(f"v{i}.mp4 0\n" for i in range(10))


def test_missing_videos_are_counted_and_five_are_named(make):
    message = (
        r"7 of 10 listed videos are not below '.*videos': v3.mp4, v4.mp4, v5.mp4, v6.mp4, v7.mp4, "
        r"\.\.\.; add them, or leave them out with --allow-missing\.$"
    )
    refused(message, make, ["v0.mp4", "v1.mp4", "v2.mp4"], {"train.csv": TEN})


def test_missing_videos_are_left_out_if_that_is_allowed(make):
    scan = make(["v0.mp4", "v9.mp4"], {"train.csv": TEN}, allow_missing=True)
    assert [v.id for v in scan.splits["train"]] == ["v0.mp4", "v9.mp4"]
    assert len(scan.refused) == 8
    assert scan.refused[0] == {
        "id": "v1.mp4", "source": "v1.mp4", "split": "train", "reason": "missing_file",
    }  # fmt: skip


def test_if_no_video_is_there_the_folder_is_wrong(make):
    message = "None of the 10 listed videos is below .* give --videos the folder that holds them"
    refused(message, make, ["other.mp4"], {"train.csv": TEN}, allow_missing=True)


def test_an_id_twice(make):
    lists = {"train.csv": "a.mp4 0\n\nb.mp4 1\na.mp4 1\n"}
    message = r"train.csv:4: 'a.mp4' is listed twice, first at .*train.csv:1; remove one line"
    refused(message, make, ["a.mp4", "b.mp4"], lists)


def test_lines_that_say_the_same_again_are_counted(make):
    scan = make(["a.mp4", "b.mp4"], {"train.csv": "a.mp4 0\nb.mp4 1\na.mp4 0\na.mp4,0\n"})
    assert [v.id for v in scan.splits["train"]] == ["a.mp4", "b.mp4"]
    assert scan.num_repeated == 2
    assert scan.notes == ("lines of lists repeated, taken once: 2",)


def test_ids_that_are_twice_and_do_not_agree_are_counted_and_five_are_named(make):
    again = "".join(f"v{i}.mp4 1\n" for i in range(7))
    message = (
        r"train.csv:11: 'v0.mp4' is listed twice, first at .*train.csv:1; remove one line\. So are "
        r"6 more: 'v1.mp4' \(line 12\), 'v2.mp4' \(line 13\), 'v3.mp4' \(line 14\), 'v4.mp4' "
        r"\(line 15\), \.\.\.\.$"
    )
    refused(message, make, ["v0.mp4"], {"train.csv": TEN + again})


def test_one_file_under_two_ids(make):
    lists = {"train.csv": "c/a.mp4 0\na.mp4 0\n"}
    refused("'c/a.mp4' and 'a.mp4' are one file, 'c/a.mp4'; list it once", make, ["c/a.mp4"], lists)


def test_ids_of_every_scan_are_checked(make, monkeypatch):
    twice = tuple(manifest.Source("a", f"{i}.mp4", 0) for i in range(2))
    scan = manifest.Scan(("c",), {"train": twice[:1], "test": twice[1:]})
    monkeypatch.setitem(readers.READERS, "folder", lambda request: scan)
    refused("'a' is there twice", make, ["a.mp4"], {}, "folder")


def test_absolute_paths_may_go_through_links(make, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "videos")
    lists = {"train.csv": f"{tmp_path}/link/c/a.mp4 0\n{tmp_path}/videos/c/b.mp4 0\n"}
    scan = make(["c/a.mp4", "c/b.mp4"], lists)
    assert [v.id for v in scan.splits["train"]] == ["c/a.mp4", "c/b.mp4"]
    lists = {"train.csv": f"{tmp_path}/videos/c/a.mp4 0\n"}
    given = [str(tmp_path / "train.csv")]
    (tmp_path / "train.csv").write_text(lists["train.csv"])
    scan = readers.read(tmp_path / "link", dataset="slowfast", annotations=given)
    assert [v.path for v in scan.splits["train"]] == ["c/a.mp4"]


@pytest.mark.parametrize("listed", ["caf\u00e9/a.mp4", "cafe\u0301/a.mp4"])
def test_a_list_and_a_disk_may_compose_accents_in_two_ways(make, listed):
    scan = make(["cafe\u0301/a.mp4"], {"train.csv": f"{listed} 0\n"})
    assert [v.path for v in scan.splits["train"]] == ["cafe\u0301/a.mp4"]


@pytest.mark.parametrize("header", ["path,label", "video_path, label", '"path","label"'])
def test_a_list_may_name_its_columns(make, header):
    scan = make(["a.mp4"], {"train.csv": f"\n{header}\na.mp4,0\n"})
    assert [v.id for v in scan.splits["train"]] == ["a.mp4"]
    refused("train.csv:2: expected '<path>", make, ["a.mp4"], {"train.csv": f"a.mp4,0\n{header}"})


def test_a_split_number_where_there_is_one_split(make):
    refused("--split-number 2 means nothing to dataset 'slowfast'", make, ["a.mp4"],
            {"train.csv": "a.mp4 0\n"}, split_number=2)  # fmt: skip


def test_a_video_in_two_splits(make):
    lists = {"train.csv": "a.mp4 0\n", "val.csv": "b.mp4 0\na.mp4 0\n"}
    message = r"val.csv:2: 'a.mp4' is in the val split and, at .*train.csv:1, in the train split"
    refused(message, make, ["a.mp4", "b.mp4"], lists)


def test_a_file_in_two_splits_under_two_names(make):
    lists = {"train.csv": "c/a.mp4 0\n", "val.csv": "a.mp4 0\n"}
    refused("Splits overlap: 'c/a.mp4' is 'c/a.mp4' in train and 'a.mp4' in val", make,
            ["c/a.mp4"], lists)  # fmt: skip


_KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.mark.parametrize(("start", "overlaps"), [(5, True), (10, False), (30, False)])
def test_parts_of_a_file_in_two_splits(make, start, overlaps):
    lists = {
        "train.csv": _KINETICS + "run,abc,20,30,train\nrun,abc,0,10,train\n",
        "val.csv": _KINETICS + f"run,abc,{start},{start + 10},val\n",
    }
    if overlaps:
        refused("Splits overlap: 'abc.mp4' is", make, ["abc.mp4"], lists, "kinetics400")
        return
    scan = make(["abc.mp4"], lists, "kinetics400")
    assert [(v.start_s, v.end_s) for v in scan.splits["val"]] == [(start, start + 10)]


def test_two_files_of_one_name(make):
    lists = {"train.csv": _KINETICS + "run,abc,0,10,train\n"}
    clip = "abc_000000_000010.mp4"
    # The folder of the class, or of the split, decides.
    scan = make([f"val/{clip}", f"train/{clip}", f"other/{clip}"], lists, "kinetics400")
    assert scan.splits["train"][0].path == f"train/{clip}"
    message = rf"train.csv:2: 'abc_000000_000010' may be 'train/{clip}' or 'train_2/run/{clip}'"
    refused(message, make, [f"train_2/run/{clip}"], lists, "kinetics400")


def test_the_split_may_be_given(make, tmp_path):
    lists = {"a.txt": "a.mp4 0\n", "b.txt": "b.mp4 1\n"}
    refused(r"a.txt': the name does not tell the split; give it as --annotations train=", make,
            ["a.mp4", "b.mp4"], lists)  # fmt: skip
    given = [f"train={tmp_path / 'a.txt'}", f"validation={tmp_path / 'b.txt'}"]
    scan = make([], {}, given=given)
    assert list(scan.splits) == ["train", "val"]
    refused("'vall' is no split. Did you mean 'val'", make, [], {},
            given=[f"vall={tmp_path / 'b.txt'}"])  # fmt: skip


def test_annotations_that_are_not_there_or_not_wanted(make, tmp_path):
    refused("Dataset 'slowfast' needs its lists; give --annotations train.csv", make, ["a.mp4"], {})
    refused("No annotation file '.*nowhere.csv'; dataset 'slowfast' reads train.csv", make,
            ["a.mp4"], {}, given=[str(tmp_path / "nowhere.csv")])  # fmt: skip
    lists = {"train.csv": _KINETICS + "run,abc,0,10,train\n", "notes.pdf": "x"}
    refused("notes.pdf': dataset 'kinetics400' does not read it; it reads train.csv", make,
            ["abc.mp4"], lists, "kinetics400")  # fmt: skip
    refused("train.csv': dataset 'folder' does not read it; it reads no files", make, ["a/b.mp4"],
            {"train.csv": ""}, "folder")  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "needed"),
    [
        ("ucf101", "classInd.txt is missing"),
        ("mod_ucf101", "classInd.txt is missing"),
        ("hmdb51", "needs its 51 lists <class>_test_split1.txt"),
        ("kinetics600", "needs its lists; give --annotations train.csv"),
        ("ssv1", "needs its list of labels; .* something-something-v1-train.csv"),
        ("ssv2", "needs its list of labels; .* labels.json"),
        ("moments", "needs moments_categories.txt"),
        ("hacs", "needs HACS_clips_v1.1.1.csv"),
        ("epic55", "needs EPIC_verb_classes.csv"),
        ("charades", "needs Charades_v1_classes.txt"),
        ("mmaction_frames", "needs its lists"),
    ],
)
def test_a_dataset_says_which_files_it_needs(make, dataset, needed):
    refused(needed, make, ["a.mp4"], {}, dataset)


def test_an_unknown_dataset_or_folder(make, tmp_path):
    refused("Unknown dataset .--dataset. 'kinetics40'. Did you mean 'kinetics400'", make,
            ["a.mp4"], {}, "kinetics40")  # fmt: skip
    refused("No folder '.*nowhere'", readers.read, tmp_path / "nowhere", dataset="hacs")


def test_lists_without_a_video(make):
    refused("list no video", make, ["a.mp4"], {"train.csv": "\n\n"})


def test_a_list_of_classes_fixes_their_order(make, tmp_path):
    videos = ["a.mp4", "b.mp4"]
    lists = {"train.csv": _KINETICS + "run,a,0,10,train\njump,b,0,10,train\n"}
    assert make(videos, lists, "kinetics400").class_names == ("jump", "run")
    (tmp_path / "order.txt").write_text("swim\nrun\njump\n")
    scan = make(videos, lists, "kinetics400", classes="order.txt")
    assert scan.class_names == ("swim", "run", "jump")
    assert [v.label for v in scan.splits["train"]] == [1, 2]
    assert not scan.is_strict
    (tmp_path / "order.txt").write_text("swim\nrun\njumping\n")
    refused(r"train.csv:3: class 'jump' is not in .*order.txt. Did you mean 'jumping'", make,
            videos, lists, "kinetics400", classes="order.txt")  # fmt: skip


def test_a_list_of_classes_fixes_the_order_of_folders(make, tmp_path):
    (tmp_path / "order.txt").write_text("swim\nrun fast\njump\n")
    videos = ["train/jump/a.mp4", "train/run_fast/b.mp4", "test/run_fast/c.mp4"]
    refused("Class 'jump' has no test video", make, videos, {}, "folder")
    scan = make(videos, {}, "folder", classes="order.txt")
    assert scan.class_names == ("swim", "run fast", "jump")
    assert [(v.id, v.label) for v in scan.splits["train"]] == [
        ("train/run_fast/b.mp4", 1),
        ("train/jump/a.mp4", 2),
    ]
    refused("The folder 'ski' is no class of .*order.txt", make, ["train/ski/d.mp4"], {},
            "folder", classes="order.txt")  # fmt: skip


def test_collection_is_on_afterwards(make):
    assert gc.isenabled()
    make(["a.mp4"], {"train.csv": "a.mp4 0\n"})
    with pytest.raises(InputError):
        make([], {"train.csv": "a.mp4\n"})
    assert gc.isenabled()
